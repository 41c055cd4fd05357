"""The rectifiers with an exponential bend: ELU, CELU, SELU and softplus, as functions and modules."""

import torch  # noqa: F401  (the examples use it)
import torch.nn.functional as F
from torch import Tensor, nn

from .._checks import check_floating
from ..errors import ConvcraftError
from . import _fast

__all__ = ["CELU", "ELU", "SELU", "Softplus", "celu", "elu", "selu", "softplus"]


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    r"""Exponential linear unit: negative input goes to -alpha smoothly.

    Formula: :math:`x` for :math:`x > 0`, else :math:`\alpha (e^x - 1)`; derivative 1 or :math:`\alpha e^x`.

    Takes floating-point input of any shape, and raises ConvcraftError for any other. Source: Clevert,
    Unterthiner and Hochreiter (2016), Fast and Accurate Deep Network Learning by Exponential Linear Units
    (ELUs). Chapter: Activations.

    >>> elu(torch.tensor([-100.0, 0.0, 2.0]))
    tensor([-1.,  0.,  2.])
    """
    check_floating("elu", input)
    return _fast.elu(input, alpha, inplace)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    r"""ELU whose derivative is continuous for every alpha.

    Formula: :math:`x` for :math:`x > 0`, else :math:`\alpha (e^{x / \alpha} - 1)`; derivative 1 or
    :math:`e^{x / \alpha}`.

    Takes floating-point input of any shape; raises ConvcraftError for any other, and where alpha is 0.
    Source: Barron (2017), Continuously Differentiable Exponential Linear Units. Chapter: Activations.

    >>> celu(torch.tensor([-100.0, 0.0, 2.0]), 0.5)
    tensor([-0.5000,  0.0000,  2.0000])
    """
    check_floating("celu", input)
    _check_nonzero("celu", "alpha", alpha)
    return _fast.celu(input, alpha, inplace)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    r"""Scaled ELU, whose two constants make mean 0 and variance 1 a fixed point from layer to layer.

    Formula: :math:`\lambda x` for :math:`x > 0`, else :math:`\lambda \alpha (e^x - 1)`, with :math:`\lambda =
    1.0507` and :math:`\alpha = 1.6733`; derivative :math:`\lambda` or :math:`\lambda \alpha e^x`.

    Takes floating-point input of any shape, and raises ConvcraftError for any other. Source: Klambauer,
    Unterthiner, Mayr and Hochreiter (2017), Self-Normalizing Neural Networks. Chapter: Activations.

    >>> selu(torch.tensor([-100.0, 0.0, 1.0]))
    tensor([-1.7581,  0.0000,  1.0507])
    """
    check_floating("selu", input)
    return _fast.selu(input, inplace)


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    r"""Smooth ReLU, whose derivative is the sigmoid.

    Formula: :math:`\frac{1}{\beta} \log(1 + e^{\beta x})`, and :math:`x` itself where :math:`\beta x` exceeds
    the threshold; derivative :math:`\sigma(\beta x)`.

    Takes floating-point input of any shape; raises ConvcraftError for any other, and where beta is 0. Source:
    Dugas, Bengio, Bélisle, Nadeau and Garcia (2001), Incorporating Second-Order Functional Knowledge for
    Better Option Pricing. Chapter: Activations.

    >>> softplus(torch.tensor([-100.0, 0.0, 100.0]))
    tensor([3.7835e-44, 6.9315e-01, 1.0000e+02])
    """
    check_floating("softplus", input)
    _check_nonzero("softplus", "beta", beta)
    return F.softplus(input, beta, threshold)


class ELU(nn.ELU):
    """Module of :func:`elu`, a drop-in for `torch.nn.ELU`."""

    def forward(self, input: Tensor) -> Tensor:
        return elu(input, self.alpha, self.inplace)


class CELU(nn.CELU):
    """Module of :func:`celu`, a drop-in for `torch.nn.CELU`."""

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        _check_nonzero("CELU", "alpha", alpha)
        super().__init__(alpha, inplace)

    def forward(self, input: Tensor) -> Tensor:
        return celu(input, self.alpha, self.inplace)


class SELU(nn.SELU):
    """Module of :func:`selu`, a drop-in for `torch.nn.SELU`."""

    def forward(self, input: Tensor) -> Tensor:
        return selu(input, self.inplace)


class Softplus(nn.Softplus):
    """Module of :func:`softplus`, a drop-in for `torch.nn.Softplus`."""

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        _check_nonzero("Softplus", "beta", beta)
        super().__init__(beta, threshold)

    def forward(self, input: Tensor) -> Tensor:
        return softplus(input, self.beta, self.threshold)


def _check_nonzero(function: str, argument: str, value: float) -> None:
    """Refuse zero for a parameter that the formula divides by, and what is not a number."""
    if isinstance(value, str) or value == 0:
        raise ConvcraftError(
            f"{function}: {argument} must be a number other than 0, got {value!r}; the formula divides by {argument}"
        )
