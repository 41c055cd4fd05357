"""Exercises on output layers: right answers pass, and typical wrong answers are told what is wrong."""

import math

import pytest
import torch
from answers import is_told, passes
from torch import nn

from convcraft.lab import models


def softmax_jacobian(z):
    p = z.softmax(0)
    return torch.diag(p) - torch.outer(p, p)


def logits():
    return models.MLP((64, 32, 10), activation=nn.ReLU)


def gradient(z, y):
    p = 1 / (1 + math.exp(-z))
    return 2 * (p - y) * p * (1 - p)


RIGHT = {
    "log-softmax": lambda z: z.log_softmax(1),
    "softmax-jacobian": softmax_jacobian,
    "gradient-of-squared-error": gradient,
    "hinge-and-coin": 0.731,
    "mend-the-loss": logits,
    "what-follows-from-calibration": "d",
}


def overflowing(z):
    p = z.exp() / z.exp().sum()
    return torch.diag(p) - torch.outer(p, p)


WRONG = [
    ("log-softmax", lambda z: z.softmax(1), "the result for small logits"),
    ("log-softmax", lambda z: z.softmax(1).log(), "not finite at 1000"),
    ("log-softmax", lambda z: z.clamp(max=700).log_softmax(1), "logits of 1000"),
    ("gradient-of-squared-error", lambda z, y: gradient(z, y) / 2, "factor of 2"),
    ("gradient-of-squared-error", lambda z, y: 1 / (1 + math.exp(-z)) - y, "of the cross-entropy"),
    ("hinge-and-coin", 0.6, "a proper loss"),
    ("what-follows-from-calibration", "a", "chance alone"),
    ("softmax-jacobian", lambda z: z.softmax(0) * (1 - z.softmax(0)), "3 x 3 matrix"),
    ("softmax-jacobian", lambda z: torch.diag(z.softmax(0) * (1 - z.softmax(0))), "other entries are not 0"),
    ("softmax-jacobian", lambda z: -softmax_jacobian(z), "sign is wrong"),
    ("softmax-jacobian", overflowing, "(1001, 1000, 999)"),
    ("softmax-jacobian", "p", "must be a function"),
    ("mend-the-loss", lambda: nn.Sequential(logits(), nn.Softmax(-1)), "still sum to 1"),
    ("mend-the-loss", lambda: nn.Sequential(logits(), nn.ReLU()), "ever negative"),
    ("mend-the-loss", lambda: models.MLP((64, 32, 9), activation=nn.ReLU), "10 logits"),
    ("mend-the-loss", lambda: None, "forget a return"),
    ("mend-the-loss", lambda: nn.Sequential(logits(), nn.Hardtanh(-1e-3, 1e-3)), "more than 85 %"),
    ("mend-the-loss", "net", "must be a function"),
]  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_answer_passes_and_none_is_open(name):
    passes(name, RIGHT[name])


@pytest.mark.parametrize(("name", "answer", "said"), WRONG, ids=[f"{name}-{said}" for name, _, said in WRONG])
def test_a_wrong_answer_is_told_what_is_wrong(name, answer, said):
    is_told(name, answer, said)


def test_the_loss_after_a_second_softmax_has_a_floor():
    sure = torch.eye(10)[:1]
    floor = nn.functional.cross_entropy(sure, torch.tensor([0]))
    assert math.isclose(floor.item(), math.log(math.e + 9) - 1, rel_tol=1e-6)
