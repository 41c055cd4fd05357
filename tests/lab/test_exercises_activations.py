"""Exercises on activations: right answers pass, and typical wrong answers are told what is wrong."""

import math

import pytest
import torch
from answers import is_told, passes


def as_sigmoid(W, b, V, c):
    return 2 * W, 2 * b, 2 * V, c - V.sum(1)


def elu(z):
    return torch.where(z > 0, z, torch.expm1(z.clamp(max=0)))


RIGHT = {
    "layers-to-a-millionth": 40,
    "leaky-gain": lambda a: math.sqrt(2 / (1 + a**2)),
    "tanh-as-sigmoid": as_sigmoid,
    "elu-without-nan": elu,
    "what-follows-from-factors": "b",
    "your-activation": lambda z: z * torch.sigmoid(z),
}

WRONG = [
    ("layers-to-a-millionth", 39, "Round up"),
    ("layers-to-a-millionth", 20, "root of one half"),
    ("leaky-gain", lambda a: math.sqrt((1 + a**2) / 2), "reciprocal"),
    ("leaky-gain", lambda a: math.sqrt(2) / (1 + a), "slope squared"),
    ("leaky-gain", lambda a: math.sqrt(2), "whatever the slope"),
    ("leaky-gain", lambda a: 2 / (1 + a**2), "take the root"),
    ("leaky-gain", lambda a: 1.0, "the gain for slope 0 is 1"),
    ("leaky-gain", 1.2, "must be a function"),
    ("tanh-as-sigmoid", 1, "must be a function"),
    ("tanh-as-sigmoid", lambda W, b, V, c: W, "Return the four arrays"),
    ("tanh-as-sigmoid", lambda W, b, V, c: (W.T, b, V, c), "has the shape (5, 3)"),
    ("tanh-as-sigmoid", lambda W, b, V, c: (2 * W, 2 * b, 2 * V, c), "belongs into c"),
    ("tanh-as-sigmoid", lambda W, b, V, c: (W, b, 2 * V, c - V.sum(1)), "doubled inside"),
    ("tanh-as-sigmoid", lambda W, b, V, c: (2 * W, 2 * b, V, c - V.sum(1)), "the output for seven inputs"),
    ("elu-without-nan", lambda z: torch.where(z > 0, z, torch.exp(z) - 1), "the slope is NaN at [1000.0]"),
    ("elu-without-nan", torch.relu, "the value at"),
    ("elu-without-nan", lambda z: elu(z.detach()) + 0 * z, "the slope"),
    ("elu-without-nan", 1, "must be a function"),
    ("what-follows-from-factors", "a", "before any training"),
    ("what-follows-from-factors", "c", "one depth"),
    ("what-follows-from-factors", "tanh", "one letter of a, b, c, d"),
    ("your-activation", torch.exp, "not finite"),
    ("your-activation", lambda z: 2 * z, "straight line"),
    ("your-activation", torch.relu, "units can die"),
    ("your-activation", lambda z: z.sum(), "of the shape"),
    ("your-activation", lambda z: 1e-3 * torch.sin(100 * z), "reach only"),
    ("your-activation", 3, "must be a function"),
    ("your-activation", lambda z: z**3, "training diverges"),
]  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_answer_passes_and_none_is_open(name):
    passes(name, RIGHT[name])


@pytest.mark.parametrize(("name", "answer", "said"), WRONG, ids=[f"{name}-{said}" for name, _, said in WRONG])
def test_a_wrong_answer_is_told_what_is_wrong(name, answer, said):
    is_told(name, answer, said)
