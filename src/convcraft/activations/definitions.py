"""Every element-wise activation and its derivative in plain tensor operations, as derived in the book.

This is what the book means by each name. `convcraft.activations` computes the same numbers faster; a test holds the
two equal. The formulas are arranged so that no exponential overflows and no difference cancels. Half precision is
computed in float32 and rounded once. At a kink the derivative is the one that torch's backward pass uses.
"""

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["DEFINITIONS", "log_softmax", "softmax"]

SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805
_SQRT_HALF = math.sqrt(0.5)
_SQRT_2_OVER_PI = math.sqrt(2 / math.pi)
_CUBIC = 0.044715
_HALF_TYPES = (torch.float16, torch.bfloat16)

Formula = Callable[..., Tensor]


def _wide(formula: Formula) -> Formula:
    """Compute float16 and bfloat16 in float32 and round the result once."""

    @functools.wraps(formula)
    def widened(x: Tensor, *args: object, **kwargs: object) -> Tensor:
        if x.dtype in _HALF_TYPES:
            return formula(x.float(), *args, **kwargs).to(x.dtype)
        return formula(x, *args, **kwargs)

    return widened


def relu(x: Tensor) -> Tensor:
    return x.clamp(min=0)


def relu_derivative(x: Tensor) -> Tensor:
    return (x > 0).to(x.dtype)


def relu6(x: Tensor) -> Tensor:
    return x.clamp(0, 6)


def relu6_derivative(x: Tensor) -> Tensor:
    return ((x > 0) & (x < 6)).to(x.dtype)


def leaky_relu(x: Tensor, negative_slope: float | Tensor = 0.01) -> Tensor:
    return torch.where(x > 0, x, negative_slope * x)


def leaky_relu_derivative(x: Tensor, negative_slope: float | Tensor = 0.01) -> Tensor:
    return torch.where(x > 0, torch.ones_like(x), negative_slope * torch.ones_like(x))


def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    return torch.where(x > 0, x, alpha * torch.expm1(x.clamp(max=0)))


def elu_derivative(x: Tensor, alpha: float = 1.0) -> Tensor:
    return torch.where(x > 0, torch.ones_like(x), alpha * torch.exp(x.clamp(max=0)))


def celu(x: Tensor, alpha: float = 1.0) -> Tensor:
    return torch.where(x > 0, x, alpha * torch.expm1(_nonpositive(x / alpha, alpha)))


def celu_derivative(x: Tensor, alpha: float = 1.0) -> Tensor:
    return torch.where(x > 0, torch.ones_like(x), torch.exp(_nonpositive(x / alpha, alpha)))


def _nonpositive(ratio: Tensor, alpha: float) -> Tensor:
    """x / alpha on the negative half-line; for alpha < 0 that ratio is positive there, as in torch."""
    return ratio.clamp(max=0) if alpha > 0 else ratio.clamp(min=0)


def gelu(x: Tensor, approximate: str = "none") -> Tensor:
    if approximate == "tanh":
        return 0.5 * x * (1 + torch.tanh(_SQRT_2_OVER_PI * (x + _CUBIC * x**3)))
    return 0.5 * x * torch.erfc(-_SQRT_HALF * x)


def gelu_derivative(x: Tensor, approximate: str = "none") -> Tensor:
    if approximate == "tanh":
        t = torch.tanh(_SQRT_2_OVER_PI * (x + _CUBIC * x**3))
        return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * _SQRT_2_OVER_PI * (1 + 3 * _CUBIC * x**2)
    density = torch.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    return 0.5 * torch.erfc(-_SQRT_HALF * x) + x * density


def sigmoid(x: Tensor) -> Tensor:
    e = torch.exp(-x.abs())
    return torch.where(x < 0, e, torch.ones_like(e)) / (1 + e)


def sigmoid_derivative(x: Tensor) -> Tensor:
    e = torch.exp(-x.abs())
    return e / (1 + e) ** 2


def swish(x: Tensor, beta: float | Tensor = 1.0) -> Tensor:
    return x * sigmoid(beta * x)


def swish_derivative(x: Tensor, beta: float | Tensor = 1.0) -> Tensor:
    z = beta * x
    return sigmoid(z) + z * sigmoid_derivative(z)


def tanh(x: Tensor) -> Tensor:
    e = torch.expm1(-2 * x.abs())
    return torch.where(x < 0, e, -e) / (2 + e)


def tanh_derivative(x: Tensor) -> Tensor:
    e = torch.exp(-2 * x.abs())
    return 4 * e / (1 + e) ** 2


def mish(x: Tensor) -> Tensor:
    # tanh(log(1 + e)) = ((1 + e)^2 - 1) / ((1 + e)^2 + 1); beyond 20 it is 1 to more than 16 digits.
    e = torch.exp(x.clamp(max=20))
    n = e * (e + 2)
    return x * (n / (n + 2))


def mish_derivative(x: Tensor) -> Tensor:
    e = torch.exp(x.clamp(max=20))
    n = e * (e + 2)
    return n / (n + 2) + x * (4 * e * (1 + e) / (n + 2) ** 2)


def hardsigmoid(x: Tensor) -> Tensor:
    return (x + 3).clamp(0, 6) / 6


def hardsigmoid_derivative(x: Tensor) -> Tensor:
    return ((x > -3) & (x < 3)).to(x.dtype) / 6


def hardswish(x: Tensor) -> Tensor:
    return x * ((x + 3).clamp(0, 6) / 6)


def hardswish_derivative(x: Tensor) -> Tensor:
    return torch.where(x > -3, torch.where(x < 3, x / 3 + 0.5, torch.ones_like(x)), torch.zeros_like(x))


def softplus(x: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    z = beta * x
    return torch.where(z > threshold, x, (z.clamp(min=0) + torch.log1p(torch.exp(-z.abs()))) / beta)


def softplus_derivative(x: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    z = beta * x
    return torch.where(z > threshold, torch.ones_like(x), sigmoid(z))


def softsign(x: Tensor) -> Tensor:
    return x / (1 + x.abs())


def softsign_derivative(x: Tensor) -> Tensor:
    return 1 / (1 + x.abs()) ** 2


@_wide
def softmax(x: Tensor, dim: int) -> Tensor:
    e = torch.exp(x - x.amax(dim, keepdim=True))
    return e / e.sum(dim, keepdim=True)


@_wide
def log_softmax(x: Tensor, dim: int) -> Tensor:
    shifted = x - x.amax(dim, keepdim=True)
    return shifted - torch.log(torch.exp(shifted).sum(dim, keepdim=True))


_named: dict[str, Formula] = dict(globals())
_FORMULAS = {n: (f, _named[f"{n}_derivative"]) for n, f in _named.items() if f"{n}_derivative" in _named}
_FORMULAS["silu"] = _FORMULAS["swish"]
_FORMULAS["prelu"] = (
    lambda x, weight=0.25: leaky_relu(x, weight),
    lambda x, weight=0.25: leaky_relu_derivative(x, weight),
)
#: name -> (function, derivative) for every element-wise activation, in every floating-point dtype.
DEFINITIONS = {name: (_wide(function), _wide(slope)) for name, (function, slope) in _FORMULAS.items()}
_elu, _elu_derivative = DEFINITIONS["elu"]
DEFINITIONS["selu"] = lambda x: SELU_SCALE * _elu(x, SELU_ALPHA), lambda x: SELU_SCALE * _elu_derivative(x, SELU_ALPHA)
