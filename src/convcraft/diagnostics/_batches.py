"""A batch or a loader as a list of arguments and targets."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .._graph import tensors
from ..errors import ConvcraftError, unknown

#: Keys under which a mapping holds its target.
TARGETS = ("target", "targets", "label", "labels", "y")
LOSSES: dict[str, Callable[..., Tensor]] = {
    "cross_entropy": F.cross_entropy,
    "mse": F.mse_loss,
    "nll": F.nll_loss,
    "binary_cross_entropy_with_logits": F.binary_cross_entropy_with_logits,
}


@dataclass(frozen=True)
class Batch:
    """What the model is called with, and the target of the loss."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    target: Any = None

    def __call__(self, model: nn.Module) -> Any:
        return model(*self.args, **self.kwargs)

    @property
    def examples(self) -> int:
        """Length of the first tensor."""
        first = next(tensors((self.args, self.kwargs)), None)
        return first.shape[0] if first is not None and first.dim() else 1


def resolve_loss(loss: Any) -> Callable[..., Any] | None:
    """A loss by name, or the callable itself."""
    if isinstance(loss, str):
        if loss not in LOSSES:
            raise unknown("loss", loss, LOSSES)
        return LOSSES[loss]
    if loss is not None and not callable(loss):
        raise ConvcraftError(
            f"diagnose: loss must be callable as loss(output, target), got {type(loss).__name__}; "
            "pass for example torch.nn.functional.cross_entropy"
        )
    return loss


def is_batch(data: Any) -> bool:
    """Whether this is one batch: a tensor, a mapping, a tuple, or a list that is not one of batches."""
    if isinstance(data, Tensor | Mapping | tuple):
        return True
    return isinstance(data, list) and not all(isinstance(item, list | tuple | Mapping) for item in data)


def take(data: Any, limit: int, model: nn.Module, loss: Any) -> list[Batch]:
    """The batches to look at, at most `limit`; without a loss, what the model does not require is a "
    "target."""
    with_target = None if loss is not None else required(model)
    if is_batch(data):
        return [_split(data, with_target)]
    if not isinstance(data, Iterable):
        raise ConvcraftError(
            f"diagnose: batch must be a tensor, (inputs, target), a mapping or a loader of these, got "
            f"{type(data).__name__}; pass what a training step gets"
        )
    found = [_split(item, with_target) for item in islice(data, limit)]
    if not found:
        raise ConvcraftError(
            "diagnose: the loader must yield at least one batch, got none; a generator that was used up "
            "yields nothing, and so does a DataLoader with drop_last and fewer examples than a batch"
        )
    return found


def required(model: nn.Module) -> int:
    """How many arguments forward cannot do without; 1 where Python does not tell."""
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):
        return 1
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return max(1, sum(p.kind in kinds and p.default is p.empty for p in parameters))


def _split(item: Any, inputs: int | None) -> Batch:
    """One batch; `inputs` is how many parts the model requires, None where the last part is the target."""
    if next(tensors(item), None) is None:
        raise ConvcraftError(
            f"diagnose: batch must hold a tensor, got {type(item).__name__} without one; "
            "use torch.as_tensor on the data"
        )
    if isinstance(item, Mapping):
        keys = [key for key in TARGETS if key in item] if inputs is None else []
        rest = {key: value for key, value in item.items() if key not in keys[:1]}
        return Batch((), rest, item[keys[0]] if keys else None)
    parts = [item] if isinstance(item, Tensor) else list(item)
    target = None
    if inputs is None or len(parts) > max(inputs, 1):
        if len(parts) < 2:
            raise ConvcraftError(
                f"diagnose: batch must be (inputs, target) where a loss is given, got {len(parts)} part(s); "
                "pass (inputs, target), and (inputs, None) where the loss needs no target"
            )
        target = parts.pop()
    if len(parts) == 1 and isinstance(parts[0], Mapping):
        return Batch((), dict(parts[0]), target)
    if len(parts) == 1 and isinstance(parts[0], list | tuple):
        return Batch(tuple(parts[0]), {}, target)
    return Batch(tuple(parts), {}, target)


def check_device(model: nn.Module, batch: Batch) -> torch.device:
    """The device of the model, where the batch must be as well."""
    devices = {p.device for p in model.parameters()} | {b.device for b in model.buffers()}
    here = next(iter(devices), torch.device("cpu"))
    if len(devices) > 1:
        return here
    for tensor in tensors((batch.args, batch.kwargs, batch.target)):
        if devices and tensor.device != here and tensor.dim():
            raise ConvcraftError(
                f"diagnose: the batch must be on the model's device {here}, got {tensor.device}; "
                f"use batch.to({str(here)!r})"
            )
    return here
