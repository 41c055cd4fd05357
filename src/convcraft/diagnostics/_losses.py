"""Sees which loss of torch is computed, on what, and what a uniform guess would have cost."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from . import thresholds

WATCHED: dict[Any, str] = {
    F.cross_entropy: "cross_entropy",
    F.nll_loss: "nll_loss",
    F.binary_cross_entropy_with_logits: "binary_cross_entropy_with_logits",
    F.binary_cross_entropy: "binary_cross_entropy",
}


@dataclass(frozen=True)
class LossCall:
    """One call of a loss of torch.

    `content` says what its input is: "probabilities", "log-probabilities" or "values"; `classes` how many
    there are; `uniform` what a uniform guess costs, by the same function with the same arguments.
    """

    name: str
    content: str
    classes: int
    value: float
    uniform: float | None


@dataclass
class LossWatch(TorchFunctionMode):
    """Notes the losses that are computed while it is active."""

    calls: list[LossCall] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        try:
            name = WATCHED.get(func)
        except TypeError:
            name = None
        if name is not None and isinstance(result, Tensor):
            with torch.no_grad():
                self.calls.append(_describe(func, name, args, kwargs, result))
        return result


def _describe(func: Callable[..., Tensor], name: str, args: Any, kwargs: Any, result: Tensor) -> LossCall:
    kwargs = dict(kwargs)
    logits = (args[0] if args else kwargs.pop("input")).detach()
    rest = args[1:]
    dim = 1 if logits.dim() > 1 else 0
    classes = logits.shape[dim]
    content = content_of(logits, dim) if name in ("cross_entropy", "nll_loss") else _content_of_each(logits)
    guess = {
        "nll_loss": -math.log(max(classes, 1)),
        "binary_cross_entropy": 0.5,
    }.get(name, 0.0)
    uniform = func(torch.full_like(logits, guess), *rest, **kwargs)
    value = result.detach().float().mean()
    return LossCall(name, content, classes, float(value), float(uniform.float().mean()))


def content_of(x: Tensor, dim: int) -> str:
    """Whether the values along a dimension are probabilities, their logarithms, or anything else."""
    x = x.float()
    if x.numel() and x.shape[dim] > 1 and bool(torch.isfinite(x).all()):
        if bool((x >= 0).all()) and _near(x.sum(dim), 1.0):
            return "probabilities"
        if bool((x <= 0).all()) and _near(x.logsumexp(dim), 0.0):
            return "log-probabilities"
    return "values"


def _content_of_each(x: Tensor) -> str:
    """The same for values of which each is a probability: all strictly within (0, 1), and not few."""
    x = x.float()
    inside = x.numel() >= 8 and bool(((x > 0) & (x < 1)).all())
    return "probabilities" if inside else "values"


def _near(x: Tensor, value: float) -> bool:
    return bool(((x - value).abs() < thresholds.PROBABILITIES).all())
