"""Augmentation on 1,000 images of Fashion-MNIST.

A small ConvNet, 1,200 updates of 32 images, augmentation on the batch. The images of every seed are a subset
of its own. The pieces of clothing stand upright, and nearly all shoes point to the left.

Varied: the transform in training: horizontal and vertical flip, mild affine maps (rotation by up to 10
degrees, scale 0.9 to 1.1, shift by up to one pixel), a square of 8 x 8 erased, lighting (contrast 0.4 to 1.2,
brightness up to 0.25), mixup (alpha 0.2), cutmix (alpha 1). For comparison 5,000 images without augmentation.

Measured: test accuracy and loss on clean images, train accuracy on clean images, accuracy of each class; on
the first 2,000 test images the accuracy under horizontal flip, vertical flip, shift by up to two pixels and
all values halved (dark); the accuracy with test-time augmentation, the mean probability of an image and its
mirror image.

Reduced, to finish in minutes on two cores: 1,000 or 5,000 of the 55,000 training images, 1,000 of the 5,000
validation images, 8 and 16 channels, the same number of updates for all arms, one strength a transform, three
learning rates, two tuning seeds, five seeds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convcraft import augmentation as a
from convcraft.lab import data
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.models import ConvNet
from convcraft.lab.randomness import forked
from convcraft.lab.training import evaluate, fit, predict_probabilities, seeded

BATCH, UPDATES, LOOKED = 32, 1200, 2000


class Mixing(nn.Module):
    """Mix the images of a batch, and keep which share of its target each one owes to which image."""

    def __init__(self, mix: Callable[..., tuple[Tensor, Tensor]], alpha: float) -> None:
        super().__init__()
        self.mix, self.alpha = mix, alpha
        self.shares: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.shares = None
        if self.training:
            x, self.shares = self.mix(x, torch.eye(len(x)), self.alpha)
        return x


TRAIN: dict[str, Callable[[], nn.Module]] = {
    "none": nn.Identity,
    "hflip": a.RandomHorizontalFlip,
    "vflip": a.RandomVerticalFlip,
    "mild": lambda: a.RandomAffine(10, scale=(0.9, 1.1), shift=1),
    "erase": lambda: a.RandomErasing(8),
    "lighting": lambda: a.Compose(a.RandomContrast((0.4, 1.2)), a.RandomBrightness((-0.25, 0.25))),
    "mixup": lambda: Mixing(a.mixup, 0.2),
    "cutmix": lambda: Mixing(a.cutmix, 1.0),
}
TEST: dict[str, Callable[[Tensor], Tensor]] = {
    "hflip": a.horizontal_flip,
    "vflip": a.vertical_flip,
    "shift": lambda x: a.RandomShift(2)(x),
    "dark": lambda x: x / 2,
}
ARMS: dict[str, dict[str, Any]] = {name: {"train": name, "n": 1000} for name in TRAIN}
ARMS |= {"none 5000": {"train": "none", "n": 5000}}


class Standardize(nn.Module):
    """Subtract the mean of the training images and divide by their deviation (0.286 and 0.353)."""

    def forward(self, x: Tensor) -> Tensor:
        return (x - 0.286) / 0.353


def splits(arm: dict[str, Any]) -> data.Splits:
    """Fashion-MNIST with 1,000 images to choose by."""
    found = data.load("fashion-mnist")
    return replace(found, validation=found.validation.subset(1000, seed=0))


def loss_of(augment: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    """Cross-entropy with the targets that belong to the images as they were mixed."""

    def loss(outputs: Tensor, y: Tensor) -> Tensor:
        shares = getattr(augment, "shares", None)
        return F.cross_entropy(outputs, y if shares is None else shares @ F.one_hot(y, 10).float())

    return loss


def run(arm: dict[str, Any], rate: float, seed: int, splits: data.Splits, final: bool) -> dict[str, Any]:
    """Train one network; in the final phase test it under every transform."""
    train, few = splits.train.subset(arm["n"], seed), splits.validation.subset(10)
    augment = TRAIN[arm["train"]]()
    net = seeded(lambda: nn.Sequential(augment, Standardize(), ConvNet((8, 16), size=28, hidden=32)), seed)
    fit(
        net, data.Splits(train, few, few, splits.name, splits.classes),
        epochs=round(UPDATES / -(-len(train) // BATCH)), batch_size=BATCH, learning_rate=rate, seed=seed,
        loss=loss_of(augment), progress=False,
    )  # fmt: skip
    chosen = evaluate(net, splits.validation)
    found = {"validation_accuracy": chosen.accuracy, "validation_loss": chosen.loss}
    if not final:
        return found
    test = splits.test
    plain, mirrored = (predict_probabilities(net, x) for x in (test.x, a.horizontal_flip(test.x)))
    right = plain.argmax(1) == test.y
    found["test_accuracy"] = float(right.float().mean())
    found["test_loss"] = float(F.nll_loss(plain.clamp(min=1e-12).log(), test.y))
    found["train_accuracy"] = evaluate(net, train).accuracy
    found["of_class"] = [float(right[test.y == c].float().mean()) for c in range(10)]
    found["averaged_accuracy"] = float(((plain + mirrored).argmax(1) == test.y).float().mean())
    x, y = test.x[:LOOKED], test.y[:LOOKED]
    for number, (name, transform) in enumerate(TEST.items()):
        with forked(number):
            found[f"under_{name}"] = evaluate(net, data.Split(transform(x), y)).accuracy
    return found


STUDY = Study(
    arms=ARMS,
    rates=(0.005, 0.015, 0.05),
    seeds=range(5),
    tuning_seeds=range(100, 102),
    splits=splits,
    run=run,
    contrasts=(
        *(Contrast(t, "none", family="clean") for t in TRAIN if t != "none"),
        *(Contrast(t, "none 5000", family="number") for t in ("mild", "cutmix")),
        *(
            Contrast(t, "none", measure=f"under_{u}", family="own transform")
            for t, u in (("hflip", "hflip"), ("vflip", "vflip"), ("mild", "shift"), ("lighting", "dark"))
        ),
        *(Contrast(t, "none", measure="under_dark", family="light") for t in ("hflip", "vflip", "mild")),
    ),
    quick={"seeds": range(1), "tuning_seeds": range(100, 101), "rates": (0.015,)},
)
