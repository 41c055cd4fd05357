"""One rule for every function that takes a batch: what the model is given, and what the loss compares.

A batch is a tensor, ``(x, y)``, ``(a, b, y)``, ``((a, b), y)``, ``({name: x}, y)`` or a mapping with its target under
one of `TARGETS`. A loss is called as ``loss(output, target)``; where it is None, the model returns its own.
"""

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from ._checks import check_known
from ._trace import tensors
from .errors import ConvcraftError

#: Keys under which a mapping holds its target.
TARGETS = ("target", "targets", "label", "labels", "y")
LOSSES: dict[str, Callable[..., Tensor]] = {
    "cross_entropy": F.cross_entropy,
    "mse": F.mse_loss,
    "nll": F.nll_loss,
    "binary_cross_entropy_with_logits": F.binary_cross_entropy_with_logits,
}

Loss = Callable[..., Any] | str | None
#: What `resolve_loss` makes of it.
LossFunction = Callable[..., Any] | None
#: What takes the target: the loss, the model that returns its own loss, or nobody.
Taker = Literal["loss", "model", "nobody"]


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


class _Takes:
    """What a model's forward accepts: how many positional arguments, which names."""

    def __init__(self, model: nn.Module) -> None:
        while isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
        try:
            parameters = list(inspect.signature(model.forward).parameters.values())
        except (TypeError, ValueError):  # Python cannot tell, of a scripted module for example
            parameters = []
        place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        kinds = {p.kind for p in parameters}
        self.positional = [p.name for p in parameters if p.kind in place]
        needed = [p.name for p in parameters if p.kind in place and p.default is p.empty]
        self.required = max(1, len(needed))
        open_ended = not parameters or inspect.Parameter.VAR_POSITIONAL in kinds
        self.most = math.inf if open_ended else max(1, len(self.positional))
        self.anything = not parameters or inspect.Parameter.VAR_KEYWORD in kinds
        self.names = {p.name for p in parameters if p.kind is not inspect.Parameter.POSITIONAL_ONLY}
        self.needed = {p.name for p in parameters if p.default is p.empty}

    def by_name(self, names: Iterable[str]) -> bool:
        return self.anything or set(names) <= self.names

    def arguments(self, value: Any, target: Any) -> Batch:
        """The batch for one input, which may be several in a tuple, a list or a mapping."""
        if isinstance(value, Mapping):
            if self.by_name(value):
                return Batch((), dict(value), target)
            return Batch((next(iter(value.values())) if len(value) == 1 else value,), {}, target)
        if isinstance(value, tuple | list) and self.required <= len(value) <= self.most:
            return Batch(tuple(value), {}, target)
        return Batch((value,), {}, target)


def taker(loss: Any) -> Taker:
    """Who takes the target, given the loss."""
    return "model" if loss is None else "loss"


def split(function: str, item: Any, model: nn.Module, target: Taker = "loss") -> Batch:
    """Take one batch apart; ConvcraftError where it is not one, or on another device than the model."""
    nothing = isinstance(item, tuple | list) and len(item) > 1 and all(part is None for part in item)
    if next(tensors(item), None) is None and not nothing:  # a model may need neither input nor target
        raise ConvcraftError(
            f"{function}: batch must hold a tensor, got {describe(item)} without one; "
            "pass (inputs, target), and use torch.as_tensor on the data"
        )
    takes = _Takes(model)
    batch = _named(function, item, takes, target) if isinstance(item, Mapping) else None
    if batch is None:
        parts = [item] if isinstance(item, Tensor) else list(item)
        batch = _listed(function, parts, takes, target)
    home = {tensor.device for tensor in (*model.parameters(), *model.buffers())}
    if len(home) == 1:
        (here,) = home
        for tensor in tensors((batch.args, batch.kwargs, batch.target)):
            if tensor.device != here and tensor.dim():
                raise ConvcraftError(
                    f"{function}: the batch must be on the model's device {here}, got {tensor.device}; "
                    f"use batch.to({str(here)!r})"
                )
    return batch


def _listed(function: str, parts: list[Any], takes: _Takes, target: Taker) -> Batch:
    goal = None
    if target == "loss":
        if len(parts) < 2:
            raise ConvcraftError(
                f"{function}: batch must be (inputs, target) where a loss is given, got {len(parts)} part; "
                "pass (inputs, None) where the loss needs no target, and loss=None where the model has one"
            )
        goal = parts.pop()
    else:
        nested = len(parts) == 2 and isinstance(parts[0], tuple | list | Mapping)
        last = takes.positional[len(parts) - 1 : len(parts)]
        passed = target == "model" and bool(last) and last[0] in TARGETS
        if nested or (len(parts) > takes.required and not passed):
            goal = parts.pop()
    if len(parts) == 1:
        return takes.arguments(parts[0], goal)
    if target != "loss" and takes.most != math.inf:
        parts = parts[: int(takes.most)]
    return Batch(tuple(parts), {}, goal)


def _named(function: str, item: Mapping[str, Any], takes: _Takes, target: Taker) -> Batch:
    keys = [key for key in TARGETS if key in item]
    rest = dict(item)
    if target == "loss":
        if not keys:
            raise ConvcraftError(
                f"{function}: batch must hold its target under one of {', '.join(TARGETS)}, got the keys "
                f"{', '.join(map(str, item))}; pass ({{name: input}}, target) where it has another name"
            )
        return takes.arguments(rest, rest.pop(keys[0]))
    goal = None
    for key in keys:  # a label that forward does without is not an input
        if not (target == "model" and takes.by_name([key])) and key not in takes.needed:
            goal = rest.pop(key)
    if not takes.by_name(rest) and len(rest) > 1:
        rest = dict(item)  # forward takes the mapping as it is
    return takes.arguments(rest, goal)


# Loaders


def is_batch(data: Any) -> bool:
    """Whether this is one batch: a tensor, a mapping, a tuple, or a list that does not hold batches."""
    if isinstance(data, Tensor | Mapping | tuple):
        return True
    return isinstance(data, list) and not all(isinstance(item, list | tuple | Mapping) for item in data)


def take(function: str, data: Any, limit: int, model: nn.Module, target: Taker = "loss") -> list[Batch]:
    """The first batches, at most `limit`, of one batch or of a loader."""
    items = [data] if is_batch(data) else islice(_loader(function, data), limit)
    found = [split(function, item, model, target) for item in items]
    if not found:
        raise ConvcraftError(
            f"{function}: the loader must yield at least one batch, got none; a generator that was used up "
            "yields nothing, and so does a DataLoader with drop_last and fewer examples than a batch"
        )
    return found


def batches(function: str, data: Any, model: nn.Module, target: Taker = "loss") -> Iterator[Batch]:
    """Every batch of a loader once."""
    return (split(function, item, model, target) for item in _loader(function, data))


def cycle(function: str, data: Any, model: nn.Module, steps: int, target: Taker = "loss") -> Iterator[Batch]:
    """As many batches as steps, from the start again when the loader is used up."""
    done = 0
    while done < steps:
        before = done
        for batch in islice(batches(function, data, model, target), steps - done):
            yield batch
            done += 1
        if done == before:
            raise ConvcraftError(
                f"{function}: batches must yield {steps} batches, or start again when they are used up; "
                f"got {done}; use a list or a DataLoader, or fewer steps"
            )


def _loader(function: str, data: Any) -> Iterable[Any]:
    single = isinstance(data, tuple) and len(data) > 1 and isinstance(data[1], Tensor)  # (input, target)
    if not isinstance(data, Iterable) or isinstance(data, Tensor | str | Mapping) or single:
        raise ConvcraftError(
            f"{function}: batches must be an iterable of batches, such as a DataLoader or a list, got "
            f"{describe(data)}; put a single batch into a list"
        )
    return data


# Losses


def resolve_loss(function: str, loss: Any) -> LossFunction:
    """A loss by name, the callable itself, or None."""
    if isinstance(loss, str):
        check_known("loss", loss, LOSSES)
        return LOSSES[loss]
    if isinstance(loss, type):
        raise ConvcraftError(
            f"{function}: loss must be callable as loss(output, target), got the class {loss.__name__}; "
            f"make an instance, {loss.__name__}()"
        )
    if loss is not None and not callable(loss):
        raise ConvcraftError(
            f"{function}: loss must be callable as loss(output, target), got {type(loss).__name__}; "
            "pass for example torch.nn.functional.cross_entropy"
        )
    return loss


def run(function: str, model: nn.Module, batch: Batch) -> Any:
    """What the model returns; ConvcraftError where it does not run on the batch."""
    try:
        return batch(model)
    except ConvcraftError:
        raise
    except Exception as error:  # the model's own code runs here
        own = "" if batch.target is None else ", and loss=None where the model takes the target itself"
        raise ConvcraftError(
            f"{function}: the model must run on the batch, got {type(error).__name__}: {short(error)}; pass "
            f"the batch that a training step gets, (inputs, target), several inputs as a tuple{own}"
        ) from error


def own_loss(output: Any) -> Tensor | None:
    """The loss in what a model returns: a scalar, its `loss`, or the first of a tuple; None without one."""
    value = output
    if isinstance(output, Mapping):
        value = output.get("loss")
    elif not isinstance(output, Tensor):
        value = getattr(output, "loss", output[0] if isinstance(output, tuple) and output else None)
    scalar = isinstance(value, Tensor) and value.dim() == 0 and value.is_floating_point()
    return value if scalar else None


def loss_value(function: str, output: Any, batch: Batch, loss: LossFunction) -> Tensor:
    """The loss as a tensor without dimensions."""
    if loss is None:
        value = own_loss(output)
        if value is None:
            raise ConvcraftError(
                f"{function}: the model must return its loss where loss is None (a scalar, something with a "
                f"`loss`, or a tuple that begins with it), got {describe(output)}; pass a loss"
            )
        return value
    try:
        value = loss(output, batch.target)
    except ConvcraftError:
        raise
    except (AttributeError, TypeError, ValueError, IndexError, RuntimeError) as error:
        raise ConvcraftError(
            f"{function}: loss must accept the model's output ({describe(output)}) and the target "
            f"({describe(batch.target)}), got {type(error).__name__}: {short(error)}; {_advice(output, batch.target)}"
        ) from error
    if not isinstance(value, Tensor) or value.numel() != 1:
        raise ConvcraftError(
            f"{function}: loss must return a scalar, a tensor of one number, got {describe(value)}; "
            "use reduction='mean' or loss(...).mean()"
        )
    return value.reshape(())


def evaluate(function: str, model: nn.Module, batch: Batch, loss: LossFunction) -> Tensor:
    """The loss of a model on a batch, a scalar that depends on the parameters."""
    value = loss_value(function, run(function, model, batch), batch, loss)
    if not value.requires_grad:
        raise ConvcraftError(
            f"{function}: loss must depend on the parameters of the model, got a value without a gradient; "
            "take out detach() and no_grad() between model and loss"
        )
    return value


def _advice(output: Any, target: Any) -> str:
    if not isinstance(output, Tensor):
        return "pass a loss that takes the output apart, or loss=None where the model returns its loss"
    if isinstance(target, Tensor) and output.dim() == target.dim() + 1 and output.dim() > 1:
        if target.is_floating_point():
            return "classes must be integers, use target.long()"
        return f"number the classes from 0 to {output.shape[1] - 1}"
    return "make their shapes and dtypes those that the loss wants"


def describe(value: Any) -> str:
    """A value in a few words, for a message."""
    if isinstance(value, Tensor):
        text = f"shape {tuple(value.shape)}, {str(value.dtype).removeprefix('torch.')}"
        whole = not (value.is_floating_point() or value.is_complex() or value.is_meta)
        return text + (f" from {int(value.min())} to {int(value.max())}" if whole and value.numel() else "")
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return "nothing" if value is None else type(value).__name__


def short(error: BaseException) -> str:
    """The first line of an error's message."""
    return str(error).strip().split("\n")[0][:120]
