"""Factorial of techniques: which factor explains how much of the test accuracy.

Varied: deep: perceptrons with ten hidden layers of width 32, a full factorial of activation (ReLU, ELU,
SiLU, tanh, sigmoid), initialization (normal of standard deviation 0.01, Xavier, He), batch normalization
(BN) before every activation (no, yes), weight decay (0, 0.003) and learning rate (0.003, 0.01, 0.03, 0.1,
0.3), at 600 updates and, on purpose short, 120. Conv: a ConvNet with two convolutions and a hidden layer,
a full factorial of activation (ReLU, tanh), initialization (torch's defaults, or its own for the
activation), BN, dropout (keep 0.8 after the hidden layer), weight decay (0, 0.003), augmentation (mild:
rotation by up to 10 degrees, scale 0.9 to 1.1, shift by up to half a pixel) and learning rate (0.01, 0.05),
600 updates. 300 digits, a subset of its own for every seed. Nothing is tuned: the rate is a factor like the
others, and what is best on validation is for the reader to choose.

Measured: accuracy and loss on train, validation and test. `convcraft.lab.statistics.variance_shares` gives
the shares, with the seed as block. To stay small the result keeps the accuracies on validation and test,
whether the loss of the long runs still fell, and which test images a network got right where an interval is
shown: in the contrasts, and at the best rate on validation of the conv cells and of the deep cells without
decay from 0.01 and He.

Reduced: digits only; six seeds.
"""

from dataclasses import replace
from itertools import product

import torch
from torch import nn

from convcraft import activations
from convcraft.augmentation import RandomAffine
from convcraft.dropout import Dropout
from convcraft.initialization import initialize, kaiming_normal_, normal_, xavier_normal_
from convcraft.lab import data
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.training import evaluate
from convcraft.normalization import BatchNorm1d, BatchNorm2d

N, BATCH, WIDTH, BUDGETS = 300, 32, 32, {"": 600, " short": 120}
DECAYS, RATES, CONV_RATES, CONV_UPDATES = (0.0, 0.003), (0.003, 0.01, 0.03, 0.1, 0.3), (0.01, 0.05), 600

FILL = {
    "small": lambda weight: normal_(weight, std=0.01),
    "xavier": xavier_normal_,
    "he": lambda weight: kaiming_normal_(weight, nonlinearity="relu"),
}


class Standardize(nn.Module):
    """Subtract the mean of the training images and divide by their deviation (digits: 0.305 and 0.376)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - 0.305) / 0.376


def act(arm: dict) -> nn.Module:
    return activations.catalog()[arm["activation"]].module()


def deep(arm: dict) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before in (64, *[WIDTH] * 9):
        layers += [nn.Linear(before, WIDTH), *([BatchNorm1d(WIDTH)] if arm["bn"] else []), act(arm)]
    net = nn.Sequential(Standardize(), nn.Flatten(), *layers, nn.Linear(WIDTH, 10))
    for layer in net:
        if isinstance(layer, nn.Linear):
            FILL[arm["init"]](layer.weight)
            nn.init.zeros_(layer.bias)
    return net


def conv(arm: dict) -> nn.Sequential:
    def after(norm: nn.Module) -> list[nn.Module]:
        return [norm, act(arm)] if arm["bn"] else [act(arm)]

    body = nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), *after(BatchNorm2d(8)), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 16, 3, padding=1), *after(BatchNorm2d(16)), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(64, WIDTH), *after(BatchNorm1d(WIDTH))),
        *([Dropout(0.2)] if arm["dropout"] else []),
        nn.Linear(WIDTH, 10),
    )
    if arm["init"] == "own":
        initialize(body)
    changes = [RandomAffine(10, scale=(0.9, 1.1), shift=0.5)] if arm["augmentation"] else []
    return nn.Sequential(*changes, Standardize(), *body)


def model(arm: dict) -> nn.Sequential:
    return deep(arm) if arm["net"] == "deep" else conv(arm)


def splits(arm: dict, seed: int) -> data.Splits:
    """The digits with the 300 training images of this seed."""
    whole = data.load("digits")
    return replace(whole, train=whole.train.subset(N, seed))


def fit(arm: dict) -> dict:
    step = arm["updates"] // 20
    return {
        "updates": arm["updates"], "evaluate_at": range(step, arm["updates"] + 1, step), "batch_size": BATCH,
        "learning_rate": arm["rate"], "weight_decay": arm["decay"],
    }  # fmt: skip


def measure(net: nn.Module, splits: data.Splits, arm: dict, seed: int) -> dict:
    fitted = evaluate(net, splits.train)
    return {"train_accuracy": fitted.accuracy, "final_train_loss": fitted.loss}


DEEP = {
    "activation": ("relu", "elu", "silu", "tanh", "sigmoid"),
    "init": tuple(FILL),
    "bn": (0, 1),
    "decay": DECAYS,
    "rate": RATES,
}
CONV = {
    "activation": ("relu", "tanh"),
    "init": ("torch", "own"),
    "bn": (0, 1),
    "dropout": (0, 1),
    "decay": DECAYS,
    "augmentation": (0, 1),
    "rate": CONV_RATES,
}


def cells(net: str, factors: dict[str, tuple], updates: int, budget: str = "") -> dict[str, dict]:
    """One arm for every combination of levels; its name holds the levels in order."""
    found = [dict(zip(factors, levels, strict=True)) for levels in product(*factors.values())]
    return {
        "_".join([net, *map(str, cell.values())]) + budget: {"net": net, "updates": updates, **cell}
        for cell in found
    }


ARMS = {name: arm for b, n in BUDGETS.items() for name, arm in cells("deep", DEEP, n, b).items()}
ARMS |= cells("conv", CONV, CONV_UPDATES)

STUDY = Study(
    arms=ARMS,
    seeds=range(6),
    short=tuple(name for name in ARMS if name.endswith("short")),
    splits=splits,
    model=model,
    fit=fit,
    measure=measure,
    contrasts=tuple(
        Contrast(
            *(f"deep_{activation}_{init}_1_0.0_{rate}{budget}" for init in ("he", "small")),
            against=tuple(f"deep_{activation}_{init}_0_0.0_{rate}{budget}" for init in ("he", "small")),
            claim="activation-alone-is-not-enough",
            family=f"initialization and batch normalization{budget}",
        )
        for budget in BUDGETS
        for activation in DEEP["activation"]
        for rate in (0.03, 0.1)
    ),
    quick={"seeds": range(1), "arms": ("deep_relu_he_1_0.0_0.03", "conv_relu_own_1_1_0.003_1_0.05")},
)
