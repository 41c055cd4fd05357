"""Planted data, whose truth is known: ratings in three worlds, and two time series."""

import numpy as np
from numpy.typing import NDArray

from convcraft.errors import unknown

Array = NDArray[np.float64]
WORLDS = ("bilinear", "xor", "ring")


def ratings(world: str, *, users: int = 300, items: int = 200, seed: int = 0) -> Array:
    r"""What each user thinks of each item, (users, items), scaled to variance 1; without noise.

    - "bilinear": :math:`p_u^\top q_i` of three normal numbers each;
    - "xor": one bit each, :math:`(-1)^{a_u + b_i}`;
    - "ring": user and item lie on a circle, and the rating is :math:`e^{-d^2/2\sigma^2}` for their distance
      d along it, with :math:`\sigma = 0.36`, minus the mean.

    Raises ConvcraftError for an unknown world. Chapter: Recommenders.

    >>> np.linalg.matrix_rank(ratings("xor"))
    np.int64(1)
    """
    table: np.ndarray
    rng = np.random.default_rng([WORLDS.index(world) if world in WORLDS else 0, seed])
    if world == "bilinear":
        table = rng.standard_normal((users, 3)) @ rng.standard_normal((3, items))
    elif world == "xor":
        table = 1.0 - 2.0 * (rng.integers(2, size=(users, 1)) ^ rng.integers(2, size=items))
    elif world == "ring":
        gap = np.abs(rng.uniform(0, 2 * np.pi, (users, 1)) - rng.uniform(0, 2 * np.pi, items))
        table = np.exp(-(np.minimum(gap, 2 * np.pi - gap) ** 2) / (2 * 0.36**2))
        table -= table.mean()
    else:
        raise unknown("world", world, WORLDS)
    return table / table.std()


def mackey_glass(n: int, *, tau: int = 17, step: int = 3, seed: int = 0) -> Array:
    r"""A chaotic series: :math:`\dot x = 0.2\, x_{t-\tau} / (1 + x_{t-\tau}^{10}) - 0.1\, x_t`.

    Euler's method with steps of 0.1, from a random start; one value every `step` units of time, (n,). Source:
    Mackey and Glass (1977), Oscillation and Chaos in Physiological Control Systems. Chapter: Series.

    >>> series = mackey_glass(200)
    >>> series.shape, bool(0.2 < series.min() < series.max() < 1.5)
    ((200,), True)
    """
    fine, warm = 10, 500
    delay = tau * fine
    x = np.empty((n * step + warm) * fine + delay)
    x[:delay] = np.random.default_rng(seed).uniform(0.5, 1.3)
    for t in range(delay, len(x)):
        late = x[t - delay]
        x[t] = x[t - 1] + (0.2 * late / (1 + late**10) - 0.1 * x[t - 1]) / fine
    return x[delay + warm * fine :: step * fine][:n]


def seasonal(n: int, *, period: int = 24, noise: float = 0.3, trend: float = 0.0, seed: int = 0) -> Array:
    r"""A linear series (n,): two harmonics of the season, a trend per season, and AR(1) noise.

    :math:`y_t = \sin\frac{2\pi t}{P} + \tfrac12 \cos\frac{4\pi t}{P} + \frac{\text{trend}}{P}\, t + e_t` with
    :math:`e_t = 0.8\, e_{t-1} + \text{noise}\cdot\varepsilon_t`. Chapter: Series.

    >>> seasonal(48, noise=0.0)[[0, 24]]
    array([0.5, 0.5])
    """
    t, e = np.arange(n), np.zeros(n)
    shocks = noise * np.random.default_rng(seed).standard_normal(n)
    for k in range(1, n):
        e[k] = 0.8 * e[k - 1] + shocks[k]
    angle = 2 * np.pi * t / period
    return np.sin(angle) + 0.5 * np.cos(2 * angle) + trend / period * t + e
