"""How far probabilities can be trusted."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convcraft.errors import ConvcraftError
from convcraft.lab.statistics.intervals import Interval, check_level


def expected_calibration_error(probabilities: ArrayLike, labels: ArrayLike | Sequence[int], bins: int = 15) -> float:
    r"""Mean gap between confidence and accuracy, over bins of confidence of equal width.

    :math:`\mathrm{ECE} = \sum_b \frac{n_b}{n} |\mathrm{acc}(b) - \mathrm{conf}(b)|`, where the confidence of
    an example is the largest of its probabilities. `probabilities` (n, classes), `labels` (n,) integers. Raises
    ConvcraftError when shapes do not match, rows do not sum to 1, or bins is below 1. Source: Guo, Pleiss, Sun
    and Weinberger (2017), On Calibration of Modern Neural Networks, section 2. Chapter: Activations.

    >>> round(expected_calibration_error([[0.8, 0.2], [0.8, 0.2]], [0, 1]), 6)
    0.3
    """
    p, y = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    if p.ndim != 2 or y.shape != p.shape[:1] or not len(y) or bins < 1:
        raise ConvcraftError(
            "expected probabilities (n, classes), labels (n,) with n >= 1, and bins >= 1; got shapes "
            f"{p.shape} and {y.shape}, bins={bins}. Pass one row of probabilities for each example."
        )
    if not ((p >= 0).all() and np.allclose(p.sum(1), 1, atol=1e-3)):
        raise ConvcraftError(
            "each row of probabilities must be non-negative and sum to 1; got rows that sum from "
            f"{p.sum(1).min():.4g} to {p.sum(1).max():.4g}. Pass softmax(logits), not the logits."
        )
    return _ece(p.max(1), p.argmax(1) == y, bins)


def _ece(confidence: NDArray[np.float64], right: NDArray[np.bool_], bins: int) -> float:
    which = np.digitize(confidence, np.linspace(0, 1, bins + 1)[1:-1], right=True)
    gaps = np.bincount(which, weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(right))


def perfect_calibration_error(
    probabilities: ArrayLike, bins: int = 15, *, level: float = 0.95, draws: int = 1000, seed: int = 0
) -> Interval:
    """What the expected calibration error would be for these confidences if they were perfectly calibrated.

    It is above 0, because a bin of few examples misses its confidence by chance. Labels are drawn from the given
    probabilities, `draws` times; `mean` is the mean error, and `low` to `high` holds `level` of the draws. Report it
    beside the error found on the same examples. Raises ConvcraftError as `expected_calibration_error` does, for a level
    outside (0, 1), and for fewer than 2 draws. Source: Guo, Pleiss, Sun and Weinberger (2017), On Calibration of Modern
    Neural Networks; Vaicenavicius et al. (2019), Evaluating model calibration in classification. Chapter: Activations.

    >>> sure = np.tile([0.9, 0.1], (500, 1))
    >>> perfect_calibration_error(sure).mean < perfect_calibration_error(sure[:50]).mean < 0.05
    True
    """
    check_level(level)
    if draws < 2:
        raise ConvcraftError(f"draws must be 2 or more; got {draws}. Pass for example 1000.")
    p = np.asarray(probabilities, dtype=np.float64)
    expected_calibration_error(p, np.zeros(len(p), dtype=np.int64), bins)  # for its checks
    confidence, rng = p.max(1), np.random.default_rng(seed)
    found = [_ece(confidence, rng.random(len(p)) < confidence, bins) for _ in range(draws)]
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(np.mean(found)), float(low), float(high), len(p), level)
