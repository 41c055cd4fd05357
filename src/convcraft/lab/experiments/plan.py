"""Which runs a study has, and the choice of the learning rates between its two phases."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from convcraft.lab.experiments.runs import Key, Record, last
from convcraft.lab.experiments.study import Study


def plan_tuning(study: Study) -> list[Key]:
    """Every arm at every rate from every tuning seed; none where there is nothing to choose."""
    if not study.tuned:
        return []
    return [
        Key("tuning", arm, rate, seed)
        for arm in study.arms
        for rate in study.rates
        for seed in study.tuning_seeds
    ]


def plan_final(study: Study, rates: Mapping[str, float | None]) -> list[Key]:
    """Every arm at its rate from every seed."""
    return [Key("final", arm, rates[arm], seed) for arm in study.arms for seed in study.seeds]


def count(study: Study) -> int:
    """The number of runs of both phases."""
    return len(plan_tuning(study)) + len(study.arms) * len(study.seeds)


def choose_rates(study: Study, runs: Iterable[Record]) -> dict[str, float | None]:
    """The rate of each arm with the best mean of the measure that chooses.

    Of equal ones the lower mean validation loss wins, then the one that stands first in the grid.
    """
    if not study.tuned:
        return dict.fromkeys(study.arms, study.rates[0] if study.rates else None)
    measure, direction = study.select
    sign = -1.0 if direction == "max" else 1.0
    grouped: dict[str, dict[float, list[Record]]] = {arm: {} for arm in study.arms}
    for run in runs:
        grouped[run["arm"]].setdefault(run["rate"], []).append(run)
    return {arm: _best(rates, measure, sign) for arm, rates in grouped.items()}


def _best(rates: Mapping[float, Sequence[Record]], measure: str, sign: float) -> float:
    def mean(rate: float, name: str, missing: float) -> float:
        values = [last(run.get(name)) for run in rates[rate]]
        return round(float(np.mean([missing if math.isnan(v) else v for v in values])), 9)

    whole = [run for runs in rates.values() for run in runs if not run["diverged"]]
    # A regression has no accuracy, and a run that diverged, with that of chance, must not look better for it.
    usable = not any(math.isnan(last(run.get(measure))) for run in whole)
    worst = sign * math.inf

    def order(rate: float) -> tuple[float, float]:
        return (sign * mean(rate, measure, worst) if usable else 0.0, mean(rate, "validation_loss", math.inf))

    return min(rates, key=order)
