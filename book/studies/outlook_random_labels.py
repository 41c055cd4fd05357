"""Random labels on 500 digits: can networks of four activations learn them by heart?

Varied: the activation. ReLU, tanh and SiLU are started by `initialize`, the sine as a SIREN is; all have two
hidden layers of 64 units. The labels are drawn anew for each seed. Measured: the share of the 500 labels
that the network gives at the end. The rate is chosen by the loss on the same 500 images, for there is nothing
to generalize.

Budget: 1,500 updates of 50 images. The loss of a network that knows all labels falls on without end; no
verdict rests on its value. Reduced, to finish in minutes on two cores: one size.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import nn

from convcraft.initialization import initialize
from convcraft.lab import data, models
from convcraft.lab.experiments import Study
from convcraft.lab.training import evaluate

WIDTHS = (64, 64, 64, 10)


@cache
def labelled(seed: int) -> data.Splits:
    """500 digits with labels drawn from the seed, to learn and to measure on; a stub of a test part."""
    digits = data.load("digits").standardized().flattened()
    y = torch.randint(10, (500,), generator=torch.Generator().manual_seed(seed))
    part = data.Split(digits.train.x[:500], y)
    return data.Splits(part, part, data.Split(part.x[:8], part.y[:8]), "random labels", digits.classes)


def splits(arm: dict, seed: int) -> data.Splits:
    return labelled(seed)


def model(arm: dict) -> nn.Module:
    if arm["activation"] == "sine":
        return models.sine_mlp(WIDTHS)
    net = models.MLP(WIDTHS, activation=arm["activation"])
    initialize(net)
    return net


def measure(net: nn.Module, splits: data.Splits, arm: dict, seed: int) -> dict[str, float]:
    return {"train_accuracy": evaluate(net, splits.train).accuracy}


STUDY = Study(
    arms={name: {"activation": name} for name in ("relu", "tanh", "silu", "sine")},
    rates=(0.01, 0.03, 0.1),
    splits=splits,
    model=model,
    measure=measure,
    fit={"updates": 1500, "batch_size": 50, "evaluate_at": range(100, 1501, 100)},
    select=("train_loss", "min"),
    quick={"seeds": range(2), "tuning_seeds": range(100, 101), "fit": {"updates": 100, "evaluate_at": None}},
)
