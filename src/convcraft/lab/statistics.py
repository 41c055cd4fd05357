"""Intervals, differences and tests for results over seeds; scipy does the distributions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from convcraft.errors import ConvcraftError


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval: `mean`, `low`, `high`, from `n` values at `level`.

    >>> Interval(0.951, 0.943, 0.959, 10, 0.95)
    0.951 [0.943, 0.959]
    >>> Interval(0.951, 0.943, 0.959, 10, 0.95).format(1, percent=True)
    '95.1 % [94.3, 95.9]'

    Chapter: Convolutional networks.
    """

    mean: float
    low: float
    high: float
    n: int
    level: float = 0.95

    def contains(self, value: float) -> bool:
        """Whether a value lies in the interval, ends included."""
        return self.low <= value <= self.high

    def format(self, digits: int = 3, percent: bool = False) -> str:
        """The interval with so many decimal places, as fractions or in percent."""
        scale, unit = (100.0, " %") if percent else (1.0, "")
        mean, low, high = (
            f"{round(scale * v, digits) + 0.0:.{digits}f}" for v in (self.mean, self.low, self.high)
        )
        return f"{mean}{unit} [{low}, {high}]"

    def __str__(self) -> str:
        return self.format()

    __repr__ = __str__


def _sample(values: ArrayLike, argument: str = "values", least: int = 2) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size < least or not np.isfinite(array).all():
        raise ConvcraftError(
            f"{argument} must be a one-dimensional list of at least {least} finite numbers, one a seed; "
            "got shape "
            f"{array.shape} with {int(array.size - np.isfinite(array).sum())} not finite. Run more seeds, "
            "and count a "
            f"diverged run as chance."
        )
    return array


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ConvcraftError(f"level must lie between 0 and 1; got {level}. Pass 0.95 for a 95 % interval.")


def _around(mean: float, error: float, freedom: float, n: int, level: float) -> Interval:
    half = float(stats.t.ppf((1 + level) / 2, freedom)) * error if error > 0 else 0.0
    return Interval(mean, mean - half, mean + half, n, level)


def t_interval(values: ArrayLike, level: float = 0.95) -> Interval:
    r"""Confidence interval of a mean by Student's t: :math:`\bar x \pm t_{n-1,(1+\text{level})/2}\, s/\sqrt
    n`.

    Raises ConvcraftError for fewer than two values, values that are not finite, or a level outside (0, 1).

    >>> t_interval([0.94, 0.95, 0.96])
    0.950 [0.925, 0.975]

    Source: Student (1908), The Probable Error of a Mean.
    Chapter: Convolutional networks.
    """
    _check_level(level)
    sample = _sample(values)
    error = float(sample.std(ddof=1)) / np.sqrt(sample.size)
    return _around(float(sample.mean()), error, sample.size - 1, sample.size, level)


def bootstrap_interval(
    values: ArrayLike,
    statistic: Callable[..., Any] = np.mean,
    *,
    level: float = 0.95,
    resamples: int = 9999,
    method: str = "BCa",
    seed: int = 0,
) -> Interval:
    """Confidence interval of any statistic of one sample by resampling it; `method` as in
    scipy.stats.bootstrap.

    `statistic` maps an array to a number; the default method is the bias-corrected and accelerated one. A
    sample of equal values gives an interval of width 0. Raises ConvcraftError as `t_interval` does.

    >>> bootstrap_interval([0.94, 0.95, 0.96, 0.95, 0.93], np.median).contains(0.95)
    True

    Source: Efron (1987), Better Bootstrap Confidence Intervals.
    Chapter: Convolutional networks.
    """
    _check_level(level)
    sample = _sample(values)
    estimate = float(statistic(sample))
    if np.ptp(sample) == 0:
        return Interval(estimate, estimate, estimate, sample.size, level)
    result = stats.bootstrap(
        (sample,),
        statistic,
        n_resamples=resamples,
        confidence_level=level,
        method=method,
        rng=np.random.default_rng(seed),
    )
    low, high = map(float, result.confidence_interval)
    return Interval(estimate, low, high, sample.size, level)


def _pair(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    first, second = _sample(a, "a"), _sample(b, "b")
    if first.size != second.size:
        raise ConvcraftError(
            f"a and b must have one value each for the same seeds; got {first.size} and {second.size} "
            "values. "
            "Run both arms on the same seeds."
        )
    return first - second


def paired_difference(a: ArrayLike, b: ArrayLike, level: float = 0.95) -> Interval:
    """t interval of the mean of a - b, where entry i of both comes from the same seed.

    Raises ConvcraftError when the lengths differ, and as `t_interval` does.

    >>> paired_difference([0.95, 0.96, 0.97], [0.94, 0.95, 0.95])
    0.013 [-0.001, 0.028]

    Source: Student (1908), The Probable Error of a Mean.
    Chapter: Convolutional networks.
    """
    return t_interval(_pair(a, b), level)


@dataclass(frozen=True)
class Equivalence:
    """Outcome of an equivalence test: p-value, 90 % interval of the difference, margin, verdict."""

    p: float
    interval90: Interval
    margin: float
    equivalent: bool

    def __str__(self) -> str:
        verdict = "equivalent" if self.equivalent else "not shown to be equivalent"
        return f"{verdict} within ±{self.margin:g}: difference {self.interval90}, p = {self.p:.2g}"

    __repr__ = __str__


def tost(a: ArrayLike, b: ArrayLike, margin: float, paired: bool = True) -> Equivalence:
    r"""Test that two means differ by less than a margin, by two one-sided t tests at 5 %.

    :math:`p = \max\{P(T \ge (\bar d + m)/s_d), P(T \le (\bar d - m)/s_d)\}`; equivalent when p < 0.05, which
    is when the 90 % interval of the difference lies within ±margin. Unpaired samples are compared by Welch's
    t.
    Raises ConvcraftError for a margin that is not positive, for paired samples of unequal length, and as
    `t_interval` does.

    >>> tost([0.95, 0.96, 0.95, 0.96], [0.95, 0.95, 0.96, 0.96], margin=0.02).equivalent
    True

    Source: Schuirmann (1987), A comparison of the two one-sided tests procedure and the power approach for
    assessing the equivalence of average bioavailability.
    Chapter: Convolutional networks.
    """
    if not margin > 0:
        raise ConvcraftError(
            f"margin must be positive; got {margin}. Pass the largest difference that does not matter."
        )
    if paired:
        sample = _pair(a, b)
        n, mean, freedom = sample.size, float(sample.mean()), float(sample.size - 1)
        error = float(sample.std(ddof=1)) / np.sqrt(n)
    else:
        first, second = _sample(a, "a"), _sample(b, "b")
        n, mean = min(first.size, second.size), float(first.mean() - second.mean())
        parts = np.array([first.var(ddof=1) / first.size, second.var(ddof=1) / second.size])
        error = float(np.sqrt(parts.sum()))
        weights = parts**2 / np.array([first.size - 1, second.size - 1])
        freedom = float(parts.sum() ** 2 / weights.sum()) if error > 0 else 1.0
    if error > 0:
        p = float(stats.t.sf((margin - abs(mean)) / error, freedom))
    else:
        p = 0.0 if abs(mean) < margin else 1.0
    return Equivalence(p, _around(mean, error, freedom, n, 0.90), margin, p < 0.05)


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    r"""p-values adjusted for the number of comparisons in one table, in the order given.

    With the p-values in rising order, :math:`\tilde p_{(i)} = \max_{j \le i} \min(1, (m - j + 1)\, p_{(j)})`:
    to call those below 0.05 significant keeps the chance of any false call at 5 %. Raises ConvcraftError for
    a value outside [0, 1].

    >>> holm([0.01, 0.04, 0.03])
    array([0.03, 0.06, 0.06])

    Source: Holm (1979), A Simple Sequentially Rejective Multiple Test Procedure.
    Chapter: Activations.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise ConvcraftError(
            f"p_values must be a list of numbers in [0, 1]; got {p_values!r}. Pass one a comparison."
        )
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(np.minimum(1.0, np.arange(p.size, 0, -1) * p[order]))
    return adjusted


def wilson(k: int, n: int, level: float = 0.95) -> Interval:
    r"""Confidence interval of a proportion of k among n by Wilson's score; its `mean` is k/n.

    :math:`\big(\hat p + \tfrac{z^2}{2n} \pm z\sqrt{\hat p(1-\hat p)/n + z^2/4n^2}\big)\big/(1 + z^2/n)`.
    Raises ConvcraftError unless 0 <= k <= n and n >= 1, or for a level outside (0, 1).

    >>> wilson(48, 50)
    0.960 [0.865, 0.989]

    Source: Wilson (1927), Probable Inference, the Law of Succession, and Statistical Inference.
    Chapter: Convolutional networks.
    """
    _check_level(level)
    if not (n >= 1 and 0 <= k <= n):
        raise ConvcraftError(
            f"wilson needs 0 <= k <= n and n >= 1; got k={k}, n={n}. Count k among the same n."
        )
    bounds = stats.binomtest(int(k), int(n)).proportion_ci(level, method="wilson")
    return Interval(k / n, float(bounds.low), float(bounds.high), int(n), level)


def expected_calibration_error(
    probabilities: ArrayLike, labels: ArrayLike | Sequence[int], bins: int = 15
) -> float:
    r"""Mean gap between confidence and accuracy, over bins of confidence of equal width.

    :math:`\mathrm{ECE} = \sum_b \frac{n_b}{n} |\mathrm{acc}(b) - \mathrm{conf}(b)|`, with the confidence of
    an example the largest of its probabilities. `probabilities` (n, classes), `labels` (n,) integers.
    Raises ConvcraftError when shapes do not fit, rows do not sum to 1, or bins is below 1.

    >>> round(expected_calibration_error([[0.8, 0.2], [0.8, 0.2]], [0, 1]), 6)
    0.3

    Source: Guo, Pleiss, Sun and Weinberger (2017), On Calibration of Modern Neural Networks, section 2.
    Chapter: Activations.
    """
    p, y = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    if p.ndim != 2 or y.shape != p.shape[:1] or not len(y) or bins < 1:
        raise ConvcraftError(
            "expected probabilities (n, classes), labels (n,) with n >= 1, and bins >= 1; got shapes "
            f"{p.shape} and "
            f"{y.shape}, bins={bins}. Pass one row of probabilities an example."
        )
    if not ((p >= 0).all() and np.allclose(p.sum(1), 1, atol=1e-3)):
        raise ConvcraftError(
            "each row of probabilities must be non-negative and sum to 1; got rows that sum from "
            f"{p.sum(1).min():.4g} to "
            f"{p.sum(1).max():.4g}. Pass softmax(logits), not the logits."
        )
    confidence, right = p.max(1), p.argmax(1) == y
    edges = np.linspace(0, 1, bins + 1)[1:-1]
    which = np.digitize(confidence, edges, right=True)
    gaps = np.bincount(which, weights=right.astype(float) - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(y))
