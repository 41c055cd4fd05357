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


BUDGETS = {"": 15, " short": 3}  # epochs
ARMS = {
    f"{name}{budget}": {"activation": name, "epochs": epochs}
    for budget, epochs in BUDGETS.items()
    for name in FUNCTIONS
}

STUDY = Study(
    arms=ARMS,
    rates=(0.01, 0.03, 0.1),
    seeds=range(10),
    tuning_seeds=range(100, 110),
    short=tuple(name for name in ARMS if name.endswith("short")),
    splits=splits,
    model=model,
    fit=lambda arm: {"epochs": arm["epochs"], "batch_size": 50},
    contrasts=tuple(
        Contrast(name, "relu", claim="relu-as-hidden-default-in-convnets", family="fashion-mnist")
        for name in FUNCTIONS
        if name != "relu"
    )
    + tuple(
        Contrast(name, "relu", claim="swish-mish-outperform-relu-on-some-tasks", family="smooth")
        for name in ("silu", "mish", "gelu")
    )
    + tuple(
        Contrast(name, "relu", against=(f"{name} short", "relu short"), family="budget")
        for name in FUNCTIONS
        if name != "relu"
    )
    + (Contrast("elu", "leaky_relu", claim="elu-trains-better-than-leaky-and-reduces-bias", family="elu"),),
    quick={"rates": (0.03,), "seeds": range(2), "tuning_seeds": range(100, 101), "fit": {"epochs": 1}},
)
