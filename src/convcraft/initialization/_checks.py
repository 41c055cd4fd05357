"""What an initialization scheme fills, a tensor or a model."""

from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from .._checks import Generator, check_generator, check_module, check_tensor
from ..errors import ConvcraftError


def check_weight(
    function: str, weight: Any, generator: Generator = None, *, dimensions: tuple[int, ...] = ()
) -> Tensor:
    """Require a floating-point tensor on the generator's device, of one of these numbers of dimensions if given."""
    advice = "pass its weight" if isinstance(weight, nn.Module) else "pass a layer's weight"
    check_tensor(function, "tensor", weight, pass_what=advice)
    if dimensions and weight.dim() not in dimensions:
        raise ConvcraftError(
            f"{function}: tensor must have {' or '.join(map(str, dimensions))} dimensions, "
            f"got shape {tuple(weight.shape)}; pass the weight of a layer of that kind"
        )
    check_generator(function, generator, weight, "tensor")
    return weight


def check_model(function: str, model: Any, generator: Generator) -> None:
    """Require a module whose parameters have shapes and values, on the device of the generator."""
    check_module(function, model)
    for name, parameter in model.named_parameters():
        if isinstance(parameter, UninitializedParameter):
            raise ConvcraftError(f"{function}: model must have shapes, but {name} has none; run one batch")
        if parameter.device.type == "meta":
            raise ConvcraftError(
                f"{function}: model must have values to set, but {name} is on the meta device; "
                "call model.to_empty(device='cpu') first"
            )
        check_generator(function, generator, parameter, "tensor")
