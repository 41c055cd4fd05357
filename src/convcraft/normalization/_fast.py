"""Batch statistics on the CPU: fast where torch is slow, accurate where torch is not.

- Large contiguous batches in training: torch's kernel takes several slow passes. Here the rows of the
  (N C, L) matrix are summed block by block in the cache, centred on their own means, and combined by the
  rule of Chan, Golub and LeVeque; the output is then one linear form, y = a x + c, with two constants a
  channel. The backward pass is torch's kernel of the closed form; a second derivative goes through
  `definitions`.
- A mean that is large against the deviation costs that linear form its accuracy, and costs torch's
  channels-last kernels every digit. Where |mean| / deviation exceeds `RATIO` the mean, as a constant, is
  subtracted first: normalization does not see a shift, so that value and gradient stay what they are.

Small tensors, other devices and dtypes, `torch.func` and compilers take torch's kernels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..dropout._fast import has_memory
from .definitions import normalize_backward

# From how many elements, and how many of them in a row, the rows pay.
FAST_FROM = 1 << 21
ROW_FROM = 64
# torch sums channels-last input without care for rounding: harmless up to this many numbers a channel.
CARELESS_UP_TO = 1024
ELEMENTS_A_THREAD = 1 << 16
RATIO = 8.0

_FLOATS = (torch.float32, torch.float64)
_ORDINARY = (Tensor, torch.nn.Parameter)


def is_eager(*tensors: Any) -> bool:
    """Whether these are ordinary CPU tensors of one floating dtype, outside of compilers and transforms."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return False
    given = [t for t in tensors if t is not None]
    if any(type(t) not in _ORDINARY or not t.is_cpu or t.dtype not in _FLOATS for t in given):
        return False
    return len({t.dtype for t in given}) == 1 and all(has_memory(t) for t in given)


def exceeds(mean: Tensor, rstd: Tensor) -> bool:
    """Whether a mean is so large that it has to be subtracted first; true for NaN."""
    return not float((mean * rstd).abs().amax()) <= RATIO


def per_channel(values: Tensor, x: Tensor) -> Tensor:
    """(C,) in a shape that broadcasts with (N, C, ...)."""
    return values.view(1, -1, *(1,) * (x.dim() - 2))


# rows


def _blocks(rows: int, length: int) -> range:
    size = max(1, ELEMENTS_A_THREAD * torch.get_num_threads() // length)
    return range(0, rows, size)


def row_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and sum of squared deviations of each row of a matrix, in float64."""
    count, length = x.shape
    step = _blocks(count, length).step
    spare = x.new_empty(min(step, count), length)
    means, squares = x.new_empty(count, 1), x.new_empty(count)
    for start in range(0, count, step):
        block, mean = x[start : start + step], means[start : start + step]
        torch.mean(block, 1, keepdim=True, out=mean)
        centred = torch.sub(block, mean, out=spare[: len(block)])
        torch.linalg.vector_norm(centred, dim=1, out=squares[start : start + step])
    return means.squeeze(1).double(), squares.double().square()


def channel_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of each channel of a contiguous (N, C, L), in float64."""
    n, c, length = x.shape
    means, squares = (v.view(n, c) for v in row_moments(x.view(n * c, length)))
    mean = means.mean(0)
    return mean, squares.sum(0).add((means - mean).square().sum(0), alpha=length) / (n * length)


class Normalize(torch.autograd.Function):
    """w (x - mean) rstd + b of a contiguous (N, C, L), where mean and rstd (C,) are the statistics of x."""

    @staticmethod
    def forward(
        x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, rstd: Tensor, eps: float
    ) -> Tensor:
        scale = rstd if weight is None else rstd * weight
        constant = -mean * scale if bias is None else bias - mean * scale
        return torch.addcmul(constant.view(-1, 1), x, scale.view(-1, 1))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, _, mean, rstd, ctx.eps = inputs
        ctx.save_for_backward(x, weight, mean, rstd)
        ctx.save_for_forward(x, weight, mean, rstd)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, rstd = ctx.saved_tensors
        grad = grads[0]
        if torch.is_grad_enabled() or not has_memory(grad):
            spread = None if weight is None else weight.view(-1, 1)
            of_x, product = normalize_backward(grad, x, (0, 2), ctx.eps, spread)
            of_weight, of_bias = product.sum((0, 2)), grad.sum((0, 2))
        else:
            of_x, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
                grad, x, weight, None, None, mean, rstd, True, ctx.eps, list(ctx.needs_input_grad[:3])
            )
        wanted = zip(ctx.needs_input_grad, (of_x, of_weight, of_bias), strict=False)
        return (*(value if needed else None for needed, value in wanted), None, None, None)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        x, weight, mean, rstd = ctx.saved_tensors
        of_x, of_weight, of_bias = tangents[:3]
        hat = (x - mean.view(-1, 1)) * rstd.view(-1, 1)
        total = torch.zeros_like(x)
        if of_x is not None:
            total = normalize_backward(of_x, x, (0, 2), ctx.eps)[0]
            total = total if weight is None else total * weight.view(-1, 1)
        if of_weight is not None:
            total = total + hat * of_weight.view(-1, 1)
        return total if of_bias is None else total + of_bias.view(-1, 1)


def _column(values: Tensor, x: Tensor) -> Tensor:
    return values.to(x.dtype).view(-1, 1)


# choice


def by_rows(x: Tensor) -> bool:
    """Whether a (N, C, ...) tensor is large, contiguous, and has rows long enough for the fast path."""
    if torch.compiler.is_compiling():  # whose sizes may be symbols
        return False
    if not x.numel() or x.numel() < FAST_FROM or x.dim() < 3 or not x.is_contiguous():
        return False
    return x.shape[2:].numel() >= ROW_FROM


def is_careless(x: Tensor) -> bool:
    """Whether torch would sum this (N, C, ...) tensor without care, over more numbers than is harmless."""
    if torch.compiler.is_compiling() or x.numel() <= CARELESS_UP_TO * x.shape[1]:
        return False
    return x.dim() == 2 or not x.is_contiguous()


def normalize_rows(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """(normalized, mean, biased variance) of a contiguous (N, C, ...) by its channels' statistics."""
    flat = x.view(*x.shape[:2], -1)
    with torch.no_grad():
        mean, variance = channel_moments(flat.detach())
        rstd = torch.rsqrt(variance + eps)
    rest = mean
    if exceeds(mean, rstd):
        base = _column(mean, flat)
        flat = flat - base
        with torch.no_grad():
            rest, variance = channel_moments(flat.detach())
            mean, rstd = base.double().view(-1) + rest, torch.rsqrt(variance + eps)
    y = Normalize.apply(flat, weight, bias, rest.to(x.dtype), rstd.to(x.dtype), eps)
    return y.view(x.shape), mean, variance


def normalize_carefully(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """(normalized, mean, unbiased variance) by torch's kernel, again on the centred input if need be."""
    channels = x.shape[1]

    def kernel(values: Tensor) -> tuple[Tensor, Tensor, Tensor, bool]:
        mean, variance = x.new_zeros(channels), x.new_zeros(channels)
        y, centre, rstd = torch.native_batch_norm(values, weight, bias, mean, variance, True, 1.0, eps)
        return y, mean, variance, exceeds(centre.detach(), rstd.detach())

    y, mean, variance, again = kernel(x)
    if again:
        base = x.detach().mean([d for d in range(x.dim()) if d != 1])
        y, rest, variance, _ = kernel(x - per_channel(base, x))
        mean = base + rest
    return y, mean, variance
