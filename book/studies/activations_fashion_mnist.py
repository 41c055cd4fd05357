"""Five activations in one convolutional network on Fashion-MNIST.

Varied: the activation. Every layer starts with normal weights of variance 1 / (fan_in E[f(z)^2]), z ~ N(0, 1),
the first with 1 / fan_in, and zero biases. Measured: validation accuracy by epoch, test accuracy.

Reduced, to finish in minutes on two cores: 10,000 of the 55,000 training images, 2,000 of the 5,000
validation images, three epochs; three tuning seeds.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import nn

from convcraft import activations
from convcraft.lab import data, models
from convcraft.lab.experiments import Contrast, Study

ACTIVATIONS = ("relu", "tanh", "gelu", "silu", "sigmoid")


def splits(arm: dict[str, Any]) -> data.Splits:
    loaded = data.load("fashion-mnist").standardized()
    return replace(loaded, train=loaded.train.subset(10_000), validation=loaded.validation.subset(2_000))


def model(arm: dict[str, Any]) -> nn.Module:
    """The network, each layer at the scale that keeps the second moment of its own activation."""
    name = arm["activation"]
    net = models.ConvNet((16, 32), size=28, hidden=64, activation=name)
    moment = 1.0
    for layer in net.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.normal_(layer.weight, std=(layer.weight[0].numel() * moment) ** -0.5)
            nn.init.zeros_(layer.bias)
            moment = activations.catalog()[name].second_moment
    return net


STUDY = Study(
    arms={name: {"activation": name} for name in ACTIVATIONS},
    rates=(0.01, 0.03, 0.1, 0.3),
    seeds=range(5),
    tuning_seeds=range(100, 103),
    splits=splits,
    model=model,
    fit={"epochs": 3, "batch_size": 64, "momentum": 0.9},
    contrasts=tuple(Contrast(name, "relu", family="against relu") for name in ACTIVATIONS[1:]),
    quick={"seeds": range(2), "tuning_seeds": range(100, 101), "rates": (0.03,), "fit": {"epochs": 1}},
)
