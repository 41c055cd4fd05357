"""The slope of leaky ReLU: does it have to be tuned?

Varied: the negative slope from 0 (ReLU) to 1 (no activation at all), at 4 and at 12 hidden layers, each at
its own best learning rate, for 160 epochs (5,120 updates) and, on purpose short, for 20 (640). Each slope has
the initialization that He et al. (2015) give for it, gain sqrt(2 / (1 + slope^2)). Measured: test accuracy at
the chosen rate, validation accuracy at every rate.

Reduced, to finish in minutes on two cores: digits alone; fully connected networks of 32 units.
"""

from __future__ import annotations

from torch import nn

from convcraft import initialization
from convcraft.lab import data, models
from convcraft.lab.experiments import Contrast, Study

WIDTH = 32
SLOPES = (0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.0)


def splits(arm: dict) -> data.Splits:
    """Digits, 1000 for training and 297 for validation, standardized."""
    return data.load("digits").standardized()


def model(arm: dict) -> nn.Module:
    """The network of an arm, He initialization for its slope, the first layer for standardized pixels."""
    slope = arm["slope"]
    net = models.MLP((64, *[WIDTH] * arm["depth"], 10), activation=lambda: nn.LeakyReLU(slope))
    gain = 1.0
    for layer in net.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=gain / layer.in_features**0.5)
            nn.init.zeros_(layer.bias)
            gain = initialization.calculate_gain("leaky_relu", slope)
    return net


BUDGETS = {"": 160, " short": 20}  # epochs
ARMS = {
    f"{depth}-{slope:g}{name}": {"depth": depth, "slope": slope, "epochs": epochs}
    for name, epochs in BUDGETS.items()
    for depth in (4, 12)
    for slope in SLOPES
}

STUDY = Study(
    arms=ARMS,
    rates=tuple(round(0.004 * 2**k, 6) for k in range(8)),
    seeds=range(10),
    tuning_seeds=range(100, 110),
    short=tuple(name for name in ARMS if name.endswith("short")),
    splits=splits,
    model=model,
    fit=lambda arm: {
        "epochs": arm["epochs"],
        "batch_size": 32,
        "momentum": 0.0,
        "evaluate_at": range(arm["epochs"] * 8 // 5, arm["epochs"] * 32 + 1, arm["epochs"] * 8 // 5),
    },
    contrasts=tuple(
        Contrast(
            f"{depth}-{slope:g}{name}",
            f"{depth}-0.01{name}",
            measure="test_accuracy",
            claim="leaky-slope-must-be-tuned",
            margin=0.01,
            family=f"slope, {depth} hidden layers{name}",
        )
        for name in BUDGETS
        for depth in (4, 12)
        for slope in SLOPES
        if slope != 0.01
    ),
    quick={
        "rates": (0.1,),
        "seeds": range(2),
        "tuning_seeds": range(100, 101),
        "fit": {"epochs": 1, "evaluate_at": None},
    },
)
