"""The checks of models and numbers that this part shares."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from ..errors import ConvcraftError


def check_model(function: str, model: Any) -> list[nn.Parameter]:
    """The parameters that learn, or the error for a model without any."""
    if not isinstance(model, nn.Module):
        raise ConvcraftError(
            f"{function}: model must be a torch.nn.Module, got {type(model).__name__}; pass the model itself"
        )
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
