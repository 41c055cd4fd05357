"""What a dropout accepts: a probability, a generator of the input's device, an input of the right form."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..activations._checks import check_floating
from ..errors import ConvcraftError

__all__ = [
    "check_arguments",
    "check_block_size",
    "check_dimensions",
    "check_floating",
    "check_generator",
    "check_probability",
]


def check_probability(function: str, p: Any, below_one: bool = False) -> None:
    """Refuse what is not a number in [0, 1], or in [0, 1) where p = 1 has no meaning."""
    if isinstance(p, bool | str) or not isinstance(p, int | float):
        raise ConvcraftError(
            f"{function}: p must be a number, the probability of dropping, got {type(p).__name__}; "
            "use for example p=0.5"
        )
    if not 0 <= p <= 1:
        raise ConvcraftError(
            f"{function}: p is the probability of dropping and must lie in [0, 1], got {p!r}; "
            "if it was meant as a percentage, divide it by 100"
        )
    if below_one and p == 1:
        raise ConvcraftError(
            f"{function}: p must lie in [0, 1), got {p!r}: the variance p / (1 - p) would be infinite; "
            "use a smaller p"
        )


def check_generator(function: str, input: Any, generator: Any) -> None:
    """Refuse a generator that is none, or lives on another device than the input."""
    if generator is None:
        return
    if not isinstance(generator, torch.Generator):
        raise ConvcraftError(
            f"{function}: generator must be a torch.Generator or None, got {type(generator).__name__}; "
            "use torch.Generator().manual_seed(0)"
        )
    if isinstance(input, Tensor) and generator.device.type != input.device.type:
        raise ConvcraftError(
            f"{function}: generator must be on the input's device {input.device}, got {generator.device}; "
            f"use torch.Generator({str(input.device)!r})"
        )


def check_arguments(module: str, p: Any, generator: Any, below_one: bool = False) -> None:
    """What the constructors of the modules have in common."""
    check_probability(module, p, below_one)
    check_generator(module, None, generator)


def check_dimensions(function: str, input: Any, allowed: tuple[int, ...], form: str) -> None:
    """Refuse an input with another number of dimensions; what stands in for a tensor passes."""
    if isinstance(input, Tensor) and input.dim() not in allowed:
        raise ConvcraftError(
            f"{function}: input must have shape {form}, got {input.dim()} dimensions "
            f"(shape {tuple(input.shape)}); reshape it, or use dropout, which takes any shape"
        )


def check_block_size(function: str, block_size: Any) -> None:
    """Refuse a side of the block that is not a positive integer."""
    if isinstance(block_size, bool) or not isinstance(block_size, int) or block_size < 1:
        raise ConvcraftError(
            f"{function}: block_size must be an integer of at least 1, got {block_size!r}; "
            "the authors use 7; block_size=1 is plain dropout"
        )
