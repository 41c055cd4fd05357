"""Forecasts and anomalies without a network: rules of a line, ridge regression, distances between days.

Varied: the rule. Forecasts, on the windows of `series`: the last value; the value a day before; the mean of
the hour (of taxi rides: the hour of the week) in the training part; ridge regression on the 24 lags, and on
these and indicators of the hour. Measured as there: mean absolute scaled error, over all origins of the test
part and over ten blocks of consecutive ones.

Anomalies, among the days of the taxi rides in New York: the mean distance to the same day of the week before;
to the median of that weekday over the four weeks before; to the five nearest days; to the plane of eight
principal components; isolation forest. The last three know the first 100 days, in which no anomaly is
labelled; the days behind them are scored. Measured: the area under the ROC curve and the average precision,
once with the five days of the events as anomalies, once with all days that the benchmark's windows touch.

Nothing is trained by gradients, and nothing is random but the forest.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score

from convcraft.lab import baselines, data
from convcraft.lab.experiments import Study
from convcraft.lab.statistics import blocks_of

Array = NDArray[np.float64]
LAGS, HORIZON, BLOCKS, NOISE, KNOWN = 24, 6, 10, 0.2, 100
RULES = ("last value", "day before", "hour", "ridge", "ridge and hour")
SERIES = {"linear": RULES, "mackey-glass": ("last value", "hour", "ridge"), "taxi": RULES}
#: the values after which the hour is the same again, and the lag of the rule that scales
HOURS, PERIODS = {"linear": 24, "mackey-glass": 1, "taxi": 168}, {"linear": 24, "mackey-glass": 1, "taxi": 24}
DETECTORS = ("week before", "four weeks", "five nearest days", "principal components", "isolation forest")


@cache
def rides() -> data.tables.Series:
    """Taxi rides by the half-hour."""
    return data.nab("nyc_taxi")


def series(name: str) -> Array:
    """The values of a series, as in the study `series`."""
    if name == "taxi":
        return rides().values.reshape(-1, 2).sum(1)
    if name == "linear":
        return data.seasonal(3000)
    clean = data.mackey_glass(3000)
    return clean + NOISE * clean.std() * np.random.default_rng(0).standard_normal(3000)


def windows(name: str) -> tuple[tuple[Array, Array, NDArray[np.int64]], ...]:
    """Lags, targets and the hour of the first target, of the training and the test part; standardized."""
    values = series(name)
    ends = [int(0.6 * len(values)), int(0.75 * len(values)), len(values)]
    known = values[: ends[0]]
    values = (values - known.mean()) / known.std()
    parts = []
    for start, end in ((0, ends[0]), (ends[1], ends[2])):
        both = np.lib.stride_tricks.sliding_window_view(values[start:end], LAGS + HORIZON)
        hours = (start + np.arange(len(both)) + LAGS) % HOURS[name]
        parts.append((both[:, :LAGS], both[:, LAGS:], hours))
    return tuple(parts)


def forecast(name: str, rule: str) -> dict[str, Any]:
    """The scaled errors of a rule."""
    (x, y, hour), (tested, truth, later) = windows(name)
    ones = np.eye(HOURS[name])
    if rule == "last value":
        found = baselines.seasonal_naive(tested, HORIZON)
    elif rule == "day before":
        found = baselines.seasonal_naive(tested, HORIZON, 24)
    elif rule == "hour":
        means = np.stack([y[hour == h].mean(0) for h in range(HOURS[name])])
        found = means[later]
    elif rule == "ridge":
        found = baselines.ridge_lags(x, y).predict(tested)
    else:
        found = baselines.ridge_lags(np.hstack([x, ones[hour]]), y).predict(np.hstack([tested, ones[later]]))
    values, period = series(name), PERIODS[name]
    known = values[: int(0.6 * len(values))]
    scale = np.abs(known[period:] - known[:-period]).mean() / known.std()
    error = np.abs(found - truth).mean(1) / scale
    return {"mase": float(error.mean()), "blocks": blocks_of(error, BLOCKS).tolist()}


def detect(rule: str) -> dict[str, Any]:
    """The score of each day, and how well the days behind the first 100 are told apart."""
    days = rides().values.reshape(-1, 48)
    days = (days - days[:KNOWN].mean()) / days[:KNOWN].std()
    flagged = rides().anomalous.reshape(-1, 48)
    edges = np.flatnonzero(np.diff(flagged.ravel().astype(int), prepend=0, append=0))
    events = edges.reshape(-1, 2).mean(1).astype(int) // 48  # each lies in the middle of its window
    scores = np.zeros(len(days))
    if rule == "week before":
        scores[7:] = np.abs(days[7:] - days[:-7]).mean(1)
    elif rule == "four weeks":
        before = np.median([days[28 - 7 * k : len(days) - 7 * k] for k in (1, 2, 3, 4)], axis=0)
        scores[28:] = np.abs(days[28:] - before).mean(1)
    elif rule == "five nearest days":
        scores = baselines.knn_distance(days[:KNOWN], days)
    elif rule == "principal components":
        plane = PCA(8).fit(days[:KNOWN])
        scores = np.abs(days - plane.inverse_transform(plane.transform(days))).mean(1)
    else:
        scores = -IsolationForest(n_estimators=500, random_state=0).fit(days[:KNOWN]).score_samples(days)
    labels = {"event": np.isin(np.arange(len(days)), events), "window": flagged.any(1)}
    found: dict[str, Any] = {"scores": [float(f"{score:.4g}") for score in scores]}
    for name, label in labels.items():
        true, score = label[KNOWN:], scores[KNOWN:]
        found[f"auroc_{name}"] = float(roc_auc_score(true, score))
        found[f"precision_{name}"] = float(average_precision_score(true, score))
        found[f"days_{name}"] = [int(day) for day in np.flatnonzero(label)]
    return found


def run(arm: dict, rate: float | None, seed: int, splits: Any, final: bool) -> dict[str, Any]:
    """One rule on one task."""
    return detect(arm["rule"]) if arm["series"] == "days" else forecast(arm["series"], arm["rule"])


ARMS = [(name, rule) for name, rules in (*SERIES.items(), ("days", DETECTORS)) for rule in rules]
STUDY = Study(
    arms={f"{name}, {rule}": {"series": name, "rule": rule} for name, rule in ARMS},
    seeds=(0,),
    run=run,
    trains=False,
)
