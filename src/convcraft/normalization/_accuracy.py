"""Statistics as accurate on the CPU as elsewhere, where torch's kernels lose digits.

A mean that is large against the deviation costs torch's channels-last kernels every digit. Where
|mean| / deviation exceeds `RATIO` the mean, as a constant, is subtracted first: normalization does not see a
shift, and value and gradient stay what they are. Other devices and dtypes, `torch.func` and compilers take
torch's kernels as they are.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .._eager import has_memory, is_eager

#: torch sums channels-last input without care for rounding: harmless up to this many numbers in a channel.
CARELESS_UP_TO = 1024
RATIO = 8.0


def are_eager(x: Tensor, *parameters: Tensor | None) -> bool:
    """Whether all are ordinary CPU tensors of one dtype, outside compilers and transforms."""
    given = [x, *(p for p in parameters if p is not None)]
    return all(is_eager(t) and t.dtype == x.dtype and has_memory(t) for t in given)


def exceeds(mean: Tensor, rstd: Tensor) -> bool:
    """Whether a mean is so large that it has to be subtracted first; true for NaN."""
    return not float((mean * rstd).abs().amax()) <= RATIO


def _contiguous(*parameters: Tensor | None) -> list[Tensor | None]:
    """Parameters as torch's kernels read them, which below torch.nn.functional ignore strides."""
    return [None if p is None else p.contiguous() for p in parameters]


def is_careless(x: Tensor) -> bool:
    """Whether torch would sum this (N, C, ...) tensor without care, over more numbers than is harmless."""
    if torch.compiler.is_compiling() or x.numel() <= CARELESS_UP_TO * x.shape[1]:
        return False
    return x.dim() == 2 or not x.is_contiguous()


def batch_norm(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """(normalized, mean, unbiased variance) of (N, C, ...), again on the centred input if need be."""
    weight, bias = _contiguous(weight, bias)
    channels = x.shape[1]

    def kernel(values: Tensor) -> tuple[Tensor, Tensor, Tensor, bool]:
        mean, variance = x.new_zeros(channels), x.new_zeros(channels)  # running averages of momentum 1
        y, centre, rstd = torch.native_batch_norm(values, weight, bias, mean, variance, True, 1.0, eps)
        return y, mean, variance, exceeds(centre.detach(), rstd.detach())

    y, mean, variance, again = kernel(x)
    if again:
        base = x.detach().mean([d for d in range(x.dim()) if d != 1])  # (C,)
        y, rest, variance, _ = kernel(x - base.view(1, -1, *(1,) * (x.dim() - 2)))
        mean = base + rest
    return y, mean, variance


def group_norm(x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Group normalization of (N, C, ...) in another layout than contiguous, whose kernel loses digits."""
    weight, bias = _contiguous(weight, bias)
    n, channels = x.shape[:2]
    form = torch.channels_last if x.dim() == 4 else torch.channels_last_3d
    if x.dim() not in (4, 5) or not x.is_contiguous(memory_format=form):
        return F.group_norm(x.contiguous(), groups, weight, bias, eps)
    y, mean, rstd = torch.native_group_norm(x, weight, bias, n, channels, x.shape[2:].numel(), groups, eps)
    if not exceeds(mean.detach(), rstd.detach()):
        return y
    centres = x.detach().reshape(n, groups, -1).mean(2).repeat_interleave(channels // groups, 1)  # (N, C)
    return F.group_norm(x - centres.view(n, channels, *(1,) * (x.dim() - 2)), groups, weight, bias, eps)
