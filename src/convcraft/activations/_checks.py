"""What an activation accepts: the dtypes that torch accepts, and errors that name the argument."""

from __future__ import annotations

from typing import Any, NoReturn

import torch
from torch import Tensor

from ..errors import ConvcraftError, unknown

INTEGERS = frozenset({torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64})
COMPLEX = frozenset({torch.complex64, torch.complex128})
TRUTH = frozenset({torch.bool})


def check_floating(function: str, value: Any, also: frozenset[torch.dtype] = frozenset()) -> None:
    """Refuse what is no floating-point tensor, except for the dtypes in `also` and tensor-like proxies."""
    if isinstance(value, Tensor):
        if value.is_floating_point() or value.dtype in also:
            return
    elif hasattr(type(value), "__torch_function__"):
        return
    refuse_input(function, value)


def refuse_input(function: str, value: Any) -> NoReturn:
    """Raise the error for an input that is not a tensor, or has a dtype that the function does not take."""
    if not isinstance(value, Tensor):
        raise ConvcraftError(
            f"{function}: input must be a torch.Tensor, got {type(value).__name__}; "
            "use torch.as_tensor(input)"
        )
    raise ConvcraftError(
        f"{function}: input must have a floating-point dtype, got {value.dtype}; use input.float()"
    )


def check_choice(function: str, argument: str, value: object, known: tuple[str, ...]) -> None:
    """Refuse a string that is not among the known ones, listing the near matches."""
    if value not in known:
        raise unknown(f"value of {function}'s argument {argument}", value, known)


def check_nonzero(function: str, argument: str, value: float) -> None:
    """Refuse zero for a parameter that the formula divides by, and what is not a number."""
    if isinstance(value, str) or value == 0:
        raise ConvcraftError(
            f"{function}: {argument} must be a number other than 0, got {value!r}; "
            f"the formula divides by {argument}"
        )


def check_prelu_weight(function: str, value: Any, weight: Any) -> None:
    """Refuse a slope that is neither one number nor one number a channel (dimension 1) of the input."""
    if not isinstance(weight, Tensor):
        raise ConvcraftError(
            f"{function}: weight must be a torch.Tensor, got {type(weight).__name__}; "
            f"use torch.tensor([{weight!r}])"
        )
    if weight.dim() > 1:
        raise ConvcraftError(
            f"{function}: weight must have 0 or 1 dimensions, got shape {tuple(weight.shape)}; "
            "use weight.flatten()"
        )
    if weight.numel() == 1:
        return
    channels = value.size(1) if value.dim() > 1 else 1
    if weight.numel() != channels:
        raise ConvcraftError(
            f"{function}: weight must hold 1 slope or one for each of the input's {channels} channels "
            f"(dimension 1 of shape {tuple(value.shape)}), got {weight.numel()}; "
            f"set num_parameters to 1 or {channels}"
        )
