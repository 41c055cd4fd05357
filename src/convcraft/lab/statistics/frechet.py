"""How far two samples are apart, by their means and covariances."""

import numpy as np
from numpy.typing import ArrayLike

from convcraft.errors import ConvcraftError


def frechet_distance(a: ArrayLike, b: ArrayLike) -> float:
    r"""Fréchet distance of the normal distributions fitted to two samples, (n, features) and (m, features).

    .. math:: d^2 = \lVert \mu_a - \mu_b \rVert^2
              + \mathrm{tr}\bigl(S_a + S_b - 2\,(S_a^{1/2} S_b S_a^{1/2})^{1/2}\bigr)

    Returns :math:`d^2`, as is usual. Even two samples of one distribution are apart, small ones more so: compare
    at equal sizes. Raises ConvcraftError unless both are tables of finite numbers with equally many features
    and two rows or more. Source: Heusel and others (2017), GANs Trained by a Two Time-Scale Update Rule
    Converge to a Local Nash Equilibrium. Chapter: Generation.

    >>> frechet_distance([[0.0], [2.0]], [[3.0], [5.0]])
    9.0
    """
    first, second = (np.asarray(t, dtype=np.float64) for t in (a, b))
    fits = first.ndim == second.ndim == 2 and first.shape[1] == second.shape[1]
    if not fits or min(len(first), len(second)) < 2 or not np.isfinite([first.sum(), second.sum()]).all():
        raise ConvcraftError(
            "a and b must be tables of finite numbers with equally many columns and two rows or more; got shapes "
            f"{first.shape} and {second.shape}. Pass one row for each example."
        )
    covariances = [np.atleast_2d(np.cov(t, rowvar=False)) for t in (first, second)]
    values, vectors = np.linalg.eigh(covariances[0])
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    common = np.sqrt(np.linalg.eigvalsh(root @ covariances[1] @ root).clip(0)).sum()
    apart = ((first.mean(0) - second.mean(0)) ** 2).sum()
    return float(apart + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * common)
