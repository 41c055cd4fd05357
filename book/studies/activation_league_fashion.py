"""Activation league on Fashion-MNIST: eight activations in one convolutional network.

Varied: the activation, each at the weight scale that keeps its own second moment, and the learning rate.
Measured: test accuracy and loss at the rate that is best for the activation, on all 10,000 test images.

Reduced, to finish in minutes on two cores: 5,000 of the 55,000 training images, 2,000 of the 5,000 validation
images, three epochs, two convolutions with 8 and 16 channels; two seeds for the choice of the rate and ten
for the result.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import nn

from convcraft.initialization import calculate_gain
from convcraft.lab import data, models
from convcraft.lab.experiments import Contrast, Study

FUNCTIONS = ("relu", "leaky_relu", "elu", "gelu", "silu", "mish", "tanh", "sigmoid")
TRAIN, VALIDATION = 5_000, 2_000


def splits(arm: dict[str, Any]) -> data.Splits:
    """Fashion-MNIST, standardized; fewer images for training and validation."""
    whole = data.load("fashion-mnist").standardized()
    return replace(
        whole, train=whole.train.subset(TRAIN, 0), validation=whole.validation.subset(VALIDATION, 0)
    )


def model(arm: dict[str, Any]) -> nn.Module:
    """The network of the arm, each layer at the weight scale that keeps the second moment before it."""
    net = models.ConvNet((8, 16), size=28, hidden=32, activation=arm["activation"])
    gain = 1.0
    for layer in (module for module in net.modules() if isinstance(module, (nn.Conv2d, nn.Linear))):
        nn.init.normal_(layer.weight, std=gain * layer.weight[0].numel() ** -0.5)
        nn.init.zeros_(layer.bias)
        gain = calculate_gain(models.activation_layer(arm["activation"]))
    return net


STUDY = Study(
    arms={name: {"activation": name} for name in FUNCTIONS},
    rates=(0.003, 0.01, 0.03, 0.1, 0.3),
    seeds=range(10),
    tuning_seeds=range(100, 102),
    splits=splits,
    model=model,
    fit={"epochs": 3, "batch_size": 50},
    contrasts=tuple(
        Contrast(name, "relu", claim="relu-as-hidden-default-in-convnets", family="fashion-mnist")
        for name in FUNCTIONS
        if name != "relu"
    )
    + tuple(
        Contrast(name, "relu", claim="swish-mish-outperform-relu-on-some-tasks", family="smooth")
        for name in ("silu", "mish", "gelu")
    )
    + (Contrast("elu", "leaky_relu", claim="elu-trains-better-than-leaky-and-reduces-bias", family="elu"),),
    quick={"rates": (0.03,), "seeds": range(2), "tuning_seeds": range(100, 101), "fit": {"epochs": 1}},
)
