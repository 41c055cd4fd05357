"""The rectifiers: ReLU, ReLU6, Leaky ReLU and PReLU, as functions and modules."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .._checks import INTEGERS, check_count, check_floating
from ..errors import ConvcraftError

__all__ = ["LeakyReLU", "PReLU", "ReLU", "ReLU6", "leaky_relu", "prelu", "relu", "relu6"]


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    r"""Keep what is positive and put 0 for the rest.

    Formula: :math:`\max(x, 0)`; derivative 1 for :math:`x > 0`, else 0.

    Takes floating-point or integer input of any shape, and raises ConvcraftError for any other. Source: Nair
    and Hinton (2010), Rectified Linear Units Improve Restricted Boltzmann Machines. Chapter: Activations.

    >>> relu(torch.tensor([-2.0, 0.0, 3.0]))
    tensor([0., 0., 3.])
    """
    check_floating("relu", input, INTEGERS)
    return torch.relu_(input) if inplace else torch.relu(input)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    r"""ReLU that is cut off at 6.

    Formula: :math:`\min(\max(x, 0), 6)`; derivative 1 for :math:`0 < x < 6`, else 0.

    Takes floating-point or integer input of any shape, and raises ConvcraftError for any other. Source:
    Krizhevsky (2010), Convolutional Deep Belief Networks on CIFAR-10. Chapter: Activations.

    >>> relu6(torch.tensor([-2.0, 3.0, 9.0]))
    tensor([0., 3., 6.])
    """
    check_floating("relu6", input, INTEGERS)
    return F.relu6(input, inplace)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    r"""ReLU with a small slope for negative input instead of 0.

    Formula: :math:`x` for :math:`x > 0`, else :math:`a x` with a = negative_slope; derivative 1 or a.

    Takes floating-point input of any shape, and raises ConvcraftError for any other. Where `inplace` and a
    gradient is needed the slope must not be negative. Source: Maas, Hannun and Ng (2013), Rectifier
    Nonlinearities Improve Neural Network Acoustic Models. Chapter: Activations.

    >>> leaky_relu(torch.tensor([-2.0, 3.0]), 0.1)
    tensor([-0.2000,  3.0000])
    """
    check_floating("leaky_relu", input)
    return F.leaky_relu(input, negative_slope, inplace)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    r"""Leaky ReLU whose slope is learned, one for all channels or one for each.

    Formula: :math:`x` for :math:`x > 0`, else :math:`a_c x`; the derivative by :math:`a_c` is the sum of
    :math:`\min(x, 0)` over the channel.

    Args:
        input: (N, C, ...), floating-point.
        weight: the slopes a, of shape (1,) or (C,), in the input's dtype.

    Raises ConvcraftError when the input is not a floating-point tensor, or the weight has another shape.
    Source: He, Zhang, Ren and Sun (2015), Delving Deep into Rectifiers. Chapter: Activations.

    >>> prelu(torch.tensor([[-2.0, -2.0]]), torch.tensor([0.1, 0.5]))
    tensor([[-0.2000, -1.0000]])
    """
    check_floating("prelu", input)
    if not isinstance(weight, Tensor):
        raise ConvcraftError(
            f"prelu: weight must be a torch.Tensor, got {type(weight).__name__}; use torch.tensor([{weight!r}])"
        )
    if weight.dim() > 1:
        raise ConvcraftError(
            f"prelu: weight must have 0 or 1 dimensions, got shape {tuple(weight.shape)}; use weight.flatten()"
        )
    if weight.numel() != 1 and weight.numel() != (channels := input.size(1) if input.dim() > 1 else 1):
        raise ConvcraftError(
            f"prelu: weight must hold 1 slope or one for each of the input's {channels} channels (dimension 1 of "
            f"shape {tuple(input.shape)}), got {weight.numel()}; set num_parameters to 1 or {channels}"
        )
    return torch.prelu(input, weight)


class ReLU(nn.ReLU):
    """Module of :func:`relu`, a drop-in for `torch.nn.ReLU`."""

    def forward(self, input: Tensor) -> Tensor:
        return relu(input, self.inplace)


class ReLU6(nn.ReLU6):
    """Module of :func:`relu6`, a drop-in for `torch.nn.ReLU6`."""

    def forward(self, input: Tensor) -> Tensor:
        return relu6(input, self.inplace)


class LeakyReLU(nn.LeakyReLU):
    """Module of :func:`leaky_relu`, a drop-in for `torch.nn.LeakyReLU`."""

    def forward(self, input: Tensor) -> Tensor:
        return leaky_relu(input, self.negative_slope, self.inplace)


class PReLU(nn.PReLU):
    """Module of :func:`prelu` with the learnable `weight`, a drop-in for `torch.nn.PReLU`.

    `num_parameters` is 1, or the number of channels, else ConvcraftError is raised; `init` starts the slopes.
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None) -> None:
        check_count("PReLU", "num_parameters", num_parameters)
        super().__init__(num_parameters, init, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        return prelu(input, self.weight)
