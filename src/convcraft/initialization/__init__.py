"""Initialization: every scheme of `torch.nn.init` and LeCun's, right fans, any gain, whole models.

A scheme changes a floating-point tensor in place and returns it; most take a layer in place of its weight.
`generator` is the source of the random numbers, on the tensor's device; torch's own by default.
`initialize(model)` finds the activation after each layer and picks scheme and gain; `lsuv_` scales by data;
`variance_map` tells what a scheme does to the variance from layer to layer.

>>> from torch import nn
>>> from convcraft import initialization
>>> initialization.fans(nn.Conv2d(8, 8, 3, groups=8))
Fans(fan_in=9, fan_out=9)
>>> round(initialization.calculate_gain("mish"), 4)
1.4868
"""

from .automatic import Assignment, Assignments, initialize
from .basic import constant_, dirac_, eye_, normal_, ones_, sparse_, trunc_normal_, uniform_, zeros_
from .fans import Fans, fans
from .gains import calculate_gain
from .lsuv import LsuvStep, LsuvSteps, lsuv_
from .mean_field import FixedPoint, VarianceMap, variance_map
from .variance_scaling import (
    delta_orthogonal_,
    kaiming_normal_,
    kaiming_uniform_,
    lecun_normal_,
    lecun_uniform_,
    orthogonal_,
    xavier_normal_,
    xavier_uniform_,
)

__all__ = [
    "Assignment", "Assignments", "Fans", "FixedPoint", "LsuvStep", "LsuvSteps", "VarianceMap", "calculate_gain",
    "constant_", "delta_orthogonal_", "dirac_", "eye_", "fans", "initialize", "kaiming_normal_", "kaiming_uniform_",
    "lecun_normal_", "lecun_uniform_", "lsuv_", "normal_", "ones_", "orthogonal_", "sparse_", "trunc_normal_",
    "uniform_", "variance_map", "xavier_normal_", "xavier_uniform_", "zeros_",
]  # fmt: skip
