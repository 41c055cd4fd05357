"""Every formula of the book in plain NumPy, float64: what the chapters derive and the tests compare with.

Example:
    >>> from convcraft import reference
    >>> f, df = reference.ACTIVATIONS["tanh"]
    >>> float(f(0.0)), float(df(0.0))
    (0.0, 1.0)
"""

from __future__ import annotations

from .activations import (
    ACTIVATIONS,
    celu,
    elu,
    gelu,
    hardsigmoid,
    hardswish,
    leaky_relu,
    mish,
    prelu,
    relu,
    relu6,
    selu,
    sigmoid,
    silu,
    softplus,
    softsign,
    swish,
    tanh,
)
from .layers import (
    avg_pool2d,
    conv2d,
    cross_entropy,
    log_softmax,
    max_pool2d,
    output_size,
    receptive_field,
    softmax,
)

__all__ = [
    "ACTIVATIONS",
    "avg_pool2d",
    "celu",
    "conv2d",
    "cross_entropy",
    "elu",
    "gelu",
    "hardsigmoid",
    "hardswish",
    "leaky_relu",
    "log_softmax",
    "max_pool2d",
    "mish",
    "output_size",
    "prelu",
    "receptive_field",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "softsign",
    "swish",
    "tanh",
]
