"""Activations: functions with the arguments of `torch.nn.functional`, modules with those of `torch.nn`.

Each formula and its derivative stands in `convcraft.activations.definitions`, as derived in the book; the
functions here compute the same numbers by the fastest way that is as accurate. `catalog()` tells what is
known of each.

Example:
    >>> import torch
    >>> from convcraft import activations
    >>> activations.leaky_relu(torch.tensor([-1.0, 1.0]), negative_slope=0.5)
    tensor([-0.5000,  1.0000])
"""

from __future__ import annotations

from .adaptive import AconC, DynamicReLU, FReLU, MetaAconC, acon_c
from .catalog import Catalog, Entry, Parameter, Source, catalog, derivative, get
from .exponentials import CELU, ELU, SELU, Softplus, celu, elu, selu, softplus
from .gates import GELU, Hardswish, Mish, SiLU, Swish, gelu, hardswish, mish, silu, swish
from .quadrature import Moments, moments
from .rectifiers import LeakyReLU, PReLU, ReLU, ReLU6, leaky_relu, prelu, relu, relu6
from .sigmoids import Hardsigmoid, Sigmoid, Softsign, Tanh, hardsigmoid, sigmoid, softsign, tanh
from .softmaxes import LogSoftmax, Softmax, log_softmax, softmax

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "SELU",
    "AconC",
    "Catalog",
    "DynamicReLU",
    "Entry",
    "FReLU",
    "Hardsigmoid",
    "Hardswish",
    "LeakyReLU",
    "LogSoftmax",
    "MetaAconC",
    "Mish",
    "Moments",
    "PReLU",
    "Parameter",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Softsign",
    "Source",
    "Swish",
    "Tanh",
    "acon_c",
    "catalog",
    "celu",
    "derivative",
    "elu",
    "gelu",
    "get",
    "hardsigmoid",
    "hardswish",
    "leaky_relu",
    "log_softmax",
    "mish",
    "moments",
    "prelu",
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
