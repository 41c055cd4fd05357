"""Two arms against each other, and many comparisons in one table."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convcraft.errors import ConvcraftError
from convcraft.lab.statistics.crossed import Estimate
from convcraft.lab.statistics.intervals import Interval, check_level, sample_of, standard_error


def difference(a: ArrayLike, b: ArrayLike, step: float | None = None) -> Estimate:
    """The mean of a - b, paired by seed, with its standard error.

    Differences that are all the same do not show that nothing varies: they count as if one of them were off by
    `step`, the smallest difference that the measure can show (1/500 for an accuracy on 500 images). None: the
    smallest gap between the values or, if a and b agree in all of them, the last of six digits. Raises
    ConvcraftError as `paired_difference` does. Chapter: Activations.

    >>> difference([0.95, 0.96, 0.97], [0.94, 0.95, 0.95]).interval()
    0.013 [-0.001, 0.028]
    """
    first, second = sample_of(a, "a"), sample_of(b, "b")
    if first.size != second.size:
        raise ConvcraftError(
            f"a and b must have one value each for the same seeds; got {first.size} and {second.size} "
            "values. Run both arms on the same seeds."
        )
    sample = first - second
    if np.ptp(sample) < 1e-9 * max(1.0, float(np.abs(sample).max())):  # equal up to rounding
        sample = np.full_like(sample, sample.mean())
    if step is None and sample.any():
        gaps = np.diff(np.unique(np.concatenate([first, second])))
        step = float(min(gaps[gaps > 1e-9], default=0)) or None
    error = standard_error(sample, step)
    return Estimate(float(sample.mean()), error, sample.size - 1, sample.size)


def paired_difference(a: ArrayLike, b: ArrayLike, level: float = 0.95, step: float | None = None) -> Interval:
    """t interval of the mean of a - b, entry i of both from the same seed; `step` as in `difference`.

    Raises ConvcraftError when the lengths differ, and as `t_interval` does. Source: Student (1908), The
    Probable Error of a Mean. Chapter: Convolutional networks.

    >>> paired_difference([0.95, 0.96, 0.97], [0.94, 0.95, 0.95])
    0.013 [-0.001, 0.028]
    """
    check_level(level)
    return difference(a, b, step).interval(level)


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


def tost(a: ArrayLike, b: ArrayLike, margin: float, paired: bool = True, step: float | None = None) -> Equivalence:
    r"""Test that two means differ by less than a margin, by two one-sided t tests at 5 %.

    :math:`p = \max\{P(T \ge (\bar d + m)/s_d), P(T \le (\bar d - m)/s_d)\}`; equivalent when p < 0.05, that is, when
    the 90 % interval of the difference lies within ±margin. Unpaired samples are compared by Welch's t. `step` as in
    `difference`. Raises ConvcraftError for a margin that is not positive, for paired samples of unequal length, and as
    `t_interval` does. Source: Schuirmann (1987), A comparison of the two one-sided tests procedure and the power
    approach for assessing the equivalence of average bioavailability. Chapter: Convolutional networks.

    >>> tost([0.95, 0.96, 0.95, 0.96], [0.95, 0.95, 0.96, 0.96], margin=0.02).equivalent
    True
    """
    if not margin > 0:
        raise ConvcraftError(f"margin must be positive; got {margin}. Pass the largest difference to ignore.")
    if paired:
        found = difference(a, b, step)
    else:
        first, second = sample_of(a, "a"), sample_of(b, "b")
        errors = np.array([standard_error(first, step), standard_error(second, step)])
        df = (errors**2).sum() ** 2 / (errors**4 / np.array([first.size - 1, second.size - 1])).sum()
        mean, error = float(first.mean() - second.mean()), float((errors**2).sum() ** 0.5)
        found = Estimate(mean, error, float(df), min(first.size, second.size))
    p = found.equality(margin)
    return Equivalence(p, found.interval(0.9), margin, p < 0.05)


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    r"""p-values adjusted for the number of comparisons in one table, in the order given.

    With the p-values in rising order, :math:`\tilde p_{(i)} = \max_{j \le i} \min(1, (m - j + 1)\, p_{(j)})`:
    calling those below 0.05 significant keeps the chance of any false positive at 5 %. Raises ConvcraftError for
    a value outside [0, 1]. Source: Holm (1979), A Simple Sequentially Rejective Multiple Test Procedure.
    Chapter: Activations.

    >>> holm([0.01, 0.04, 0.03])
    array([0.03, 0.06, 0.06])
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise ConvcraftError(
            f"p_values must be a list of numbers in [0, 1]; got {p_values!r}. Pass one for each comparison."
        )
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(np.minimum(1.0, np.arange(p.size, 0, -1) * p[order]))
    return adjusted
