"""Plain stacks of 10 and 20 dense layers: which activation and which scale of the weights let them train.

Varied: activation and gain (sigmoid, tanh and ReLU at Xavier's scale 1, ReLU at He's 1.41: weights of variance
gain² / fan_in, biases of zero) and depth, at a width of 32 units, on digits. No normalization and no shortcuts.

1,600 updates of 64 images (100 epochs).
"""

from __future__ import annotations

from typing import Any

from torch import nn

from convcraft.lab import data, models
from convcraft.lab.experiments import Contrast, Study

ARMS: dict[str, dict[str, Any]] = {
    f"{activation} {gain:.3g}, {depth} layers": {"activation": activation, "gain": gain, "depth": depth}
    for activation, gain, depth in (
        ("sigmoid", 1.0, 10), ("sigmoid", 1.0, 20), ("tanh", 1.0, 20), ("relu", 1.0, 20), ("relu", 2**0.5, 20),
    )
}  # fmt: skip


def splits(arm: dict[str, Any]) -> data.Splits:
    return data.load("digits").standardized()


def model(arm: dict[str, Any]) -> nn.Module:
    net = models.MLP((64, *[32] * arm["depth"], 10), activation=arm["activation"])
    for layer in net.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=arm["gain"] / layer.in_features**0.5)
            nn.init.zeros_(layer.bias)
    return net


CLAIM = "relu-mitigates-vanishing-gradient"
STUDY = Study(
    arms=ARMS,
    rates=(0.003, 0.01, 0.03, 0.1),
    splits=splits,
    model=model,
    fit={"updates": 1600, "evaluate_at": range(80, 1601, 80), "batch_size": 64},
    contrasts=(
        Contrast("relu 1.41, 20 layers", "relu 1, 20 layers", claim=CLAIM),
        Contrast("relu 1.41, 20 layers", "tanh 1, 20 layers", claim=CLAIM),
        Contrast("tanh 1, 20 layers", "sigmoid 1, 20 layers", claim=CLAIM),
    ),
    quick={"seeds": range(2), "tuning_seeds": range(100, 101), "rates": (0.03,),
           "fit": {"updates": 16, "evaluate_at": (8, 16)}},
)  # fmt: skip
