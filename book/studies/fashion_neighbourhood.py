"""What neighbourhood and position are worth on Fashion-MNIST.

Varied: the network (convolutional with a dense head, the same with a global maximum, dense) and the input
(pixels in place, or in one fixed random order). Images are averaged to 14x14 pixels and stand in the middle
of a 20x20 canvas, on zeros. Measured: test accuracy as it is, and for pixels in place after a shift of 1 to 3
pixels, mean over the four directions.

Reduced, to finish in minutes on two cores: 10,000 of the 55,000 training images, five epochs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convcraft.lab import data, models
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.training import evaluate

IMAGES, SIZE = 10_000, 20
ARMS: dict[str, dict[str, Any]] = {
    "convolutional": {"network": "dense head", "input": "in place"},
    "convolutional, scrambled": {"network": "dense head", "input": "scrambled"},
    "global maximum": {"network": "global maximum", "input": "in place"},
    "dense": {"network": "dense", "input": "in place"},
    "dense, scrambled": {"network": "dense", "input": "scrambled"},
}


def changed(splits: data.Splits, change: Callable[[Tensor], Tensor]) -> data.Splits:
    """The same data set with every image changed."""
    parts = {name: getattr(splits, name) for name in ("train", "validation", "test")}
    return replace(splits, **{name: data.Split(change(part.x), part.y) for name, part in parts.items()})


def splits(arm: dict[str, Any]) -> data.Splits:
    """Half the resolution, scaled so that the background stays 0, on the canvas."""
    loaded = data.load("fashion-mnist")
    half = changed(replace(loaded, train=loaded.train.subset(IMAGES, seed=0)), lambda x: F.avg_pool2d(x, 2))
    scale = half.train.x.std()
    canvas = changed(half, lambda x: F.pad(x / scale, (3, 3, 3, 3)))
    if arm["input"] == "in place":
        return canvas
    order = torch.randperm(SIZE**2, generator=torch.Generator().manual_seed(0))
    return changed(canvas, lambda x: x.flatten(1)[:, order].view_as(x))


def model(arm: dict[str, Any]) -> nn.Module:
    if arm["network"] == "dense":
        return models.MLP((SIZE**2, 128, 10))
    head = "dense" if arm["network"] == "dense head" else "global_max"
    return models.ConvNet((8, 16), size=SIZE, head=head, hidden=32)


def measure(model: nn.Module, splits: data.Splits, arm: dict[str, Any], seed: int) -> dict[str, Any]:
    """Accuracy after a shift of 0, 1, 2, 3 pixels; of scrambled images only as they are."""
    shifts = range(4) if arm["input"] == "in place" else range(1)
    return {"shifted_accuracy": [shifted_accuracy(model, splits.test, shift) for shift in shifts]}


def shifted_accuracy(model: nn.Module, split: data.Split, shift: int) -> float:
    moves = ((shift, 0), (-shift, 0), (0, shift), (0, -shift))[: 4 if shift else 1]
    moved = [data.Split(split.x.roll(move, (2, 3)), split.y) for move in moves]
    return sum(evaluate(model, part).accuracy for part in moved) / len(moved)


STUDY = Study(
    arms=ARMS,
    rates=(0.01, 0.03, 0.1),
    seeds=range(5),
    splits=splits,
    model=model,
    measure=measure,
    fit={"epochs": 5, "batch_size": 64},
    contrasts=tuple(
        Contrast(f"{name}, scrambled", name, family="scrambled")
        for name in ("convolutional", "dense")
    ),
    quick={"seeds": range(2), "tuning_seeds": range(100, 101), "rates": (0.03,), "fit": {"epochs": 1}},
)
