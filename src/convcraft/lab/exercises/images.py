"""Checks of the exercises of the chapter "Images"."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from convcraft.lab.exercises.framework import Check, Complaint, by_name, compare
from convcraft.lab.exercises.kinds import formula, takes

_RNG = np.random.default_rng(5)


def sample_in_torch(net: Any) -> str | None:
    """The network of the article's sample, for images (n, 1, 28, 28), with outputs for cross-entropy."""
    if not isinstance(net, nn.Module):
        return f"Give a torch module; got {type(net).__name__}."
    with torch.no_grad():
        y = net(torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0)))
    if tuple(y.shape) != (3, 10):
        return f"three images should give outputs of shape (3, 10); got {tuple(y.shape)}."
    if bool((y >= 0).all()) and torch.allclose(y.sum(1), torch.ones(3), atol=1e-4):
        return "the outputs are probabilities, and torch's cross-entropy has a softmax of its own."
    if bool((y < 0).all()) and torch.allclose(y.exp().sum(1), torch.ones(3), atol=1e-4):
        return "the outputs are log-probabilities; leave the softmax to the loss."
    count = sum(p.numel() for p in net.parameters())
    if count > 121_930:
        return f"{count:,} parameters are too many. Keras pads nothing unless it is asked to."
    return compare(count, 121_930, "the number of parameters")


@takes("n, copies and a NumPy generator")
def split_with_copies(answer: Callable[..., Any]) -> Iterator[Complaint]:
    """A function (n, copies, rng) -> rows of training and of test; image i has the rows copies*i, ... ."""
    firsts = []
    for seed in (0, 1):
        n, copies = 50, 4
        train, test = (np.asarray(rows).ravel() for rows in answer(n, copies, np.random.default_rng(seed)))
        rows = np.concatenate([train, test])
        if len(rows) != n * copies or set(rows.tolist()) != set(range(n * copies)):
            yield f"each of the {n * copies} rows must be in one of the two parts, once."
        shared = set((train // copies).tolist()) & set((test // copies).tolist())
        if shared:
            yield f"{len(shared)} of {n} images have copies in both parts. Draw images, not rows."
        if len(test) != n * copies // 5:
            yield f"a fifth of the rows belongs to the test part; got {len(test)} of {n * copies}."
        firsts.append(frozenset(test.tolist()))
    if firsts[0] == firsts[1]:
        yield "two generators give the same test part. Draw it at random."


def _from_keras(kernel: Any, height: int, width: int) -> Any:
    kernel = np.asarray(kernel)
    maps = kernel.reshape(height, width, -1, kernel.shape[1])
    return maps.transpose(3, 2, 0, 1).reshape(kernel.shape[1], -1)


def _needed(a: float, b: float) -> float:
    return 1.96**2 * (a * (1 - a) + b * (1 - b)) / (a - b) ** 2


CHECKS: dict[str, Check] = by_name(sample_in_torch, split_with_copies) | {
    "images-needed": formula(
        lambda a, b: math.ceil(_needed(a, b)),
        [(0.922, 0.925), (0.9, 0.95), (0.876, 0.932)],
        "the number of images that tells {0} from {1}",
        (lambda a, b: math.ceil(1.96**2 * a * (1 - a) / (a - b) ** 2), "Both are measured: their variances add up."),
        (lambda a, b: math.ceil(_needed(a, b) / 1.96**2), "That is one standard error. 95 % take 1.96 of them."),
        (lambda *scores: math.floor(_needed(*scores)), "The number must be whole, and enough: round up."),
        arguments="two accuracies",
    ),
    "dense-from-keras": formula(
        _from_keras,
        [(_RNG.random((24, 5)), 2, 3), (_RNG.random((36, 4)), 3, 3)],
        "the weight for maps of {1}x{2}",
        (
            lambda kernel, h, w: np.asarray(kernel).T,
            "that flattens before it permutes: Keras counts the channels of a pixel first, torch the pixels "
            "of a channel.",
        ),
        (
            lambda kernel, h, w: np.asarray(kernel).reshape(-1, h * w, kernel.shape[1]).T.reshape(kernel.shape[1], -1),
            "the reshape already takes the channels for the first axis; in Keras's order they are the last.",
        ),
    ),
}
