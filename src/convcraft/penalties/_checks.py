"""What the penalties accept, and errors that name the argument."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from .._checks import check_number, check_tensor
from ..errors import ConvcraftError

#: A model, one tensor, or the tensors themselves.
Parameters = nn.Module | Tensor | Iterable[Tensor]


def parameters(function: str, p: Any) -> list[Tensor]:
    """The distinct floating-point tensors of a model or an iterable."""
    if isinstance(p, nn.Module):
        found: list[Any] = list(p.parameters())
    elif isinstance(p, Tensor):
        found = [p]
    elif isinstance(p, Iterable) and not isinstance(p, (str, bytes)):
        found = list(p)
    else:
        raise ConvcraftError(
            f"{function}: p must be a model or its parameters, got {type(p).__name__}; pass model or model.parameters()"
        )
    if not found:
        raise ConvcraftError(
            f"{function}: p must hold at least one parameter, got none; "
            "an iterator can be used once only, pass list(model.parameters())"
        )
    advice, convert = "pass model.parameters(), not names or groups with them", "p.float(), or leave it out"
    for tensor in found:
        check_tensor(function, "a member of p", tensor, pass_what=advice, convert=convert)
    return list(dict.fromkeys(found)) if len(found) > 1 else found


def strength(function: str, argument: str, value: Any) -> float:
    """A finite number that is not negative."""
    return check_number(function, argument, value, 0, advice=f"set {argument} to 0 to switch it off")


def check_dimension(function: str, tensor: Tensor, dim: Any) -> None:
    """Refuse a dimension that the tensor does not have; one without dimensions has dimension 0."""
    if not isinstance(dim, int) or isinstance(dim, bool) or not -tensor.dim() <= dim < max(1, tensor.dim()):
        raise ConvcraftError(
            f"{function}: dim must be a dimension of every tensor, got {dim!r} for shape "
            f"{tuple(tensor.shape)}; use 0 for the output units of a layer, and leave biases out for others"
        )


def rows(tensor: Tensor, dim: int) -> Tensor:
    """The groups of a tensor along a dimension: (groups, members), a view where there can be one."""
    if tensor.dim() == 0:
        return tensor.reshape(1, 1)
    return tensor.movedim(dim, 0).flatten(1) if tensor.dim() > 1 else tensor.unsqueeze(1)


def broadcast(values: Tensor, tensor: Tensor, dim: int) -> Tensor:
    """One value for each group, in a shape that multiplies the tensor."""
    shape = [1] * tensor.dim()
    if shape:
        shape[dim] = -1
    return values.reshape(shape)


def needs_autograd(tensors: list[Tensor]) -> bool:
    """Whether the formula must be left to autograd: under torch.compile, torch.func and for subclasses."""
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return True
    return any(type(tensor) not in (Tensor, nn.Parameter) for tensor in tensors)
