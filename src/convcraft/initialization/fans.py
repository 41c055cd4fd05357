"""How many inputs a unit sums, and how many outputs take an input: fan-in and fan-out of any layer."""

import math
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn.modules import conv
from torch.nn.parameter import UninitializedParameter

from ..errors import ConvcraftError


class Fans(NamedTuple):
    """Number of inputs of an output, and of outputs of an input; means over the positions with a stride."""

    fan_in: float  #: number of inputs of an output
    fan_out: float  #: number of outputs of an input


def fans(module_or_tensor: nn.Module | Tensor) -> Fans:
    r"""Count how many inputs an output of a layer sums, and how many outputs an input goes to.

    Formula: with K the product of the kernel size, S that of the stride and g groups, a convolution has
    :math:`C_{in} K / g` and :math:`C_{out} K / (g S)`, a transposed one :math:`C_{in} K / (g S)` and
    :math:`C_{out} K / g`, a linear layer its features. With weights of variance :math:`\sigma^2` the output
    has :math:`\sigma^2` fan_in times the second moment of the input, and the gradient that of the output
    times :math:`\sigma^2` fan_out. Where a stride lets positions differ these are means over the positions;
    the border, where padding replaces inputs by zeros, is left out of account, and dilation changes nothing.

    The weight alone does not tell groups, stride or transposition: for a tensor of shape (a, b, ...) the
    result is :math:`(b K, a K)`, as in torch, which is wrong for grouped and transposed convolutions.

    It takes a linear, bilinear, convolution, transposed convolution or embedding layer, any other module with a
    `weight` of two dimensions or more, or a weight. Raises ConvcraftError for anything else, and when the weight has
    no shape yet. Source: Glorot and Bengio (2010), Understanding the difficulty of training deep feedforward neural
    networks; He, Zhang, Ren and Sun (2015), Delving Deep into Rectifiers. Chapter: Weight initialization.

    >>> fans(nn.Conv2d(16, 32, 3, groups=4)), fans(nn.Conv2d(16, 32, 3, groups=4).weight)
    (Fans(fan_in=36, fan_out=72), Fans(fan_in=36, fan_out=288))
    """
    weight = _weight(module_or_tensor)
    kernel = math.prod(weight.shape[2:])
    if isinstance(module_or_tensor, conv._ConvNd):
        module = module_or_tensor
        forward = module.in_channels // module.groups * kernel
        backward = module.out_channels // module.groups * kernel
        steps = math.prod(module.stride)
        if isinstance(module, conv._ConvTransposeNd):
            return Fans(_number(forward / steps), backward)
        return Fans(forward, _number(backward / steps))
    if isinstance(module_or_tensor, (nn.Embedding, nn.EmbeddingBag)):
        return Fans(1, weight.size(1))
    return Fans(weight.size(1) * kernel, weight.size(0) * kernel)


def _number(value: float) -> float:
    return int(value) if value == int(value) else value


def _weight(thing: Any) -> Tensor:
    weight = getattr(thing, "weight", None) if isinstance(thing, nn.Module) else thing
    if isinstance(thing, (nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention)) or not isinstance(weight, Tensor):
        raise ConvcraftError(
            "fans: module_or_tensor must be a layer with one weight, or a weight, "
            f"got {type(thing).__name__}; pass one of its weights"
        )
    if isinstance(weight, UninitializedParameter):
        raise ConvcraftError(
            "fans: module_or_tensor must have a shape, got an uninitialized parameter; run one batch first"
        )
    if weight.dim() < 2:
        raise ConvcraftError(
            f"fans: the weight must have at least 2 dimensions, got shape {tuple(weight.shape)}; "
            "biases and normalization weights have no fans, set them to 0 and 1"
        )
    return weight
