"""Forty configurations of a small network, and which of 1,000 test digits each gets right.

Varied: everything that one tries in a project. Each of 40 configurations is drawn at random: maps (4 and 8, 8
and 16, 16 and 32), hidden units (16, 32, 64), activation (ReLU, ELU, tanh, GELU, SiLU), learning rate (0.01
to 0.1), weight decay (0.00001 to 0.01), epochs (10 to 40). Every seed has 300 training images of its own,
drawn from 500, and trains all 40; 297 images validate, 1,000 test. Measured: validation accuracy and which
test images are right.

Nothing is chosen here: the page divides the test images into a part that chooses and a part that is fresh,
and shows what the choice promised and what it kept.

Reduced, to finish in minutes on two cores: 300 images of 8x8.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from convcraft.initialization import initialize
from convcraft.lab import data, models
from convcraft.lab.experiments import Study

TRIALS, POOL, IMAGES = 40, 500, 300
FUNCTIONS = ("relu", "elu", "tanh", "gelu", "silu")


def splits(arm: dict[str, Any], seed: int) -> data.Splits:
    """300 images of 500 for the seed; the rest of the training part is added to the test part."""
    digits = data.load("digits").standardized()
    train, test = digits.train, digits.test
    pool = data.Split(train.x[:POOL], train.y[:POOL])
    joined = data.Split(torch.cat([test.x, train.x[POOL:]]), torch.cat([test.y, train.y[POOL:]]))
    return replace(digits, train=pool.subset(IMAGES, seed), test=joined)


def configuration(trial: int) -> dict[str, Any]:
    """What is drawn for a trial."""
    draw = np.random.default_rng([2024, trial])
    maps = int(draw.choice([4, 8, 16]))
    return {
        "maps": [maps, 2 * maps],
        "hidden": int(draw.choice([16, 32, 64])),
        "activation": str(draw.choice(FUNCTIONS)),
        "rate": round(float(10 ** draw.uniform(-2, -1)), 5),
        "decay": round(float(10 ** draw.uniform(-5, -2)), 7),
        "epochs": round(math.exp(draw.uniform(math.log(10), math.log(40)))),
    }


def model(arm: dict[str, Any]) -> nn.Module:
    """The network of a configuration."""
    net = models.ConvNet(arm["maps"], hidden=arm["hidden"], activation=arm["activation"])
    initialize(net)
    return net


def fit(arm: dict[str, Any]) -> dict[str, Any]:
    """How it is trained: gradient descent with momentum 0.9 in batches of 30."""
    settings = {"learning_rate": arm["rate"], "weight_decay": arm["decay"]}
    return settings | {"epochs": arm["epochs"], "batch_size": 30}


STUDY = Study(
    arms={f"{trial:02}": configuration(trial) for trial in range(TRIALS)},
    seeds=range(10),
    splits=splits,
    model=model,
    fit=fit,
    trains=False,
    quick={"arms": ("00", "01", "02"), "seeds": range(2)},
)
