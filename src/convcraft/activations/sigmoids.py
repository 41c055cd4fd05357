"""The bounded functions: sigmoid, hardsigmoid, tanh and softsign, as functions and modules."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .._checks import COMPLEX, DISCRETE, INTEGERS, check_floating
from . import _fast

__all__ = ["Hardsigmoid", "Sigmoid", "Softsign", "Tanh", "hardsigmoid", "sigmoid", "softsign", "tanh"]

_ANY = DISCRETE | COMPLEX


def sigmoid(input: Tensor) -> Tensor:
    r"""Logistic function, from 0 to 1.

    Formula: :math:`\sigma(x) = 1 / (1 + e^{-x})`; derivative :math:`\sigma(x) (1 - \sigma(x)) \le 1/4`.

    Takes a tensor of any shape and dtype; integers and booleans give the default floating-point dtype. Source:
    Rumelhart, Hinton and Williams (1986), Learning representations by back-propagating errors. Chapter: Activations.

    >>> sigmoid(torch.tensor([-1e4, 0.0, 1e4]))
    tensor([0.0000, 0.5000, 1.0000])
    """
    check_floating("sigmoid", input, _ANY)
    return torch.sigmoid(input)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    r"""Sigmoid made of three straight pieces.

    Formula: :math:`\min(\max(x + 3, 0), 6) / 6`; derivative 1/6 for :math:`-3 < x < 3`, else 0.
    As in torch, the second derivative is not defined.

    Takes floating-point input of any shape, and raises ConvcraftError for any other. Source: Howard et al.
    (2019), Searching for MobileNetV3. Chapter: Activations.

    >>> hardsigmoid(torch.tensor([-4.0, 0.0, 4.0]))
    tensor([0.0000, 0.5000, 1.0000])
    """
    check_floating("hardsigmoid", input)
    return F.hardsigmoid(input, inplace)


def tanh(input: Tensor) -> Tensor:
    r"""Hyperbolic tangent, from -1 to 1, with slope 1 at 0.

    Formula: :math:`(e^x - e^{-x}) / (e^x + e^{-x}) = 2 \sigma(2x) - 1`; derivative :math:`1 - \tanh^2 x`.

    Takes a tensor of any shape and dtype; integers and booleans give the default floating-point dtype.
    Source: LeCun, Bottou, Orr and Müller (1998), Efficient BackProp. Chapter: Activations.

    >>> tanh(torch.tensor([-1e4, 0.0, 1e4]))
    tensor([-1.,  0.,  1.])
    """
    check_floating("tanh", input, _ANY)
    return torch.tanh(input)


def softsign(input: Tensor) -> Tensor:
    r"""Bounded function that approaches -1 and 1 like 1/x and not exponentially.

    Formula: :math:`x / (1 + |x|)`; derivative :math:`1 / (1 + |x|)^2`.

    Takes floating-point, integer or complex input of any shape, and raises ConvcraftError for any other.
    Source: Glorot and Bengio (2010), Understanding the difficulty of training deep feedforward neural
    networks. Chapter: Activations.

    >>> softsign(torch.tensor([-1.0, 0.0, 3.0]))
    tensor([-0.5000,  0.0000,  0.7500])
    """
    check_floating("softsign", input, INTEGERS | COMPLEX)
    return _fast.softsign(input)


class Sigmoid(nn.Sigmoid):
    """Module of :func:`sigmoid`, a drop-in for `torch.nn.Sigmoid`."""

    def forward(self, input: Tensor) -> Tensor:
        return sigmoid(input)


class Hardsigmoid(nn.Hardsigmoid):
    """Module of :func:`hardsigmoid`, a drop-in for `torch.nn.Hardsigmoid`."""

    def forward(self, input: Tensor) -> Tensor:
        return hardsigmoid(input, self.inplace)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class Tanh(nn.Tanh):
    """Module of :func:`tanh`, a drop-in for `torch.nn.Tanh`."""

    def forward(self, input: Tensor) -> Tensor:
        return tanh(input)


class Softsign(nn.Softsign):
    """Module of :func:`softsign`, a drop-in for `torch.nn.Softsign`."""

    def forward(self, input: Tensor) -> Tensor:
        return softsign(input)
