"""What an initialization scheme fills."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from .._checks import check_tensor
from ..errors import ConvcraftError


def check_weight(function: str, weight: Any, *, dimensions: tuple[int, ...] = ()) -> Tensor:
    """Require a floating-point tensor, with one of these numbers of dimensions where they are given."""
    advice = "pass its weight" if isinstance(weight, nn.Module) else "pass a layer's weight"
    check_tensor(function, "tensor", weight, pass_what=advice)
    if dimensions and weight.dim() not in dimensions:
        raise ConvcraftError(
            f"{function}: tensor must have {' or '.join(map(str, dimensions))} dimensions, "
            f"got shape {tuple(weight.shape)}; pass the weight of a layer of that kind"
        )
    return weight
