"""The checks of the exercises on searching accept what is right and say what is wrong."""

import math

import numpy as np
import pytest

from convcraft.lab.exercises import check
from convcraft.lab.exercises.searching_hyperparameters import CHECKS


def log_uniform(rng):
    return 10 ** rng.uniform(-4, 0)


def trials(share, chance):
    return math.ceil(math.log(1 - chance) / math.log(1 - share))


def surplus(count, accuracy, size):
    draws = np.random.default_rng(1).binomial(size, accuracy, (4000, count)) / size
    return float(draws.max(1).mean() - accuracy)


def gaussian_bound(count, accuracy, size):
    return math.sqrt(2 * math.log(count) * accuracy * (1 - accuracy) / size)


RIGHT = [
    ("log-uniform-rate", log_uniform),
    ("trials-to-hit", trials),
    ("share-of-a-product", 3 / 7),
    ("winner-by-luck", surplus),
    ("two-reports", (100 * surplus(5, 0.9, 100), 100 * surplus(500, 0.9, 10_000))),
    ("read-the-search", "c"),
]
WRONG = [
    ("log-uniform-rate", 0.01, "must be a function"),
    ("log-uniform-rate", lambda rng: 2.0, "must lie between"),
    ("log-uniform-rate", lambda rng: rng.uniform(1e-4, 1), "Draw the exponent"),
    ("log-uniform-rate", lambda rng: 10.0 ** rng.choice([-4, -2, 0]), "equally often"),
    ("trials-to-hit", 59, "must be a function"),
    ("trials-to-hit", lambda q, p: math.log(1 - p) / math.log(1 - q), "round up"),
    ("trials-to-hit", lambda q, p: p / q, "do not add up"),
    ("trials-to-hit", lambda q, p: math.ceil(math.log(p) / math.log(1 - q)), "all trials miss"),
    ("trials-to-hit", lambda q, p: 7.0, "a share of 0.05"),
    ("share-of-a-product", 0.5, "without interaction"),
    ("share-of-a-product", 1 / 48, "Divide it"),
    ("share-of-a-product", 7 / 144, "variance of the product"),
    ("share-of-a-product", 1 / 7, "both shares together"),
    ("share-of-a-product", 1 / 12, "variance of x1"),
    ("share-of-a-product", 0.3, "the share"),
    ("winner-by-luck", 0.05, "must be a function"),
    ("winner-by-luck", lambda *_: 0.05, "nothing is chosen"),
    ("winner-by-luck", gaussian_bound, "the surplus for"),
    ("two-reports", 3.5, "two numbers"),
    ("two-reports", (0.035, 0.009), "percentage points"),
    ("two-reports", (1.0, 3.0), "more trials"),
    ("two-reports", (3.5, 3.0), "second report"),
    ("read-the-search", "e", "Give one letter"),
    ("read-the-search", "a", "larger decay"),
    ("read-the-search", "b", "interactions"),
    ("read-the-search", "d", "range"),
]


def test_every_check_is_tested():
    assert (
        {name for name, _ in RIGHT}
        == {name for name, *_ in WRONG}
        == {*CHECKS, "share-of-a-product", "read-the-search"}
    )


def test_right():
    for name, answer in RIGHT:
        result = check(name, answer)
        assert result, result.message


@pytest.mark.parametrize(("name", "answer", "message"), WRONG)
def test_wrong(name, answer, message):
    result = check(name, answer)
    assert not result
    assert message in result.message
