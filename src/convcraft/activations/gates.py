"""The functions that gate their input: GELU, SiLU, Swish, Mish and hardswish, as functions and modules."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .._checks import COMPLEX, check_choice, check_count, check_floating
from ..errors import ConvcraftError
from . import _fast

__all__ = ["GELU", "Hardswish", "Mish", "SiLU", "Swish", "gelu", "hardswish", "mish", "silu", "swish"]


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    r"""Gaussian error linear unit: the input times the chance that a standard normal value is below it.

    Formula: :math:`x \Phi(x)`; derivative :math:`\Phi(x) + x \varphi(x)`. With approximate="tanh":
    :math:`\frac{x}{2} (1 + \tanh(\sqrt{2 / \pi} (x + 0.044715 x^3)))`.

    Takes floating-point input of any shape; raises ConvcraftError for any other, or another `approximate`.
    Source: Hendrycks and Gimpel (2016), Gaussian Error Linear Units (GELUs). Chapter: Activations.

    >>> gelu(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.1587,  0.0000,  0.8413])
    """
    check_floating("gelu", input)
    if approximate != "none":
        check_choice("gelu", "approximate", approximate, ("none", "tanh"))
    return F.gelu(input, approximate=approximate)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    r"""Sigmoid linear unit, the Swish with beta = 1.

    Formula: :math:`x \sigma(x)`; derivative :math:`\sigma(x) (1 + x (1 - \sigma(x)))`.

    Takes floating-point or complex input of any shape, and raises ConvcraftError for any other. Source:
    Elfwing, Uchibe and Doya (2018), Sigmoid-Weighted Linear Units for Neural Network Function Approximation
    in Reinforcement Learning. Chapter: Activations.

    >>> silu(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.2689,  0.0000,  0.7311])
    """
    check_floating("silu", input, COMPLEX)
    return F.silu(input, inplace)


def swish(input: Tensor, beta: float | Tensor = 1.0) -> Tensor:
    r"""Input times the sigmoid of beta times the input: x/2 for beta = 0, near ReLU for large beta.

    Formula: :math:`x \sigma(\beta x)`; derivative by x :math:`\sigma(z) + z \sigma'(z)` and by beta
    :math:`x^2 \sigma'(z)`, with :math:`z = \beta x`.

    Takes floating-point input of any shape, and raises ConvcraftError for any other; beta is a number, or a
    tensor that broadcasts with the input. Source: Ramachandran, Zoph and Le (2017), Searching for Activation
    Functions. Chapter: Activations.

    >>> swish(torch.tensor([-1.0, 0.0, 1.0]), beta=2.0)
    tensor([-0.1192,  0.0000,  0.8808])
    """
    check_floating("swish", input)
    if isinstance(beta, int | float) and beta == 1:
        return F.silu(input)
    return input * torch.sigmoid(beta * input)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    r"""Input times the tanh of its softplus.

    Formula: :math:`x \tanh(\log(1 + e^x)) = x n / (n + 2)` with :math:`n = e^x (e^x + 2)`; derivative
    :math:`n / (n + 2) + 4 x e^x (1 + e^x) / (n + 2)^2`.

    Takes floating-point input of any shape, and raises ConvcraftError for any other. Source: Misra (2020),
    Mish: A Self Regularized Non-Monotonic Activation Function. Chapter: Activations.

    >>> mish(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.3034,  0.0000,  0.8651])
    """
    check_floating("mish", input)
    if inplace:
        return F.mish(input, inplace=True)
    return _fast.mish(input)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    r"""Swish made of straight pieces and one parabola.

    Formula: :math:`x \min(\max(x + 3, 0), 6) / 6`; derivative 0 below -3, :math:`x / 3 + 1/2` between, 1 above 3.

    Takes floating-point input of any shape, and raises ConvcraftError for any other. Source: Howard et al.
    (2019), Searching for MobileNetV3. Chapter: Activations.

    >>> hardswish(torch.tensor([-4.0, -1.0, 4.0]))
    tensor([-0.0000, -0.3333,  4.0000])
    """
    check_floating("hardswish", input)
    return F.hardswish(input, inplace)


class GELU(nn.GELU):
    """Module of :func:`gelu`, a drop-in for `torch.nn.GELU`."""

    def __init__(self, approximate: str = "none") -> None:
        check_choice("GELU", "approximate", approximate, ("none", "tanh"))
        super().__init__(approximate)

    def forward(self, input: Tensor) -> Tensor:
        return gelu(input, self.approximate)


class SiLU(nn.SiLU):
    """Module of :func:`silu`, a drop-in for `torch.nn.SiLU`."""

    def forward(self, input: Tensor) -> Tensor:
        return silu(input, self.inplace)


class Swish(nn.Module):
    """Module of :func:`swish` whose `beta` is learned (or, with learnable=False, a constant buffer).

    There is one for all channels, or with `num_parameters` one for each (dimension 1). Raises ConvcraftError
    when num_parameters is below 1, or neither 1 nor the number of channels.
    """

    beta: Tensor

    def __init__(
        self, beta: float = 1.0, learnable: bool = True, num_parameters: int = 1, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        check_count("Swish", "num_parameters", num_parameters)
        self.learnable, self.num_parameters = learnable, num_parameters
        values = torch.full((num_parameters,), float(beta), device=device, dtype=dtype)
        if learnable:
            self.beta = nn.Parameter(values)
        else:
            self.register_buffer("beta", values)

    def forward(self, input: Tensor) -> Tensor:
        if self.num_parameters == 1:
            return swish(input, self.beta.view(()))  # without dimensions it leaves the dtype to the input
        if input.dim() < 2 or input.size(1) != self.num_parameters:
            raise ConvcraftError(
                f"Swish: input must have {self.num_parameters} channels in dimension 1, "
                f"got shape {tuple(input.shape)}; set num_parameters to 1 or to the number of channels"
            )
        return swish(input, self.beta.to(input.dtype).view(-1, *(1,) * (input.dim() - 2)))

    def extra_repr(self) -> str:
        return f"learnable={self.learnable}, num_parameters={self.num_parameters}"


class Mish(nn.Mish):
    """Module of :func:`mish`, a drop-in for `torch.nn.Mish`."""

    def forward(self, input: Tensor) -> Tensor:
        return mish(input, self.inplace)


class Hardswish(nn.Hardswish):
    """Module of :func:`hardswish`, a drop-in for `torch.nn.Hardswish`."""

    def forward(self, input: Tensor) -> Tensor:
        return hardswish(input, self.inplace)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""
