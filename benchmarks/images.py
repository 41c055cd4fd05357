"""Augmentation of a batch against a plain loop over its images, which draws and transforms one at a time."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convcraft import augmentation as a
from convcraft.errors import ConvcraftError

from .cases import _inputs
from .timing import Ratio, compare

Change = Callable[[Tensor], Tensor]
CLASSES = 10


def _between(low: float, high: float) -> float:
    return low + (high - low) * random.random()


def loop_affine(x: Tensor) -> Tensor:
    """Flip, and one grid_sample, an image."""
    out = torch.empty_like(x)
    for i in range(len(x)):
        image = x[i : i + 1].flip(-1) if random.random() < 0.5 else x[i : i + 1]
        angle, factor = math.radians(_between(-15, 15)), _between(0.9, 1.1)
        c, s = math.cos(angle) / factor, math.sin(angle) / factor
        dx, dy = (2 * _between(-2, 2) / size for size in (x.shape[3], x.shape[2]))
        grid = F.affine_grid(
            torch.tensor([[[c, s, dx], [-s, c, dy]]]), list(image.shape), align_corners=False
        )
        out[i : i + 1] = F.grid_sample(image, grid, align_corners=False)
    return out


def loop_flip_and_shift(x: Tensor, most: int = 1) -> Tensor:
    """Slices, an image."""
    out, (height, width) = torch.zeros_like(x), x.shape[2:]
    for i in range(len(x)):
        image = x[i].flip(-1) if random.random() < 0.5 else x[i]
        dx, dy = random.randint(-most, most), random.randint(-most, most)
        rows, cols = (slice(max(d, 0), n + min(d, 0)) for d, n in ((dy, height), (dx, width)))
        from_rows, from_cols = (slice(max(-d, 0), n + min(-d, 0)) for d, n in ((dy, height), (dx, width)))
        out[i, :, rows, cols] = image[:, from_rows, from_cols]
    return out


def loop_erase(x: Tensor, size: int = 4) -> Tensor:
    """A square set to zero, an image."""
    out = x.clone()
    for i in range(len(x)):
        row, col = random.randrange(x.shape[2]), random.randrange(x.shape[3])
        upper, left = row - size // 2, col - size // 2
        out[i, :, max(upper, 0) : upper + size, max(left, 0) : left + size] = 0
    return out


def loop_values(x: Tensor) -> Tensor:
    """Brightness and contrast, an image."""
    out = torch.empty_like(x)
    for i in range(len(x)):
        image = x[i] + _between(-0.2, 0.2)
        mean = image.mean()
        out[i] = (image - mean) * _between(0.8, 1.2) + mean
    return out


def loop_mixup(x: Tensor) -> Tensor:
    """A weighted mean with a partner, an image, and its target."""
    out, targets = torch.empty_like(x), torch.zeros(len(x), CLASSES)
    for i, j in enumerate(torch.randperm(len(x)).tolist()):
        kept = random.betavariate(0.2, 0.2)
        out[i] = kept * x[i] + (1 - kept) * x[j]
        targets[i, i % CLASSES] += kept
        targets[i, j % CLASSES] += 1 - kept
    return out


def loop_cutmix(x: Tensor) -> Tensor:
    """A rectangle from a partner, an image, and its target."""
    out, targets, (height, width) = x.clone(), torch.zeros(len(x), CLASSES), x.shape[2:]
    for i, j in enumerate(torch.randperm(len(x)).tolist()):
        side = math.sqrt(random.random())
        row, col = random.randrange(height), random.randrange(width)
        upper, left = max(int(row - side * height / 2), 0), max(int(col - side * width / 2), 0)
        lower, right = min(int(row + side * height / 2), height), min(int(col + side * width / 2), width)
        out[i, :, upper:lower, left:right] = x[j, :, upper:lower, left:right]
        share = (lower - upper) * (right - left) / (height * width)
        targets[i, i % CLASSES] += 1 - share
        targets[i, j % CLASSES] += share
    return out


def pairs(count: int, side: int) -> dict[str, tuple[Change, Change]]:
    """Ours and the loop; shifts and squares of an eighth and a quarter of the side."""
    labels, most, square = torch.arange(count) % CLASSES, max(1, side // 8), max(1, side // 4)
    affine = a.RandomAffine(15, shift=2, scale=0.1, horizontal_flip=0.5)
    move = a.Compose(a.RandomHorizontalFlip(), a.RandomShift(most))
    return {
        "flip+affine": (affine, loop_affine),
        "flip+shift": (move, lambda x: loop_flip_and_shift(x, most)),
        "flip+shift over affine": (move, affine),
        "erase": (a.RandomErasing(square), lambda x: loop_erase(x, square)),
        "brightness+contrast": (nn.Sequential(a.RandomBrightness(0.2), a.RandomContrast(0.2)), loop_values),
        "mixup": (lambda x: a.mixup(x, labels, classes=CLASSES)[0], loop_mixup),
        "cutmix": (lambda x: a.cutmix(x, labels, classes=CLASSES)[0], loop_cutmix),
    }


def augmentations(shape: tuple[int, ...], layout: str, rounds: int) -> list[Ratio]:
    """Time of each for a batch, the draws included."""
    x, _ = _inputs(shape, layout)
    repeats = max(1, min(8, 400_000 // x.numel()))
    found = []
    for name, (ours, loop) in pairs(shape[0], shape[-1]).items():
        for result in (ours(x), loop(x)):
            if result.shape != x.shape or not bool(result.isfinite().all()) or torch.equal(result, x):
                raise ConvcraftError(f"bench: {name} must change the images and keep their shape")
        times = compare({"ours": partial(ours, x), "base": partial(loop, x)}, rounds, repeats)
        ratios = tuple(a / b for a, b in zip(times["ours"], times["base"], strict=True))
        found.append(Ratio(name, "a batch", layout, shape, ratios, 1e3 * float(np.median(times["base"]))))
    return found
