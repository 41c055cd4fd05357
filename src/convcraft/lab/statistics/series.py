"""Errors of forecasts, and intervals where neighbours share their errors."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convcraft.errors import ConvcraftError
from convcraft.lab.statistics.intervals import Interval, t_interval


def mase(forecast: ArrayLike, actual: ArrayLike, history: ArrayLike, period: int = 1) -> float:
    r"""Mean absolute scaled error: the mean absolute error over that of the seasonal naive rule in `history`.

    :math:`\frac{\operatorname{mean}|y - \hat y|}{\operatorname{mean}_t |y_t - y_{t-P}|}`, the denominator from the
    training part `history` (n,). Below 1 is better than the rule did there. Raises ConvcraftError for different
    shapes, values that are not finite, and a history that is not longer than the period or repeats itself exactly.
    Source: Hyndman and Koehler (2006), Another look at measures of forecast accuracy. Chapter: Series.

    >>> mase([3.0, 3.0], [4.0, 5.0], history=[1.0, 2.0, 4.0])
    1.0
    """
    predicted, true, past = (np.asarray(v, dtype=np.float64) for v in (forecast, actual, history))
    if predicted.shape != true.shape or not true.size or not np.isfinite([*predicted.flat, *true.flat]).all():
        raise ConvcraftError(
            f"forecast and actual must be finite and of the same shape; got {predicted.shape} and {true.shape}. "
            "Forecast every value."
        )
    if past.ndim != 1 or not 1 <= period < past.size:
        raise ConvcraftError(f"history must be a series longer than the period {period}; got {past.shape}.")
    scale = float(np.abs(past[period:] - past[:-period]).mean())
    if not scale > 0:
        raise ConvcraftError(
            f"history must not repeat itself exactly, or the naive rule has no error to compare with; got a "
            f"mean difference of {scale} over a period of {period}."
        )
    return float(np.abs(predicted - true).mean()) / scale


def blocks_of(values: ArrayLike, count: int) -> NDArray[np.float64]:
    """Means over `count` blocks of consecutive values along the last axis, (..., count). Chapter: Series.

    The blocks differ in length by at most one. Raises ConvcraftError for fewer values than blocks.

    >>> blocks_of([1.0, 3.0, 5.0, 7.0], 2)
    array([2., 6.])
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim < 1 or not 1 <= count <= array.shape[-1]:
        raise ConvcraftError(f"count must be 1 to the number of values; got {count} for shape {array.shape}.")
    return np.stack([part.mean(-1) for part in np.array_split(array, count, axis=-1)], axis=-1)


def blocked_interval(values: ArrayLike, level: float = 0.95) -> Interval:
    """Interval of a mean whose unit is the block: in a table (seeds, blocks), seeds are averaged first.

    Neighbouring values of a series share their errors, and seeds share the data, so neither counts as an
    independent sample. `values` may be (blocks,). Raises ConvcraftError for fewer than two blocks, other
    shapes, and values that are not finite. Source: Künsch (1989), The Jackknife and the Bootstrap for General
    Stationary Observations. Chapter: Series.

    >>> blocked_interval([[0.0, 2.0, 4.0], [2.0, 4.0, 6.0]])
    3.000 [-1.968, 7.968]
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim not in (1, 2):
        raise ConvcraftError(
            f"values must be (blocks,) or (seeds, blocks); got shape {array.shape}. Average the rest first."
        )
    return t_interval(array.mean(0) if array.ndim == 2 else array, level)
