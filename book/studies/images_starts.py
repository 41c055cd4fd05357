"""Starts instead of mixtures: 27 starts of ReLU everywhere, on the digits of `images_mixtures`.

The control of a search: to train 27 mixtures once and keep the one that validates best is to have 27 tries.
Here the 27 tries have the same activation and differ by their first weights alone. Training images, batches,
budget and network are those of `images_mixtures`, the rate is the one that was chosen there for ReLU
everywhere, 0.03. Measured: validation accuracy and which of 1,000 test digits are right.

Planned after the result of `images_mixtures` had been seen; reduced as it is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from convcraft.initialization import calculate_gain
from convcraft.lab import data, models
from convcraft.lab.experiments import Study

STARTS, POOL, IMAGES = 27, 500, 300


def splits(arm: dict[str, Any], seed: int) -> data.Splits:
    """300 images of 500 for the seed; the rest of the training part is added to the test part."""
    digits = data.load("digits").standardized()
    train, test = digits.train, digits.test
    pool = data.Split(train.x[:POOL], train.y[:POOL])
    joined = data.Split(torch.cat([test.x, train.x[POOL:]]), torch.cat([test.y, train.y[POOL:]]))
    return replace(digits, train=pool.subset(IMAGES, seed), test=joined)


def model(arm: dict[str, Any]) -> nn.Module:
    """ReLU everywhere, with first weights of the arm's own for each seed."""
    torch.manual_seed(1000 * (arm["start"] + 1) + int(torch.randint(1000, ())))
    net = models.ConvNet((8, 16), hidden=32)
    gain = 1.0
    for layer in (module for module in net.modules() if isinstance(module, nn.Conv2d | nn.Linear)):
        nn.init.normal_(layer.weight, std=gain * layer.weight[0].numel() ** -0.5)
        nn.init.zeros_(layer.bias)
        gain = calculate_gain("relu")
    return net


STUDY = Study(
    arms={f"start {start:02}": {"start": start} for start in range(STARTS)},
    seeds=range(10),
    splits=splits,
    model=model,
    fit={
        "learning_rate": 0.03, "updates": 600, "evaluate_at": range(30, 601, 30), "flat": 0.01,
        "batch_size": 30,
    },
    quick={"arms": ("start 00", "start 01"), "seeds": range(2)},
)  # fmt: skip
