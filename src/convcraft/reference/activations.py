"""Activations and their derivatives in NumPy, float64: what the book derives and the tests compare with.

Every function takes anything that `numpy.asarray` takes and returns float64. No exponential overflows, no difference
cancels, and ±inf give the limits. At a kink the derivative is the one that torch's backward pass uses.
"""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

__all__ = [
    "ACTIVATIONS", "celu", "elu", "gelu", "hardsigmoid", "hardswish", "leaky_relu", "mish", "prelu", "relu",
    "relu6", "selu", "sigmoid", "silu", "softplus", "softsign", "swish", "tanh",
]  # fmt: skip

Array = npt.NDArray[np.float64]
Formula = Callable[..., Array]

SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805
_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def _array(x: npt.ArrayLike) -> Array:
    return np.asarray(x, dtype=np.float64)


def _times(x: Array, factor: Array) -> Array:
    """x * factor with the limit 0 where the factor has vanished, so that -inf * 0 gives 0 and not NaN."""
    return np.where((factor == 0) & ~np.isnan(x), 0.0, np.where(factor == 0, 1.0, factor) * x)


def relu(x: npt.ArrayLike) -> Array:
    """max(x, 0)."""
    return np.maximum(_array(x), 0.0)


def relu_derivative(x: npt.ArrayLike) -> Array:
    """1 for x > 0, else 0."""
    return np.where(_array(x) > 0, 1.0, 0.0)


def relu6(x: npt.ArrayLike) -> Array:
    """min(max(x, 0), 6)."""
    return np.clip(_array(x), 0.0, 6.0)


def relu6_derivative(x: npt.ArrayLike) -> Array:
    """1 for 0 < x < 6, else 0."""
    x = _array(x)
    return np.where((x > 0) & (x < 6), 1.0, 0.0)


def leaky_relu(x: npt.ArrayLike, negative_slope: float = 0.01) -> Array:
    """x for x > 0, else negative_slope * x."""
    x = _array(x)
    return np.where(x > 0, x, negative_slope * x if negative_slope else 0.0 * np.sign(x))


def leaky_relu_derivative(x: npt.ArrayLike, negative_slope: float = 0.01) -> Array:
    """1 for x > 0, else negative_slope."""
    return np.where(_array(x) > 0, 1.0, negative_slope)


def prelu(x: npt.ArrayLike, weight: float = 0.25) -> Array:
    """Leaky ReLU whose slope is a parameter."""
    return leaky_relu(x, weight)


def prelu_derivative(x: npt.ArrayLike, weight: float = 0.25) -> Array:
    """1 for x > 0, else weight."""
    return leaky_relu_derivative(x, weight)


def elu(x: npt.ArrayLike, alpha: float = 1.0) -> Array:
    """x for x > 0, else alpha (e^x - 1)."""
    x = _array(x)
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0)))


def elu_derivative(x: npt.ArrayLike, alpha: float = 1.0) -> Array:
    """1 for x > 0, else alpha e^x."""
    x = _array(x)
    return np.where(x > 0, 1.0, alpha * np.exp(np.minimum(x, 0.0)))


def celu(x: npt.ArrayLike, alpha: float = 1.0) -> Array:
    """x for x > 0, else alpha (e^(x / alpha) - 1); alpha > 0."""
    x = _array(x)
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0) / alpha))


def celu_derivative(x: npt.ArrayLike, alpha: float = 1.0) -> Array:
    """1 for x > 0, else e^(x / alpha)."""
    x = _array(x)
    return np.where(x > 0, 1.0, np.exp(np.minimum(x, 0.0) / alpha))


def selu(x: npt.ArrayLike) -> Array:
    """scale * elu(x, alpha) with the two constants that make (0, 1) a fixed point of mean and variance."""
    return SELU_SCALE * elu(x, SELU_ALPHA)


def selu_derivative(x: npt.ArrayLike) -> Array:
    """scale for x > 0, else scale * alpha * e^x."""
    return SELU_SCALE * elu_derivative(x, SELU_ALPHA)


def gelu(x: npt.ArrayLike, approximate: str = "none") -> Array:
    """x Phi(x), Phi the distribution function of N(0, 1); "tanh": its approximation by tanh."""
    x = _array(x)
    if approximate == "tanh":
        return _times(x, sigmoid(_gelu_argument(x)))
    return _times(x, 0.5 * _erfc(-x * math.sqrt(0.5)))


def gelu_derivative(x: npt.ArrayLike, approximate: str = "none") -> Array:
    """Phi(x) + x phi(x), phi the density of N(0, 1); "tanh": the derivative of the approximation."""
    x = _array(x)
    if approximate == "tanh":
        u = _gelu_argument(x)
        slope = 2 * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * np.clip(x, -1e6, 1e6) ** 2)
        return sigmoid(u) + _times(np.clip(x, -1e6, 1e6), sigmoid_derivative(u) * slope)
    bounded = np.clip(x, -1e3, 1e3)
    density = np.exp(-0.5 * bounded**2) / math.sqrt(2 * math.pi)
    return 0.5 * _erfc(-x * math.sqrt(0.5)) + bounded * density


def _gelu_argument(x: Array) -> Array:
    """2 sqrt(2 / pi) (x + 0.044715 x^3), so that (1 + tanh(half of it)) / 2 is its sigmoid."""
    bounded = np.clip(x, -1e6, 1e6)
    return 2 * math.sqrt(2 / math.pi) * (bounded + 0.044715 * bounded**3)


def sigmoid(x: npt.ArrayLike) -> Array:
    """1 / (1 + e^-x)."""
    x = _array(x)
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1.0) / (1 + e)


def sigmoid_derivative(x: npt.ArrayLike) -> Array:
    """sigmoid(x) (1 - sigmoid(x)) = e^-|x| / (1 + e^-|x|)^2."""
    e = np.exp(-np.abs(_array(x)))
    return e / (1 + e) ** 2


def swish(x: npt.ArrayLike, beta: float = 1.0) -> Array:
    """x sigmoid(beta x)."""
    x = _array(x)
    return _times(x, sigmoid(beta * x))


def swish_derivative(x: npt.ArrayLike, beta: float = 1.0) -> Array:
    """sigmoid(z) + z sigmoid'(z) with z = beta x."""
    z = beta * _array(x)
    return sigmoid(z) + _times(z, sigmoid_derivative(z))


def silu(x: npt.ArrayLike) -> Array:
    """x sigmoid(x)."""
    return swish(x, 1.0)


def silu_derivative(x: npt.ArrayLike) -> Array:
    """sigmoid(x) + x sigmoid'(x)."""
    return swish_derivative(x, 1.0)


def tanh(x: npt.ArrayLike) -> Array:
    """(e^x - e^-x) / (e^x + e^-x)."""
    return np.tanh(_array(x))


def tanh_derivative(x: npt.ArrayLike) -> Array:
    """1 - tanh(x)^2 = 4 e^-2|x| / (1 + e^-2|x|)^2."""
    e = np.exp(-2 * np.abs(_array(x)))
    return 4 * e / (1 + e) ** 2


def mish(x: npt.ArrayLike) -> Array:
    """x tanh(softplus(x))."""
    x = _array(x)
    return _times(x, np.tanh(np.logaddexp(0.0, x)))


def mish_derivative(x: npt.ArrayLike) -> Array:
    """tanh(s) + x sigmoid(x) tanh'(s) with s = softplus(x)."""
    x = _array(x)
    s = np.logaddexp(0.0, x)
    return np.tanh(s) + _times(x, sigmoid(x) * tanh_derivative(s))


def hardsigmoid(x: npt.ArrayLike) -> Array:
    """relu6(x + 3) / 6."""
    return relu6(_array(x) + 3) / 6


def hardsigmoid_derivative(x: npt.ArrayLike) -> Array:
    """1/6 for -3 < x < 3, else 0."""
    return relu6_derivative(_array(x) + 3) / 6


def hardswish(x: npt.ArrayLike) -> Array:
    """x relu6(x + 3) / 6."""
    x = _array(x)
    return _times(x, hardsigmoid(x))


def hardswish_derivative(x: npt.ArrayLike) -> Array:
    """0 up to -3, x / 3 + 1/2 between -3 and 3, then 1."""
    x = _array(x)
    return np.where(x <= -3, 0.0, np.where(x < 3, x / 3 + 0.5, 1.0))


def softplus(x: npt.ArrayLike, beta: float = 1.0, threshold: float = 20.0) -> Array:
    """log(1 + e^(beta x)) / beta; x itself where beta x > threshold, as in torch."""
    x = _array(x)
    return np.where(beta * x > threshold, x, np.logaddexp(0.0, beta * x) / beta)


def softplus_derivative(x: npt.ArrayLike, beta: float = 1.0, threshold: float = 20.0) -> Array:
    """sigmoid(beta x); 1 where beta x > threshold."""
    z = beta * _array(x)
    return np.where(z > threshold, 1.0, sigmoid(z))


def softsign(x: npt.ArrayLike) -> Array:
    """`x / (1 + |x|)`."""
    x = _array(x)
    bounded = np.where(np.isinf(x), 0.0, x)
    return np.where(np.isinf(x), np.sign(x), bounded / (1 + np.abs(bounded)))


def softsign_derivative(x: npt.ArrayLike) -> Array:
    """`1 / (1 + |x|)^2`."""
    return (1 / (1 + np.abs(_array(x)))) ** 2


#: name -> (function, derivative) for every element-wise activation.
_named: dict[str, Formula] = dict(globals())
ACTIVATIONS = {n: (f, _named[f"{n}_derivative"]) for n, f in _named.items() if f"{n}_derivative" in _named}
