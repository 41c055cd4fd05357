"""The formulas as textbooks print them, in plain torch, with autograd's backward."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .timing import Function


def _softplus(x: Tensor) -> Tensor:
    return torch.log(1 + torch.exp(x))


def _elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    return torch.where(x > 0, x, alpha * (torch.exp(x) - 1))


def _softmax(x: Tensor) -> Tensor:
    powers = torch.exp(x - x.amax(1, keepdim=True))
    return powers / powers.sum(1, keepdim=True)


def _standardized(x: Tensor, dims: tuple[int, ...], eps: float = 1e-5) -> Tensor:
    mean = x.mean(dims, keepdim=True)
    return (x - mean) / torch.sqrt(((x - mean) ** 2).mean(dims, keepdim=True) + eps)


def dropout(x: Tensor, p: float) -> Tensor:
    """The mask by a comparison."""
    return (torch.rand(x.shape, device=x.device) > p).to(x.dtype) * x / (1 - p)


def batch_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Mean and variance over all but the channels."""
    shape = (1, -1, 1, 1)
    return weight.view(shape) * _standardized(x, (0, 2, 3)) + bias.view(shape)


def instance_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Over the positions of each channel of each example."""
    return weight.view(1, -1, 1, 1) * _standardized(x, (2, 3)) + bias.view(1, -1, 1, 1)


def group_norm(x: Tensor, groups: int, weight: Tensor, bias: Tensor) -> Tensor:
    """Over the channels of a group and their positions."""
    y = _standardized(x.reshape(len(x), groups, -1), (2,)).view(x.shape)
    return weight.view(1, -1, 1, 1) * y + bias.view(1, -1, 1, 1)


def layer_norm(x: Tensor) -> Tensor:
    """Over the last two dimensions."""
    return _standardized(x, (2, 3))


SELU = (1.6732632423543772, 1.0507009873554805)

#: name of an activation -> its formula
ACTIVATIONS: dict[str, Function] = {
    "relu": lambda x: torch.max(x, torch.zeros_like(x)),
    "relu6": lambda x: torch.min(torch.max(x, torch.zeros_like(x)), torch.full_like(x, 6)),
    "leaky_relu": lambda x: torch.where(x > 0, x, 0.01 * x),
    "prelu": lambda x: torch.where(x > 0, x, 0.25 * x),
    "elu": _elu,
    "celu": _elu,
    "selu": lambda x: SELU[1] * _elu(x, SELU[0]),
    "gelu": lambda x: 0.5 * x * (1 + torch.erf(x / math.sqrt(2))),
    "silu": lambda x: x / (1 + torch.exp(-x)),
    "mish": lambda x: x * torch.tanh(_softplus(x)),
    "sigmoid": lambda x: 1 / (1 + torch.exp(-x)),
    "hardsigmoid": lambda x: torch.clamp(x / 6 + 0.5, 0, 1),
    "hardswish": lambda x: x * torch.clamp(x / 6 + 0.5, 0, 1),
    "tanh": lambda x: (1 - torch.exp(-2 * x)) / (1 + torch.exp(-2 * x)),
    "softplus": _softplus,
    "softsign": lambda x: x / (1 + x.abs()),
    "softmax": _softmax,
    "log_softmax": lambda x: torch.log(_softmax(x)),
}
