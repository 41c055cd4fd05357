"""Normalization by statistics of each sample, or of groups of its channels: layer and group normalization."""

from collections.abc import Sequence
from typing import Any

import torch  # noqa: F401  (the examples use it)
import torch.nn.functional as F
from torch import Tensor, nn

from .._checks import check_dimensions, check_floating, check_groups, check_number
from ..errors import ConvcraftError
from . import _accuracy
from ._checks import check_channels


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    r"""Normalize each sample by mean and variance over its last dimensions.

    Formula: :math:`y_i = w_i (x_i - \mu) (v + \epsilon)^{-1/2} + b_i`, with mean and biased variance
    over the dimensions of `normalized_shape`, in which w and b vary too. The gradient is that of
    :func:`batch_norm`, with these means.

    The input has any leading dimensions; w and b have `normalized_shape`, or are None for 1 and 0. Raises
    ConvcraftError when the input is not a floating-point tensor or does not end in normalized_shape, or eps
    is negative. Source: Ba, Kiros and Hinton (2016), Layer Normalization. Chapter: Batch normalization.

    >>> layer_norm(torch.tensor([[1.0, 3.0]]), (2,), eps=0.0)
    tensor([[-1.,  1.]])
    """
    check_floating("layer_norm", input)
    check_number("layer_norm", "eps", eps, 0)
    shape = tuple(normalized_shape)
    if not shape:
        raise ConvcraftError("layer_norm: normalized_shape must hold sizes, got (); use input.shape[-1:]")
    if isinstance(input, Tensor) and tuple(input.shape[-len(shape) :]) != shape:
        raise ConvcraftError(
            f"layer_norm: input must end in the dimensions normalized_shape = {shape}, got shape "
            f"{tuple(input.shape)}; set normalized_shape to the sizes of the last dimensions"
        )
    return F.layer_norm(input, shape, weight, bias, eps)


def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    r"""Normalize each group of neighbouring channels of each sample.

    Formula: :math:`y = w_c (x - \mu_{ng}) (v_{ng} + \epsilon)^{-1/2} + b_c`, with mean and biased variance over the
    channels of group g and all positions in sample n. The gradient is that of :func:`batch_norm`, with these means.

    The input is (N, C, ...); one group normalizes the whole sample, C groups each channel. w and b have the
    shape (C,), or are None for 1 and 0. Raises ConvcraftError when the input is not a floating-point tensor
    or has fewer than two dimensions, num_groups does not divide its channels, or eps is negative. Source: Wu
    and He (2018), Group Normalization. Chapter: Batch normalization.

    >>> group_norm(torch.tensor([[1.0, 3.0, 10.0, 30.0]]), 2, eps=0.0)
    tensor([[-1.,  1., -1.,  1.]])
    """
    check_floating("group_norm", input)
    check_number("group_norm", "eps", eps, 0)
    check_dimensions("group_norm", input, tuple(range(2, 65)), "(N, C, ...)")
    if not isinstance(input, Tensor):
        return F.group_norm(input, num_groups, weight, bias, eps)
    check_groups("group_norm", "num_groups", num_groups, input.shape[1])
    if input.numel() and not input.is_contiguous() and _accuracy.are_eager(input, weight, bias):
        return _accuracy.group_norm(input, num_groups, weight, bias, eps)
    return F.group_norm(input, num_groups, weight, bias, eps)


class LayerNorm(nn.LayerNorm):
    """Module of :func:`layer_norm`, a drop-in for `torch.nn.LayerNorm`."""

    def forward(self, input: Tensor) -> Tensor:
        return layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)


class GroupNorm(nn.GroupNorm):
    """Module of :func:`group_norm`, a drop-in for `torch.nn.GroupNorm`."""

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        check_groups("GroupNorm", "num_groups", num_groups, num_channels)
        super().__init__(num_groups, num_channels, eps, affine, device, dtype)
        if not bias:  # not every version of torch takes it
            self.register_parameter("bias", None)

    def forward(self, input: Tensor) -> Tensor:
        check_dimensions("GroupNorm", input, tuple(range(2, 65)), "(N, C, ...)")
        check_channels("GroupNorm", input, "the module", self.num_channels)
        return group_norm(input, self.num_groups, self.weight, self.bias, self.eps)
