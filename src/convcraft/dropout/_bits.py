"""Random bits of any probability, eight elements in a byte, and their use on tensors block by block.

One random word of 64 bits decides 64 elements at once. Write the probability of keeping as a binary fraction
0.b1 b2 ... bk; then, from the last digit to the first,

    kept = random | kept  where the digit is 1,     kept = random & kept  where it is 0,

turns bits that are 1 with probability q into bits that are 1 with probability (b + q) / 2, which appends
the digit b in front. After all digits every bit is 1 with probability 0.b1 ... bk, independently of the
others.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from torch import Tensor

LEAST_DIGITS = 16
LEAST_PROBABILITY = 2.0**-24
ELEMENTS_A_THREAD = 1 << 17

_ONE_BIT_OF_EACH_BYTE = 0x0102040810204080


def quantize(keep: float) -> tuple[int, int]:
    """(numerator, digits) of the binary fraction nearest to `keep`, without trailing zeros.

    The digits are enough for a relative error of at most 2^-13 in the rarer of keeping and dropping,
    and at least 16.

    Example:
        >>> quantize(0.5), quantize(0.75), quantize(0.8)
        ((1, 1), (3, 2), (52429, 16))
    """
    rarer = min(keep, 1 - keep)
    digits = max(LEAST_DIGITS, 12 + math.ceil(-math.log2(rarer)))
    numerator = round(keep * (1 << digits))
    while numerator % 2 == 0:
        numerator, digits = numerator // 2, digits - 1
    return numerator, digits


def random_bits(count: int, numerator: int, digits: int, generator: torch.Generator | None) -> Tensor:
    """Bytes whose bits are 1 with probability numerator / 2^digits; bit j of byte i is element 8 i + j.

    Two numbers of torch's generator seed a fast one, which gives the words.
    """
    words = (count + 63) // 64
    seeds = torch.empty(2, dtype=torch.int64, device="cpu").random_(generator=generator).tolist()
    source = np.random.SFC64(seeds)
    kept = source.random_raw(words)
    for place in range(1, digits):
        fold = np.bitwise_or if numerator >> place & 1 else np.bitwise_and
        fold(kept, source.random_raw(words), out=kept)
    return torch.from_numpy(kept.view(np.uint8))[: (count + 7) // 8]


def pack(flags: Tensor) -> Tensor:
    """Bytes of bits from a contiguous uint8 tensor of zeros and ones."""
    flat = flags.reshape(-1)
    count = flat.numel()
    if count % 8:
        flat = torch.cat([flat, flat.new_zeros(8 - count % 8)])
    # The product moves bit 0 of byte j to bit 56 + j; the top byte then holds all eight.
    return (flat.view(torch.int64) * _ONE_BIT_OF_EACH_BYTE).view(torch.uint8)[7::8].contiguous()


@functools.cache
def _table(dtype: torch.dtype) -> Tensor:
    """Row i: the bits of i as numbers, the lowest first."""
    bits = torch.arange(256, device="cpu").unsqueeze(1) >> torch.arange(8, device="cpu")
    return (bits & 1).to(dtype)


@functools.cache
def _byte_table() -> Tensor:
    return _table(torch.uint8).view(torch.int64).flatten()


def unpack(bits: Tensor, count: int) -> Tensor:
    """One uint8 of 0 or 1 for each element: the inverse of `pack`."""
    return torch.index_select(_byte_table(), 0, bits.int()).view(torch.uint8)[:count]


def apply_bits(x: Tensor, bits: Tensor, out: Tensor, scale: float, shift: float, offset: float) -> None:
    """out = (x + shift) * bit * scale + offset on flat tensors, in blocks that stay in the cache."""
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    table = _table(dtype) * scale
    size = ELEMENTS_A_THREAD * torch.get_num_threads()
    spare = table.new_empty(min(size // 8, len(bits)), 8)
    for block, result, part in zip(x.split(size), out.split(size), bits.split(size // 8), strict=True):
        mask = torch.index_select(table, 0, part.int(), out=spare[: len(part)]).view(-1)[: len(block)]
        if shift == 0 and offset == 0:
            torch.mul(block, mask, out=result)
        else:
            torch.add(torch.add(block.to(dtype), shift).mul_(mask), offset, out=result)
