"""What a convolutional network makes of the order of pixels: scrambled, shifted, without pooling or a dense head.

On digits of 8x8 pixels: a convolutional network (two layers, max pooling, a dense head) and a dense one, on the
images and on the images with their pixels in one fixed random order; two convolutional networks of the same size
within 0.5 %, with strides in place of pooling, and with a global average in place of the hidden layer too. On the
digits in the middle of a canvas of 16x16: convolutional networks with a dense head and with a global maximum.

Measured: test accuracy; of the first two networks also with the four quadrants of each test image in another
order; on the canvas after shifts of 1 to 4 pixels (mean of four directions), for the global maximum also with
the same weights at every position: pooling with stride 1, and the next layer dilated.

960 updates of 64 images (60 epochs).
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

ARMS: dict[str, dict[str, Any]] = {
    "convolutional": {"network": "template", "input": "images"},
    "convolutional, scrambled": {"network": "template", "input": "scrambled"},
    "dense": {"network": "dense", "input": "images"},
    "dense, scrambled": {"network": "dense", "input": "scrambled"},
    "strides": {"network": "strides", "input": "images"},
    "strides, global average": {"network": "global average", "input": "images"},
    "canvas, dense head": {"network": "dense head", "input": "canvas"},
    "canvas, global maximum": {"network": "global maximum", "input": "canvas"},
}
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "template": models.ConvNet,
    "dense": lambda: models.MLP((64, 128, 10)),
    "strides": lambda: models.ConvNet(pool="stride"),
    "global average": lambda: models.ConvNet(pool="stride", channels=(24, 59), head="global_avg"),
    "dense head": lambda: models.ConvNet((8, 16), size=16, hidden=32),
    "global maximum": lambda: models.ConvNet((8, 16), size=16, head="global_max"),
}


def changed(splits: data.Splits, change: Callable[[Tensor], Tensor]) -> data.Splits:
    """The same data set with every image changed."""
    parts = {name: getattr(splits, name) for name in ("train", "validation", "test")}
    return replace(splits, **{name: data.Split(change(part.x), part.y) for name, part in parts.items()})


def splits(arm: dict[str, Any]) -> data.Splits:
    digits = data.load("digits")
    if arm["input"] == "canvas":  # the background stays 0
        scale = digits.train.x.std()
        return changed(digits, lambda x: F.pad(x / scale, (4, 4, 4, 4)))
    images = digits.standardized()
    if arm["input"] == "images":
        return images
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    return changed(images, lambda x: x.flatten(1)[:, order].view_as(x))


def model(arm: dict[str, Any]) -> nn.Module:
    return NETWORKS[arm["network"]]()


def turned(x: Tensor) -> Tensor:
    """The four quadrants of each image, each in the place of the next."""
    (a, b), (c, d) = (half.chunk(2, -1) for half in x.chunk(2, -2))
    return torch.cat([torch.cat([c, a], -1), torch.cat([d, b], -1)], -2)


class WithoutStrides(nn.Module):
    """A network of two layers with a global maximum, with the same weights at every position of the image."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.features, self.head = net.features, net.head

    def forward(self, x: Tensor) -> Tensor:
        f = self.features
        h = F.max_pool2d(F.relu(f.conv1(x)), 2, stride=1)
        h = F.relu(F.conv2d(h, f.conv2.weight, f.conv2.bias, padding=2, dilation=2))
        return self.head(F.max_pool2d(h, 2, stride=1, dilation=2))


def measure(model: nn.Module, splits: data.Splits, arm: dict[str, Any], seed: int) -> dict[str, float]:
    x, y = splits.test.x, splits.test.y
    if arm["input"] == "images":
        return {"quadrants_accuracy": evaluate(model, data.Split(turned(x), y)).accuracy}
    if arm["input"] == "scrambled":
        return {}
    networks = {"shifted": model}
    if arm["network"] == "global maximum":
        networks["stride_free"] = WithoutStrides(model)
    return {
        f"{name}_{by}_accuracy": shifted_accuracy(network, splits.test, by)
        for name, network in networks.items()
        for by in range(5)
    }


def shifted_accuracy(model: nn.Module, split: data.Split, by: int) -> float:
    """Mean over the four directions."""
    moves = ((by, 0), (-by, 0), (0, by), (0, -by))[: 4 if by else 1]
    moved = [data.Split(split.x.roll(move, (2, 3)), split.y) for move in moves]
    return sum(evaluate(model, part).accuracy for part in moved) / len(moved)


STRUCTURE, TEMPLATE = "cnn-layers-capture-spatial-hierarchy", "cnn-is-conv-pool-fc-stack"
STUDY = Study(
    arms=ARMS,
    rates=(0.01, 0.03, 0.1, 0.3),
    splits=splits,
    model=model,
    measure=measure,
    fit={"updates": 960, "evaluate_at": range(48, 961, 48), "batch_size": 64},
    contrasts=(
        Contrast("convolutional, scrambled", "convolutional", family="scrambled", claim=STRUCTURE),
        Contrast("dense, scrambled", "dense", family="scrambled", claim=STRUCTURE),
        Contrast("strides", "convolutional", family="template", claim=TEMPLATE),
        Contrast("strides, global average", "convolutional", family="template", claim=TEMPLATE),
        Contrast("strides, global average", "strides", family="template", claim=TEMPLATE),
        Contrast("convolutional", "dense", family="network"),
    ),
    quick={"seeds": range(2), "tuning_seeds": range(100, 101), "rates": (0.03,), "fit": {"updates": 16, "evaluate_at": (8, 16)}},
)
