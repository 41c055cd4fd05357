"""The results of a study: values, intervals, differences, and tables of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convcraft._table import Table
from convcraft.errors import ConvcraftError, unknown
from convcraft.lab.experiments import store
from convcraft.lab.experiments.judged import Contrasts, judge
from convcraft.lab.experiments.runs import Record
from convcraft.lab.experiments.sources import load_study, names, results_folder, studies_folder, version
from convcraft.lab.experiments.study import RESERVED, Contrast
from convcraft.lab.statistics import Interval, paired_difference, t_interval

Values = NDArray[np.float64]


class ArmTable(Table[tuple[str, ...]]):
    """A table with one arm a row."""

    def __init__(self, headings: Sequence[str], rows: Iterable[tuple[str, ...]]) -> None:
        super().__init__(rows)
        self.headings = tuple(headings)

    def cells(self, row: tuple[str, ...]) -> tuple[str, ...]:
        return row


class Results:
    """What a study found: every run, and what follows from them.

    `runs` is the list of the records (dicts); `provenance` says where they come from, `settings` how they
    were made. Values are in the order of `seeds`, the same for all arms.

    >>> from convcraft.lab.experiments import Study, run_study
    >>> results = run_study(Study(arms={"a": {}, "b": {}}, seeds=range(2),
    ...     run=lambda arm, rate, seed, splits, final: {"score": 1.0 + seed}))
    >>> results.interval("score", "a").mean, len(results.runs)
    (1.5, 4)

    Chapter: Activations.
    """

    def __init__(self, content: dict[str, Any]) -> None:
        self.content = content
        self.runs: list[Record] = content["runs"]
        self.provenance: dict[str, Any] = content["provenance"]
        self.settings: dict[str, Any] = content["settings"]
        self.name, self.title, self.version = content["study"], content["title"], content["version"]
        self.arms: list[str] = list(self.settings["arms"])
        self.seeds: list[int] = self.settings["seeds"]
        self.rates: list[float] = self.settings["rates"]

    @property
    def best_rates(self) -> dict[str, float | None]:
        """The learning rate that each arm was run at in the end."""
        return {run["arm"]: run["rate"] for run in self.runs if run["phase"] == "final"}

    @property
    def at_edge(self) -> list[str]:
        """Arms whose rate is the lowest or highest of the grid: a better one may lie outside."""
        edges = {min(self.rates), max(self.rates)} if len(self.rates) > 1 else set()
        return [arm for arm, rate in self.best_rates.items() if rate in edges]

    @property
    def diverged(self) -> dict[str, int]:
        """How many final runs of each arm diverged."""
        return {arm: sum(run["diverged"] for run in self._runs("final", arm)) for arm in self.arms}

    @property
    def measures(self) -> list[str]:
        """Names of what was measured in the final runs."""
        found = (name for run in self.runs if run["phase"] == "final" for name in run)
        return [name for name in dict.fromkeys(found) if name not in RESERVED]

    def _runs(self, phase: str, arm: str) -> list[Record]:
        if arm not in self.arms:
            raise unknown("arm", arm, self.arms)
        return [run for run in self.runs if run["phase"] == phase and run["arm"] == arm]

    def values(self, measure: str, arm: str) -> Values:
        """The measure of the final runs of an arm, (seeds,), or (seeds, k) where it is a list; nan where a
        run has none because it diverged.

        Raises ConvcraftError for an unknown measure or arm.
        """
        runs = self._runs("final", arm)
        if measure not in self.measures:
            raise unknown("measure", measure, self.measures)
        return _array([run.get(measure) for run in runs], measure)

    def _scalars(self, measure: str, arm: str) -> Values:
        values = self.values(measure, arm)
        if values.ndim > 1:
            raise ConvcraftError(
                f"{measure!r} must be one number a run; got lists of {values.shape[1]}. Take one entry: "
                f"results.values({measure!r}, {arm!r})[:, -1]."
            )
        if not np.isfinite(values).all():
            raise ConvcraftError(
                f"{measure!r} of {arm!r} must be finite in every run; it is missing in "
                f"{int((~np.isfinite(values)).sum())} of {len(values)}, {self.diverged[arm]} of which "
                "diverged. Say in Study(diverged={...}) what a diverged run counts as, or look at values()."
            )
        return values

    def interval(self, measure: str, arm: str, level: float = 0.95) -> Interval:
        """t interval of the mean of a measure over the seeds."""
        return t_interval(self._scalars(measure, arm), level)

    def intervals(self, measure: str, level: float = 0.95) -> dict[str, Interval]:
        """The interval of every arm."""
        return {arm: self.interval(measure, arm, level) for arm in self.arms}

    def difference(self, a: str, b: str, measure: str = "test_accuracy", level: float = 0.95) -> Interval:
        """t interval of the mean of a - b, paired by seed."""
        return paired_difference(self._scalars(measure, a), self._scalars(measure, b), level)

    def contrasts(self, family: str | None = None) -> Contrasts:
        """The contrasts that the study states, judged; Holm's adjustment is always that of whole families."""
        stated = [Contrast(**entry) for entry in self.content["contrasts"]]
        pairs = [(self._scalars(c.measure, c.a), self._scalars(c.measure, c.b)) for c in stated]
        judged = judge(stated, pairs)
        return Contrasts(row for row in judged if family is None or row.family == family)

    def tuning(self, measure: str, arm: str) -> Values:
        """A measure of the tuning runs of an arm, (rates, seeds), or (rates, seeds, k) where it is a list."""
        runs = self._runs("tuning", arm)
        known = [name for name in dict.fromkeys(n for run in runs for n in run) if name not in RESERVED]
        if measure not in known:
            raise unknown("measure of the tuning runs", measure, known)
        values = _array([run.get(measure) for run in runs], measure)
        return values.reshape(len(self.rates), -1, *values.shape[1:])

    def sweeps(self, measure: str = "validation_accuracy") -> dict[str, Any]:
        """For each arm the curve against the learning rate, as `plotting.learning_rates` takes it."""
        found = {}
        for arm in self.arms:
            values = self.tuning(measure, arm)
            values = values[:, :, None] if values.ndim == 2 else values
            found[arm] = SimpleNamespace(learning_rates=self.rates, validation_accuracy=values)
        return found

    def structured(self) -> NDArray[np.void]:
        """All runs as a structured array, one row a run; of a list its last entry, nan where missing."""
        names = list(dict.fromkeys(name for run in self.runs for name in run))
        columns = {name: _column([run.get(name) for run in self.runs]) for name in names}
        table = np.empty(len(self.runs), dtype=[(name, column.dtype) for name, column in columns.items()])
        for name, column in columns.items():
            table[name] = column
        return table

    def table(self, measures: Sequence[str] | str | None = None, digits: int = 3) -> ArmTable:
        """One row an arm: its rate, what was measured (mean and 95 % interval), how many runs diverged.

        A rate at the edge of the grid is marked by an asterisk. Without `measures`: all that are one number
        a run.
        """
        chosen = [measures] if isinstance(measures, str) else list(measures or self._numbers())
        for name in chosen:
            self.values(name, self.arms[0])
        edge, rows = self.at_edge, []
        for arm in self.arms:
            rate = self.best_rates[arm]
            shown = "" if rate is None else f"{rate:g}{'*' if arm in edge else ''}"
            cells = [self._cell(name, arm, digits) for name in chosen]
            rows.append((arm, shown, *cells, f"{self.diverged[arm]} of {len(self._runs('final', arm))}"))
        return ArmTable(("arm", "rate", *chosen, "diverged"), rows)

    def _numbers(self) -> list[str]:
        def is_number(name: str) -> bool:
            values = [run.get(name) for run in self.runs if run["phase"] == "final" and not run["diverged"]]
            return all(v is None or isinstance(v, (bool, int, float)) for v in values)

        return [name for name in self.measures if is_number(name)]

    def _cell(self, name: str, arm: str, digits: int) -> str:
        values = self.values(name, arm)
        if values.ndim > 1 or not np.isfinite(values).all():
            return "-"
        return self.interval(name, arm).format(digits) if len(values) > 1 else f"{values[0]:.{digits}f}"

    def __repr__(self) -> str:
        return f"{self.title}\n{self.table()!r}"

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def _array(values: Sequence[Any], name: str) -> Values:
    lengths = {len(value) for value in values if isinstance(value, list)}
    if len(lengths) > 1:
        raise ConvcraftError(
            f"{name!r} must have one length in all runs; got {sorted(lengths)}. Read it from results.runs."
        )
    empty: Any = [math.nan] * lengths.pop() if lengths else math.nan
    try:
        return np.array([empty if value is None else value for value in values], dtype=np.float64)
    except (TypeError, ValueError):
        raise ConvcraftError(
            f"{name!r} must be numbers; got {values[0]!r}. Read it from results.runs."
        ) from None


def _column(values: Sequence[Any]) -> NDArray[Any]:
    ends = [(v[-1] if v else None) if isinstance(v, list) else v for v in values]
    kinds = {type(value) for value in ends if value is not None}
    if str in kinds:
        return np.array(["" if value is None else str(value) for value in ends])
    if kinds in ({bool}, {int}) and None not in ends:
        return np.array(ends)
    return np.array([math.nan if value is None else value for value in ends], dtype=np.float64)


def load(name: str | Path, folder: str | Path | None = None) -> Results:
    """The results of a study that has been run, by its name or by the path of its file.

    Raises ConvcraftError for an unknown study, and for a file that is missing, cut short, changed by hand, or
    of another version of the study than its file.

    >>> load("no_such_study.json")
    Traceback (most recent call last):
    ...
    convcraft.errors.ConvcraftError: there is no result at no_such_study.json; expected that of a finished ...

    Chapter: Activations.
    """
    path = Path(name)
    if path.suffix == ".json":
        return Results(store.read_result(path))
    path = results_folder(folder) / f"{name}.json"
    source = studies_folder(folder) / f"{name}.py"
    if not path.exists() and not source.exists():
        raise unknown("study", name, names(folder))
    content = store.read_result(path)
    if source.exists():
        study = load_study(str(name), folder)
        assert study.source is not None
        store.check_version(path, content["version"], version(study.source))
    return Results(content)
