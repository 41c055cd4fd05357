"""Fifty layers: orthogonal or normal weights, under tanh and under ReLU.

Varied: the activation and the distribution of the weights at one scale, that of Xavier's rule for tanh (gain 1) and
of He's for ReLU (gain root of 2): normal numbers, or orthogonal matrices times the gain. Fifty hidden layers of 64
units, neither normalization nor skips, biases zero. Measured after training at the best rate of the arm: test and
train accuracy. Budget: 40 epochs of 10 batches (400 updates). Reduced: one depth and one width.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from convcraft.initialization import orthogonal_
from convcraft.lab import data, models
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.training import evaluate

DEPTH = 50
GAINS = {"tanh": 1.0, "relu": math.sqrt(2)}


def splits(arm: dict) -> data.Splits:
    return data.load("digits").standardized().flattened()


@torch.no_grad()
def model(arm: dict) -> nn.Module:
    net = models.MLP((64,) + DEPTH * (64,) + (10,), activation=arm["activation"])
    for layer in net.modules():
        if isinstance(layer, nn.Linear):
            gain = GAINS[arm["activation"]]
            if arm["weights"] == "orthogonal":
                orthogonal_(layer.weight, gain)
            else:
                layer.weight.normal_(0, gain / math.sqrt(layer.in_features))
            nn.init.zeros_(layer.bias)
    return net


def measure(net: nn.Module, splits: data.Splits, arm: dict, seed: int) -> dict[str, float]:
    return {"train_accuracy": evaluate(net, splits.train).accuracy}


STUDY = Study(
    arms={
        f"{activation} {weights}": {"activation": activation, "weights": weights}
        for activation in GAINS
        for weights in ("normal", "orthogonal")
    },
    rates=(0.003, 0.01, 0.03),
    seeds=range(10),
    tuning_seeds=range(100, 110),
    splits=splits,
    model=model,
    measure=measure,
    fit={"epochs": 40, "batch_size": 100, "evaluate_at": range(20, 401, 20)},
    contrasts=(
        Contrast("tanh orthogonal", "tanh normal"),
        Contrast("relu orthogonal", "relu normal"),
        Contrast("tanh normal", "relu normal"),
        Contrast("tanh orthogonal", "tanh normal", against=("relu orthogonal", "relu normal")),
    ),
    quick={"seeds": range(2), "fit": {"epochs": 1, "evaluate_at": None}},
)
