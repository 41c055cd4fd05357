"""Sees which loss of torch is computed, on what, and what a uniform guess would have cost."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .._trace import kinds, tensors
from . import thresholds
from .hooks import Calls

DISTANCES = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")
_CLASSES = ("cross_entropy", "nll_loss", "binary_cross_entropy_with_logits", "binary_cross_entropy")
#: Operations of the graph that show the same values in another shape or dtype.
_SHAPES = ("View", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Permute", "Select", "Slice", "ToCopy")
WATCHED: dict[Any, str] = {getattr(F, name): name for name in (*_CLASSES, *DISTANCES)}


@dataclass(frozen=True)
class LossCall:
    """One call of a loss of torch.

    `content` says what its input is: "probabilities", "log-probabilities" or "values"; `classes` is how many
    there are; `uniform` is what a uniform guess costs, by the same function with the same arguments, or for a
    distance, what the mean of the targets costs.
    """

    name: str
    content: str
    classes: int
    value: float
    uniform: float | None


@dataclass
class LossWatch(Calls):
    """Notes the losses that are computed while it is active, and an output broadcast against its target."""

    calls: list[LossCall] = field(default_factory=list)
    pair: tuple[Any, Any] = (None, None)
    broadcast: tuple[tuple[int, ...], tuple[int, ...]] | None = None

    def __post_init__(self) -> None:
        super().__init__(self._called)

    def _called(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        kwargs = kwargs or {}
        watched = all(isinstance(value, Tensor) for value in self.pair)
        if watched and kinds.function_name(func) in (*DISTANCES, "sub", "rsub"):
            # (N, 1) against (N,) makes (N, N): every output is compared with every target
            shapes = [tuple(t.shape) for t in tensors((args, list(kwargs.values())))][:2]
            output, target = (tuple(value.shape) for value in self.pair)
            if sorted(shapes) == sorted([output, target]):
                made = math.prod(torch.broadcast_shapes(*shapes))
                if made > max(math.prod(shape) for shape in shapes):
                    self.broadcast = output, target
        try:
            name = WATCHED.get(func)
        except TypeError:
            name = None
        if name is not None and isinstance(result, Tensor):
            with torch.no_grad():
                self.calls.append(_describe(func, name, args, kwargs, result))


def _describe(func: Callable[..., Tensor], name: str, args: Any, kwargs: Any, result: Tensor) -> LossCall:
    kwargs = dict(kwargs)
    if name in DISTANCES:
        target = args[1] if len(args) > 1 else kwargs["target"]
        rest = {key: value for key, value in kwargs.items() if key not in ("input", "target")}
        constant = func(target.float().mean().expand_as(target), target.float(), *args[2:], **rest)
        return LossCall(name, "values", 0, float(result.float().mean()), float(constant.float().mean()))
    given = args[0] if args else kwargs.pop("input")
    logits = given.detach()
    dim = 1 if logits.dim() > 1 else 0
    classes = logits.shape[dim]
    if name in ("cross_entropy", "nll_loss"):
        content = content_of(logits, dim)
    else:  # each value may be a probability: see what has computed them
        made = given.grad_fn
        while made is not None and made.name().startswith(_SHAPES) and made.next_functions:
            made = made.next_functions[0][0]
        found = made is not None and made.name().startswith(("Sigmoid", "Softmax", "Hardsigmoid"))
        content = "probabilities" if found else "values"
    guess = {"nll_loss": -math.log(max(classes, 1)), "binary_cross_entropy": 0.5}.get(name, 0.0)
    uniform = func(torch.full_like(logits, guess), *args[1:], **kwargs)
    return LossCall(name, content, classes, float(result.detach().float().mean()), float(uniform.float().mean()))


def content_of(x: Tensor, dim: int) -> str:
    """Whether the values along a dimension are probabilities, their logarithms, or anything else."""
    x = x.float()
    if x.numel() and x.shape[dim] > 1 and bool(torch.isfinite(x).all()):
        if bool((x >= 0).all()) and _near(x.sum(dim), 1.0):
            return "probabilities"
        if bool((x <= 0).all()) and _near(x.logsumexp(dim), 0.0):
            return "log-probabilities"
    return "values"


def _near(x: Tensor, value: float) -> bool:
    return bool(((x - value).abs() < thresholds.PROBABILITIES).all())
