"""Dropout of single elements, plain and Gaussian, as functions and modules."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._modules import DropoutModule, Generator, check_dropout
from .packed_bits import masked, random_bits, takes_bits


def dropout(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, generator: Generator = None
) -> Tensor:
    r"""Set each element to 0 with probability p, and divide the others by 1 - p, which keeps the mean.

    Formula: :math:`y = m x / (1 - p)` with independent :math:`m \in \{0, 1\}`, :math:`P(m = 0) = p`. Then
    :math:`E[y] = x`, :math:`\operatorname{Var}[y] = \frac{p}{1 - p} x^2`, and the gradient is that of the
    elements that were kept, times :math:`1 / (1 - p)`.

    On the CPU the mask is drawn as packed random bits, and the backward pass keeps one bit for each element.
    That is several times as fast as torch's for large tensors, and slower for small ones, since a call costs 30
    to 80 microseconds: below some 4,000 elements at p = 0.5, some 16,000 at p = 0.1. There 1 - p is rounded to a
    binary fraction of at least 16 digits, and the division is by the rounded value: the mean is exact.

    The input has any shape. Raises ConvcraftError when p is outside [0, 1], the input is not a floating-point
    tensor, or the generator is on another device. Source: Srivastava, Hinton, Krizhevsky, Sutskever and
    Salakhutdinov (2014), Dropout: A Simple Way to Prevent Neural Networks from Overfitting. Chapter: Dropout.

    >>> dropout(torch.ones(6), 0.5, generator=torch.Generator().manual_seed(1)).unique()
    tensor([0., 2.])
    >>> dropout(torch.ones(3), 0.5, training=False)
    tensor([1., 1., 1.])
    """
    check_dropout("dropout", input, p, generator)
    if not training or p == 0:
        return input
    if takes_bits(input, p):
        bits, keep = random_bits(input.numel(), 1 - p, generator)
        return masked(input, bits, 1 / keep, inplace=inplace)
    if generator is None or p == 1:
        return F.dropout(input, p, True, inplace)
    noise = torch.empty_like(input).bernoulli_(1 - p, generator=generator).div_(1 - p)
    return input.mul_(noise) if inplace else input * noise


def gaussian_dropout(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, generator: Generator = None
) -> Tensor:
    r"""Multiply each element by a normal number of mean 1 and the variance that dropout would give.

    Formula: :math:`y = x (1 + \sqrt{p / (1 - p)}\, z)` with independent :math:`z \sim N(0, 1)`.

    The input has any shape; p, in [0, 1), is the probability of the dropout with the same variance. Raises
    ConvcraftError as :func:`dropout`. Source: Srivastava et al. (2014), section 10, Multiplicative Gaussian
    Noise. Chapter: Dropout.

    >>> y = gaussian_dropout(torch.ones(10000), 0.2, generator=torch.Generator().manual_seed(0))
    >>> abs(y.var().item() - 0.25) < 0.02
    True
    """
    check_dropout("gaussian_dropout", input, p, generator, below_one=True)
    if not training or p == 0:
        return input
    deviation = math.sqrt(p / (1 - p))
    if generator is None:  # spelled so that vmap's randomness applies
        noise = torch.randn_like(input).mul(deviation).add(1)
    else:
        noise = torch.empty_like(input).normal_(1, deviation, generator=generator)
    return input.mul_(noise) if inplace else input * noise


class Dropout(DropoutModule, nn.Dropout):
    """Module of :func:`dropout`, a drop-in for `torch.nn.Dropout`; it acts in training mode only."""

    def forward(self, input: Tensor) -> Tensor:
        return dropout(input, self.p, self.training, self.inplace, self.generator)


class GaussianDropout(DropoutModule):
    """Module of :func:`gaussian_dropout`; it acts in training mode only."""

    below_one = True

    def forward(self, input: Tensor) -> Tensor:
        return gaussian_dropout(input, self.p, self.training, self.inplace, self.generator)
