"""The checks of the exercises on recommenders accept what is right and say what is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from convcraft.lab import baselines
from convcraft.lab.exercises import check


def ease(x, strength):
    p = np.linalg.inv(x.T @ x + strength * np.eye(x.shape[1]))
    b = -p / np.diag(p)
    np.fill_diagonal(b, 0)
    return b


def without(visits, held):
    rest = visits.copy()
    rest[np.arange(len(held)), held] = 0
    return rest.sum(0)


def in_place(visits, held):
    visits[np.arange(len(held)), held] = 0
    return visits.sum(0)


HIT = lambda rank, items, negatives: stats.hypergeom(items - 1, rank, negatives).cdf(9)  # noqa: E731


def test_right_answers_pass():
    assert check("xor-by-vectors", lambda a, b: (1 - 2 * a, 1 - 2 * b))
    assert check("ease-in-five-lines", ease)
    assert check("sampled-hit-rate", HIT)
    assert check("popularity-without-the-answer", without)


@pytest.mark.parametrize(
    ("name", "answer", "said"),
    [
        ("xor-by-vectors", lambda a, b: (a, b), "AND"),
        ("xor-by-vectors", lambda a, b: (1 - 2 * a, 2 * b - 1), "the sign is wrong"),
        ("xor-by-vectors", lambda a, b: (np.eye(9), np.zeros((7, 9))), "one number for each"),
        ("xor-by-vectors", lambda a, b: (1 - 2 * a, 1 - b), "the product of your vectors"),
        ("ease-in-five-lines", lambda x, s: ease(x, s).T, "column j"),
        ("ease-in-five-lines", lambda x, s: -ease(x, s), "sign"),
        ("ease-in-five-lines", lambda x, s: ease(x, s) + np.eye(12), "diagonal must be 0"),
        ("sampled-hit-rate", lambda rank, items, negatives: float(rank < 10), "full ranking"),
        ("popularity-without-the-answer", lambda v, h: baselines.popularity(v), "answers to the test"),
        ("popularity-without-the-answer", in_place, "work on a copy"),
        ("popularity-without-the-answer", lambda v, h: without(v, h) / 2, "the counts"),
        ("popularity-without-the-answer", 3, "must be a function"),
    ],
)
def test_slips_are_named(name, answer, said):
    result = check(name, answer)
    assert not result and said in repr(result)
