"""Fifty layers of digits, with each of the usual remedies.

Varied: the remedy. He's initialization of a plain ReLU network; batch normalization before each ReLU;
residual connections, x + W relu(x) with branches that start at zero; SELU with LeCun's initialization; tanh
with orthogonal weights of gain 1 and biases of zero. Fifty hidden layers of 32 units, all but the last arm
started by `initialize`. Measured after training at the best rate of the arm: test accuracy.

Budget: at most 480 updates of 50 images for He's initialization, whose loss still fell after 400 in
`orthogonal_depth`, and 240 for the others; fewer where the validation loss is flat. Reduced, to finish in
minutes on two cores: one depth and one width.
"""

from __future__ import annotations

from torch import nn

from convcraft.initialization import initialize, orthogonal_
from convcraft.lab import data, models
from convcraft.lab.experiments import Contrast, Study

DEPTH, WIDTH = 50, 32
REMEDIES = ("he", "batch norm", "residual", "selu", "orthogonal tanh")
FUNCTIONS = {"selu": nn.SELU, "orthogonal tanh": nn.Tanh}


def splits(arm: dict) -> data.Splits:
    return data.load("digits").standardized().flattened()


def layer(remedy: str) -> nn.Module:
    """One of the layers behind the first."""
    linear = nn.Linear(WIDTH, WIDTH)
    if remedy == "residual":
        return models.Skip(nn.Sequential(nn.ReLU(), linear))
    norms = [nn.BatchNorm1d(WIDTH)] if remedy == "batch norm" else []
    return nn.Sequential(linear, *norms, FUNCTIONS.get(remedy, nn.ReLU)())


def model(arm: dict) -> nn.Module:
    """A first layer, 49 more, and the output."""
    first, remedy = nn.Linear(64, WIDTH), arm["remedy"]
    start = [first] if remedy == "residual" else [first, FUNCTIONS.get(remedy, nn.ReLU)()]
    net = nn.Sequential(*start, *(layer(remedy) for _ in range(DEPTH - 1)), nn.Linear(WIDTH, 10))
    initialize(net)
    if remedy == "orthogonal tanh":
        for linear in [m for m in net.modules() if isinstance(m, nn.Linear)][:-1]:
            orthogonal_(linear.weight)
    return net


def fit(arm: dict) -> dict:
    updates = 480 if arm["remedy"] == "he" else 240
    looks = range(updates // 12, updates + 1, updates // 12)
    return {"updates": updates, "evaluate_at": looks, "batch_size": 50, "flat": 0.01}


STUDY = Study(
    arms={name: {"remedy": name} for name in REMEDIES},
    rates=(0.003, 0.01, 0.03),
    splits=splits,
    model=model,
    fit=fit,
    contrasts=tuple(
        Contrast(name, "he", claim="exploding-and-vanishing-are-unsolved-activation-problems")
        for name in REMEDIES[1:]
    ),
    quick={
        "seeds": range(2),
        "tuning_seeds": range(100, 101),
        "fit": {"updates": 10, "evaluate_at": None},
    },
)
