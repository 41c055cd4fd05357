"""Slope, centring and range of the sigmoid: which of them makes tanh faster.

Varied: the activation of four hidden layers of 32 units on digits, seven sigmoids with slope 1/4, 1/2 or 1 at zero,
a range of width 1 or 2, and a mean of zero or not. Weights of variance 1 / fan_in, biases of zero. Each rate is the
one with the lowest training loss at the end of the budget.

Measured: loss on the training part at the end, and test accuracy.

80 updates of 64 images (5 epochs), and four of the seven for 800 (50 epochs).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from convcraft.lab import data, models
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.training import evaluate

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "σ(z)": torch.sigmoid,
    "2σ(z)": lambda z: 2 * torch.sigmoid(z),
    "2σ(z) − 1": lambda z: 2 * torch.sigmoid(z) - 1,
    "σ(4z)": lambda z: torch.sigmoid(4 * z),
    "σ(4z) − ½": lambda z: torch.sigmoid(4 * z) - 0.5,
    "tanh(z)": torch.tanh,
    "tanh(z) + 1": lambda z: torch.tanh(z) + 1,
}
LONG = ("σ(z)", "2σ(z)", "σ(4z) − ½", "tanh(z)")
ARMS: dict[str, dict[str, Any]] = {
    **{f"{name} short": {"activation": name, "updates": 80} for name in FUNCTIONS},
    **{name: {"activation": name, "updates": 800} for name in LONG},
}


def splits(arm: dict[str, Any]) -> data.Splits:
    return data.load("digits").standardized()


def model(arm: dict[str, Any]) -> nn.Module:
    net = models.MLP((64, *[32] * 4, 10), activation=lambda: models.Elementwise(FUNCTIONS[arm["activation"]]))
    for layer in net.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
            nn.init.zeros_(layer.bias)
    return net


def fit(arm: dict[str, Any]) -> dict[str, Any]:
    last = arm["updates"]
    return {"updates": last, "evaluate_at": range(last // 20 * 4, last + 1, last // 20 * 4), "batch_size": 64}


def measure(model: nn.Module, splits: data.Splits, arm: dict[str, Any], seed: int) -> dict[str, float]:
    return {"train_loss_end": evaluate(model, splits.train).loss}


PAIRS = (
    # those of the claim
    ("tanh(z)", "σ(z)"), ("σ(4z) − ½", "tanh(z)"), ("2σ(z)", "tanh(z)"),
    # and those that differ in one property
    ("σ(4z)", "σ(z)"), ("tanh(z)", "2σ(z) − 1"), ("σ(4z) − ½", "σ(4z)"), ("tanh(z)", "tanh(z) + 1"),
    ("2σ(z) − 1", "2σ(z)"),
)  # fmt: skip
CLAIM = "tanh-wider-range-makes-it-faster-than-sigmoid"
STUDY = Study(
    arms=ARMS,
    rates=(0.01, 0.03, 0.1, 0.3),
    seeds=range(20),
    splits=splits,
    model=model,
    measure=measure,
    fit=fit,
    select=("train_loss", "min"),
    contrasts=(
        *(Contrast(f"{a} short", f"{b} short", "train_loss_end", CLAIM) for a, b in PAIRS),
        *(Contrast(a, b) for a, b in PAIRS[:3]),
    ),
    short=tuple(name for name in ARMS if name.endswith("short")),
    quick={"seeds": range(2), "tuning_seeds": range(100, 101), "rates": (0.03,),
           "fit": {"updates": 16, "evaluate_at": (8, 16)}},
)  # fmt: skip
