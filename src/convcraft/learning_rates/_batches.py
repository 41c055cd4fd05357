"""A batch, taken apart: what the model is given, and what the loss compares its output with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConvcraftError

Loss = Callable[[Any, Any], Tensor]


def check_model(function: str, model: Any) -> list[nn.Parameter]:
    """The parameters that learn, or the error for a model without any."""
    if not isinstance(model, nn.Module):
        raise ConvcraftError(f"{function}: model must be a torch.nn.Module, got {type(model).__name__}")
    trained = [p for p in model.parameters() if p.requires_grad]
    if not trained:
        raise ConvcraftError(
            f"{function}: model must have a parameter that requires a gradient, got {type(model).__name__} "
            "without one; set requires_grad_(True)"
        )
    return trained


def check_positive(function: str, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ConvcraftError(f"{function}: {name} must be a positive, finite number, got {value!r}")
    return value


def check_count(function: str, name: str, value: Any, least: int = 1) -> int:
    if type(value) is not int or value < least:
        raise ConvcraftError(f"{function}: {name} must be a whole number, {least} or more, got {value!r}")
    return value


def split(function: str, batch: Any, model: nn.Module) -> tuple[tuple[Any, ...], dict[str, Any], Any]:
    """(positional inputs, named inputs, target) of a batch, whose tensors are on the device of the model.

    The last item is the target. The others are the inputs; one input that is a tuple or list is spread over
    the arguments of the model, one that is a dict over its named arguments.
    """
    if not isinstance(batch, tuple | list) or len(batch) < 2:
        raise ConvcraftError(
            f"{function}: a batch must be (input, target), (input, input, …, target) or "
            f"({{name: input}}, target), got {_describe(batch)}"
        )
    *inputs, target = batch
    named: dict[str, Any] = {}
    if len(inputs) == 1 and isinstance(inputs[0], dict):
        inputs, named = [], inputs[0]
    elif len(inputs) == 1 and isinstance(inputs[0], tuple | list):
        inputs = list(inputs[0])
    home = {tensor.device for tensor in (*model.parameters(), *model.buffers())}
    away = {t.device for t in (*inputs, *named.values(), target) if isinstance(t, Tensor)} - home
    if len(home) == 1 and away:
        raise ConvcraftError(
            f"{function}: the batch must be on the device of the model, {home.pop()}, got {away.pop()}; "
            "move one of the two with .to(device)"
        )
    return tuple(inputs), named, target


def evaluate(function: str, model: nn.Module, batch: Any, loss: Loss) -> Tensor:
    """loss(model(inputs), target), a scalar that depends on the parameters."""
    inputs, named, target = split(function, batch, model)
    value = loss(model(*inputs, **named), target)
    if not isinstance(value, Tensor) or value.numel() != 1:
        raise ConvcraftError(
            f"{function}: loss must return a tensor of one number, got {_describe(value)}; "
            "take the mean, as reduction='mean' does"
        )
    if not value.requires_grad:
        raise ConvcraftError(
            f"{function}: loss must depend on the parameters of the model, got a value without a gradient; "
            "take out detach() and no_grad() between model and loss"
        )
    return value.reshape(())


def cycle(function: str, batches: Iterable[Any], steps: int) -> Iterator[Any]:
    """As many batches as steps, from the start again when they are used up."""
    if not isinstance(batches, Iterable) or isinstance(batches, Tensor | str | dict):
        raise ConvcraftError(
            f"{function}: batches must be an iterable of batches, such as a DataLoader or a list, "
            f"got {_describe(batches)}"
        )
    done = 0
    while done < steps:
        before = done
        for batch in batches:
            yield batch
            done += 1
            if done == steps:
                return
        if done == before:
            raise ConvcraftError(
                f"{function}: batches must yield {steps} batches, or start again when they are used up; "
                f"got {done}; use a list or a DataLoader, or fewer steps"
            )


def _describe(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return type(value).__name__


def norm(tensors: Iterable[Tensor]) -> Tensor:
    """Euclidean norm of all values together, summed in float32 at least."""
    squares = [
        torch.linalg.vector_norm(t, dtype=torch.promote_types(t.dtype, torch.float32)).double()
        for t in tensors
    ]
    return torch.linalg.vector_norm(torch.stack([square.cpu() for square in squares]))
