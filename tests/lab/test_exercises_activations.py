"""Exercises on activations: right answers pass, and typical wrong answers are told what is wrong."""

import math

import pytest
import torch
from torch import nn

from convcraft.lab import models
from convcraft.lab.exercises import check
from convcraft.lab.exercises.activations import stillborn

NAMES = [
    "dead-share", "adaptive-parameters", "leaky-gain", "swish-derivatives", "softmax-jacobian",
    "revival-by-decay", "mend-the-stillborn-net", "mend-the-loss", "your-activation",
]  # fmt: skip


def mended(net):
    for name in ("linear1", "linear2"):
        nn.init.zeros_(net.layers.get_submodule(name).bias)
    return net


def softmax_jacobian(z):
    p = z.softmax(0)
    return torch.diag(p) - torch.outer(p, p)


def swish_derivatives(z, beta):
    s = torch.sigmoid(beta * z)
    return s + beta * z * s * (1 - s), z * z * s * (1 - s)


def logits():
    return models.MLP((64, 32, 10), activation=nn.ReLU)


RIGHT = {
    "dead-share": lambda h: (h == 0).all(0).float().mean(),
    "adaptive-parameters": (48, 144, 528),
    "leaky-gain": lambda a: math.sqrt(2 / (1 + a**2)),
    "swish-derivatives": swish_derivatives,
    "softmax-jacobian": softmax_jacobian,
    "revival-by-decay": 138,
    "mend-the-stillborn-net": mended,
    "mend-the-loss": logits,
    "your-activation": lambda z: z * torch.sigmoid(z),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_right_answer_passes(name):
    result = check(name, RIGHT[name])
    assert result, repr(result)


@pytest.mark.parametrize("name", NAMES)
def test_no_answer_is_not_wrong_but_open(name):
    result = check(name, ...)
    assert not result and "Not answered yet" in repr(result)


def replaced(net):
    for name in ("act1", "act2"):
        setattr(net.layers, name, nn.LeakyReLU(0.2))
    return net


def half_mended(net):
    nn.init.zeros_(net.layers.linear1.bias)
    return net


def all_alike(net):
    for name in ("linear1", "linear2"):
        layer = net.layers.get_submodule(name)
        nn.init.constant_(layer.weight, 0.01)
        nn.init.zeros_(layer.bias)
    return net


def overflowing(z):
    p = z.exp() / z.exp().sum()
    return torch.diag(p) - torch.outer(p, p)


def no_factor(z, beta):
    return swish_derivatives(z, beta)[0], z * torch.sigmoid(beta * z) * torch.sigmoid(-beta * z)


def no_beta(z, beta):
    return torch.sigmoid(beta * z) * (1 + z * torch.sigmoid(-beta * z)), swish_derivatives(z, beta)[1]


WRONG = [
    ("dead-share", 0.25, "must be a function"),
    ("dead-share", lambda h: (h == 0).float().mean(), "share of outputs"),
    ("dead-share", lambda h: (h < 0.25).all(0).float().mean(), "small output is alive"),
    ("dead-share", lambda h: (h == 0).all(1).float().mean(), "No unit was found"),
    ("dead-share", lambda h: (h == 0).all(0).sum(), "divide it"),
    ("dead-share", lambda h: (h == 0).all(0), "the mean of the mask"),
    ("dead-share", lambda h: None, "nothing was returned"),
    ("adaptive-parameters", 48, "Give 3 numbers"),
    ("adaptive-parameters", (2, 6, 528), "Here each channel has its own"),
    ("adaptive-parameters", (48, 144, 432), "batch normalization"),
    ("adaptive-parameters", (48, 96, 528), "ACON-C"),
    ("leaky-gain", lambda a: math.sqrt((1 + a**2) / 2), "reciprocal"),
    ("leaky-gain", lambda a: math.sqrt(2) / (1 + a), "slope squared"),
    ("leaky-gain", lambda a: math.sqrt(2), "whatever the slope"),
    ("leaky-gain", lambda a: 2 / (1 + a**2), "take the root"),
    ("leaky-gain", lambda a: 1.0, "the gain for slope 0 is 1"),
    ("leaky-gain", 1.2, "must be a function"),
    ("swish-derivatives", lambda z, b: torch.sigmoid(b * z), "Return two things"),
    ("swish-derivatives", lambda z, b: (torch.sigmoid(b * z), z), "second term"),
    ("swish-derivatives", no_factor, "factor z in front"),
    ("swish-derivatives", no_beta, "inner derivative is missing"),
    ("swish-derivatives", lambda z, b: (z, z), "the derivative with respect to z"),
    ("swish-derivatives", 3, "must be a function"),
    ("softmax-jacobian", lambda z: z.softmax(0) * (1 - z.softmax(0)), "3 x 3 matrix"),
    ("softmax-jacobian", lambda z: torch.diag(z.softmax(0) * (1 - z.softmax(0))), "other entries are not 0"),
    ("softmax-jacobian", lambda z: -softmax_jacobian(z), "sign is wrong"),
    ("softmax-jacobian", overflowing, "(1001, 1000, 999)"),
    ("softmax-jacobian", "p", "must be a function"),
    ("revival-by-decay", math.inf, "needs no gradient"),
    ("revival-by-decay", None, "needs no gradient"),
    ("revival-by-decay", 137, "Round up"),
    ("revival-by-decay", math.log(0.25) / math.log(0.99), "whole one"),
    ("revival-by-decay", 50, "the number of steps is 50: too small"),
    ("mend-the-stillborn-net", lambda net: None, "forget a return"),
    ("mend-the-stillborn-net", lambda net: net, "still dead"),
    ("mend-the-stillborn-net", half_mended, "hidden layer 2"),
    ("mend-the-stillborn-net", replaced, "live with its ReLU"),
    ("mend-the-stillborn-net", lambda net: logits(), "other layers"),
    ("mend-the-stillborn-net", all_alike, "all units of a layer alike"),
    ("mend-the-stillborn-net", 1, "must be a function"),
    ("mend-the-loss", lambda: nn.Sequential(logits(), nn.Softmax(-1)), "still sum to 1"),
    ("mend-the-loss", lambda: nn.Sequential(logits(), nn.ReLU()), "ever negative"),
    ("mend-the-loss", lambda: models.MLP((64, 32, 9), activation=nn.ReLU), "10 logits"),
    ("mend-the-loss", lambda: None, "forget a return"),
    ("mend-the-loss", lambda: nn.Sequential(logits(), nn.Hardtanh(-1e-3, 1e-3)), "more than 85 %"),
    ("mend-the-loss", "net", "must be a function"),
    ("your-activation", torch.exp, "not finite"),
    ("your-activation", lambda z: 2 * z, "straight line"),
    ("your-activation", torch.relu, "units can die"),
    ("your-activation", lambda z: z.sum(), "of the shape"),
    ("your-activation", lambda z: 1e-3 * torch.sin(100 * z), "reach only"),
    ("your-activation", 3, "must be a function"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "answer", "said"), WRONG, ids=[f"{name}-{said}" for name, _, said in WRONG])
def test_a_wrong_answer_is_told_what_is_wrong(name, answer, said):
    result = check(name, answer)
    assert not result
    assert said in repr(result), repr(result)


def test_the_stillborn_net_is_dead_on_every_digit():
    from convcraft.lab import data

    x = data.load("digits").flattened().train.x
    hidden = stillborn().layers[:3](x)
    assert bool((hidden == 0).all())


def test_the_loss_after_a_second_softmax_has_a_floor():
    sure = torch.eye(10)[:1]
    floor = nn.functional.cross_entropy(sure, torch.tensor([0]))
    assert math.isclose(floor.item(), math.log(math.e + 9) - 1, rel_tol=1e-6)
