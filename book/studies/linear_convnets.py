"""Convolutional networks without an activation: max pooling is nonlinear as well, average pooling is not.

Varied: the activation (ReLU or none) and the pooling (maximum or average) of a network of two convolutions with
8 and 16 channels and a linear head, on digits. Measured: test accuracy, and how far the network is from a linear
map: the mean of |f(u + v) - f(u) - f(v) + f(0)| over pairs of test images, relative to that of |f(u) - f(0)|.

960 updates of 64 images (60 epochs).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from convcraft.lab import data, models
from convcraft.lab.experiments import Contrast, Study

ARMS: dict[str, dict[str, Any]] = {
    f"{activation or 'none'}, {pool}": {"activation": activation, "pool": pool}
    for activation in ("relu", None)
    for pool in ("max", "avg")
}


def splits(arm: dict[str, Any]) -> data.Splits:
    return data.load("digits").standardized()


def model(arm: dict[str, Any]) -> nn.Module:
    return models.ConvNet((8, 16), activation=arm["activation"], pool=arm["pool"], hidden=0)


@torch.no_grad()
def measure(f: nn.Module, splits: data.Splits, arm: dict[str, Any], seed: int) -> dict[str, float]:
    u, v = splits.test.x[:100], splits.test.x[100:200]
    at_u, at_zero = f(u), f(0 * u)
    error = (f(u + v) - at_u - f(v) + at_zero).abs().mean()
    return {"superposition_error": float(error / (at_u - at_zero).abs().mean())}


CLAIM = "cnn-must-have-activation-functions"
STUDY = Study(
    arms=ARMS,
    rates=(0.01, 0.03, 0.1),
    splits=splits,
    model=model,
    measure=measure,
    fit={"updates": 960, "evaluate_at": range(48, 961, 48), "batch_size": 64},
    contrasts=(
        Contrast("none, max", "relu, max", claim=CLAIM),
        Contrast("none, avg", "relu, avg", claim=CLAIM),
    ),
    quick={"seeds": range(2), "tuning_seeds": range(100, 101), "rates": (0.03,),
           "fit": {"updates": 16, "evaluate_at": (8, 16)}},
)  # fmt: skip
