"""Techniques combined on Fashion-MNIST, with few images and with more.

A ConvNet with two convolutions (8 and 16 channels) and 32 hidden units, ReLU, initialized for it; 400 updates
of 50 images; the training images of every seed are a subset of its own.

Varied: the number of images (500, 4000) and what is switched on: nothing; the recipe, L2 (weight decay 0.002)
and dropout (keep 0.5 after the hidden layer); batch normalization (BN, before every activation); augmentation
(mirrored at random, rotation by up to 10 degrees, scale 0.9 to 1.1, shift by up to 2 pixels); all
four.

Measured: test accuracy and loss, train accuracy, gap (train accuracy - test accuracy). What it costs is the
seconds of a run.

Reduced, to finish in minutes on two cores: at most 4,000 of the 55,000 training images, 1,000 of the 5,000
validation images, a small network, the same 400 updates for both sizes, one strength of each technique chosen
by hand before any of these runs, three rates, two tuning seeds, five seeds.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from convcraft.augmentation import Compose, RandomAffine, RandomHorizontalFlip
from convcraft.dropout import Dropout
from convcraft.initialization import initialize
from convcraft.lab import data
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.training import evaluate, fit, seeded
from convcraft.normalization import BatchNorm1d, BatchNorm2d

BATCH, UPDATES, DECAY = 50, 400, 0.002
SIZES = (500, 4000)
SUBSETS = {
    "none": (),
    "recipe": ("l2", "dropout"),
    "bn": ("bn",),
    "augmentation": ("augmentation",),
    "all": ("l2", "bn", "dropout", "augmentation"),
}
ARMS = {f"{name} {n}": {"with": list(subset), "n": n} for n in SIZES for name, subset in SUBSETS.items()}


class Standardize(nn.Module):
    """Subtract the mean of the training images and divide by their deviation (0.286 and 0.353)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - 0.286) / 0.353


def model(arm: dict[str, Any]) -> nn.Sequential:
    def norm(layer: nn.Module) -> list[nn.Module]:
        return [layer] if "bn" in arm["with"] else []

    body = nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), *norm(BatchNorm2d(8)), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 16, 3, padding=1), *norm(BatchNorm2d(16)), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(16 * 7 * 7, 32), *norm(BatchNorm1d(32)), nn.ReLU()),
        *([Dropout(0.5)] if "dropout" in arm["with"] else []),
        nn.Linear(32, 10),
    )
    initialize(body)
    changes = RandomHorizontalFlip(), RandomAffine(10, scale=(0.9, 1.1), shift=2.0)
    first = Compose(*changes) if "augmentation" in arm["with"] else nn.Identity()
    return nn.Sequential(first, Standardize(), body)


def splits(arm: dict[str, Any]) -> data.Splits:
    return data.load("fashion-mnist")


def run(arm: dict[str, Any], rate: float, seed: int, splits: data.Splits, final: bool) -> dict[str, Any]:
    """Train one network with the techniques of the arm."""
    train, validation = splits.train.subset(arm["n"], seed), splits.validation.subset(1000, 0)
    few = validation.subset(10)  # fit looks at it after every epoch; what counts is measured at the end
    parts = data.Splits(train, few, few, splits.name, splits.classes)
    net = seeded(lambda: model(arm), seed)
    fit(
        net,
        parts,
        epochs=UPDATES * BATCH // arm["n"],
        learning_rate=rate,
        weight_decay=DECAY if "l2" in arm["with"] else 0.0,
        batch_size=BATCH,
        seed=seed,
        progress=False,
    )
    chosen = evaluate(net, validation)
    found = {"validation_accuracy": chosen.accuracy, "validation_loss": chosen.loss}
    if not final:
        return found
    fitted, tested = evaluate(net, train), evaluate(net, splits.test)
    found |= {"test_accuracy": tested.accuracy, "test_loss": tested.loss}
    return found | {"train_accuracy": fitted.accuracy, "gap": fitted.accuracy - tested.accuracy}


STUDY = Study(
    arms=ARMS,
    rates=(0.01, 0.03, 0.1),
    seeds=range(5),
    tuning_seeds=range(100, 102),
    splits=splits,
    run=run,
    contrasts=tuple(
        Contrast(f"{name} {n}", f"none {n}", measure=measure, family=f"{measure} {n}")
        for n in SIZES
        for name in SUBSETS
        if name != "none"
        for measure in ("test_accuracy", "test_loss")
    ),
    quick={
        "rates": (0.03,),
        "seeds": range(1),
        "tuning_seeds": range(100, 101),
        "arms": ("none 500", "all 4000"),
    },
)
