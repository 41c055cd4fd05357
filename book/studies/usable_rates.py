"""What moves the range of usable learning rates: batch size, momentum, normalization, decay.

Varied: one thing at a time against a plain network (three hidden layers of 32 ReLU units, He
initialization, plain gradient descent on batches of 32): the size of the batch, momentum, batch and layer
normalization, weight decay; and the learning rate, in factors of 2. Measured: validation accuracy after the
last epoch at every rate. All arms make the same number of passes over the data, so an arm with large
batches makes fewer steps.

Reduced, to finish in minutes on two cores: digits alone; 10 epochs; 5 seeds at every rate.
"""

from __future__ import annotations

from torch import nn

from convcraft.lab import data
from convcraft.lab.experiments import Study

WIDTH, DEPTH = 32, 3
NORMS = {"none": None, "batch": nn.BatchNorm1d, "layer": nn.LayerNorm}
ARMS: dict[str, dict] = {
    **{f"batch of {size}": {"batch_size": size} for size in (8, 32, 128, 500)},
    "momentum 0.5": {"momentum": 0.5},
    "momentum 0.9": {"momentum": 0.9},
    "batch norm": {"norm": "batch"},
    "layer norm": {"norm": "layer"},
    "decay 0.001": {"weight_decay": 0.001},
    "decay 0.01": {"weight_decay": 0.01},
    "decay 0.1": {"weight_decay": 0.1},
}


def splits(arm: dict) -> data.Splits:
    """Digits, 1000 for training and 297 for validation, standardized."""
    return data.load("digits").standardized()


def model(arm: dict) -> nn.Module:
    """The network of an arm; normalization, where there is one, before the activation."""
    norm = NORMS[arm.get("norm", "none")]
    net, width = nn.Sequential(nn.Flatten()), 64
    for _ in range(DEPTH):
        layer = nn.Linear(width, WIDTH)
        nn.init.normal_(layer.weight, std=((1 if width == 64 else 2) / width) ** 0.5)
        nn.init.zeros_(layer.bias)
        net.extend([layer] + ([norm(WIDTH)] if norm else []) + [nn.ReLU()])
        width = WIDTH
    return net.append(nn.Linear(WIDTH, 10))


def fit(arm: dict) -> dict:
    """The settings of an arm: those of the plain network, and what the arm varies."""
    settings = {"epochs": 10, "batch_size": 32, "momentum": 0.0, "weight_decay": 0.0}
    return {name: arm.get(name, value) for name, value in settings.items()}


STUDY = Study(
    arms=ARMS,
    rates=tuple(round(0.002 * 2**k, 6) for k in range(12)),
    seeds=range(5),
    tuning_seeds=range(100, 105),
    splits=splits,
    model=model,
    fit=fit,
    quick={"rates": (0.1,), "seeds": range(1), "tuning_seeds": range(100, 101)},
)
