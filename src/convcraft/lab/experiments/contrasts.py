"""Contrasts, judged: the difference, its adjusted p-value, equality, and the runs that collapsed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from convcraft._table import Table
from convcraft.errors import unknown
from convcraft.lab.experiments.study import Contrast
from convcraft.lab.statistics import Equivalence, Estimate, Interval, holm, wilson


class Evidence(NamedTuple):
    """What a contrast is judged by: the difference over the seeds at which no arm collapsed (None: fewer than
    two), the rate at which each arm's runs did, and the p of the test that both arms collapse equally often."""

    estimate: Estimate | None
    collapses: dict[str, Interval]
    p_collapses: float | None


@dataclass(frozen=True)
class Judged:
    """A contrast with what the runs say: `interval` (95 %) of a - b, `p`, `adjusted` (Holm), `equivalence`.

    `collapses` holds the rate of each arm whose runs collapse, with Wilson's interval, and `p_collapses` is adjusted
    in the same family; `interval`, `p` and `equivalence` then use only the seeds at which none did. `half_width`, half
    the 90 % interval, is the smallest margin that can be shown, and `power` the chance of showing it for equal arms.

    `verdict` is "higher" or "lower" where the adjusted p is below 0.05, "equal" where the difference is shown
    to lie within the margin, both joined as "higher, within the margin", else "undecided". In accuracy, an arm
    that collapses more often is "lower" for that alone, or "mixed" where its other runs say the opposite;
    arms that collapse are not called equal. Chapter: Activations.
    """

    contrast: Contrast
    interval: Interval
    p: float
    adjusted: float
    equivalence: Equivalence | None
    half_width: float = 0.0
    power: float | None = None
    collapses: dict[str, Interval] | None = None
    p_collapses: float | None = None

    a = property(lambda self: self.contrast.a)
    b = property(lambda self: self.contrast.b)
    measure = property(lambda self: self.contrast.measure)
    claim = property(lambda self: self.contrast.claim)
    margin = property(lambda self: self.contrast.margin)
    family = property(lambda self: self.contrast.family)

    @property
    def equivalent(self) -> bool:
        """Whether the difference is shown to be smaller than the margin, and no run collapsed."""
        return self.equivalence is not None and self.equivalence.equivalent

    @property
    def verdict(self) -> str:
        """The decision, in a word or two."""
        signs = {int(np.sign(self.interval.mean))} if self.adjusted < 0.05 else set()
        if self.p_collapses is not None and self.p_collapses < 0.05 and self.collapses:
            rate = [self.collapses[arm].mean if arm in self.collapses else 0.0 for arm in (self.a, self.b)]
            signs |= {int(np.sign(rate[1] - rate[0]))} if self.measure.endswith("accuracy") else set()
        if len(signs) == 2:
            return "mixed"
        if signs:
            direction = "higher" if signs == {1} else "lower"
            return f"{direction}, within the margin" if self.equivalent else direction
        return "equal" if self.equivalent else "undecided"

    def __str__(self) -> str:
        text = f"{self.contrast}, {self.measure}: {self.interval}, p = {self.adjusted:.2g} (Holm)"
        return f"{text}{_of_collapses(self)}: {self.verdict}"


def _of_collapses(row: Judged) -> str:
    if not row.collapses:
        return ""
    rates = "; ".join(f"{arm} {rate.format(0, percent=True)}" for arm, rate in row.collapses.items())
    p = "" if row.p_collapses is None else f", p = {row.p_collapses:.2g}"
    return f"; of {row.interval.n} seeds without collapse (collapsed: {rates}{p})"


class Contrasts(Table[Judged]):
    """The judged contrasts of a study; prints as a table."""

    headings = ("contrast", "measure", "difference", "p", "p (Holm)", "family", "equal within", "verdict")

    def cells(self, row: Judged) -> tuple[str, ...]:
        within = ""
        if row.margin is not None:
            unreachable = f"not reachable (±{row.half_width:.2g})" if row.half_width >= row.margin else ""
            within = f"±{row.margin:g}: {'yes' if row.equivalent else unreachable or 'not shown'}"
        tests = row.interval.format(4) + _of_collapses(row), f"{row.p:.2g}", f"{row.adjusted:.2g}"
        return str(row.contrast), row.measure, *tests, str(row.family), within, row.verdict

    def named(self, contrast: str, measure: str = "test_accuracy") -> Judged:
        """The contrast called "a - b" of a measure; raises ConvcraftError if the study does not state it."""
        for row in self:
            if (str(row.contrast), row.measure) == (contrast, measure):
                return row
        raise unknown("contrast", f"{contrast}, {measure}", [f"{r.contrast}, {r.measure}" for r in self])


def p_of_collapses(a: Any, b: Any) -> float:
    """Two-sided p for two arms collapsing equally often on the same seeds: McNemar's exact test."""
    from scipy import stats

    first, second = int((a & ~b).sum()), int((b & ~a).sum())
    return float(stats.binomtest(first, first + second).pvalue) if first + second else 1.0


def rates_of(collapsed: dict[str, Any]) -> dict[str, Interval]:
    """The rate of collapse of each arm in which any run collapsed."""
    return {arm: wilson(int(mask.sum()), len(mask)) for arm, mask in collapsed.items() if mask.any()}


def judge(contrasts: Sequence[Contrast], found: Sequence[Evidence]) -> Contrasts:
    """Judge contrasts, with Holm's adjustment in each family, which includes the tests of collapse."""
    p = [1.0 if e.estimate is None else e.estimate.p for e in found]
    tests = [(i, "p") for i in range(len(found))]
    tests += [(i, "collapses") for i, e in enumerate(found) if e.p_collapses is not None]
    raw = np.array([p[i] if kind == "p" else found[i].p_collapses for i, kind in tests], dtype=float)
    adjusted = raw.copy()
    for family in {contrast.family for contrast in contrasts}:
        rows = [row for row, (i, _) in enumerate(tests) if contrasts[i].family == family]
        adjusted[rows] = holm(raw[rows])
    holmed = {test: float(value) for test, value in zip(tests, adjusted, strict=True)}
    judged = []
    for i, (contrast, evidence) in enumerate(zip(contrasts, found, strict=True)):
        estimate, margin = evidence.estimate, contrast.margin
        collapses: dict[str, Any] = {"collapses": evidence.collapses, "p_collapses": holmed.get((i, "collapses"))}
        if estimate is None:  # too few seeds are left
            nothing = Interval(float("nan"), float("nan"), float("nan"), 0)
            judged.append(Judged(contrast, nothing, 1.0, 1.0, None, float("inf"), **collapses))
            continue
        equivalence, power = None, None
        if margin is not None:
            shown, power = estimate.equality(margin), estimate.power(margin)
            equal = shown < 0.05 and not evidence.collapses
            equivalence = Equivalence(shown, estimate.interval(0.9), margin, equal)
        result = estimate.interval(), p[i], holmed[i, "p"]
        judged.append(Judged(contrast, *result, equivalence, estimate.half_width(), power, **collapses))
    return Contrasts(judged)
