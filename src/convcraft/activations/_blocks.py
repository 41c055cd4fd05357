"""Element-wise formulas computed block by block, so that the temporaries stay in the cache.

A formula of six operations on a large tensor reads and writes main memory six times. On a block of 32,768
elements a thread it does so in the cache, and main memory is read once and written once.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

#: (block of x, block of the gradient or None, block of the result, three spare blocks) -> None
Kernel = Callable[[Tensor, Tensor | None, Tensor, tuple[Tensor, ...]], None]

ELEMENTS_A_THREAD = 1 << 15
ONEDNN_ELEMENTS_A_THREAD = 1 << 18


def mish(x: Tensor, grad: Tensor | None, out: Tensor, spare: tuple[Tensor, ...]) -> None:
    """x m / (m + 1) with m = e + e^2 / 2, e = e^x: half of the n in `definitions.mish`."""
    e, m, _ = spare
    torch.clamp(x, max=20, out=e)
    e.exp_()
    torch.addcmul(e, e, e, value=0.5, out=m)
    torch.add(m, 1, out=e)
    torch.mul(m.div_(e), x, out=out)


def mish_slope(x: Tensor, grad: Tensor | None, out: Tensor, spare: tuple[Tensor, ...]) -> None:
    """grad (m + x (e + e^2) / (m + 1)) / (m + 1)."""
    assert grad is not None
    e, m, d = spare
    torch.clamp(x, -100, 20, out=d)
    torch.exp(d, out=e)
    torch.addcmul(e, e, e, value=0.5, out=m)
    e.addcmul_(e, e).mul_(d)
    torch.add(m, 1, out=d)
    m.addcdiv_(e, d).div_(d)
    torch.mul(m, grad, out=out)


def softsign(x: Tensor, grad: Tensor | None, out: Tensor, spare: tuple[Tensor, ...]) -> None:
    """x / (1 + |x|)."""
    d = spare[0]
    torch.abs(x, out=d)
    torch.div(x, d.add_(1), out=out)


def softsign_slope(x: Tensor, grad: Tensor | None, out: Tensor, spare: tuple[Tensor, ...]) -> None:
    """grad / (1 + |x|)^2, divided twice so that the square does not overflow."""
    assert grad is not None
    d = spare[0]
    torch.abs(x, out=d)
    torch.div(grad, d.add_(1), out=out)
    out.div_(d)


MISH: Kernel = mish
MISH_SLOPE: Kernel = mish_slope
SOFTSIGN: Kernel = softsign
SOFTSIGN_SLOPE: Kernel = softsign_slope


def _flat(x: Tensor) -> Tensor:
    """The elements in the order of memory, for a tensor without gaps."""
    return x.as_strided((x.numel(),), (1,))


def _dense(x: Tensor) -> bool:
    if x.is_contiguous():
        return True
    if x.dim() == 4:
        return x.is_contiguous(memory_format=torch.channels_last)
    return x.dim() == 5 and x.is_contiguous(memory_format=torch.channels_last_3d)


def in_blocks(kernel: Kernel | None, x: Tensor, grad: Tensor | None = None) -> Tensor:
    """Apply a kernel block by block; without one, oneDNN's tanh. The result has the memory format of x."""
    if not _dense(x):
        x = x.contiguous()
    out = torch.empty_like(x)
    if grad is not None and grad.stride() != x.stride():
        grad = out.copy_(grad)
    threads = torch.get_num_threads()
    if kernel is None:
        _tanh(_flat(x), _flat(out), ONEDNN_ELEMENTS_A_THREAD * threads)
        return out
    size = min(ELEMENTS_A_THREAD * threads, x.numel())
    spare = x.new_empty(3, size).unbind(0)
    xs, outs = _flat(x).split(size), _flat(out).split(size)
    grads = [None] * len(xs) if grad is None else _flat(grad).split(size)
    for block, slope, result in zip(xs, grads, outs, strict=True):
        used = spare if len(block) == size else tuple(s[: len(block)] for s in spare)
        kernel(block, slope, result, used)
    return out


def _tanh(x: Tensor, out: Tensor, size: int) -> None:
    for block, result in zip(x.split(size), out.split(size), strict=True):
        result.copy_(block.to_mkldnn().tanh_().to_dense())
