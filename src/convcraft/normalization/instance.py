"""Normalization of each channel of each sample: instance normalization."""

import torch.nn.functional as F
from torch import Tensor, nn

from .._checks import check_dimensions, check_floating, check_number
from ._checks import check_channels, check_each_channel, check_enough, check_running


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    r"""Normalize each channel of each sample by its own mean and variance.

    Formula: :math:`y = w_c (x - \mu_{nc}) (v_{nc} + \epsilon)^{-1/2} + b_c`, with mean and biased
    variance over the positions in channel c of sample n. The gradient is that of :func:`batch_norm`, with
    these means. The running averages, where there are any, take the average over the samples.

    The input is (N, C, ...) with at least one dimension of positions; with use_input_stats=False the running
    averages are used, and with True they are changed in place. The others are those of :func:`batch_norm`.

    Raises ConvcraftError when the input is not a floating-point tensor or has fewer than three dimensions,
    the number of channels does not fit, a channel has a single position, eps is negative, or the running
    statistics are missing when they are to be used. Source: Ulyanov, Vedaldi and Lempitsky (2016), Instance
    Normalization: The Missing Ingredient for Fast Stylization. Chapter: Batch normalization.

    >>> import torch
    >>> instance_norm(torch.tensor([[[1.0, 3.0], [10.0, 30.0]]]), eps=0.0)
    tensor([[[-1.,  1.],
             [-1.,  1.]]])
    """
    check_floating("instance_norm", input)
    check_number("instance_norm", "eps", eps, 0)
    check_dimensions("instance_norm", input, tuple(range(3, 65)), "(N, C, L) or (N, C, ...)")
    statistics = {"running_mean": running_mean, "running_var": running_var}
    check_each_channel("instance_norm", input, **statistics, weight=weight, bias=bias)
    if not use_input_stats:
        check_running("instance_norm", "use_input_stats", running_mean, running_var)
    if use_input_stats and isinstance(input, Tensor):
        check_enough("instance_norm", input, input.shape[2:].numel(), "per channel of a sample")
    return F.instance_norm(input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)


class _InstanceNorm(nn.modules.instancenorm._InstanceNorm):
    """Checks the input, which gets a dimension N for the function where it has none."""

    _dimensions: tuple[tuple[int, ...], str]

    def forward(self, input: Tensor) -> Tensor:
        name = type(self).__name__
        check_dimensions(name, input, *self._dimensions)
        single = isinstance(input, Tensor) and input.dim() == self._dimensions[0][0]
        batch = input.unsqueeze(0) if single else input
        if self.affine or self.running_mean is not None:
            check_channels(name, batch, "the module", self.num_features)
        held = self.running_mean, self.running_var, self.weight, self.bias
        momentum = 0.0 if self.momentum is None else self.momentum
        y = instance_norm(batch, *held, self.training or not self.track_running_stats, momentum, self.eps)
        return y.squeeze(0) if single else y


class InstanceNorm1d(_InstanceNorm, nn.InstanceNorm1d):
    """Module of :func:`instance_norm` for (N, C, L) and (C, L), as `torch.nn.InstanceNorm1d`."""

    _dimensions = ((2, 3), "(N, C, L) or (C, L)")


class InstanceNorm2d(_InstanceNorm, nn.InstanceNorm2d):
    """Module of :func:`instance_norm` for (N, C, H, W) and (C, H, W), as `torch.nn.InstanceNorm2d`."""

    _dimensions = ((3, 4), "(N, C, H, W) or (C, H, W)")


class InstanceNorm3d(_InstanceNorm, nn.InstanceNorm3d):
    """Module of :func:`instance_norm` for (N, C, D, H, W) and (C, D, H, W), as `torch.nn.InstanceNorm3d`."""

    _dimensions = ((4, 5), "(N, C, D, H, W) or (C, D, H, W)")
