"""Fifty layers of digits once more, four times as long.

In `outlook_depth` SELU and orthogonal tanh still learned at the end, and He's initialization and batch
normalization lay on a plateau, which a rule that looks for flat losses takes for an end. The four are trained
again from the same seeds at the same rates, without that rule, four times as long: 1,920 updates of 50 images
for He's initialization, 960 for the others. Decided before this run: for these four it counts, and for
residual connections the short one. Nothing is tuned: a rate that was best for the short run may not be the
best for the long one.
"""

from __future__ import annotations

from torch import nn

from convcraft.initialization import initialize, orthogonal_
from convcraft.lab import data
from convcraft.lab.experiments import Study

DEPTH, WIDTH = 50, 32
RATES = {"he": 0.003, "batch norm": 0.03, "selu": 0.0009, "orthogonal tanh": 0.003}
FUNCTIONS = {"selu": nn.SELU, "orthogonal tanh": nn.Tanh}


def splits(arm: dict) -> data.Splits:
    return data.load("digits").standardized().flattened()


def model(arm: dict) -> nn.Module:
    """Fifty layers of linear, normalization where it is the remedy, and activation; and the output."""
    remedy, widths = arm["remedy"], (64, *[WIDTH] * DEPTH)
    net = nn.Sequential()
    for depth in range(DEPTH):
        net.append(nn.Linear(widths[depth], widths[depth + 1]))
        if remedy == "batch norm" and depth:
            net.append(nn.BatchNorm1d(WIDTH))
        net.append(FUNCTIONS.get(remedy, nn.ReLU)())
    net.append(nn.Linear(WIDTH, 10))
    initialize(net)
    if remedy == "orthogonal tanh":
        for linear in [m for m in net.modules() if isinstance(m, nn.Linear)][:-1]:
            orthogonal_(linear.weight)
    return net


def fit(arm: dict) -> dict:
    updates = 1920 if arm["remedy"] == "he" else 960
    looks = range(updates // 12, updates + 1, updates // 12)
    rate = RATES[arm["remedy"]]
    return {"updates": updates, "evaluate_at": looks, "batch_size": 50, "learning_rate": rate}


STUDY = Study(
    arms={name: {"remedy": name} for name in RATES},
    splits=splits,
    model=model,
    fit=fit,
    quick={"seeds": range(2), "fit": {"updates": 10, "evaluate_at": None}},
)
