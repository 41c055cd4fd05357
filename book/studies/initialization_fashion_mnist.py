"""Initialization of a convolutional network of fourteen layers on Fashion-MNIST.

Varied: how the weights start; one arm has batch normalization besides. Measured: test accuracy at the best
rate of the arm, and, before any step, the standard deviation of the logits on 256 images. Biases start at 0
but for "torch default". Reduced, to finish in minutes on two cores: 4,000 of the 55,000 training images,
2,000 of the 5,000 validation images, four epochs, 8 and 16 channels, 2 seeds to choose among 5 rates.
"""

from __future__ import annotations

import functools
from dataclasses import replace

import torch
from torch import nn

from convcraft.initialization import initialize, kaiming_normal_, lsuv_, normal_, xavier_normal_
from convcraft.lab import data
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.training import seeded


def splits(arm: dict) -> data.Splits:
    whole = data.load("fashion-mnist").standardized()
    return replace(whole, train=whole.train.subset(4000), validation=whole.validation.subset(2000))


@functools.cache
def images() -> torch.Tensor:
    """The batch that LSUV scales by."""
    return data.load("fashion-mnist").standardized().train.x[:256]


def network(norm: bool) -> nn.Sequential:
    """Twelve 3x3 convolutions, two of them with stride 2, and a linear layer, ReLU between them."""
    layers: list[nn.Module] = []
    for index in range(12):
        channels = (1 if index == 0 else 8 if index < 7 else 16, 8 if index < 6 else 16)
        layers.append(nn.Conv2d(*channels, 3, stride=2 if index in (0, 6) else 1, padding=1))
        layers += [nn.BatchNorm2d(channels[1])] * norm + [nn.ReLU()]
    layers += [nn.Flatten(), nn.Linear(16 * 49, 32), nn.ReLU(), nn.Linear(32, 10)]
    return nn.Sequential(*layers)


def model(arm: dict) -> nn.Sequential:
    net = network(arm["norm"])
    weighted = [layer for layer in net if isinstance(layer, (nn.Conv2d, nn.Linear))]
    rule = arm["rule"]
    if rule == "auto":
        initialize(net)
    elif rule == "lsuv":
        for layer in weighted:
            nn.init.zeros_(layer.bias)
        lsuv_(net, images())
    elif rule != "torch default":
        for layer in weighted:
            nn.init.zeros_(layer.bias)
            if rule == "0.01 randn":
                normal_(layer.weight, std=0.01)
            elif rule == "xavier":
                xavier_normal_(layer)
            else:
                kaiming_normal_(layer, nonlinearity="relu")
    return net


def measure(net: nn.Module, splits: data.Splits, arm: dict, seed: int) -> dict[str, float]:
    fresh = seeded(lambda: model(arm), seed)
    with torch.no_grad():
        return {"start_logits": float(fresh(splits.train.x[:256]).std())}


STUDY = Study(
    arms={
        "torch default": {"rule": "torch default", "norm": False},
        "0.01 randn": {"rule": "0.01 randn", "norm": False},
        "xavier": {"rule": "xavier", "norm": False},
        "he": {"rule": "he", "norm": False},
        "initialize": {"rule": "auto", "norm": False},
        "lsuv": {"rule": "lsuv", "norm": False},
        "torch default, batch norm": {"rule": "torch default", "norm": True},
    },
    rates=(0.001, 0.003, 0.01, 0.03, 0.1),
    seeds=range(5),
    tuning_seeds=range(100, 102),
    splits=splits,
    model=model,
    measure=measure,
    fit={"epochs": 4, "batch_size": 64},
    contrasts=tuple(
        Contrast(arm, "he")
        for arm in ("torch default", "0.01 randn", "xavier", "initialize", "lsuv")
        + ("torch default, batch norm",)
    ),
    quick={"seeds": range(2), "rates": (0.03,), "fit": {"epochs": 1}},
)
