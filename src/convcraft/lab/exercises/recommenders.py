"""Checks of the exercises of the chapter "Recommenders"."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import stats

from convcraft.lab.baselines import ease
from convcraft.lab.exercises.framework import Check, by_name, compare
from convcraft.lab.exercises.kinds import formula, takes

_RNG = np.random.default_rng(7)
_VISITS = (_RNG.random((80, 12)) < 0.3).astype(float)
_VISITS[0] = 1
_HELD = np.array([_RNG.choice(np.flatnonzero(row)) if row.any() else -1 for row in _VISITS])


@takes("a and b")
def xor_by_vectors(answer: Callable[..., Any]) -> str | None:
    """A function of the bits (users,), (items,) -> vectors of users and items, whose product is XOR as ±1."""
    a, b = _RNG.integers(2, size=9), _RNG.integers(2, size=7)
    users, items = (np.asarray(v, dtype=float) for v in answer(a, b))
    users, items = (v[:, None] if v.ndim == 1 else v for v in (users, items))
    if users.shape != (9, 1) or items.shape != (7, 1):
        return f"one number for each user and item must do; got shapes {users.shape} and {items.shape}."
    table = users @ items.T
    wanted = 1.0 - 2.0 * (a[:, None] ^ b)
    if np.allclose(table, -wanted):
        return "the sign is wrong: equal bits are rated +1."
    if np.allclose(table, np.outer(a, b)):
        return "that is AND: a bit of 0 must not make the product 0."
    return compare(table, wanted, "the product of your vectors")


@takes("visits and held")
def popularity_without_the_answer(answer: Callable[..., Any]) -> str | None:
    """A function of visits (n, items) and the held-out item of each -> how often each item was visited."""
    visits, held = _VISITS.copy(), _HELD
    got = np.asarray(answer(visits, held), dtype=float)
    if not np.array_equal(visits, _VISITS):
        return "your function has changed the visits that it was given: work on a copy."
    if got.shape == (12,) and np.allclose(got, _VISITS.sum(0)):
        return "that still counts the held-out visits, the answers to the test."
    right = _VISITS.copy()
    right[np.arange(len(held)), held] = 0.0
    return compare(got, right.sum(0), "the counts")


CHECKS: dict[str, Check] = by_name(xor_by_vectors, popularity_without_the_answer) | {
    "ease-in-five-lines": formula(
        ease,
        [(_VISITS, 5.0), (_VISITS, 50.0)],
        "B at strength {1}",
        (lambda x, s: ease(x, s).T, "divide column j by P_jj, the diagonal entry of the item that is predicted."),
        (lambda x, s: -ease(x, s), "the sign is wrong: items that go together have positive weights."),
        (lambda x, s: ease(x, s) + np.eye(x.shape[1]), "the diagonal must be 0, or each item predicts itself."),
        arguments="X and strength",
    ),
    "sampled-hit-rate": formula(
        lambda rank, items, negatives: float(stats.hypergeom(items - 1, rank, negatives).cdf(9)),
        [(0, 285, 100), (30, 285, 20), (60, 285, 50), (200, 285, 20)],
        "the chance of a hit at rank {0} among {1} items with {2} of them drawn",
        (lambda r, n, m: float(r < 10), "that is the full ranking: only drawn items can be in front."),
    ),
}
