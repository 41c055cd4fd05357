"""Which runs choose the learning rate of each arm, and the choice."""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from convcraft.lab.experiments.run import Key, Record, last
from convcraft.lab.experiments.study import KEPT, Study

ByRate = dict[float, dict[int, Record]]


def plan_final(study: Study, rates: Mapping[str, float | None]) -> list[Key]:
    """Every arm at its rate from every seed."""
    return [Key("final", arm, rates[arm], seed) for arm in study.arms for seed in study.seeds]


def count(study: Study) -> int:
    """The number of runs in both phases, unless a grid is extended."""
    first, kept = len(study.tuning_seeds[: study.first]), min(KEPT, len(study.rates))
    tuning = len(study.rates) * first + kept * (len(study.tuning_seeds) - first) if study.tuned else 0
    return len(study.arms) * (tuning + len(study.seeds))


def by_arm(study: Study, runs: Iterable[Record]) -> dict[str, ByRate]:
    """The tuning runs of each arm, {rate: {seed: record}}."""
    found: dict[str, ByRate] = {arm: {} for arm in study.arms}
    for run in runs:
        if run["phase"] == "tuning":
            found[run["arm"]].setdefault(run["rate"], {})[run["seed"]] = run
    return found


def plan_tuning(study: Study, runs: Iterable[Record]) -> list[Key]:
    """The next tuning runs after those that are done; none once every arm can choose."""
    if not study.tuned:
        return []
    return [Key("tuning", arm, *run) for arm, done in by_arm(study, runs).items() for run in _next(study, done)]


def _next(study: Study, done: ByRate) -> list[tuple[float, int]]:
    """The next (rate, seed) of an arm: the first seeds at all rates, then all seeds at the best three; and an
    extension of the grid if the choice among them lies at its end."""
    grid, seeds = sorted(study.rates), study.tuning_seeds

    def missing(rates: Iterable[float], some: Sequence[int]) -> list[tuple[float, int]]:
        return [(rate, seed) for rate in rates for seed in some if seed not in done.get(rate, {})]

    for part in (seeds[: study.first], seeds):
        while True:
            scores = _Scores(study, {rate: done.get(rate, {}) for rate in grid}, seeds[: study.first])
            if absent := missing(grid, seeds[: study.first]):
                return absent
            if absent := missing(scores.best(KEPT), part):
                return absent
            rates = grid if part == seeds[: study.first] else scores.best(KEPT)
            scores = _Scores(study, {rate: done[rate] for rate in rates}, part)
            chosen = scores.choice(grid)
            if chosen not in (grid[0], grid[-1]) or len(grid) == len(study.rates) + study.extensions:
                break
            grid = extended(grid, chosen)
    return []


def extended(grid: Sequence[float], at: float) -> list[float]:
    """The grid with one more rate beyond the end `at`, by the step there.

    >>> extended([0.01, 0.03, 0.1], 0.1)
    [0.01, 0.03, 0.1, 0.333]
    """
    if at == grid[0]:
        return [float(f"{grid[0] * grid[0] / grid[1]:.3g}"), *grid]
    return [*grid, float(f"{grid[-1] * grid[-1] / grid[-2]:.3g}")]


class _Scores:
    """The measure that chooses, negated where higher is better, for each rate over some seeds."""

    def __init__(self, study: Study, rates: ByRate, seeds: Sequence[int]) -> None:
        measure, direction = study.select
        sign = -1.0 if direction == "max" else 1.0
        self.runs = {rate: [runs[seed] for seed in seeds if seed in runs] for rate, runs in rates.items()}
        whole = [run for runs in self.runs.values() for run in runs if not run["diverged"]]
        # A regression has no accuracy, so a diverged run, which gets chance accuracy, must not look better.
        self.measure = measure
        if any(math.isnan(last(run.get(measure))) for run in whole):
            self.measure, sign = "validation_loss", 1.0
        self.values = {rate: self._of(rate, self.measure, sign) for rate in self.runs}

    def _of(self, rate: float, measure: str, sign: float) -> np.ndarray:
        """A run without the measure counts as the worst possible: a mean of the survivors would flatter."""
        values = np.array([sign * last(run.get(measure)) for run in self.runs[rate]])
        return np.where(np.isnan(values), math.inf, values)

    def mean(self, rate: float) -> tuple[float, float]:
        """The mean, and that of the validation loss to break ties."""
        means = (self.values[rate], self._of(rate, "validation_loss", 1.0))
        score, loss = (round(float(v.mean()), 9) if len(v) else math.inf for v in means)
        return score, loss

    def best(self, count: int) -> list[float]:
        """The rates with the best means, best first; of equal rates the smaller."""
        return sorted(sorted(self.runs), key=self.mean)[:count]

    def choice(self, grid: Sequence[float]) -> float:
        """The smallest rate within a standard error of the best one, preferring an inner one to an end."""
        (best,) = self.best(1)
        values = self.values[best]
        several = len(values) > 1 and np.isfinite(values).all()
        error = values.std(ddof=1) / len(values) ** 0.5 if several else 0.0
        near = [rate for rate in sorted(self.runs) if self.mean(rate)[0] <= self.mean(best)[0] + error]
        near = near if error else [best]
        inner = [rate for rate in near if grid[0] < rate < grid[-1]]
        return min(inner or near)


def choose_rates(study: Study, runs: Iterable[Record]) -> dict[str, float | None]:
    """The rate of each arm, by the one-standard-error rule among those run from all tuning seeds."""
    if not study.tuned:
        return dict.fromkeys(study.arms, study.rates[0] if study.rates else None)
    chosen: dict[str, float | None] = {}
    for arm, done in by_arm(study, runs).items():
        whole = {rate: some for rate, some in done.items() if len(some) == len(study.tuning_seeds)}
        scores = _Scores(study, whole, study.tuning_seeds)
        if len(study.tuning_seeds) > study.first:
            first = _Scores(study, done, study.tuning_seeds[: study.first]).best(KEPT)
            scores = _Scores(study, {rate: whole[rate] for rate in first}, study.tuning_seeds)
        chosen[arm] = scores.choice(sorted(done))
    return chosen
