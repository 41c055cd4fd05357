"""What may be given as an optimizer, and the error for what may not."""

from typing import Any

from torch import nn
from torch.optim import Optimizer

from .errors import ConvcraftError


def check_optimizer(function: str, optimizer: Any, model: nn.Module | None = None) -> None:
    """Refuse what is not an optimizer, and, where a model is given, one that holds none of its parameters."""
    kin = hasattr(optimizer, "param_groups") and callable(getattr(optimizer, "step", None))
    if not isinstance(optimizer, Optimizer) and (isinstance(optimizer, type) or not kin):
        raise ConvcraftError(
            f"{function}: optimizer must be a torch.optim.Optimizer, got {_describe(optimizer)}"
        )
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if model is not None and not any(id(p) in held for p in model.parameters()):
        raise ConvcraftError(
            f"{function}: optimizer must hold parameters of the model, got none of them; "
            "build it from model.parameters()"
        )


def _describe(optimizer: Any) -> str:
    if isinstance(getattr(optimizer, "optimizer", None), Optimizer):
        return f"a {type(optimizer).__name__}; pass its optimizer"
    if isinstance(optimizer, type):
        return f"the class {optimizer.__name__}; make an instance, {optimizer.__name__}(model.parameters())"
    return f"{type(optimizer).__name__}; pass for example torch.optim.SGD(model.parameters(), lr=0.1)"
