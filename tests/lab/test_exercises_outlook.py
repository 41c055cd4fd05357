"""The checks of the exercises of the outlook accept what is right and say what is wrong."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from answers import is_told, passes
from scipy import stats

from convcraft.lab.exercises import check


def seeds(deviation, difference):
    return math.ceil((2.801585 * deviation / difference) ** 2)


def best_of(k):
    return np.random.default_rng(0).normal(size=(20_000, k)).max(1).mean()


PLAN = {
    "measure": "test accuracy",
    "rates": "each its own",
    "seeds": 60,
    "shows": "above 0",
    "opposite": "below 0",
}


def soft_ramp(x):
    return x * torch.sigmoid(3 * x) + 0.1 * torch.sin(x)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("function-of-your-own", soft_ramp),
        ("seeds-for-a-difference", seeds),
        ("registered-test", PLAN),
        ("best-of-equals", best_of),
    ],
)
def test_right_answers_pass(name, answer):
    passes(name, answer)


@pytest.mark.parametrize(
    ("name", "answer", "said"),
    [
        ("function-of-your-own", 3, "must be a function"),
        ("function-of-your-own", lambda x: 3, "a tensor of the shape"),
        ("function-of-your-own", lambda x: x - x.mean(), "each value alone"),
        ("function-of-your-own", lambda x: x.detach().sin(), "no gradient"),
        ("function-of-your-own", torch.sqrt, "values between -6 and 6 are not finite"),
        ("function-of-your-own", lambda x: x.sin() + (0 * x).sqrt(), "slopes between -6 and 6 are not finite"),
        ("function-of-your-own", lambda x: 2 * x + 1, "straight line"),
        ("function-of-your-own", torch.relu, "that is relu"),
        ("function-of-your-own", lambda x: 0.01 * x.sin(), "hardly anything"),
        ("seeds-for-a-difference", lambda s, d: math.ceil((1.959964 * s / d) ** 2), "half of the cases"),
        ("seeds-for-a-difference", lambda s, d: math.floor((2.801585 * s / d) ** 2), "round up"),
        ("seeds-for-a-difference", lambda s, d: math.ceil(2 * (2.801585 * s / d) ** 2), "two groups"),
        ("seeds-for-a-difference", lambda s, d: math.ceil((2.486475 * s / d) ** 2), "one-sided"),
        ("registered-test", {"seeds": 60}, "the keys"),
        ("registered-test", PLAN | {"measure": "validation accuracy"}, "nobody has seen"),
        ("registered-test", PLAN | {"rates": "common"}, "the advantage"),
        ("registered-test", PLAN | {"seeds": 10}, "too few"),
        ("registered-test", PLAN | {"shows": "better"}, "expected"),
        ("registered-test", PLAN | {"shows": "beyond 0"}, "above a number"),
        ("registered-test", PLAN | {"opposite": "within 1"}, "cannot lose"),
        ("best-of-equals", lambda k: 0.0, "picked"),
        ("best-of-equals", lambda k: math.sqrt(2 * math.log(k)), "upper bound"),
        ("best-of-equals", lambda k: stats.norm.ppf(1 - 1 / k), "quantile"),
    ],
)
def test_wrong_answers_are_explained(name, answer, said):
    is_told(name, answer, said)


def test_the_value_comes_last():
    wrong = lambda s, d: 3  # noqa: E731
    hints = [repr(check("seeds-for-a-difference", wrong)) for _ in range(3)]
    assert "56" not in hints[0] and "56" in hints[2]
