"""The checks of the exercises on images accept what is right and say what is wrong."""

from __future__ import annotations

import math

import numpy as np
import pytest
from torch import nn

from convcraft.lab.exercises import check


def network(*last, padding=0):
    side = 7 if padding else 5
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=padding), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=padding), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * side**2, 64), nn.ReLU(), nn.Linear(64, 10), *last,
    )  # fmt: skip


def grouped(n, copies, rng):
    test = np.isin(np.arange(n), rng.permutation(n)[: n // 5]).repeat(copies)
    return np.flatnonzero(~test), np.flatnonzero(test)


def by_rows(n, copies, rng):
    order = rng.permutation(n * copies)
    return order[n * copies // 5 :], order[: n * copies // 5]


def in_order(n, copies, rng):
    return np.arange(n * copies // 5, n * copies), np.arange(n * copies // 5)


def half(n, copies, rng):
    return np.arange(n * copies // 2, n * copies), np.arange(n * copies // 2)


def needed(a, b):
    return math.ceil(1.96**2 * (a * (1 - a) + b * (1 - b)) / (a - b) ** 2)


def from_keras(kernel, height, width):
    maps = kernel.reshape(height, width, -1, kernel.shape[1])
    return maps.transpose(3, 2, 0, 1).reshape(kernel.shape[1], -1)


def test_right_answers_pass():
    assert check("sample-in-torch", network())
    assert check("split-with-copies", grouped)
    assert check("images-needed", needed) and needed(0.922, 0.925) == 60_310
    assert check("dense-from-keras", from_keras)


def test_the_kernel_of_keras_gives_the_same_outputs():
    rng = np.random.default_rng(0)
    maps, kernel = rng.random((2, 3, 4, 5)), rng.random((60, 7))  # n, height, width, channels
    ours = maps.transpose(0, 3, 1, 2).reshape(2, -1) @ from_keras(kernel, 3, 4).T
    assert np.allclose(ours, maps.reshape(2, -1) @ kernel)


@pytest.mark.parametrize(
    ("name", "answer", "said"),
    [
        ("sample-in-torch", 3, "torch module"),
        ("sample-in-torch", nn.Sequential(nn.Flatten(), nn.Linear(784, 9)), "(3, 9)"),
        ("sample-in-torch", network(nn.Softmax(1)), "softmax of its own"),
        ("sample-in-torch", network(nn.LogSoftmax(1)), "log-probabilities"),
        ("sample-in-torch", network(padding=1), "too many"),
        ("sample-in-torch", nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), "number of parameters"),
        ("split-with-copies", by_rows, "Draw images, not rows"),
        ("split-with-copies", in_order, "at random"),
        ("split-with-copies", half, "a fifth"),
        ("split-with-copies", lambda n, copies, rng: ([0], [1]), "in one of the two parts"),
        ("images-needed", lambda a, b: needed(a, b) - 1, "round up"),
        ("images-needed", lambda a, b: math.ceil(1.96**2 * a * (1 - a) / (a - b) ** 2), "add up"),
        ("images-needed", lambda a, b: math.ceil((a * (1 - a) + b * (1 - b)) / (a - b) ** 2), "1.96"),
        ("dense-from-keras", lambda kernel, h, w: kernel.T, "flattens before it permutes"),
        (
            "dense-from-keras",
            lambda kernel, h, w: kernel.reshape(-1, h * w, kernel.shape[1]).T.reshape(kernel.shape[1], -1),
            "in Keras's order",
        ),
    ],
)
def test_slips_are_named(name, answer, said):
    result = check(name, answer)
    assert not result and said in repr(result)
