"""What an initialization scheme accepts, and errors that name the argument."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from ..errors import ConvcraftError


def check_tensor(function: str, tensor: Any, *, dimensions: tuple[int, ...] | None = None) -> Tensor:
    """The tensor, refused when it is none, holds no floating-point numbers or has other dimensions."""
    if isinstance(tensor, nn.Module):
        raise ConvcraftError(
            f"{function}: tensor must be a torch.Tensor, got {type(tensor).__name__}; pass its weight"
        )
    if not isinstance(tensor, Tensor):
        raise ConvcraftError(
            f"{function}: tensor must be a torch.Tensor, got {type(tensor).__name__}; pass a layer's weight"
        )
    if isinstance(tensor, UninitializedParameter):
        raise ConvcraftError(
            f"{function}: tensor must have a shape, got an uninitialized parameter; run one batch first"
        )
    if not tensor.is_floating_point():
        raise ConvcraftError(
            f"{function}: tensor must have a floating-point dtype, got {tensor.dtype}; use tensor.float()"
        )
    if dimensions is not None and tensor.dim() not in dimensions:
        raise ConvcraftError(
            f"{function}: tensor must have {' or '.join(map(str, dimensions))} dimensions, "
            f"got shape {tuple(tensor.shape)}; pass the weight of a layer of that kind"
        )
    return tensor


def check_number(
    function: str,
    argument: str,
    value: Any,
    low: float = -math.inf,
    high: float = math.inf,
    above: bool = False,
) -> float:
    """A finite number between low and high; with `above` it must be larger than low."""
    good = not isinstance(value, bool) and isinstance(value, (int, float)) and math.isfinite(value)
    if not good or not low <= value <= high or (above and value == low):
        bounds = "" if math.isinf(low) else f" {'above' if above else 'of at least'} {low:g}"
        bounds += "" if math.isinf(high) else f"{' and' if bounds else ''} of at most {high:g}"
        raise ConvcraftError(
            f"{function}: {argument} must be a finite number{bounds}, got {value!r}; "
            f"set {argument} within that range"
        )
    return value


def check_generator(function: str, tensor: Tensor, generator: torch.Generator | None) -> None:
    """Refuse a generator that is none, or is on another device than the tensor."""
    if generator is not None and not isinstance(generator, torch.Generator):
        raise ConvcraftError(
            f"{function}: generator must be a torch.Generator or None, got {type(generator).__name__}; "
            "use torch.Generator().manual_seed(0)"
        )
    if generator is not None and generator.device.type != tensor.device.type:
        raise ConvcraftError(
            f"{function}: generator must be on the device of the tensor, {tensor.device.type}, "
            f"got {generator.device.type}; use torch.Generator(device={tensor.device.type!r})"
        )
