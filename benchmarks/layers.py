"""Dropout and normalization against torch.nn; what torch lacks, against the plain form of its paper."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from convcraft import dropout as d
from convcraft import normalization as n
from convcraft.errors import ConvcraftError

from . import textbook
from .cases import _inputs, both_ways, compiled
from .timing import Function, Ratio

#: ours, what it is measured against, and the textbook's form where that is another
Candidates = dict[str, Function]


def plain_drop_path(x: Tensor, p: float) -> Tensor:
    """Mask and division as two operations."""
    return x * x.new_empty((x.shape[0], 1, 1, 1)).bernoulli_(1 - p) / (1 - p)


def plain_drop_block(x: Tensor, p: float, size: int) -> Tensor:
    """The paper's form: random centres, max pooling, division by the share that was kept."""
    height, width = x.shape[2:]
    rate = p / size**2 * height * width / ((height - size + 1) * (width - size + 1))
    centres = (torch.rand(*x.shape[:2], height - size + 1, width - size + 1, device=x.device) < rate).to(
        x.dtype
    )
    mask = 1 - F.max_pool2d(F.pad(centres, (size // 2,) * 4), size, 1, size // 2)
    return x * mask * (mask.numel() / mask.sum())


def dropouts() -> dict[str, Candidates]:
    """Every kind of dropout, in training."""
    bind = functools.partial
    textbooks = {p: bind(textbook.dropout, p=p) for p in (0.5, 0.2, 0.1)}
    return {
        **{
            f"dropout {p}": {"ours": bind(d.dropout, p=p), "base": bind(F.dropout, p=p), "textbook": book}
            for p, book in textbooks.items()
        },
        "dropout 0.2, textbook": {"ours": bind(d.dropout, p=0.2), "base": textbooks[0.2]},
        "alpha_dropout 0.2": {
            "ours": bind(d.alpha_dropout, p=0.2, training=True),
            "base": bind(F.alpha_dropout, p=0.2, training=True),
        },
        "dropout2d 0.2": {"ours": bind(d.dropout2d, p=0.2), "base": bind(F.dropout2d, p=0.2)},
        "drop_path 0.1": {"ours": bind(d.drop_path, p=0.1), "base": bind(plain_drop_path, p=0.1)},
        "drop_block 0.1": {
            "ours": bind(d.drop_block2d, p=0.1, block_size=7),
            "base": bind(plain_drop_block, p=0.1, size=7),
        },
    }


def normalizations(channels: int) -> dict[str, Candidates]:
    """Every normalization, in training."""
    weight, bias = torch.rand(channels) + 0.5, torch.randn(channels)

    def candidates(build: Callable[[Any], Function], book: Function) -> Candidates:
        return {"ours": build(n), "base": build(F), "textbook": book}

    return {
        "batch_norm": candidates(
            lambda m: lambda x: m.batch_norm(x, None, None, weight, bias, True),
            lambda x: textbook.batch_norm(x, weight, bias),
        ),
        "instance_norm": candidates(
            lambda m: lambda x: m.instance_norm(x, None, None, weight, bias),
            lambda x: textbook.instance_norm(x, weight, bias),
        ),
        "group_norm": candidates(
            lambda m: lambda x: m.group_norm(x, 2, weight, bias),
            lambda x: textbook.group_norm(x, 2, weight, bias),
        ),
        "layer_norm": candidates(lambda m: lambda x: m.layer_norm(x, x.shape[2:]), textbook.layer_norm),
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
    cases: dict[str, Candidates], shape: tuple[int, ...], layout: str, rounds: int, compile: bool = False
) -> list[Ratio]:
    """Forward and forward+backward of every case, with the bytes kept."""
    x, grad = _inputs(shape, layout)
    found = []
    for name, given in cases.items():
        candidates = {**given, "compiled": compiled(given["base"])} if compile else given
        for function in candidates.values():
            _check(name, function, given["base"], x)
        found += both_ways(name, candidates, x, grad, layout, rounds)
    return found
