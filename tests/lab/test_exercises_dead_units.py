"""Exercises on dead units: right answers pass, and typical wrong answers are told what is wrong."""

import math

import pytest
import torch
from answers import is_told, passes
from torch import nn

from convcraft.lab import data, models
from convcraft.lab.exercises.dead_units import stillborn


def mended(net):
    for name in ("linear1", "linear2"):
        nn.init.zeros_(net.layers.get_submodule(name).bias)
    return net


def swish_derivatives(z, beta):
    s = torch.sigmoid(beta * z)
    return s + beta * z * s * (1 - s), z * z * s * (1 - s)


RIGHT = {
    "dead-share": lambda h: (h == 0).all(0).float().mean(),
    "adaptive-parameters": (48, 144, 528),
    "swish-derivatives": swish_derivatives,
    "revival-by-decay": 138,
    "mend-the-stillborn-net": mended,
    "what-follows-from-dead-counts": "c",
}


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
    ("swish-derivatives", lambda z, b: torch.sigmoid(b * z), "Return two things"),
    ("swish-derivatives", lambda z, b: (torch.sigmoid(b * z), z), "second term"),
    ("swish-derivatives", no_factor, "factor z in front"),
    ("swish-derivatives", no_beta, "inner derivative is missing"),
    ("swish-derivatives", lambda z, b: (z, z), "the derivative with respect to z"),
    ("swish-derivatives", 3, "must be a function"),
    ("revival-by-decay", math.inf, "needs no gradient"),
    ("revival-by-decay", None, "needs no gradient"),
    ("revival-by-decay", 137, "Round up"),
    ("revival-by-decay", math.log(0.25) / math.log(0.99), "whole one"),
    ("revival-by-decay", 50, "the number of steps is 50: too small"),
    ("mend-the-stillborn-net", lambda net: None, "forget a return"),
    ("mend-the-stillborn-net", lambda net: net, "still dead"),
    ("mend-the-stillborn-net", half_mended, "hidden layer 2"),
    ("mend-the-stillborn-net", replaced, "live with its ReLU"),
    ("mend-the-stillborn-net", lambda net: models.MLP((64, 32, 10)), "other layers"),
    ("mend-the-stillborn-net", all_alike, "all units of a layer alike"),
    ("mend-the-stillborn-net", 1, "must be a function"),
    ("revival-by-decay", 150, "the number of steps is 150: too large"),
    ("what-follows-from-dead-counts", "b", "finds no dead tanh units"),
]  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_answer_passes_and_none_is_open(name):
    passes(name, RIGHT[name])


@pytest.mark.parametrize(("name", "answer", "said"), WRONG, ids=[f"{name}-{said}" for name, _, said in WRONG])
def test_a_wrong_answer_is_told_what_is_wrong(name, answer, said):
    is_told(name, answer, said)


def test_the_stillborn_net_is_dead_on_every_digit():
    x = data.load("digits").flattened().train.x
    hidden = stillborn().layers[:3](x)
    assert bool((hidden == 0).all())
