"""Moments of an activation under a standard normal input, by adaptive Gauss-Legendre quadrature."""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..errors import ConvcraftError

_REACH = 12.0  # beyond it the normal density is below 1e-32
_TOLERANCE = 1e-11
_MOST_HALVINGS = 40


class Moments(NamedTuple):
    """Mean, second moment and second moment of the derivative of f(z) for z ~ N(0, 1)."""

    mean: float  #: E f(z)
    second: float  #: E[f(z)^2]
    derivative_second: float  #: E[f'(z)^2]

    @property
    def variance(self) -> float:
        """E[f(z)^2] - E[f(z)]^2."""
        return self.second - self.mean**2


@functools.lru_cache(maxsize=16)
def _rule(order: int) -> tuple[Tensor, Tensor]:
    nodes, weights = np.polynomial.legendre.leggauss(order)
    return torch.from_numpy(nodes), torch.from_numpy(weights)


def value_and_slope(function: Callable[[Tensor], Tensor], z: Tensor) -> tuple[Tensor, Tensor]:
    """f(z) and f'(z) elementwise, the derivative by autograd."""
    with torch.enable_grad():
        leaf = z.detach().clone().requires_grad_(True)
        value = function(leaf)
        if not isinstance(value, Tensor) or value.shape != leaf.shape:
            got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ConvcraftError(
                f"function must map a tensor to a tensor of the same shape {tuple(leaf.shape)}, got {got}; "
                "pass an element-wise function"
            )
        if not value.requires_grad:
            return value.detach(), torch.zeros_like(leaf)
        slope = torch.autograd.grad(value.sum(), leaf, allow_unused=True)[0]
    return value.detach(), torch.zeros_like(leaf) if slope is None else slope


def _panels(function: Callable[[Tensor], Tensor], low: Tensor, high: Tensor, order: int) -> Tensor:
    """Integrals of (f, f^2, f'^2) times the normal density over each panel; shape (panels, 3)."""
    nodes, weights = _rule(order)
    half = 0.5 * (high - low).unsqueeze(1)  # (panels, 1)
    z = 0.5 * (high + low).unsqueeze(1) + half * nodes  # (panels, nodes)
    density = torch.exp(-0.5 * z * z) / math.sqrt(2 * math.pi) * weights * half
    value, slope = value_and_slope(function, z)
    return torch.stack([value, value**2, slope**2], dim=-1).mul(density.unsqueeze(-1)).sum(1)


def moments(function: Callable[[Tensor], Tensor], order: int = 24) -> Moments:
    r"""Mean, second moment and second moment of the derivative of an activation under N(0, 1).

    Formula: :math:`E f(z)`, :math:`E f(z)^2`, :math:`E f'(z)^2` for :math:`z \sim N(0, 1)`, each an integral
    over the normal density. It is split at whole and half numbers and halved again wherever two rules
    disagree, so that a kink costs no accuracy: the second moment of ReLU is 1/2 to the last digits.

    Args:
        function: an element-wise function of a float64 tensor, differentiable by autograd.
        order: nodes of the Gauss-Legendre rule on each panel, 4 to 128.

    Raises ConvcraftError when order is out of range, the result has another shape, or a moment is not finite.
    Source: He, Zhang, Ren and Sun (2015), Delving Deep into Rectifiers, for the part that E f(z)^2 plays.
    Chapter: Activations.

    >>> moments(torch.relu).second
    0.5
    """
    if not 4 <= order <= 128:
        raise ConvcraftError(f"moments: order must lie between 4 and 128, got {order}")
    edges = torch.arange(-_REACH, _REACH + 0.25, 0.5, dtype=torch.float64)
    low, high = edges[:-1], edges[1:]
    whole = _panels(function, low, high, order)
    total = torch.zeros(3, dtype=torch.float64)
    for halving in range(_MOST_HALVINGS + 1):
        middle = 0.5 * (low + high)
        left, right = _panels(function, low, middle, order), _panels(function, middle, high, order)
        rough = ((left + right - whole).abs() > _TOLERANCE * (1 + whole.abs())).any(1)
        if halving == _MOST_HALVINGS:
            rough = torch.zeros_like(rough)
        total += (left + right)[~rough].sum(0)
        if not bool(rough.any()):
            break
        low, high = torch.cat([low[rough], middle[rough]]), torch.cat([middle[rough], high[rough]])
        whole = torch.cat([left[rough], right[rough]])
    if not bool(torch.isfinite(total).all()):
        raise ConvcraftError(
            f"moments: function must have finite moments under N(0, 1), got {total.tolist()}; "
            "check its values between -12 and 12 in float64"
        )
    return Moments(*(round(value, 12) for value in total.tolist()))
