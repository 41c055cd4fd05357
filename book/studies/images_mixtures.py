"""Mixtures of activations: all 27 ways to give three hidden layers ReLU, ELU or tanh, on few digits.

A small version of the article's network: convolutions with 8 and 16 maps, each followed by a maximum over
2x2, 32 units, 10 outputs; each layer at the weight scale that keeps the second moment before it. Every seed
has 300 training images of its own, drawn from 500; 297 images validate, 1,000 test. Varied: the function of
each of the three layers, and the learning rate. Measured: validation and test accuracy.

Decided before the runs: the mixture is chosen by its mean validation accuracy over the ten tuning seeds, at
its own rate, and compared with ReLU everywhere on the seeds of the result. Shown beside it: the choice of one
who trains each mixture once, by the validation accuracy of that seed.

Reduced, to finish in minutes on two cores: 300 images, 600 updates of 30 images at most, fewer where the
validation loss is flat.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import torch
from torch import nn

from convcraft.initialization import calculate_gain
from convcraft.lab import data, models
from convcraft.lab.experiments import Contrast, Study

FUNCTIONS = ("relu", "elu", "tanh")
POOL, IMAGES = 500, 300


def splits(arm: dict[str, Any], seed: int) -> data.Splits:
    """300 images of 500 for the seed; the rest of the training part is added to the test part."""
    digits = data.load("digits").standardized()
    train, test = digits.train, digits.test
    pool = data.Split(train.x[:POOL], train.y[:POOL])
    joined = data.Split(torch.cat([test.x, train.x[POOL:]]), torch.cat([test.y, train.y[POOL:]]))
    return replace(digits, train=pool.subset(IMAGES, seed), test=joined)


def model(arm: dict[str, Any]) -> nn.Module:
    """The network with the functions of the arm."""
    net = models.ConvNet((8, 16), hidden=32)
    functions = [models.activation_layer(name) for name in arm["functions"]]
    net.features.act1, net.features.act2, net.head.act = functions
    gain = 1.0
    layers = [module for module in net.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    for layer, function in zip(layers, [*functions, None], strict=True):
        nn.init.normal_(layer.weight, std=gain * layer.weight[0].numel() ** -0.5)
        nn.init.zeros_(layer.bias)
        gain = 1.0 if function is None else calculate_gain(function)
    return net


ARMS = {" ".join(mix): {"functions": list(mix)} for mix in product(FUNCTIONS, repeat=3)}
UNIFORM = "relu relu relu"

STUDY = Study(
    arms=ARMS,
    rates=(0.01, 0.03, 0.1),
    seeds=range(10),
    tuning_seeds=range(100, 110),
    splits=splits,
    model=model,
    fit={"updates": 600, "batch_size": 30, "evaluate_at": range(30, 601, 30), "flat": 0.01},
    contrasts=tuple(
        Contrast(name, UNIFORM, claim="tuning-activation-per-layer-improves-accuracy-and-speed")
        for name in ARMS
        if name != UNIFORM
    ),
    quick={"arms": ("relu relu relu", "relu elu tanh"), "seeds": range(2), "tuning_seeds": range(100, 102)},
)
