"""Random bits of any probability, eight elements in a byte, and their product with a tensor.

One random word of 64 bits decides 64 elements at once. Write the probability of keeping as a binary fraction
0.b1 b2 ... bk; then, from the last digit to the first,

    kept = random | kept  where the digit is 1,     kept = random & kept  where it is 0,

turns bits that are 1 with probability q into bits that are 1 with probability (b + q) / 2, which puts the
digit b in front. After all digits every bit is 1 with probability 0.b1 ... bk, independently of the others.

The bits follow the elements in memory, so that a channels-last tensor is read in its own order. Every
ordinary CPU tensor takes this way, whatever its size; tensors on other devices, batched by `torch.func` or
seen by a compiler take torch's kernels.
"""

import functools
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._checks import Generator
from .._eager import flat, has_memory, is_dense, is_eager

LEAST_DIGITS = 16
LEAST_PROBABILITY = 2.0**-24
FIRST_DIGITS = 8
BLOCK = 1 << 16  # elements a thread: the mask of a block stays in the cache
WORDS = 1 << 14  # drawn at once
# Below this size one multiplication by a mask of numbers is faster than blocks.
BLOCKS_FROM = 1 << 15

_FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def takes_bits(x: Any, p: float) -> bool:
    """Whether x is dropped by packed bits: an ordinary CPU tensor, and p not too near to 0 or 1."""
    return is_eager(x, dtypes=_FLOATS) and min(p, 1 - p) >= LEAST_PROBABILITY and has_memory(x)


def quantize(keep: float) -> tuple[int, int]:
    """(numerator, digits) of the binary fraction nearest to `keep`, without trailing zeros.

    It has at least 16 digits, and enough for a relative error of at most 2^-13 in the rarer of keeping and dropping.

    >>> quantize(0.5), quantize(0.75), quantize(0.8)
    ((1, 1), (3, 2), (52429, 16))
    """
    digits = max(LEAST_DIGITS, 12 + math.ceil(-math.log2(min(keep, 1 - keep))))
    numerator = round(keep * (1 << digits))
    while numerator % 2 == 0:
        numerator, digits = numerator // 2, digits - 1
    return numerator, digits


def random_bits(count: int, keep: float, generator: Generator) -> tuple[Tensor, float]:
    """(bytes whose bit j of byte i is element 8 i + j, the probability of a 1, which is `keep` rounded)."""
    numerator, digits = quantize(keep)
    words = np.empty((count + 63) // 64, np.int64)
    for start in range(0, len(words), WORDS):
        part = words[start : start + WORDS]
        part[:] = _random_words(len(part), numerator, digits, generator)
    return torch.from_numpy(words.view(np.uint8))[: (count + 7) // 8], numerator / (1 << digits)


def _random_words(count: int, numerator: int, digits: int, generator: Generator) -> Any:
    """Words of 64 bits that are 1 with probability numerator / 2^digits each.

    The first eight digits leave one bit in 256 undecided; the others are drawn for the words with such bits.
    """
    first = min(digits, FIRST_DIGITS)
    words = torch.empty(first, count, dtype=torch.int64, device="cpu")
    drawn = words.random_(-(2**63), None, generator=generator).numpy()  # from here to None: all 64 bits
    rest = digits - first
    kept, bound = np.zeros(count, np.int64), np.full(count, -1)  # where all further digits give 0, give 1
    for place, row in enumerate(drawn, rest):
        fold = np.bitwise_or if numerator >> place & 1 else np.bitwise_and
        fold(kept, row, out=kept)
        if rest:
            fold(bound, row, out=bound)
    if rest:
        undecided = np.flatnonzero(kept != bound)
        more = _random_words(len(undecided), numerator & (1 << rest) - 1, rest, generator)
        kept[undecided] |= bound[undecided] & more
    return kept


def pack(flags: Tensor) -> Tensor:
    """Bytes of bits from a uint8 tensor of zeros and ones."""
    return torch.from_numpy(np.packbits(flags.reshape(-1).numpy(), bitorder="little"))


@functools.lru_cache(64)
def _table(dtype: torch.dtype, scale: float) -> Any:
    """(256, 8): row i holds the bits of i, the lowest first, times the scale."""
    bits = np.arange(256)[:, None] >> np.arange(8) & 1
    return (bits * scale).astype(str(dtype).removeprefix("torch."))


def unpack(bits: Tensor, count: int, dtype: torch.dtype = torch.uint8, scale: float = 1) -> Tensor:
    """The numbers 0 and `scale` for `count` bits: with the defaults the inverse of `pack`."""
    return torch.from_numpy(np.take(_table(dtype, scale), bits.numpy(), axis=0)).view(-1)[:count]


def _in_shape(values: Tensor, x: Tensor, strides: tuple[int, ...] | None = None) -> Tensor:
    """One number for each element of x, laid out like x or, if x has gaps, like a contiguous tensor."""
    if strides is None:
        strides = x.stride() if is_dense(x) else torch.empty(x.shape, device="meta").stride()
    return values.as_strided(x.shape, strides)


def _multiply(x: Tensor, bits: Tensor, out: Tensor, scale: float, shift: float, offset: float) -> None:
    """out = (x + shift) * bit * scale + offset on flat tensors, block by block, in float32 or float64."""
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    table, size = _table(dtype, scale), BLOCK * torch.get_num_threads()
    spare = np.empty((min(size // 8, len(bits)), 8), table.dtype)
    spare_mask, rows = torch.from_numpy(spare).view(-1), np.arange(0, len(bits), size // 8)
    parts = np.split(bits.numpy(), rows[1:])
    for block, result, part in zip(x.split(size), out.split(size), parts, strict=True):
        # "clip" spares numpy a copy; a byte is never out of range
        np.take(table, part, axis=0, out=spare[: len(part)], mode="clip")
        mask = spare_mask[: len(block)]
        if shift == 0 and offset == 0:
            torch.mul(block, mask, out=result)
        else:
            torch.add(torch.add(block.to(dtype), shift).mul_(mask), offset, out=result)


class _Masked(torch.autograd.Function):
    """(x + shift) * m * scale + offset with m = 0 or 1 from packed bits; keeps one bit of each element."""

    @staticmethod
    def forward(
        x: Tensor, bits: Tensor, strides: tuple[int, ...] | None, constants: tuple[float, float, float], inplace: bool
    ) -> Tensor:
        scale, shift, offset = constants
        if not has_memory(x):  # a batch of gradients
            mask = _in_shape(unpack(bits, x.shape.numel(), torch.float32), x, strides).to(x.dtype)
            return (x + shift) * (mask * scale) + offset
        if inplace:
            out = x
        elif strides is None:
            out = torch.empty_like(x)
        else:  # a gradient, which may lie in memory in another order than the bits do
            out = x.new_empty_strided(x.shape, strides)
        if x.stride() != out.stride():
            x = out.copy_(x)
        _multiply(flat(x), bits, flat(out), scale, shift, offset)
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
        # y = (x + shift) m scale + offset, so dy = dx m scale
        return _Masked.apply(grad, bits, ctx.strides, (ctx.constants[0], 0.0, 0.0), False)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return _Masked._linear(ctx, grads[0]), None, None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        tangent = _Masked._linear(ctx, tangents[0])
        return tangents[0].copy_(tangent) if ctx.inplace else tangent

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[Tensor, int]:
        """A batch of gradients through the one mask."""
        x, bits, strides, (scale, shift, offset), _ = inputs
        x = x.movedim(in_dims[0], 0)  # (B, ...)
        mask = _in_shape(unpack(bits, x[0].numel(), torch.float32), x[0], strides).to(x.dtype)
        return (x + shift) * (mask * scale) + offset, 0


def masked(
    x: Tensor, bits: Tensor, scale: float, shift: float = 0.0, offset: float = 0.0, inplace: bool = False
) -> Tensor:
    """(x + shift) * m * scale + offset, where the bits m follow the memory of x, or of x made contiguous."""
    if x.numel() < BLOCKS_FROM and x.dtype in (torch.float32, torch.float64):
        noise = _in_shape(unpack(bits, x.numel(), x.dtype, scale), x)
        if shift == 0 and offset == 0:
            return x.mul_(noise) if inplace else x * noise
        constant = noise * shift + offset
        return x.mul_(noise).add_(constant) if inplace else x * noise + constant
    if inplace and not is_dense(x):
        return x.copy_(_Masked.apply(x, bits, None, (scale, shift, offset), False))
    return _Masked.apply(x, bits, None, (scale, shift, offset), inplace)
