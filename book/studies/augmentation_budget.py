"""Augmentation with four times the updates: was it the transform or the budget?

In the study augmentation_matrix, networks that train with shifts do not fit all of their images within 600
updates. Here the same ConvNet on digits gets 2,400 updates of 32 images. The images of every seed are the
same subsets as there.

Varied: no augmentation, mild augmentation (rotation by up to 10 degrees, scale 0.9 to 1.1, shift by up to
half a pixel) and shift by up to one pixel, at 200 and at 1,000 images; horizontal flip, vertical flip and
rotation by up to 180 degrees at 200 images.

Measured: train accuracy on clean images, test accuracy and loss on clean images, test accuracy under a shift
by up to one pixel, accuracy with test-time augmentation (mean probability of the image and 15 transformed
ones).

Reduced: digits only; three learning rates, tuned on two seeds; ten seeds.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from convcraft import augmentation as a
from convcraft.lab import data
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.models import ConvNet
from convcraft.lab.randomness import forked
from convcraft.lab.training import evaluate, fit, seeded

BATCH, UPDATES, LOOKS = 32, 2400, 15

TRAIN = {
    "none": nn.Identity,
    "mild": lambda: a.RandomAffine(10, scale=(0.9, 1.1), shift=0.5),
    "shift": lambda: a.RandomShift(1),
    "hflip": a.RandomHorizontalFlip,
    "vflip": a.RandomVerticalFlip,
    "rotate180": lambda: a.RandomRotation(180),
}
KEEPING, BREAKING = ("mild", "shift"), ("hflip", "vflip", "rotate180")


class Standardize(nn.Module):
    """Subtract the mean of the training images and divide by their deviation (digits: 0.305 and 0.376)."""

    def forward(self, x: Tensor) -> Tensor:
        return (x - 0.305) / 0.376


def run(arm: dict[str, Any], rate: float, seed: int, splits: data.Splits, final: bool) -> dict[str, Any]:
    """Train one network; in the final phase test it."""
    train, test, few = splits.train.subset(arm["n"], seed), splits.test, splits.validation.subset(10)
    net = seeded(
        lambda: nn.Sequential(TRAIN[arm["train"]](), Standardize(), ConvNet((8, 16), hidden=32)), seed
    )
    parts = data.Splits(train, few, few, splits.name, splits.classes)
    epochs = round(UPDATES / -(-len(train) // BATCH))
    fit(net, parts, epochs=epochs, learning_rate=rate, batch_size=BATCH, seed=seed, progress=False)
    chosen = evaluate(net, splits.validation)
    found = {"validation_accuracy": chosen.accuracy, "validation_loss": chosen.loss}
    if not final:
        return found
    clean = evaluate(net, test)
    found |= {"test_accuracy": clean.accuracy, "test_loss": clean.loss}
    found["train_accuracy"] = evaluate(net, train).accuracy
    with forked(0):
        found["under_shift"] = evaluate(net, data.Split(a.RandomShift(1)(test.x), test.y)).accuracy
    with forked(0), torch.no_grad():
        looks = [test.x] + [net[0].train()(test.x) for _ in range(LOOKS)]
        net.eval()
        mean = torch.stack([net(x).softmax(1) for x in looks]).mean(0)
    return found | {"averaged_accuracy": float((mean.argmax(1) == test.y).float().mean())}


STUDY = Study(
    arms={
        f"{name} {n}": {"train": name, "n": n}
        for n, some in ((200, KEEPING + BREAKING), (1000, KEEPING))
        for name in ("none", *some)
    },
    rates=(0.003, 0.01, 0.03),
    seeds=range(10),
    tuning_seeds=range(100, 102),
    splits=lambda arm: data.load("digits"),
    run=run,
    contrasts=tuple(
        Contrast(f"{name} {n}", f"none {n}", measure=measure, family=measure, margin=margin)
        for measure, margin in (("test_accuracy", 0.01), ("test_loss", None))
        for n, some in ((200, KEEPING + BREAKING), (1000, KEEPING))
        for name in some
    ),
    quick={"seeds": range(1), "tuning_seeds": range(100, 101), "rates": (0.01,)},
)
