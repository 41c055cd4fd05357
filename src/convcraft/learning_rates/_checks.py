"""The checks of models, optimizers and numbers that this part shares."""

from __future__ import annotations

import math
from typing import Any

from torch import nn
from torch.optim import Optimizer

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


def check_optimizer(function: str, optimizer: Any, model: nn.Module) -> None:
    """Refuse what is not an optimizer, and one that holds nothing of the model."""
    if not isinstance(optimizer, Optimizer):
        raise ConvcraftError(
            f"{function}: optimizer must be a torch.optim.Optimizer, got {describe_optimizer(optimizer)}"
        )
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if not any(id(p) in held for p in model.parameters()):
        raise ConvcraftError(
            f"{function}: optimizer must hold parameters of the model, got none of them; "
            "build it from model.parameters()"
        )


def describe_optimizer(optimizer: Any) -> str:
    """What was given for an optimizer, and what to pass instead."""
    inner = getattr(optimizer, "optimizer", None)
    if isinstance(inner, Optimizer):
        return f"a {type(optimizer).__name__}; pass its optimizer"
    if isinstance(optimizer, type):
        return f"the class {optimizer.__name__}; make an instance, {optimizer.__name__}(model.parameters())"
    return f"{type(optimizer).__name__}; pass for example torch.optim.SGD(model.parameters(), lr=0.1)"


def check_positive(function: str, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ConvcraftError(f"{function}: {name} must be a positive, finite number, got {value!r}")
    return value


def check_count(function: str, name: str, value: Any, least: int = 1) -> int:
    if type(value) is not int or value < least:
        raise ConvcraftError(f"{function}: {name} must be a whole number, {least} or more, got {value!r}")
    return value
