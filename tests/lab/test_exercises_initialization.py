"""Exercises on initialization: right answers pass, and typical wrong answers are told what is wrong."""

import math

import pytest
import torch
from torch import nn

from convcraft.lab.exercises import check
from convcraft.lab.exercises.initialization import misfit


@torch.no_grad()
def he(model, terms=lambda w: w[0].numel(), bias=0.0):
    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            layer.weight.normal_(0, math.sqrt(2 / terms(layer.weight)))
            layer.bias.fill_(bias)


RIGHT = {
    "he-std-of-a-convolution": math.sqrt(2 / 576),
    "default-after-twelve": 6.0**-6,
    "gain-with-dropout": lambda p: math.sqrt(2 * (1 - p)),
    "branch-scale": lambda branches, growth: math.sqrt(growth ** (1 / branches) - 1),
    "share-below-average": 0.82,
    "which-conclusion-initialization": "b",
    "name-the-illness": "b",
    "mend-the-initializer": he,
    "your-deep-network": (torch.tanh, 1.2),
}

WRONG = [
    ("he-std-of-a-convolution", math.sqrt(2 / 64), "9 positions"),
    ("he-std-of-a-convolution", math.sqrt(2 / 2304), "fan-out"),
    ("he-std-of-a-convolution", math.sqrt(1 / 576), "twice"),
    ("he-std-of-a-convolution", 2 / 576, "root"),
    ("he-std-of-a-convolution", 0.5, "the standard deviation is 0.5: too large"),
    ("default-after-twelve", (1 / 6) ** 12, "second moment"),
    ("default-after-twelve", (1 / 3) ** 6, "halves"),
    ("default-after-twelve", 2.0**-6, "third"),
    ("default-after-twelve", 1.0, "the factor"),
    ("gain-with-dropout", 1.0, "function of p"),
    ("gain-with-dropout", lambda p: math.sqrt(2), "without dropout"),
    ("gain-with-dropout", lambda p: math.sqrt(2 / (1 - p)), "larger, not smaller"),
    ("gain-with-dropout", lambda p: 1.0, "p = 0"),
    ("gain-with-dropout", lambda p: 2 * (1 - p), "square of the gain"),
    ("branch-scale", 0.1, "function of branches"),
    ("branch-scale", lambda n, g: g ** (1 / n) - 1, "its square"),
    ("branch-scale", lambda n, g: g ** (1 / n), "1 + s^2"),
    ("branch-scale", lambda n, g: math.sqrt(math.log(g) / n), "limit for many"),
    ("branch-scale", lambda n, g: n**-0.5, "10 branches"),
    ("share-below-average", 0.5, "logarithm"),
    ("share-below-average", 0.1616, "above 1"),
    ("share-below-average", 0.9745, "standard deviation"),
    ("share-below-average", 0.7, "too small"),
    ("which-conclusion-initialization", "a", "whole interval"),
    ("which-conclusion-initialization", "c", "two columns"),
    ("which-conclusion-initialization", "d", "at chance"),
    ("name-the-illness", "a", "jumps"),
    ("name-the-illness", "c", "positive"),
    ("name-the-illness", "d", "same for each"),
    ("name-the-illness", "e", "one letter of a, b, c, d"),
    ("mend-the-initializer", None, "nothing"),
    ("mend-the-initializer", 3, "function of the model"),
    ("mend-the-initializer", lambda m: he(m, bias=0.1), "bias is not zero"),
    ("mend-the-initializer", lambda m: he(m, terms=lambda w: w.shape[1]), "How many"),
    ("mend-the-initializer", lambda m: he(m, terms=lambda w: w[:, 0].numel()), "How many"),
    ("your-deep-network", torch.tanh, "tuple"),
    ("your-deep-network", (torch.relu, math.sqrt(2)), "only scales"),
    ("your-deep-network", (torch.tanh, 0.9), "second moment"),
    ("your-deep-network", (torch.sin, 1.53), "gradient is multiplied"),
]


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_answer_passes(name):
    result = check(name, RIGHT[name])
    assert result, repr(result)


@pytest.mark.parametrize("name", RIGHT)
def test_no_answer_is_not_wrong_but_open(name):
    result = check(name, ...)
    assert not result and "Not answered yet" in repr(result)


@pytest.mark.parametrize(("name", "answer", "said"), WRONG, ids=range(len(WRONG)))
def test_a_wrong_answer_is_told_why(name, answer, said):
    result = check(name, answer)
    assert not result
    assert answer is None or said in repr(result), repr(result)


def test_the_network_to_mend_runs_and_starts_with_torchs_default():
    model = misfit()
    assert model(torch.zeros(2, 16, 7, 7)).shape == (2, 10)
    assert float(model[0].weight.detach().abs().max()) <= 144**-0.5
