"""Accuracies whose seeds and test images are both samples."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convcraft.errors import ConvcraftError
from convcraft.lab.statistics.intervals import Interval, check_level, interval_around, student_cdf, student_quantile


@dataclass(frozen=True)
class Estimate:
    """A mean with its standard error and the degrees of freedom of that error. Chapter: Activations.

    >>> Estimate(0.01, 0.002, 9, 10).interval()
    0.010 [0.005, 0.015]
    """

    mean: float
    error: float
    df: float
    n: int

    def interval(self, level: float = 0.95) -> Interval:
        """Its interval by Student's t."""
        return interval_around(self.mean, self.error, self.df, self.n, level)

    @property
    def p(self) -> float:
        """Two-sided p of a mean of 0."""
        if not self.error:
            return float(self.mean == 0)
        return 2 * student_cdf(-abs(self.mean) / self.error, self.df)

    def half_width(self, level: float = 0.9) -> float:
        """Half the width of the interval: equality within a smaller margin cannot be shown."""
        return student_quantile((1 + level) / 2, self.df) * self.error

    def equality(self, margin: float) -> float:
        """p of the two one-sided tests that the mean lies within ±margin."""
        if not self.error:
            return float(abs(self.mean) >= margin)
        return student_cdf((abs(self.mean) - margin) / self.error, self.df)

    def power(self, margin: float) -> float:
        """Chance of showing `equality` at 5 % if the true mean is 0, at this standard error."""
        if not self.error:
            return 1.0
        reach = margin / self.error - student_quantile(0.95, self.df)
        return max(0.0, 2 * student_cdf(reach, self.df) - 1)


def crossed(values: ArrayLike) -> Estimate:
    r"""The mean of a table (seeds, images), both of them random samples.

    From the sample variances of the S row means, the I column means and what neither explains, its variance is
    :math:`V = s_S^2/S + s_I^2/I - s_{SI}^2/(SI)`, but at least the larger of the first two terms; degrees of freedom by
    Satterthwaite. For two arms on the same seeds and images pass the difference of their tables. Raises ConvcraftError
    unless there are two seeds and two images or more, all finite. Source: Owen (2007), The pigeonhole bootstrap;
    Satterthwaite (1946), An Approximate Distribution of Estimates of Variance Components. Chapter: Activations.

    >>> right = np.array([[1, 1, 0, 1], [1, 0, 0, 1], [1, 1, 0, 1]])
    >>> crossed(right).interval()
    0.667 [-0.093, 1.427]
    """
    table: NDArray[np.float64] = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or min(table.shape) < 2 or not np.isfinite(table).all():
        raise ConvcraftError(
            "crossed needs a table of finite numbers with two seeds (rows) and two images (columns) or more; "
            f"got shape {table.shape}. Keep which test images each run got right."
        )
    s, i = table.shape
    rows, columns, mean = table.mean(1), table.mean(0), float(table.mean())
    rest = table - rows[:, None] - columns + mean  # (seeds, images)
    parts = np.array([rows.var(ddof=1) / s, columns.var(ddof=1) / i])
    both = float((rest**2).sum() / ((s - 1) * (i - 1)) / (s * i))
    variance = max(float(parts.sum()) - both, float(parts.max()))
    if variance == 0:  # as if one image had been judged differently in one run
        return Estimate(mean, 1 / (s * i), min(s, i) - 1, s)
    df = max(1.0, variance**2 / float((parts**2 / np.array([s - 1, i - 1])).sum()))
    return Estimate(mean, variance**0.5, min(df, s + i - 2.0), s)


def crossed_interval(a: ArrayLike, b: ArrayLike | None = None, level: float = 0.95) -> Interval:
    """Interval of the accuracy `a`, or of a - b, over seeds and test images; both (seeds, images).

    Raises ConvcraftError if the shapes differ, for a level outside (0, 1), and as `crossed` does. Source:
    Owen (2007), The pigeonhole bootstrap. Chapter: Activations.

    >>> right = np.array([[1, 1, 0, 1], [1, 0, 0, 1], [1, 1, 0, 1]])
    >>> crossed_interval(right, right).mean
    0.0
    """
    check_level(level)
    first = np.asarray(a, dtype=np.float64)
    second = np.zeros_like(first) if b is None else np.asarray(b, dtype=np.float64)
    if first.shape != second.shape:
        raise ConvcraftError(
            f"a and b must cover the same seeds and images; got shapes {first.shape} and {second.shape}. "
            "Run both arms on the same."
        )
    return crossed(first - second).interval(level)
