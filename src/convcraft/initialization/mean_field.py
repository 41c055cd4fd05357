"""What weights of a given variance do to the variance from layer to layer, in the limit of wide layers."""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .._checks import check_number
from ..activations import moments
from .gains import elementwise, named_function

_LEAST, _MOST, _POINTS = 1e-6, 1e6, 73
_NEARLY_ZERO = 1e-24
_TOLERANCE = 1e-9


class FixedPoint(NamedTuple):
    """A variance q* that the next layer has again, chi1 there, and whether nearby variances approach it."""

    q: float  #: the variance q* that the next layer has again
    chi1: float  #: factor of the squared gradient from layer to layer there
    stable: bool  #: whether variances near q* approach it


class VarianceMap:
    r"""The map from the variance of a layer's pre-activations to that of the next; see `variance_map`.

    Attributes:
        weight_variance: :math:`\sigma_w^2`, the variance of a weight times the fan-in.
        bias_variance: :math:`\sigma_b^2`.

    Chapter: Weight initialization.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], weight_variance: float, bias_variance: float) -> None:
        self._function, self.weight_variance, self.bias_variance = function, weight_variance, bias_variance
        self._known: dict[float, tuple[float, float]] = {}

    def __call__(self, q: float) -> float:
        r""":math:`q' = \sigma_w^2 E[f(\sqrt q z)^2] + \sigma_b^2`."""
        check_number("variance_map", "q", q, low=0)
        return self.weight_variance * self._moments(q)[0] + self.bias_variance

    def chi(self, q: float) -> float:
        r""":math:`\chi = \sigma_w^2 E[f'(\sqrt q z)^2]`: what a layer multiplies a squared gradient by."""
        check_number("variance_map", "q", q, low=0)
        return self.weight_variance * self._moments(q)[1]

    def trajectory(self, q: float, depth: int) -> list[float]:
        """The variances q, q', q'', ... of `depth` further layers; depth + 1 numbers."""
        found = [check_number("variance_map", "q", q, low=0)]
        for _ in range(int(check_number("variance_map", "depth", depth, low=0))):
            found.append(self(found[-1]))
        return found

    @functools.cached_property
    def keeps_every_variance(self) -> bool:
        """Whether q' = q for every q, as for ReLU with weight variance 2."""
        return all(abs(self(q) - q) <= _TOLERANCE * q for q in (1e-3, 1.0, 1e3))

    @functools.cached_property
    def fixed_points(self) -> tuple[FixedPoint, ...]:
        """The fixed points from 0 to a million, smallest first; none when every variance is one."""
        if self.keeps_every_variance:
            return ()
        found = [0.0] if self(0.0) == 0 else []
        span = math.log(_MOST / _LEAST)
        grid = [_LEAST * math.exp(span * i / (_POINTS - 1)) for i in range(_POINTS)]
        gaps = [self(q) - q for q in grid]
        for i in range(_POINTS - 1):
            if gaps[i] == 0:
                found.append(grid[i])
            elif gaps[i] * gaps[i + 1] < 0:  # a zero of q' - q lies between, found by bisection on the logarithm
                low, high = grid[i], grid[i + 1]
                for _ in range(60):
                    middle = math.sqrt(low * high)
                    if (self(middle) > middle) == (gaps[i] > 0):
                        low = middle
                    else:
                        high = middle
                    if high / low - 1 < 1e-13:
                        break
                found.append(math.sqrt(low * high))
        return tuple(FixedPoint(q, self.chi(q), self._stable(q)) for q in found)

    def _stable(self, q: float) -> bool:
        """Whether the map brings a variance a little above and a little below nearer to q."""
        if q == 0:
            return self(_LEAST) < _LEAST
        step = 1e-3
        return all(abs(self(q * s) - q) < abs(q * s - q) for s in (1 - step, 1 + step))

    def _moments(self, q: float) -> tuple[float, float]:
        """E f^2 and E f'^2 at the scale sqrt(q)."""
        if q in self._known:
            return self._known[q]
        scale = math.sqrt(q)
        if scale == 0:
            zero = torch.zeros(1, dtype=torch.float64, device="cpu")
            value = float(self._function(zero).detach()) ** 2
            self._known[q] = value, self._moments(_NEARLY_ZERO)[1]  # with a corner at 0 the slope there says nothing
        else:
            unit = min(1.0, scale)  # moments are exact to 1e-12: those of a small q are taken in units of it
            found = moments(lambda z: self._function(scale * z) / unit)
            self._known[q] = found.second * unit**2, found.derivative_second * unit**2 / q
        return self._known[q]

    def __repr__(self) -> str:
        points = ", ".join(f"q*={p.q:.4g} (chi1={p.chi1:.4g})" for p in self.fixed_points) or "no fixed point"
        if self.keeps_every_variance:
            points = f"every q is fixed (chi={self.chi(1.0):.4g})"
        return f"VarianceMap({self.weight_variance:g}, {self.bias_variance:g}): {points}"


def variance_map(
    activation: str | nn.Module | Callable[[Tensor], Tensor], weight_variance: float, bias_variance: float = 0.0
) -> VarianceMap:
    r"""Follow the variance of the pre-activations through wide random layers, and find where it settles.

    Formula: :math:`q' = \sigma_w^2 E[f(\sqrt q z)^2] + \sigma_b^2` with :math:`z \sim N(0, 1)` and
    :math:`\sigma_w^2` = weight variance times fan-in; :math:`\chi(q) = \sigma_w^2 E[f'(\sqrt q z)^2]` is the
    factor of the squared gradient. At a fixed point q* the network is ordered for :math:`\chi_1 < 1`
    (gradients vanish), chaotic for :math:`\chi_1 > 1` (they explode), and critical in between.

    Args:
        activation: a name in `activations.catalog()`, a module or an element-wise function.
        weight_variance, bias_variance: :math:`\sigma_w^2` and :math:`\sigma_b^2`, not negative.

    Returns a `VarianceMap`: call it for q', with `chi(q)`, `trajectory(q, depth)`, `fixed_points` (each with
    q, chi1 and whether it is stable; looked for at 0 and from 1e-6 to 1e6) and `keeps_every_variance`. Raises
    ConvcraftError when the activation is not known or not element-wise, a variance is negative or not finite,
    or the map is asked for a negative q. Source: Poole, Lahiri, Raghu, Sohl-Dickstein and Ganguli
    (2016), Exponential expressivity in deep neural networks through transient chaos; Schoenholz, Gilmer,
    Ganguli and Sohl-Dickstein (2017), Deep Information Propagation. Chapter: Weight initialization.

    >>> variance_map("relu", 2.0)
    VarianceMap(2, 0): every q is fixed (chi=1)
    >>> variance_map("tanh", 2.0).fixed_points[-1].stable
    True
    """
    if isinstance(activation, str):
        function = named_function("variance_map", activation, None)
    else:
        function = elementwise("variance_map", activation, "activation")
    check_number("variance_map", "weight_variance", weight_variance, low=0)
    check_number("variance_map", "bias_variance", bias_variance, low=0)
    return VarianceMap(function, weight_variance, bias_variance)
