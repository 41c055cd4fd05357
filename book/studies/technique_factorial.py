"""Factorial of techniques: which factor explains how much of the test accuracy.

Varied: deep: perceptrons with ten hidden layers of width 32, a full factorial of activation (ReLU, ELU, SiLU,
tanh, sigmoid), initialization (normal of standard deviation 0.01, Xavier, He), batch normalization before
every activation (no, yes), weight decay (0, 0.003) and learning rate (0.003, 0.01, 0.03, 0.1, 0.3): nothing
is tuned, the rate is a factor like the others. Conv: a ConvNet with two convolutions and a hidden layer, a
full factorial of activation (ReLU, tanh), initialization (torch's defaults, or its own for the activation),
batch normalization, dropout (keep 0.8 after the hidden layer), weight decay (0, 0.003) and augmentation
(mild: rotation by up to 10 degrees, scale 0.9 to 1.1, shift by up to half a pixel), each cell at the better
of two rates (0.01, 0.05) by validation. 300 digits, a subset of its own for every seed; five seeds.

Measured: test accuracy; of the deep cells a list with one number a rate, and the train accuracy likewise.
`convcraft.lab.statistics.variance_shares` gives the shares, with the seed as block.

Reduced: 12 epochs of ten batches (deep) and 20 (conv).
"""

from itertools import product

import torch
from torch import nn

from convcraft import ConvcraftError, activations
from convcraft.augmentation import RandomAffine
from convcraft.dropout import Dropout
from convcraft.initialization import initialize, kaiming_normal_, normal_, xavier_normal_
from convcraft.lab import data
from convcraft.lab.experiments import Study
from convcraft.lab.training import evaluate, fit, seeded
from convcraft.normalization import BatchNorm1d, BatchNorm2d

N, BATCH, WIDTH = 300, 32, 32
DECAYS, RATES, DEEP_EPOCHS = (0.0, 0.003), (0.003, 0.01, 0.03, 0.1, 0.3), 12
CONV_RATES, CONV_EPOCHS = (0.01, 0.05), 20

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


def deep(arm: dict) -> nn.Module:
    layers: list[nn.Module] = []
    for before in (64, *[WIDTH] * 9):
        layers += [nn.Linear(before, WIDTH), *([BatchNorm1d(WIDTH)] if arm["bn"] else []), act(arm)]
    net = nn.Sequential(Standardize(), nn.Flatten(), *layers, nn.Linear(WIDTH, 10))
    for layer in net:
        if isinstance(layer, nn.Linear):
            FILL[arm["init"]](layer.weight)
            nn.init.zeros_(layer.bias)
    return net


def conv(arm: dict) -> nn.Module:
    def after(norm: nn.Module) -> list[nn.Module]:
        return [norm, act(arm)] if arm["bn"] else [act(arm)]

    body = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        *after(BatchNorm2d(8)),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        *after(BatchNorm2d(16)),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64, WIDTH),
        *after(BatchNorm1d(WIDTH)),
        *([Dropout(0.2)] if arm["dropout"] else []),
        nn.Linear(WIDTH, 10),
    )
    if arm["init"] == "own":
        initialize(body)
    augment = RandomAffine(10, scale=(0.9, 1.1), shift=0.5) if arm["augmentation"] else nn.Identity()
    return nn.Sequential(augment, Standardize(), body)


def trained(arm: dict, rate: float, seed: int, parts: data.Splits) -> nn.Module | None:
    """The network after training; None where training diverged."""
    net = seeded(lambda: (deep if arm["net"] == "deep" else conv)(arm), seed)
    epochs = DEEP_EPOCHS if arm["net"] == "deep" else CONV_EPOCHS
    common = {"learning_rate": rate, "weight_decay": arm["decay"], "batch_size": BATCH}
    try:
        fit(net, parts, epochs=epochs, seed=seed, progress=False, **common)
    except ConvcraftError as stopped:
        if "training stopped" not in str(stopped):
            raise
        return None
    return net


def run(arm: dict, rate: None, seed: int, splits: data.Splits, final: bool) -> dict:
    """All rates of one cell. A network that diverged counts as chance."""
    train, few = splits.train.subset(N, seed), splits.validation.subset(10)
    parts = data.Splits(train, few, few, splits.name, splits.classes)
    rates = RATES if arm["net"] == "deep" else CONV_RATES
    nets = [trained(arm, each, seed, parts) for each in rates]
    scores = [
        [splits.chance if net is None else evaluate(net, part).accuracy for net in nets]
        for part in (train, splits.validation, splits.test)
    ]
    if arm["net"] == "deep":
        return {"train_by_rate": scores[0], "validation_by_rate": scores[1], "test_by_rate": scores[2]}
    best = max(range(len(rates)), key=lambda i: scores[1][i])
    return {"test_accuracy": scores[2][best], "train_accuracy": scores[0][best], "chosen_rate": rates[best]}


def splits(arm: dict) -> data.Splits:
    return data.load("digits")


DEEP = {
    "activation": ("relu", "elu", "silu", "tanh", "sigmoid"),
    "init": tuple(FILL),
    "bn": (0, 1),
    "decay": DECAYS,
}
CONV = {
    "activation": ("relu", "tanh"),
    "init": ("torch", "own"),
    "bn": (0, 1),
    "dropout": (0, 1),
    "decay": DECAYS,
    "augmentation": (0, 1),
}


def cells(net: str, factors: dict[str, tuple]) -> dict[str, dict]:
    """One arm for every combination of levels; its name holds the levels in order."""
    found = [dict(zip(factors, levels, strict=True)) for levels in product(*factors.values())]
    return {"_".join([net, *map(str, cell.values())]): {"net": net, **cell} for cell in found}


STUDY = Study(
    arms=cells("deep", DEEP) | cells("conv", CONV),
    seeds=range(5),
    splits=splits,
    run=run,
    quick={"seeds": range(1)},
)
