"""Alpha dropout, of elements and of channels, which keeps the mean and variance of SELU networks."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .._checks import check_dimensions
from ..activations.definitions import SELU_ALPHA, SELU_SCALE
from ._modules import DropoutModule, Generator, channel_flags, check_dropout
from .packed_bits import masked, random_bits, takes_bits

#: What SELU tends to for very negative input: the value of a unit that alpha dropout switches off.
SELU_FLOOR = -SELU_ALPHA * SELU_SCALE


def affine_of(keep: float) -> tuple[float, float]:
    """(a, b) of :func:`alpha_dropout`, from the probability of keeping."""
    a = 1 / math.sqrt(keep + SELU_FLOOR**2 * keep * (1 - keep))
    return a, -a * (1 - keep) * SELU_FLOOR


def alpha_noise(x: Tensor, flags: Tensor, keep: float, inplace: bool) -> Tensor:
    """a (x m + floor (1 - m)) + b for flags m of 0 and 1 that broadcast with x."""
    a, b = affine_of(keep)
    offset = flags * (-a * SELU_FLOOR) + (a * SELU_FLOOR + b)
    return x.mul_(flags * a).add_(offset) if inplace else x * (flags * a) + offset


def alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False, generator: Generator = None
) -> Tensor:
    r"""Dropout for SELU: dropped elements get its lowest value, and mean 0 and variance 1 are kept.

    Formula: :math:`y = a (m x + (1 - m) \alpha') + b` with :math:`\alpha' = -\lambda\alpha \approx -1.7581`,
    :math:`q = 1 - p`, :math:`a = (q + \alpha'^2 q p)^{-1/2}`, :math:`b = -a p \alpha'`.

    The input has any shape; where `training` is False, torch's default here, it is returned as it is. Raises
    ConvcraftError as :func:`dropout`. Source: Klambauer, Unterthiner, Mayr and Hochreiter (2017),
    Self-Normalizing Neural Networks. Chapter: Dropout.

    >>> y = alpha_dropout(torch.zeros(100), 0.5, training=True)
    >>> sorted(round(v, 4) for v in y.unique().tolist())
    [-0.7792, 0.7792]
    """
    check_dropout("alpha_dropout", input, p, generator)
    if not training or p == 0:
        return input
    if takes_bits(input, p):
        bits, keep = random_bits(input.numel(), 1 - p, generator)
        a, _ = affine_of(keep)
        return masked(input, bits, a, -SELU_FLOOR, a * SELU_FLOOR * keep, inplace)
    if generator is None or p == 1:
        return F.alpha_dropout(input, p, True, inplace)
    flags = torch.empty_like(input).bernoulli_(1 - p, generator=generator)
    return alpha_noise(input, flags, 1 - p, inplace)


def feature_alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False, generator: Generator = None
) -> Tensor:
    r"""Alpha dropout of whole channels: dropped ones get SELU's lowest value everywhere.

    Formula: :math:`y_{nc\cdot} = a (m_{nc} x_{nc\cdot} + (1 - m_{nc}) \alpha') + b`, with a, b and
    :math:`\alpha'` of :func:`alpha_dropout`.

    The input is (N, C, ...). Raises ConvcraftError as :func:`alpha_dropout`, and for fewer than two dimensions.
    Source: Klambauer et al. (2017), Self-Normalizing Neural Networks, for the constants. Chapter: Dropout.

    >>> y = feature_alpha_dropout(torch.zeros(8, 8, 5), 0.5, training=True)
    >>> bool((y == y[:, :, :1]).all())
    True
    """
    check_dropout("feature_alpha_dropout", input, p, generator)
    check_dimensions("feature_alpha_dropout", input, tuple(range(2, 65)), "(N, C, ...)")
    if not training or p == 0:
        return input
    if generator is None or p == 1:
        return F.feature_alpha_dropout(input, p, True, inplace)
    return alpha_noise(input, channel_flags(input, p, True, generator), 1 - p, inplace)


class AlphaDropout(DropoutModule, nn.AlphaDropout):
    """Module of :func:`alpha_dropout`, a drop-in for `torch.nn.AlphaDropout`."""

    def forward(self, input: Tensor) -> Tensor:
        return alpha_dropout(input, self.p, self.training, self.inplace, self.generator)


class FeatureAlphaDropout(DropoutModule, nn.FeatureAlphaDropout):
    """Module of :func:`feature_alpha_dropout`, a drop-in for `torch.nn.FeatureAlphaDropout`."""

    def forward(self, input: Tensor) -> Tensor:
        return feature_alpha_dropout(input, self.p, self.training, self.inplace, self.generator)
