"""Dropout by packed random bits: the fast path on the CPU, which keeps one bit an element for the gradient.

The mask is in the order of memory, so that channels-last tensors are read in their own order. Tensors
that are small, on another device, batched by `torch.func`, or seen by a compiler take the plain path,
torch's kernels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._bits import LEAST_PROBABILITY, apply_bits, quantize, random_bits, unpack

# From how many elements on the fast path gains more than its few calls from Python cost.
FAST_FROM = 1 << 15

_FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
_ORDINARY = (Tensor, torch.nn.Parameter)


def is_fast(x: Any, p: float = 0.5) -> bool:
    """Whether the fast path can run: an ordinary large CPU tensor outside of compilers and transforms."""
    if type(x) not in _ORDINARY or torch.compiler.is_compiling() or torch.jit.is_tracing():
        return False
    if x.numel() < FAST_FROM or not x.is_cpu or x.dtype not in _FLOATS:
        return False
    return min(p, 1 - p) >= LEAST_PROBABILITY and has_memory(x)


def has_memory(x: Tensor) -> bool:
    """Whether this is a tensor of numbers, not one that stands for a batch or a derivative."""
    try:
        x.data_ptr()
    except RuntimeError:
        return False
    return True


def is_dense(x: Tensor) -> bool:
    """Whether the elements fill a stretch of memory without gaps, in one of torch's memory formats."""
    if x.is_contiguous():
        return True
    if x.dim() == 4:
        return x.is_contiguous(memory_format=torch.channels_last)
    return x.dim() == 5 and x.is_contiguous(memory_format=torch.channels_last_3d)


def _flat(x: Tensor) -> Tensor:
    return x.as_strided((x.numel(),), (1,))


def _mask(bits: Tensor, x: Tensor, strides: tuple[int, ...] | None) -> Tensor:
    """The bits as numbers 0 and 1 in the shape of x."""
    flags = unpack(bits, x.shape.numel()).to(x.dtype)
    return flags.as_strided(x.shape, strides or torch.empty(x.shape, device="meta").stride())


class Masked(torch.autograd.Function):
    """(x + shift) * m * scale + offset with m = 0 or 1 from packed bits, in the order of memory."""

    @staticmethod
    def forward(
        x: Tensor,
        bits: Tensor,
        strides: tuple[int, ...] | None,
        constants: tuple[float, float, float],
        inplace: bool,
    ) -> Tensor:
        if not has_memory(x):  # a batch of gradients
            return (x + constants[1]) * (_mask(bits, x, strides) * constants[0]) + constants[2]
        if inplace:
            out = x
        elif strides is None:
            out = torch.empty_like(x)
        else:
            out = x.new_empty_strided(x.shape, strides)
        if x.stride() != out.stride():
            x = out.copy_(x)
        apply_bits(_flat(x), bits, _flat(out), *constants)
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, bits, _, ctx.constants, ctx.inplace = inputs
        if ctx.inplace:
            ctx.mark_dirty(x)
        ctx.strides = output.stride()
        ctx.save_for_backward(bits)
        ctx.save_for_forward(bits)

    @staticmethod
    def _linear(ctx: Any, grad: Tensor) -> Tensor:
        (bits,) = ctx.saved_tensors
        return Masked.apply(grad, bits, ctx.strides, (ctx.constants[0], 0.0, 0.0), False)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return Masked._linear(ctx, grads[0]), None, None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        tangent = Masked._linear(ctx, tangents[0])
        return tangents[0].copy_(tangent) if ctx.inplace else tangent

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[Tensor, int]:
        """A batch of gradients through the one mask."""
        x, bits, strides, (scale, shift, offset), _ = inputs
        x = x.movedim(in_dims[0], 0)
        return (x + shift) * (_mask(bits, x[0], strides) * scale) + offset, 0


def keep_fraction(p: float) -> tuple[int, int, float]:
    """(numerator, digits, numerator / 2^digits): the probability of keeping that the bits really have."""
    numerator, digits = quantize(1 - p)
    return numerator, digits, numerator / (1 << digits)


def masked(
    x: Tensor,
    bits: Tensor,
    scale: float,
    shift: float = 0.0,
    offset: float = 0.0,
    inplace: bool = False,
) -> Tensor:
    """Apply packed bits, which lie in the order of memory of `x` if it is dense, else of a contiguous one."""
    if inplace and not is_dense(x):
        return x.copy_(Masked.apply(x, bits, None, (scale, shift, offset), False))
    return Masked.apply(x, bits, None, (scale, shift, offset), inplace)


def drop_elements(x: Tensor, p: float, inplace: bool, generator: torch.Generator | None) -> Tensor:
    """x * m / keep, the fast path of `dropout`."""
    numerator, digits, keep = keep_fraction(p)
    bits = random_bits(x.numel(), numerator, digits, generator)
    return masked(x, bits, 1 / keep, inplace=inplace)


def channel_flags(x: Tensor, p: float, batched: bool, generator: torch.Generator) -> Tensor:
    """0 or 1 for each channel of each sample, in a shape that broadcasts with x."""
    kept = x.shape[: 2 if batched else 1]
    return x.new_empty((*kept, *(1,) * (x.dim() - len(kept)))).bernoulli_(1 - p, generator=generator)
