"""How far probabilities can be believed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from convcraft.errors import ConvcraftError


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
