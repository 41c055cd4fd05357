"""What decides a claim: settings with direction and threshold, and the rule that draws the verdict."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from convcraft._checks import check_all_known
from convcraft.errors import ConvcraftError

Measured = tuple[float, float, float]  # estimate and the ends of its interval


@dataclass(frozen=True)
class Condition:
    """A range of values, ends excluded (`from a to b`: included; `beyond`: outside), or a truth value."""

    text: str
    low: float = -math.inf
    high: float = math.inf

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "true", "false", "above 0.01", "below 0", "within 0.01", "beyond 1" or "from 0.9 to 1.1"."""
        number = r"(-?\d[\d.]*(?:e-?\d+)?)"
        if text in ("true", "false"):
            return cls(text)
        if found := re.fullmatch(rf"(above|below|within|beyond) {number}", text):
            word, value = found[1], float(found[2])
            low = {"above": value, "below": -math.inf}.get(word, -value)
            return cls(text, low, math.inf if word == "above" else value)
        if found := re.fullmatch(rf"from {number} to {number}", text):
            return cls(text, float(found[1]), float(found[2]))
        raise ConvcraftError(
            f"criterion: expected 'true', 'false', 'above x', 'below x', 'within x', 'beyond x' or "
            f"'from x to y', got {text!r}"
        )

    @property
    def truth(self) -> bool | None:
        """The truth value asked for; ``None`` where a number is."""
        return {"true": True, "false": False}.get(self.text)

    def met(self, outcome: Any) -> bool:
        """Whether the whole interval of the outcome lies where the condition says."""
        if self.truth is not None:
            return bool(outcome) is self.truth
        equivalence = outcome if hasattr(outcome, "interval90") else getattr(outcome, "equivalence", None)
        if self.text.startswith("within") and equivalence is not None:
            return bool(equivalence.equivalent and equivalence.margin <= self.high)
        _, low, high = measured(outcome)
        if self.text in ("above 0", "below 0") and getattr(outcome, "adjusted", 0.0) >= 0.05:
            return False  # one of several comparisons, which does not survive Holm's correction
        if self.text.startswith("beyond"):
            return high < self.low or low > self.high
        if self.text.startswith("from"):
            return self.low <= low and high <= self.high
        return self.low < low and high < self.high


@dataclass(frozen=True)
class Setting:
    """One place where a claim is tested: what is measured, and what shows the claim or its opposite."""

    name: str
    measure: str
    shows: Condition
    opposite: Condition | None = None
    unit: str = ""
    at_scale: bool = False

    def result(self, outcome: Any) -> str:
        """What an outcome says: "shows", "opposite" or "neither"; the last also for ``None``, not measured."""
        if outcome is None:
            return "neither"
        if (self.shows.truth is None) is _is_truth(outcome):
            wanted = "a number, an interval or a contrast" if self.shows.truth is None else "True or False"
            name = f"{self.name!r} ({self.shows.text})"
            raise ConvcraftError(f"outcomes: expected {wanted} for {name}, got {outcome!r}")
        if self.shows.met(outcome):
            return "shows"
        return "opposite" if self.opposite is not None and self.opposite.met(outcome) else "neither"

    def in_words(self, condition: Condition | None) -> str:
        """A condition in the unit of the setting: "above 1 point"."""
        if condition is None:
            return ""
        if condition.truth is not None:
            return "yes" if condition.truth else "no"
        if condition.low == condition.high:
            return f"exactly {_short(self._scaled(condition.low))}{self._suffix()}"
        words, *numbers = re.split(r"(-?\d[\d.]*(?:e-?\d+)?)", condition.text)[:-1]
        numbers = [part if part == " to " else _short(self._scaled(float(part))) for part in numbers]
        return words + "".join(numbers) + ("" if numbers == ["0"] else self._suffix(numbers[-1]))

    def shown(self, outcome: Any) -> str:
        """An outcome in the unit of the setting: "1.7 [1.1, 2.3] points"."""
        if outcome is None:
            return "not measured"
        if _is_truth(outcome):
            return "yes" if outcome else "no"
        estimate, low, high = (self._scaled(value) for value in measured(outcome))
        if low == high:
            return _short(estimate) + self._suffix(_short(estimate))
        digits = max(0, 1 - math.floor(math.log10(high - low)))
        numbers = (f"{round(value, digits) + 0.0:.{min(digits, 6)}f}" for value in (estimate, low, high))
        return "{} [{}, {}]".format(*numbers).replace("-", "−") + self._suffix()

    def _scaled(self, value: float) -> float:
        return 100 * value if self.unit else value

    def _suffix(self, number: str = "") -> str:
        return {"": "", "share": " %"}.get(self.unit, " point" if number in ("1", "−1") else " points")


def _is_truth(outcome: Any) -> bool:
    return isinstance(outcome, bool) or type(outcome).__name__ in ("bool_", "bool")


def _short(value: float) -> str:
    return f"{value:.3g}".replace("-", "−").replace("e−0", "e−")


def measured(outcome: Any) -> Measured:
    """Estimate and ends of a number, interval, judged contrast, equivalence test or triple; else ConvcraftError."""
    interval = getattr(outcome, "interval", getattr(outcome, "interval90", outcome))
    if hasattr(interval, "low"):
        values: Sequence[Any] = (interval.mean, interval.low, interval.high)
    elif isinstance(interval, tuple | list):
        values = interval
    else:
        values = (interval,) * 3
    try:
        estimate, low, high = (float(value) for value in values)
    except (TypeError, ValueError):
        estimate = low = high = math.nan
    if math.isnan(estimate) or not low <= estimate <= high:
        raise ConvcraftError(
            f"outcomes: expected a number, an interval (estimate, low, high) or a contrast, got {outcome!r}"
        )
    return estimate, low, high


def judge_settings(
    claim_id: str, criterion: Sequence[Setting], outcomes: Mapping[str, Any]
) -> dict[str, dict[str, str]]:
    """Value and result of every setting of a criterion; ConvcraftError unless the outcomes name each of them."""
    names = [setting.name for setting in criterion]
    check_all_known(f"setting of {claim_id!r} in outcomes", outcomes, names)
    missing = [s.name for s in criterion if s.name not in outcomes and not s.at_scale]
    if missing:
        raise ConvcraftError(
            f"outcomes: expected one for every setting of {claim_id!r}, got none for {missing}; "
            "None says that it was not measured"
        )
    measured_in = [(setting, outcomes[setting.name]) for setting in criterion if setting.name in outcomes]
    return {s.name: {"value": s.shown(outcome), "result": s.result(outcome)} for s, outcome in measured_in}


def verdict(strength: str, results: Sequence[str]) -> str:
    """The verdict on a claim of this strength, from the results of its settings (see `STRENGTHS` in the ledger).

    >>> verdict("does", ["shows", "opposite"]), verdict("may", ["shows", "opposite"])
    ('holds-with-conditions', 'holds')
    >>> verdict("always", ["shows", "opposite"]), verdict("does", ["shows", "neither"])
    ('false', 'not-supported')
    """
    shows, opposite = results.count("shows"), results.count("opposite")
    every = shows == len(results)
    if strength == "code":
        return "code-broken" if results[0] != "shows" else "holds" if every else "holds-with-conditions"
    if strength == "may":
        return "holds" if shows else "false" if opposite == len(results) else "not-supported"
    if strength == "always":
        return "false" if opposite else "holds" if every else "not-supported"
    if every:
        return "holds"
    if opposite:
        return "holds-with-conditions" if shows else "false"
    return "not-supported"
