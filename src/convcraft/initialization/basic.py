"""Schemes that do not look at the shape of a layer: constants, uniform, normal, identity and sparse."""

import math

import torch
from torch import Tensor

from .._checks import Generator, check_groups, check_number
from ..errors import ConvcraftError
from ._checks import check_weight


@torch.no_grad()
def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator = None) -> Tensor:
    r"""Fill with numbers from the uniform distribution on [a, b).

    Formula: :math:`w \sim U(a, b)`, with variance :math:`(b - a)^2 / 12`.

    Raises ConvcraftError when the tensor is not floating-point, b is below a, or the generator is elsewhere.
    Chapter: Weight initialization.

    >>> uniform_(torch.empty(100)).max() < 1
    tensor(True)
    """
    check_weight("uniform_", tensor, generator)
    check_number("uniform_", "a", a)
    check_number("uniform_", "b", b, low=a)
    return tensor.uniform_(a, b, generator=generator)


@torch.no_grad()
def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator = None) -> Tensor:
    r"""Fill with numbers from the normal distribution.

    Formula: :math:`w \sim N(\mu, \sigma^2)` with :math:`\sigma` = std.

    Raises ConvcraftError when the tensor is not floating-point, std is negative, or the generator is
    elsewhere. Chapter: Weight initialization.

    >>> normal_(torch.empty(2, 3), std=0.0)
    tensor([[0., 0., 0.],
            [0., 0., 0.]])
    """
    check_weight("normal_", tensor, generator)
    check_number("normal_", "mean", mean)
    check_number("normal_", "std", std, low=0)
    return tensor.normal_(mean, std, generator=generator)


@torch.no_grad()
def trunc_normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, generator: Generator = None
) -> Tensor:
    r"""Fill with numbers from the normal distribution, given that they lie in [a, b].

    Formula: :math:`w = \mu + \sigma \Phi^{-1}(u)` with u uniform between :math:`\Phi((a - \mu) / \sigma)` and
    :math:`\Phi((b - \mu) / \sigma)`, evaluated in float64 on the side where :math:`\Phi` is small, so that an
    interval far in the tail is drawn from rightly too. The ends a and b are in the units of the tensor, not
    in standard deviations. Unlike torch's, whose method differs from version to version, it draws exactly one
    uniform number for each weight.

    Args:
        mean, std: of the normal distribution before it is cut.
        a, b: the ends.

    Raises ConvcraftError when the tensor is not floating-point, std is not above 0, b is not above a, [a, b] is more
    than 37 standard deviations away from the mean, or the generator is elsewhere. Chapter: Weight initialization.

    >>> trunc_normal_(torch.empty(1000)).abs().max() <= 2
    tensor(True)
    """
    check_weight("trunc_normal_", tensor, generator)
    check_number("trunc_normal_", "mean", mean)
    check_number("trunc_normal_", "std", std, low=0, above=True)
    check_number("trunc_normal_", "a", a)
    check_number("trunc_normal_", "b", b, low=a, above=True)
    low, high = (a - mean) / std, (b - mean) / std
    mirrored = low + high > 0
    if mirrored:
        low, high = -high, -low
    ends = [0.5 * math.erfc(-end / math.sqrt(2)) for end in (low, high)]
    if ends[1] < 1e-300:
        raise ConvcraftError(
            f"trunc_normal_: [a, b] must come within 37 standard deviations of mean, got a={a!r}, b={b!r} "
            f"with mean={mean!r}, std={std!r}; use uniform_ on that interval"
        )
    u = torch.rand(tensor.shape, dtype=torch.float64, device=tensor.device, generator=generator)
    z = torch.special.ndtri(u.mul_(ends[1] - ends[0]).add_(ends[0]))
    z.mul_(-std if mirrored else std).add_(mean)
    return tensor.copy_(z).clamp_(a, b)


@torch.no_grad()
def constant_(tensor: Tensor, val: float) -> Tensor:
    r"""Fill with one number.

    Formula: :math:`w = c`. As the weights of a hidden layer it leaves all units equal for ever.

    Raises ConvcraftError when the tensor is not floating-point or val is not a finite number.
    Chapter: Weight initialization.

    >>> constant_(torch.empty(2), 0.5)
    tensor([0.5000, 0.5000])
    """
    check_weight("constant_", tensor)
    return tensor.fill_(check_number("constant_", "val", val))


@torch.no_grad()
def ones_(tensor: Tensor) -> Tensor:
    r"""Fill with ones, as the weight of a normalization starts.

    Formula: :math:`w = 1`.

    Raises ConvcraftError when the tensor is not floating-point. Chapter: Weight initialization.

    >>> ones_(torch.empty(2))
    tensor([1., 1.])
    """
    return check_weight("ones_", tensor).fill_(1)


@torch.no_grad()
def zeros_(tensor: Tensor) -> Tensor:
    r"""Fill with zeros, as a bias starts.

    Formula: :math:`w = 0`.

    Raises ConvcraftError when the tensor is not floating-point. Chapter: Weight initialization.

    >>> zeros_(torch.empty(2))
    tensor([0., 0.])
    """
    return check_weight("zeros_", tensor).zero_()


@torch.no_grad()
def eye_(tensor: Tensor) -> Tensor:
    r"""Fill a matrix with the identity, so that a linear layer passes its inputs on.

    Formula: :math:`W_{ij} = 1` for i = j, else 0; W is (n, m).

    Raises ConvcraftError when the tensor is not floating-point or does not have 2 dimensions.
    Chapter: Weight initialization.

    >>> eye_(torch.empty(2, 3))
    tensor([[1., 0., 0.],
            [0., 1., 0.]])
    """
    check_weight("eye_", tensor, dimensions=(2,)).zero_().diagonal().fill_(1)
    return tensor


@torch.no_grad()
def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    r"""Fill the weight of a convolution with unit impulses, so that it passes its channels on.

    Formula: :math:`W_{c, c, m} = 1` for the middle position m of the kernel and each channel c of a group, else 0.

    Args:
        tensor: (C_out, C_in / groups, ...) with 1 to 3 kernel dimensions.
        groups: of the convolution.

    Raises ConvcraftError when the tensor is not floating-point, has other dimensions, or groups does not
    divide C_out. Source: Zagoruyko and Komodakis (2017), DiracNets: Training Very Deep Neural Networks
    Without Skip-Connections. Chapter: Weight initialization.

    >>> dirac_(torch.empty(1, 1, 3))
    tensor([[[0., 1., 0.]]])
    """
    check_weight("dirac_", tensor, dimensions=(3, 4, 5))
    check_groups("dirac_", "groups", groups, tensor.size(0))
    middle(tensor.zero_(), groups).diagonal(dim1=1, dim2=2).fill_(1)
    return tensor


def middle(tensor: Tensor, groups: int) -> Tensor:
    """View of the middle of the kernel: (groups, C_out / groups, C_in / groups)."""
    for size in tensor.shape[2:]:
        tensor = tensor.select(2, size // 2)
    return tensor.unflatten(0, (groups, -1))


@torch.no_grad()
def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator = None) -> Tensor:
    r"""Fill a matrix from a normal distribution and set a share of each column to zero.

    Formula: :math:`w \sim N(0, \sigma^2)`; then :math:`\lceil s\,n \rceil` of the n entries of each column
    are 0. All random numbers come from the generator, which torch asks for the normal ones only.

    Args:
        tensor: (n, m), floating-point.
        sparsity: the share s of zeros in each column, 0 to 1.
        std: the standard deviation of the others, not negative.

    Raises ConvcraftError when the tensor is not floating-point or does not have 2 dimensions, sparsity lies
    outside [0, 1], std is negative, or the generator is elsewhere. Source: Martens (2010), Deep learning via
    Hessian-free optimization. Chapter: Weight initialization.

    >>> (sparse_(torch.empty(10, 3), 0.8) == 0).sum(0)
    tensor([8, 8, 8])
    """
    check_weight("sparse_", tensor, generator, dimensions=(2,))
    check_number("sparse_", "sparsity", sparsity, low=0, high=1)
    check_number("sparse_", "std", std, low=0)
    tensor.normal_(0, std, generator=generator)
    zeros = math.ceil(sparsity * tensor.size(0))
    for column in range(tensor.size(1)):
        rows = torch.randperm(tensor.size(0), generator=generator, device=tensor.device)[:zeros]
        tensor[rows, column] = 0
    return tensor
