"""Schemes whose scale follows from the shape of a layer: Xavier, Kaiming, LeCun, orthogonal."""

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from .._checks import Generator, check_choice, check_groups, check_number
from ..errors import ConvcraftError
from ._checks import check_weight
from .basic import middle
from .fans import fans
from .gains import calculate_gain

#: a weight, or the layer that has it
Weight = Tensor | nn.Module
Mode = Literal["fan_in", "fan_out"]


@torch.no_grad()
def _fill(function: str, target: Weight, variance: Any, uniform: bool, generator: Generator) -> Tensor:
    """Fill a weight by a variance that is computed from its fans; a layer gives the right ones."""
    found = fans(target)
    weight = check_weight(function, target.weight if isinstance(target, nn.Module) else target, generator)
    std = math.sqrt(variance(found)) if weight.numel() else 0.0
    if uniform:
        return weight.uniform_(-math.sqrt(3) * std, math.sqrt(3) * std, generator=generator)
    return weight.normal_(0, std, generator=generator)


def xavier_uniform_(tensor: Weight, gain: float = 1.0, generator: Generator = None) -> Tensor:
    r"""Fill from a uniform distribution whose variance is Glorot and Bengio's.

    Formula: :math:`w \sim U(-r, r)` with :math:`r = g \sqrt{6 / (\text{fan}_{in} + \text{fan}_{out})}`.

    Args:
        tensor: a weight of 2 dimensions or more, with torch's fans; or a layer, with the right ones for
            groups, stride and transposition (see `fans`). It is changed; the weight is returned.
        gain: factor on the standard deviation, not negative.

    Raises ConvcraftError when the tensor is not a floating-point weight or layer, gain is negative, or the
    generator is elsewhere. Source: Glorot and Bengio (2010), Understanding the difficulty of training deep
    feedforward neural networks. Chapter: Weight initialization.

    >>> xavier_uniform_(torch.empty(3, 3)).abs().max() <= 1
    tensor(True)
    """
    check_number("xavier_uniform_", "gain", gain, low=0)
    return _fill("xavier_uniform_", tensor, lambda f: 2 * gain**2 / sum(f), True, generator)


def xavier_normal_(tensor: Weight, gain: float = 1.0, generator: Generator = None) -> Tensor:
    r"""Fill from a normal distribution whose variance is Glorot and Bengio's.

    Formula: :math:`w \sim N(0, \sigma^2)`, :math:`\sigma^2 = 2 g^2 / (\text{fan}_{in} + \text{fan}_{out})`.

    Arguments and errors are those of `xavier_uniform_`. Source: Glorot and Bengio (2010), Understanding the
    difficulty of training deep feedforward neural networks. Chapter: Weight initialization.

    >>> xavier_normal_(nn.Linear(2, 3), gain=0.0)
    Parameter containing:
    tensor([[0., 0.],
            [0., 0.],
            [0., 0.]], requires_grad=True)
    """
    check_number("xavier_normal_", "gain", gain, low=0)
    return _fill("xavier_normal_", tensor, lambda f: 2 * gain**2 / sum(f), False, generator)


def _kaiming(
    function: str, tensor: Weight, a: float, mode: str, nonlinearity: Any, uniform: bool, generator: Generator
) -> Tensor:
    check_choice(function, "mode", mode, ("fan_in", "fan_out"))
    gain = calculate_gain(nonlinearity, a if nonlinearity == "leaky_relu" else None)
    return _fill(function, tensor, lambda f: gain**2 / getattr(f, mode), uniform, generator)


def kaiming_uniform_(
    tensor: Weight, a: float = 0, mode: Mode = "fan_in", nonlinearity: Any = "leaky_relu", generator: Generator = None
) -> Tensor:
    r"""Fill from a uniform distribution whose variance is He's, for the activation that follows.

    Formula: :math:`w \sim U(-r, r)` with :math:`r = g \sqrt{3 / \text{fan}}` and g from `calculate_gain`.

    Args:
        a: negative slope for leaky_relu.
        mode: "fan_in" keeps the variance of the forward pass, "fan_out" that of the gradients.
        nonlinearity: what `calculate_gain` takes.

    Raises ConvcraftError as `xavier_uniform_` and `calculate_gain` do, and when mode is not known. Source:
    He, Zhang, Ren and Sun (2015), Delving Deep into Rectifiers. Chapter: Weight initialization.

    >>> kaiming_uniform_(torch.empty(3, 6), nonlinearity="relu").abs().max() <= 1
    tensor(True)
    """
    return _kaiming("kaiming_uniform_", tensor, a, mode, nonlinearity, True, generator)


def kaiming_normal_(
    tensor: Weight, a: float = 0, mode: Mode = "fan_in", nonlinearity: Any = "leaky_relu", generator: Generator = None
) -> Tensor:
    r"""Fill from a normal distribution whose variance is He's, for the activation that follows.

    Formula: :math:`w \sim N(0, g^2 / \text{fan})` with g from `calculate_gain`.

    Arguments and errors are those of `kaiming_uniform_`. Source: He, Zhang, Ren and Sun (2015), Delving Deep
    into Rectifiers. Chapter: Weight initialization.

    >>> kaiming_normal_(torch.empty(5, 4), nonlinearity="mish").shape
    torch.Size([5, 4])
    """
    return _kaiming("kaiming_normal_", tensor, a, mode, nonlinearity, False, generator)


def lecun_uniform_(tensor: Weight, generator: Generator = None) -> Tensor:
    r"""Fill from a uniform distribution of variance 1 / fan_in.

    Formula: :math:`w \sim U(-r, r)` with :math:`r = \sqrt{3 / \text{fan}_{in}}`.

    Raises ConvcraftError as `xavier_uniform_` does. Source: LeCun, Bottou, Orr and Müller (1998), Efficient
    BackProp. Chapter: Weight initialization.

    >>> lecun_uniform_(torch.empty(2, 3)).abs().max() <= 1
    tensor(True)
    """
    return _fill("lecun_uniform_", tensor, lambda f: 1 / f.fan_in, True, generator)


def lecun_normal_(tensor: Weight, generator: Generator = None) -> Tensor:
    r"""Fill from a normal distribution of variance 1 / fan_in, as SELU needs it.

    Formula: :math:`w \sim N(0, 1 / \text{fan}_{in})`.

    Errors are those of `xavier_uniform_`. Source: LeCun, Bottou, Orr and Müller (1998), Efficient BackProp; Klambauer,
    Unterthiner, Mayr and Hochreiter (2017), Self-Normalizing Neural Networks. Chapter: Weight initialization.

    >>> lecun_normal_(torch.empty(2, 3)).shape
    torch.Size([2, 3])
    """
    return _fill("lecun_normal_", tensor, lambda f: 1 / f.fan_in, False, generator)


@torch.no_grad()
def orthogonal_(tensor: Tensor, gain: float = 1, generator: Generator = None) -> Tensor:
    r"""Fill with a (semi-)orthogonal matrix, drawn uniformly, so that no direction shrinks or grows.

    Formula: :math:`W = g Q` with Q from the QR decomposition of a normal matrix and the signs of R's diagonal
    moved into Q; dimensions from the second on are taken as one. :math:`W W^T = g^2 I` or
    :math:`W^T W = g^2 I`, whichever is the smaller.

    Args:
        tensor: 2 dimensions or more, floating-point.
        gain: g, a factor on the matrix.

    Raises ConvcraftError when the tensor is not floating-point or has fewer than 2 dimensions, gain is not
    finite, or the generator is elsewhere. Source: Saxe, McClelland and Ganguli (2014), Exact solutions
    to the nonlinear dynamics of learning in deep linear neural networks. Chapter: Weight initialization.

    >>> w = orthogonal_(torch.empty(2, 3))
    >>> torch.allclose(w @ w.T, torch.eye(2), atol=1e-6)
    True
    """
    fans(check_weight("orthogonal_", tensor, generator))
    check_number("orthogonal_", "gain", gain)
    if tensor.numel():
        matrix = _orthogonal(tensor.size(0), tensor.numel() // tensor.size(0), tensor, generator)
        tensor.copy_(matrix.view(tensor.shape)).mul_(gain)
    return tensor


def _orthogonal(rows: int, columns: int, like: Tensor, generator: Generator) -> Tensor:
    """A matrix with orthonormal rows or columns, whichever are fewer, uniformly distributed."""
    normal = like.new_empty(rows, columns).normal_(0, 1, generator=generator)
    if like.dtype in (torch.float16, torch.bfloat16):
        normal = normal.float()  # QR has no kernel for these
    q, r = torch.linalg.qr(normal.T if rows < columns else normal)
    q = q * r.diagonal().sign()
    return (q.T if rows < columns else q).contiguous()


@torch.no_grad()
def delta_orthogonal_(tensor: Weight, gain: float = 1, groups: int = 1, generator: Generator = None) -> Tensor:
    r"""Fill a convolution with an orthogonal matrix in the middle of its kernel and zeros around it.

    Formula: :math:`W_m = g Q` at the middle position m with :math:`Q^T Q = I`, else 0: the convolution maps
    each position by g Q, and so keeps the norm of its input (for g = 1, stride 1 and enough padding).

    Args:
        tensor: (C_out, C_in / groups, ...) with 1 to 3 kernel dimensions and C_out >= C_in, or a convolution,
            whose groups are taken then. It is changed; the weight is returned.
        gain: factor on the matrix.
        groups: of the convolution; each group gets a matrix of its own.

    Raises ConvcraftError when the tensor is not a floating-point weight of a convolution, is that of a
    transposed one, has fewer output than input channels, groups do not divide it, or the generator is
    elsewhere. Source: Xiao, Bahri, Sohl-Dickstein, Schoenholz and Pennington (2018), Dynamical Isometry and a
    Mean Field Theory of CNNs. Chapter: Weight initialization.

    >>> layer = nn.Conv2d(2, 4, 3, padding=1, bias=False)
    >>> _ = delta_orthogonal_(layer)
    >>> x = torch.ones(1, 2, 5, 5)
    >>> torch.allclose(layer(x).norm(), x.norm())
    True
    """
    if isinstance(tensor, nn.Module):
        if not isinstance(tensor, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            raise ConvcraftError(
                "delta_orthogonal_: tensor must be a convolution or its weight, "
                f"got {type(tensor).__name__}; use orthogonal_ for other layers"
            )
        groups, tensor = tensor.groups, tensor.weight
    check_weight("delta_orthogonal_", tensor, generator, dimensions=(3, 4, 5))
    check_groups("delta_orthogonal_", "groups", groups, tensor.size(0))
    check_number("delta_orthogonal_", "gain", gain)
    rows, columns = tensor.size(0) // groups, tensor.size(1)
    if rows < columns:
        raise ConvcraftError(
            "delta_orthogonal_: tensor must have at least as many output as input channels in each group, "
            f"got {rows} and {columns} (shape {tuple(tensor.shape)}); use orthogonal_"
        )
    for part in middle(tensor.zero_(), groups):
        part.copy_(_orthogonal(rows, columns, tensor, generator)).mul_(gain)
    return tensor
