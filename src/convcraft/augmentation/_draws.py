"""Random draws, one for each image: float32 whatever the dtype of the images, so that a seed means the same."""

import math

import torch
from torch import Tensor

from .._checks import Generator
from ._checks import precision


def unit(images: Tensor, generator: Generator) -> Tensor:
    """(N,) uniform on [0, 1)."""
    return torch.rand(images.size(0), generator=generator, device=images.device)


def uniform(images: Tensor, bounds: tuple[float, float], generator: Generator) -> Tensor:
    """(N,) uniform between the bounds."""
    low, high = bounds
    return (unit(images, generator) * (high - low) + low).to(precision(images))


def integers(images: Tensor, bounds: tuple[int, int], generator: Generator) -> Tensor:
    """(N,) whole numbers, both bounds included."""
    low, high = bounds
    return torch.randint(low, high + 1, (images.size(0),), generator=generator, device=images.device)


def chance(images: Tensor, p: float, generator: Generator) -> Tensor:
    """(N,) True with probability p; never for p = 0, always for p = 1."""
    return unit(images, generator) < p


def normal(images: Tensor, generator: Generator) -> Tensor:
    """The shape of the images, standard normal, in the order of the indices whatever the memory format."""
    return torch.randn(images.shape, generator=generator, device=images.device)


def symmetric_beta(images: Tensor, alpha: float, generator: Generator) -> Tensor:
    r"""(N,) values of Beta(alpha, alpha), exact for every alpha > 0, without rejection.

    :math:`\frac12 (1 + c / \sqrt{c^2 + 1 / (u^{-1/\alpha} - 1)})` with :math:`c = \cos 2 \pi v`, u and v
    uniform: Bailey's (1994) polar method gives Student's t, and t / sqrt(2 alpha + t^2) is symmetric beta on
    (-1, 1). Devroye (1996), Random Variate Generation in One Line of Code.
    """
    u, v = unit(images, generator), unit(images, generator)
    cosine = torch.cos(2 * math.pi * v)
    radius = torch.expm1(-torch.log(u) / alpha)
    return (0.5 + 0.5 * cosine / torch.sqrt(cosine.square() + 1 / radius)).to(precision(images))
