"""Confidence intervals of a mean, of any statistic, and of a proportion."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
        """The interval with this many decimal places, as fractions or in percent."""
        scale, unit = (100.0, " %") if percent else (1.0, "")
        values = (round(scale * value, digits) + 0.0 for value in (self.mean, self.low, self.high))
        mean, low, high = (f"{value:.{digits}f}" for value in values)
        return f"{mean}{unit} [{low}, {high}]"

    def __str__(self) -> str:
        return self.format()

    __repr__ = __str__


def sample_of(values: ArrayLike, argument: str = "values") -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size < 2 or not np.isfinite(array).all():
        raise ConvcraftError(
            f"{argument} must be a one-dimensional list of at least 2 finite numbers, one for each "
            f"seed; got shape {array.shape} with {int(array.size - np.isfinite(array).sum())} not finite. "
            "Run more seeds, and count a diverged run as chance."
        )
    return array


def check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ConvcraftError(f"level must lie between 0 and 1; got {level}. Pass 0.95 for a 95 % interval.")


def student_cdf(t: float, df: float) -> float:
    """P(T <= t) of Student's t: scipy.stats.t.cdf without its checks of every argument, which take most of its time."""
    from scipy.special import stdtr

    return float(stdtr(df, t))


def student_quantile(p: float, df: float) -> float:
    """The value that Student's t stays below with probability p, computed in the same way."""
    from scipy.special import stdtrit

    return float(stdtrit(df, p))


def interval_around(mean: float, error: float, df: float, n: int, level: float) -> Interval:
    half = student_quantile((1 + level) / 2, df) * error if error > 0 else 0.0
    return Interval(mean, mean - half, mean + half, n, level)


def standard_error(sample: NDArray[np.float64], step: float | None = None) -> float:
    """Standard error of the mean; for equal values, that of a sample in which one is off by `step`.

    Equal values do not show that nothing varies. `step` is the smallest difference that the measure can
    show; None: the last of six significant digits.
    """
    n = sample.size
    if np.ptp(sample) > 0:
        return float(sample.std(ddof=1)) / n**0.5
    return (step or 1e-6 * max(abs(float(sample[0])), 1e-6)) / n


def t_interval(values: ArrayLike, level: float = 0.95, step: float | None = None) -> Interval:
    r"""Interval of a mean by Student's t: :math:`\bar x \pm t_{n-1,(1+\text{level})/2}\, s/\sqrt n`.

    For equal values it is the interval of a sample in which one of them is off by `step`: the smallest
    difference that the measure can show, 1/500 for an accuracy on 500 images; None: the last of six digits.
    Raises ConvcraftError for fewer than two values, values that are not finite, or a level outside (0, 1).
    Source: Student (1908), The Probable Error of a Mean. Chapter: Convolutional networks.

    >>> t_interval([0.94, 0.95, 0.96])
    0.950 [0.925, 0.975]
    """
    check_level(level)
    sample = sample_of(values)
    error = standard_error(sample, step)
    return interval_around(float(sample.mean()), error, sample.size - 1, sample.size, level)


def bootstrap_interval(
    values: ArrayLike,
    statistic: Callable[..., Any] = np.mean,
    *,
    level: float = 0.95,
    resamples: int = 9999,
    method: str = "BCa",
    seed: int = 0,
) -> Interval:
    """Confidence interval of any statistic of one sample by resampling, as in scipy.stats.bootstrap.

    `statistic` maps an array to a number; the default method is the bias-corrected and accelerated one. Resampling
    equal values tells nothing; they get the interval of `t_interval` around the statistic. Raises ConvcraftError as
    `t_interval` does. Source: Efron (1987), Better Bootstrap Confidence Intervals. Chapter: Convolutional networks.

    >>> bootstrap_interval([0.94, 0.95, 0.96, 0.95, 0.93], np.median).contains(0.95)
    True
    """
    from scipy import stats

    check_level(level)
    sample = sample_of(values)
    estimate = float(statistic(sample))
    if np.ptp(sample) == 0:
        return interval_around(estimate, standard_error(sample), sample.size - 1, sample.size, level)
    options: dict[str, Any] = {"method": method, "rng": np.random.default_rng(seed)}
    found = stats.bootstrap((sample,), statistic, n_resamples=resamples, confidence_level=level, **options)
    low, high = map(float, found.confidence_interval)
    return Interval(estimate, low, high, sample.size, level)


def wilson(k: int, n: int, level: float = 0.95) -> Interval:
    r"""Confidence interval of a proportion of k among n by Wilson's score; its `mean` is k/n.

    :math:`\big(\hat p + \tfrac{z^2}{2n} \pm z\sqrt{\hat p(1-\hat p)/n + z^2/4n^2}\big)\big/(1 + z^2/n)`.
    Raises ConvcraftError unless 0 <= k <= n and n >= 1, or for a level outside (0, 1). Source: Wilson (1927),
    Probable Inference, the Law of Succession, and Statistical Inference. Chapter: Convolutional networks.

    >>> wilson(48, 50)
    0.960 [0.865, 0.989]
    """
    from scipy import stats

    check_level(level)
    if not (n >= 1 and 0 <= k <= n):
        raise ConvcraftError(f"wilson needs 0 <= k <= n and n >= 1; got k={k}, n={n}. Count k among n.")
    bounds = stats.binomtest(int(k), int(n)).proportion_ci(level, method="wilson")
    return Interval(k / n, float(bounds.low), float(bounds.high), int(n), level)
