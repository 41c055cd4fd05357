"""Checks of the exercises of the chapter "Series"."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from convcraft.lab import data, statistics
from convcraft.lab.exercises.framework import Check, Complaint, by_name
from convcraft.lab.exercises.kinds import formula, takes

_RNG = np.random.default_rng(11)
_WEIGHTS = _RNG.standard_normal(24)
_HISTORY = _RNG.standard_normal(60).cumsum()
_TRUE = _RNG.standard_normal((5, 6))
_FORECAST = _TRUE + _RNG.standard_normal((5, 6))
#: mean area under the ROC curve of the best autoencoder over the ten held-out digits, rounded up
AUTOENCODER = 0.96


@takes("values, train and width")
def split_without_leak(answer: Callable[..., Any]) -> Iterator[Complaint]:
    """A function of three numbers (values, training values, width of a window) -> where windows start."""
    for n, train, width in ((20, 12, 5), (31, 20, 6)):
        try:
            first, later = (np.asarray(part, dtype=int).ravel() for part in answer(n, train, width))
        except (TypeError, ValueError):
            yield "return two arrays: where the training windows start, and where the test windows start."
        if not first.size or not later.size:
            yield "each part must have at least one window."
        for name, part in (("training", first), ("test", later)):
            if part.min() < 0 or part.max() + width > n:
                yield f"a {name} window starts at {part.max()} and ends beyond the {n} values."
        if first.max() + width > train:
            yield "a training window reaches into the test part: its last values are answers to the test."
        if later.min() < train:
            yield "a test window begins among the training values: the network has been fitted to them."
        if len(first) != train - width + 1 or len(later) != n - train - width + 1:
            yield "nothing leaks, but windows are left out that would not leak either."


@takes("train and test")
def one_line_detector(answer: Callable[..., Any]) -> Iterator[Complaint]:
    """A function of normal rows and of rows to be scored -> scores, large where anomalous."""
    from sklearn.metrics import roc_auc_score

    parts = data.load("digits").standardized().flattened()
    x, later = (part.x.double().numpy() for part in (parts.train, parts.test))
    y, true = parts.train.y.numpy(), parts.test.y.numpy()
    areas = []
    for digit in range(10):
        scores = np.asarray(answer(x[y != digit].copy(), later.copy()), dtype=float)
        if scores.shape != (len(later),) or not np.isfinite(scores).all():
            yield f"give one finite score for each of the {len(later)} test rows; got shape {scores.shape}."
        areas.append(roc_auc_score(true == digit, scores))
    area = float(np.mean(areas))
    if area < 0.5:
        yield f"the area is {area:.2f}, below one half: should a large score not mean anomalous?"
    if area <= AUTOENCODER:
        yield f"the mean area is {area:.3f}; it takes more than {AUTOENCODER}. What is near a normal digit?"


CHECKS: dict[str, Check] = by_name(split_without_leak, one_line_detector) | {
    "the-highest-forecast": formula(
        lambda w, b: b + np.abs(w).sum(),
        [(_WEIGHTS, 0.3), (-_WEIGHTS[:5], -1.0)],
        "the bound at b = {1}",
        (lambda w, b: b + w.sum(), "a unit with a negative weight contributes most at −1, not at 1."),
        (lambda w, b: np.abs(w).sum(), "the bias is missing."),
        (lambda w, b: b + w[w > 0].sum(), "a unit with a negative weight need not be at 0: tanh reaches −1."),
    ),
    "mase-by-hand": formula(
        statistics.mase,
        [(_FORECAST, _TRUE, _HISTORY, 1), (_FORECAST, _TRUE, _HISTORY, 24)],
        "MASE at period {3}",
        (lambda f, y, *_: np.abs(f - y).mean(), "that error has the unit of the series: divide by that of the rule."),
        (
            lambda f, y, h, p: np.abs(f - y).mean() / np.abs(np.diff(h)).mean(),
            "the rule repeats the value one period before, not always the last one.",
        ),
        (lambda f, y, h, p: ((f - y) ** 2).mean() / ((h[p:] - h[:-p]) ** 2).mean(), "absolute errors, not squared."),
    ),
}
