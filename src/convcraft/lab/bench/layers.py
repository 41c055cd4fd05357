"""Dropout and normalization against torch.nn; what torch lacks, against the plain form of its paper."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ... import dropout as d
from ... import normalization as n
from ...errors import ConvcraftError
from .cases import _both, _forward, _inputs
from .timing import Function, Ratio, compare, saved_bytes

Pair = tuple[Function, Function]


def textbook_dropout(x: Tensor, p: float) -> Tensor:
    """The mask by a comparison, as books write it."""
    return (torch.rand(x.shape) > p).to(x.dtype) * x / (1 - p)


def plain_drop_path(x: Tensor, p: float) -> Tensor:
    """Mask and division as two operations."""
    return x * x.new_empty((x.shape[0], 1, 1, 1)).bernoulli_(1 - p) / (1 - p)


def plain_drop_block(x: Tensor, p: float, size: int) -> Tensor:
    """The paper's form: random centres, max pooling, division by the share that was kept."""
    height, width = x.shape[2:]
    rate = p / size**2 * height * width / ((height - size + 1) * (width - size + 1))
    centres = (torch.rand(*x.shape[:2], height - size + 1, width - size + 1) < rate).to(x.dtype)
    mask = 1 - F.max_pool2d(F.pad(centres, (size // 2,) * 4), size, 1, size // 2)
    return x * mask * (mask.numel() / mask.sum())


def dropouts() -> dict[str, Pair]:
    """Ours and what it is measured against."""
    bind = functools.partial
    pairs: dict[str, Pair] = {
        f"dropout {p}": (bind(d.dropout, p=p), bind(F.dropout, p=p)) for p in (0.5, 0.2, 0.1)
    }
    return {
        **pairs,
        "dropout 0.2, textbook": (bind(d.dropout, p=0.2), bind(textbook_dropout, p=0.2)),
        "alpha_dropout 0.2": (
            bind(d.alpha_dropout, p=0.2, training=True),
            bind(F.alpha_dropout, p=0.2, training=True),
        ),
        "dropout2d 0.2": (bind(d.dropout2d, p=0.2), bind(F.dropout2d, p=0.2)),
        "drop_path 0.1": (bind(d.drop_path, p=0.1), bind(plain_drop_path, p=0.1)),
        "drop_block 0.1": (
            bind(d.drop_block2d, p=0.1, block_size=7),
            bind(plain_drop_block, p=0.1, size=7),
        ),
    }


def normalizations(channels: int) -> dict[str, Pair]:
    """Ours and torch's, in training."""
    weight, bias = torch.rand(channels) + 0.5, torch.randn(channels)

    def pair(build: Callable[[Any], Function]) -> Pair:
        return build(n), build(F)

    return {
        "batch_norm": pair(lambda m: lambda x: m.batch_norm(x, None, None, weight, bias, True)),
        "instance_norm": pair(lambda m: lambda x: m.instance_norm(x, None, None, weight, bias)),
        "group_norm": pair(lambda m: lambda x: m.group_norm(x, 2, weight, bias)),
        "layer_norm": pair(lambda m: lambda x: m.layer_norm(x, x.shape[2:])),
    }


def _check(name: str, ours: Function, theirs: Function, x: Tensor) -> None:
    """Random ones by their means over the samples of a constant input, the others element by element."""
    if "drop" not in name:
        worst, limit = float((ours(x) - theirs(x)).abs().max()), 1e-4
    elif len(x) < 8:
        return  # too few samples for a mean
    else:
        means = [function(torch.ones_like(x)).flatten(1).mean(1) for function in (ours, theirs)]
        worst = abs(float(means[0].mean() - means[1].mean()))
        limit = 10 * (sum(float(m.var()) for m in means) / len(x)) ** 0.5 + 1e-3
    if not worst <= limit:
        raise ConvcraftError(
            f"bench: {name} must agree with what it is measured against within {limit:.1g}, the difference "
            f"is {worst:.3g}"
        )


def measure(
    pairs: dict[str, Pair], shape: tuple[int, ...], layout: str, rounds: int
) -> list[Ratio]:
    """Forward and forward+backward of each pair, with the bytes kept."""
    x, grad = _inputs(shape, layout)
    repeats = max(1, min(24, 200_000 // x.numel()))
    found = []
    for name, (ours, theirs) in pairs.items():
        saved = (saved_bytes(ours, x), saved_bytes(theirs, x))
        _check(name, ours, theirs, x)
        for what, build in (("forward", _forward), ("forward+backward", None)):
            actions = {
                who: build(f, x) if build else _both(f, x, grad)
                for who, f in (("ours", ours), ("base", theirs))
            }
            times = compare(actions, rounds, repeats)
            ratios = tuple(a / b for a, b in zip(times["ours"], times["base"], strict=True))
            baseline = 1e3 * float(np.median(times["base"]))
            found.append(Ratio(name, what, layout, shape, ratios, baseline, *saved))
    return found
