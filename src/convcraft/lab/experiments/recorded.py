"""The recorded runs of a study: values, tuning, budgets."""

import math
from collections.abc import Sequence
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convcraft._checks import check_known
from convcraft.errors import ConvcraftError
from convcraft.lab.experiments.run import Record
from convcraft.lab.experiments.study import RESERVED

Values = NDArray[np.float64]
PHASES = ("tuning", "final")


class Recorded:
    """What was run and what was measured, without the conclusions."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.content = content
        self.runs: list[Record] = content["runs"]
        self.provenance: dict[str, Any] = content["provenance"]
        self.settings: dict[str, Any] = content["settings"]
        self.name, self.title, self.version = content["study"], content["title"], content["version"]
        self.arms: list[str] = list(self.settings["arms"])
        self.seeds: list[int] = self.settings["seeds"]
        self.rates: list[float] = self.settings["rates"]

    @cached_property
    def best_rates(self) -> dict[str, float | None]:
        """The learning rate of each arm's final runs."""
        return {run["arm"]: run["rate"] for run in self.runs if run["phase"] == "final"}

    @property
    def first_edition(self) -> bool:
        """Whether the study was run before the protocol had its rules."""
        return "protocol" not in self.settings

    @cached_property
    def updates(self) -> dict[str, int | None]:
        """The largest number of updates in the final runs of each arm; None where it is not known."""
        found = {arm: [run.get("updates") for run in self._runs("final", arm)] for arm in self.arms}
        return {arm: max((n for n in some if n is not None), default=None) for arm, some in found.items()}

    def fall(self, arm: str) -> float | None:
        """The share by which the validation loss (mean over seeds) still fell in the last quarter of the
        updates: 0 if it did not fall, None if that is not known."""
        runs = [run for run in self._runs("final", arm) if not run["diverged"]]
        curves = [run["last_quarter"] for run in runs if len(run.get("last_quarter") or ()) > 1]
        if not curves or None in [value for curve in curves for value in curve]:
            return None
        shortest = min(map(len, curves))
        before, *rest = np.mean([[c[0], *c[1 - shortest :]] for c in curves], axis=0)
        return float(max(0.0, 1 - min(rest) / before)) if before > 0 else 0.0

    @cached_property
    def diverged(self) -> dict[str, int]:
        """How many final runs of each arm diverged."""
        return {arm: sum(run["diverged"] for run in self._runs("final", arm)) for arm in self.arms}

    @cached_property
    def measures(self) -> list[str]:
        """Names of what was measured in the final runs."""
        found = (name for run in self.runs if run["phase"] == "final" for name in run)
        return [name for name in dict.fromkeys(found) if name not in RESERVED]

    def _runs(self, phase: str, arm: str) -> list[Record]:
        check_known("arm", arm, self.arms)
        return self._by_arm[phase][arm]

    @cached_property
    def _by_arm(self) -> dict[str, dict[str, list[Record]]]:
        found: dict[str, dict[str, list[Record]]] = {p: {arm: [] for arm in self.arms} for p in PHASES}
        for run in self.runs:
            found[run["phase"]][run["arm"]].append(run)
        return found

    def values(self, measure: str, arm: str) -> Values:
        """A measure of an arm's final runs, (seeds,), or (seeds, k) for lists; nan where a run diverged.

        Raises ConvcraftError for an unknown measure or arm.
        """
        runs = self._runs("final", arm)
        check_known("measure", measure, self.measures)
        return _array([run.get(measure) for run in runs], measure)

    def rates_of(self, arm: str) -> list[float]:
        """The rates that an arm was tuned over, in rising order: the grid and its extensions."""
        tried = {run["rate"] for run in self._runs("tuning", arm)}
        return self.rates if tried <= set(self.rates) else sorted(tried)

    def tuning(self, measure: str, arm: str) -> Values:
        """A measure of the tuning runs of an arm at `rates_of(arm)`, (rates, seeds), or (rates, seeds, k) for lists;
        nan where a rate was given up after the first seeds. Raises ConvcraftError for an unknown measure."""
        runs = self._runs("tuning", arm)
        found = {name for run in runs for name, value in run.items() if value is not None}
        known = [name for name in runs[0] if name not in RESERVED and name in found] if runs else []
        check_known("measure of the tuning runs", measure, known)
        values = _array([run.get(measure) for run in runs], measure)
        rates, seeds = self.rates_of(arm), self.settings["tuning_seeds"]
        table = np.full((len(rates), len(seeds), *values.shape[1:]), np.nan)
        for run, value in zip(runs, values, strict=True):
            table[rates.index(run["rate"]), seeds.index(run["seed"])] = value
        return table

    def sweeps(self, measure: str = "validation_accuracy") -> dict[str, Any]:
        """Each arm's curve for `plotting.learning_rates`, over the tuning seeds that all its rates share."""
        found = {}
        for arm in self.arms:
            values = self.tuning(measure, arm)
            done: dict[float, set[int]] = {rate: set() for rate in self.rates_of(arm)}
            for run in self._runs("tuning", arm):
                done[run["rate"]].add(run["seed"])
            common = set.intersection(*done.values())
            values = values[:, [seed in common for seed in self.settings["tuning_seeds"]]]
            values = values[:, :, None] if values.ndim == 2 else values
            found[arm] = SimpleNamespace(learning_rates=self.rates_of(arm), validation_accuracy=values)
        return found

    def structured(self) -> NDArray[np.void]:
        """All runs as a structured array, one row each; the last entry of a list, nan where missing."""
        names = list(dict.fromkeys(name for run in self.runs for name in run))
        columns = {name: _column([run.get(name) for run in self.runs]) for name in names}
        table = np.empty(len(self.runs), dtype=[(name, column.dtype) for name, column in columns.items()])
        for name, column in columns.items():
            table[name] = column
        return table


def _array(values: Sequence[Any], name: str) -> Values:
    lengths = {len(value) for value in values if isinstance(value, list)}
    if len(lengths) > 1:
        raise ConvcraftError(
            f"{name!r} must have the same length in all runs; got {sorted(lengths)}. Read it from results.runs."
        )
    empty: Any = [math.nan] * lengths.pop() if lengths else math.nan
    try:
        return np.array([empty if value is None else value for value in values], dtype=np.float64)
    except (TypeError, ValueError):
        raise ConvcraftError(f"{name!r} must be numbers; got {values[0]!r}. See results.runs.") from None


def _column(values: Sequence[Any]) -> NDArray[Any]:
    ends = [(v[-1] if v else None) if isinstance(v, list) else v for v in values]
    kinds = {type(value) for value in ends if value is not None}
    if str in kinds:
        return np.array(["" if value is None else str(value) for value in ends])
    if kinds in ({bool}, {int}) and None not in ends:
        return np.array(ends)
    return np.array([math.nan if value is None else value for value in ends], dtype=np.float64)
