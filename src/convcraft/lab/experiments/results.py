"""The results of a study: values, intervals, differences, and tables of them."""

import html
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convcraft._table import TextTable
from convcraft.errors import ConvcraftError, unknown
from convcraft.lab.experiments import store
from convcraft.lab.experiments.contrasts import Contrasts, Evidence, judge, p_of_collapses, rates_of
from convcraft.lab.experiments.recorded import Recorded, Values
from convcraft.lab.experiments.score import bits
from convcraft.lab.experiments.study import Contrast
from convcraft.lab.experiments.version import is_file, load_study, names, place, version
from convcraft.lab.statistics import Estimate, Interval, crossed, difference, t_interval
from convcraft.lab.statistics.intervals import standard_error

#: a run this far below the median accuracy of its arm has collapsed
COLLAPSE = 0.15
#: a verdict needs this many tuning seeds, and a loss that fell by at most this share in the last quarter
TUNING_SEEDS, FALL = 10, 0.01


class Results(Recorded):
    """What a study found: every run, and what follows from them.

    `runs` is the list of the records (dicts); `provenance` says where they come from, `settings` how they
    were made. Values are in the order of `seeds`, the same for all arms. `shortcomings` are the rules of the
    protocol that the study breaks.

    Intervals and differences are over seeds, those of test_accuracy over seeds and test images crossed where the runs
    record which images they got right. Runs that collapsed (15 points or more below the median of their arm) are left
    out of both, since a t interval is not valid for a mixture of two kinds of runs; `collapses` has their rate. Results
    without `settings["protocol"]` are of the first edition: over seeds alone, with all runs. Chapter: Activations.

    >>> from convcraft.lab.experiments import Study, run_study
    >>> results = run_study(Study(arms={"a": {}, "b": {}}, seeds=range(2),
    ...     run=lambda arm, rate, seed, splits, final: {"score": 1.0 + seed}))
    >>> results.interval("score", "a").mean, len(results.runs)
    (1.5, 4)
    """

    @cached_property
    def at_edge(self) -> list[str]:
        """Arms whose rate is the lowest or highest of the grid: a better one may lie outside."""
        if len(self.rates) < 2:
            return []
        return [arm for arm, rate in self.best_rates.items() if rate in np.array(self.rates_of(arm))[[0, -1]]]

    @property
    def still_falling(self) -> list[str]:
        """Arms, except those short on purpose, whose validation loss fell by over 1 % in the last quarter."""
        short = set(self.content.get("short", ()))
        return [arm for arm in self.arms if arm not in short and (self.fall(arm) or 0.0) > FALL]

    @cached_property
    def shortcomings(self) -> dict[str, list[str]]:
        """The rules of the protocol that are broken, and by which arms; no verdict may rest on these."""
        trains, tuned = self.content.get("trains", True), len(self.rates) > 1
        whole = [arm for arm in self.arms if self.diverged[arm] < len(self.seeds)]
        unknown_budget = [arm for arm in whole if self.updates[arm] is None]
        few = tuned and len(self.settings["tuning_seeds"]) < TUNING_SEEDS
        tests = "test_accuracy" in self.measures
        found = {
            "intervals over seeds alone": self.arms if self.first_edition and tests else [],
            "fewer than ten tuning seeds": self.arms if few else [],
            "rate at the edge": self.at_edge,
            "budget unknown": unknown_budget if trains else [],
            "still falling": self.still_falling if trains else [],
        }
        return {rule: list(arms) for rule, arms in found.items() if arms}

    def _scalars(self, measure: str, arm: str) -> Values:
        values = self.values(measure, arm)
        if values.ndim > 1:
            raise ConvcraftError(
                f"{measure!r} must be one number for each run; got lists of {values.shape[1]}. "
                f"Take one entry: results.values({measure!r}, {arm!r})[:, -1]."
            )
        if not np.isfinite(values).all():
            raise ConvcraftError(
                f"{measure!r} of {arm!r} must be finite in every run; it is missing in "
                f"{int((~np.isfinite(values)).sum())} of {len(values)}, {self.diverged[arm]} of which "
                "diverged. Say in Study(diverged={...}) what a diverged run counts as, or look at values()."
            )
        return values

    def collapsed(self, arm: str, measure: str = "test_accuracy") -> NDArray[np.bool_]:
        """Which final runs of an arm lie 15 points or more below its median; by test_accuracy where the
        measure is not an accuracy; none if there is no test_accuracy."""
        by = measure if measure.endswith("accuracy") else "test_accuracy"
        if self.first_edition or by not in self.measures:
            return np.zeros(len(self.seeds), dtype=bool)
        values = self.values(by, arm)
        if values.ndim > 1 or not np.isfinite(values).all():
            return np.zeros(len(values), dtype=bool)
        return np.asarray(values <= np.median(values) - COLLAPSE + 1e-9)

    @property
    def collapses(self) -> dict[str, Interval]:
        """The rate of collapse, with Wilson's interval, of each arm in which any run collapsed."""
        return rates_of({arm: self.collapsed(arm) for arm in self.arms})

    def _right(self, arm: str, kept: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
        """Which test images the runs of these seeds got right, (seeds, images); None where it is not known."""
        data = [d for d in self.provenance.get("data", []) if d["arms"] is None or arm in d["arms"]]
        runs = self._runs("final", arm)
        texts = [run.get("test_correct") for run, wanted in zip(runs, kept, strict=True) if wanted]
        if len(data) != 1 or not all(texts):
            return None
        return np.stack([bits(text, data[0]["sizes"][2]) for text in texts if text])

    def _step(self, measure: str) -> float | None:
        """The smallest difference that a test accuracy can show."""
        sizes = {d["sizes"][2] for d in self.provenance.get("data", [])}
        return 1 / sizes.pop() if measure == "test_accuracy" and len(sizes) == 1 else None

    def _estimate(self, arms: Sequence[str], measure: str) -> Estimate | None:
        """a, a - b or (a - b) - (c - d), over the seeds at which none of them collapsed; None: fewer than two."""
        signs = (1, -1, -1, 1)
        kept = ~np.any([self.collapsed(arm, measure) for arm in arms], axis=0)
        if kept.sum() < 2:
            return None
        images = {tuple(d["arms"] or ()) for d in self.provenance.get("data", [])}
        same = [group for group in images if not group or set(arms) <= set(group)]
        if measure == "test_accuracy" and not self.first_edition and same:
            tables = [table for arm in arms if (table := self._right(arm, kept)) is not None]
            if len(tables) == len(arms):
                signed = [sign * t.astype(float) for sign, t in zip(signs, tables, strict=False)]
                return crossed(np.sum(signed, axis=0))
        values = [self._scalars(measure, arm)[kept] for arm in arms]
        if len(arms) == 1:
            error = standard_error(values[0], self._step(measure))
            return Estimate(float(values[0].mean()), error, len(values[0]) - 1, len(values[0]))
        if len(arms) == 4:
            values = [values[0] + values[3], values[1] + values[2]]
        return difference(values[0], values[1], self._step(measure))

    def interval(self, measure: str, arm: str, level: float = 0.95) -> Interval:
        """Interval of the mean of a measure over the seeds."""
        values = self._scalars(measure, arm)
        if self.first_edition:
            return t_interval(values, level, self._step(measure))
        found = self._estimate([arm], measure)
        return t_interval(values, level) if found is None else found.interval(level)

    def intervals(self, measure: str, level: float = 0.95) -> dict[str, Interval]:
        """The interval of every arm."""
        return {arm: self.interval(measure, arm, level) for arm in self.arms}

    def difference(self, a: str, b: str, measure: str = "test_accuracy", level: float = 0.95) -> Interval:
        """Interval of the mean of a - b, paired by seed.

        Raises ConvcraftError if there are fewer than two seeds at which neither collapsed.
        """
        found = self._estimate([a, b], measure)
        if found is None:
            raise ConvcraftError(
                f"{a!r} and {b!r} must both train at two or more seeds to be compared; got fewer. Compare "
                "how often they collapse: results.collapses."
            )
        return found.interval(level)

    def contrasts(self, family: str | None = None) -> Contrasts:
        """The contrasts that the study states, judged; Holm's adjustment is always that of whole families."""
        stated = [Contrast(**entry) for entry in self.content["contrasts"]]
        judged = judge(stated, [self.evidence(contrast) for contrast in stated])
        return Contrasts(row for row in judged if family is None or row.family == family)

    def evidence(self, contrast: Contrast) -> Evidence:
        """What the runs say about any contrast of the arms, stated by the study or not; `judge` needs it."""
        for arm in contrast.arms:
            self._scalars(contrast.measure, arm)  # raises where values are missing
        collapsed = {arm: self.collapsed(arm, contrast.measure) for arm in contrast.arms}
        rates = rates_of(collapsed)
        test = rates and contrast.against is None
        p = p_of_collapses(collapsed[contrast.a], collapsed[contrast.b]) if test else None
        return Evidence(self._estimate(contrast.arms, contrast.measure), rates, p)

    def table(self, measures: Sequence[str] | str | None = None, digits: int = 3) -> TextTable:
        """One row for each arm: rate, updates, what was measured (mean and 95 % interval), how many diverged.

        An asterisk marks a rate at the edge of the grid. Without `measures`: all that are single numbers.
        """
        chosen = [measures] if isinstance(measures, str) else list(measures or self._numbers())
        for name in chosen:
            self.values(name, self.arms[0])
        edge, rows, known = self.at_edge, [], not self.first_edition and any(self.updates.values())
        for arm in self.arms:
            rate = self.best_rates[arm]
            shown = "" if rate is None else f"{rate:g}{'*' if arm in edge else ''}"
            cells = [self._cell(name, arm, digits) for name in chosen]
            budget = []
            if known:
                falling = (self.fall(arm) or 0) > FALL
                budget = [f"{self.updates[arm] or '?'}{', falling' if falling else ''}"]
            lost = f"{self.diverged[arm]} of {len(self._runs('final', arm))}"
            rows.append((arm, shown, *budget, *cells, lost))
        return TextTable(("arm", "rate", *["updates"] * known, *chosen, "diverged"), rows)

    def _numbers(self) -> list[str]:
        def is_number(name: str) -> bool:
            values = [run.get(name) for run in self.runs if run["phase"] == "final" and not run["diverged"]]
            return all(v is None or isinstance(v, (bool, int, float)) for v in values)

        return [name for name in self.measures if name != "updates" and is_number(name)]

    def _cell(self, name: str, arm: str, digits: int) -> str:
        values = self.values(name, arm)
        if values.ndim > 1 or not np.isfinite(values).all():
            return "-"
        return self.interval(name, arm).format(digits) if len(values) > 1 else f"{values[0]:.{digits}f}"

    @property
    def notes(self) -> list[str]:
        """What must be said along with the table: the measure that chose the rates, collapses, shortcomings."""
        lines = []
        if len(self.rates) > 1:
            select, seeds = " ".join(self.settings["select"]), len(self.settings["tuning_seeds"])
            lines.append(f"rates chosen by {select}, {seeds} tuning seeds")
        if self.collapses:
            rates = (f"{arm} {rate.format(0, percent=True)}" for arm, rate in self.collapses.items())
            lines.append(f"collapsed, and not in the intervals: {_listed(rates)}")
        for rule, arms in self.shortcomings.items():
            lines.append(f"no verdict may rest on it, {rule}: {_listed(arms)}")
        return lines

    def __repr__(self) -> str:
        return "\n".join([self.title, repr(self.table()), *self.notes])

    def _repr_html_(self) -> str:
        return self.table()._repr_html_() + "".join(f"<p>{html.escape(line)}</p>" for line in self.notes)


def _listed(items: Iterable[str], most: int = 6) -> str:
    shown = list(items)
    more = f" and {len(shown) - most} more" if len(shown) > most else ""
    return ", ".join(shown[:most]) + more


def load(name: str | Path, folder: str | Path | None = None) -> Results:
    """The results of a study that has been run, by its name or by the path of its file.

    Raises ConvcraftError for an unknown study, and for a result that is missing, cut short, changed by hand, or
    from another version of the study. Chapter: Activations.

    >>> load("no_such_study.json")
    Traceback (most recent call last):
    ...
    convcraft.errors.ConvcraftError: found no result at no_such_study.json; expected that of a finished ...
    """
    path = Path(name)
    if path.suffix == ".json":
        return Results(store.read_result(path))
    source, path = place(name, folder)
    if not path.exists() and not source.exists() and not is_file(name):
        raise unknown("study", name, names(folder))
    content = store.read_result(path)
    if source.exists():
        study = load_study(name, folder)
        assert study.source is not None
        store.check_version(path, content["version"], version(study.source))
        content |= {"short": list(study.short), "trains": study.trains}
    return Results(content)
