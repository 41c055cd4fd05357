"""DropBlock: dropout of square regions of the channels."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .._checks import check_count, check_dimensions
from ._modules import DropoutModule, Generator, check_dropout
from .packed_bits import masked, pack, random_bits, takes_bits, unpack


def _widen(seeds: Tensor, block_size: int) -> Tensor:
    """Maximum over windows of block_size x block_size, by doubling: log2(block_size) maxima a direction."""
    for dim in (2, 3):
        reach = 1
        while reach < block_size:
            step = min(reach, block_size - reach)
            length = seeds.shape[dim] - step
            seeds = torch.maximum(seeds.narrow(dim, 0, length), seeds.narrow(dim, step, length))
            reach += step
    return seeds


def drop_block2d(
    input: Tensor,
    p: float = 0.1,
    block_size: int = 7,
    training: bool = True,
    inplace: bool = False,
    generator: Generator = None,
) -> Tensor:
    r"""Set square regions of each channel to 0, so that each element is dropped with probability p.

    Formula: at every place of every channel where a block of b x b touches the image there is one with probability
    :math:`\gamma = 1 - (1 - p)^{1 / b^2}`, independently; :math:`y = m x / (1 - p)` with m = 0 inside of blocks. Every
    element is kept when none of the :math:`b^2` blocks that cover it is there, so dropped with probability p exactly,
    also at the border, and :math:`E[y] = x`.

    The authors' :math:`\gamma = p / b^2`, times a factor for the border, ignores that blocks overlap: of
    p = 0.5 it drops a share of about :math:`1 - e^{-p} = 0.39`. They divide by the share that was kept
    in the batch, which ties the samples to each other; here the divisor is the constant 1 - p.

    Args:
        input: (N, C, H, W), floating-point.
        block_size: side b of the blocks; they may be larger than the image.

    Raises ConvcraftError when p is outside [0, 1], block_size is not a positive integer, the input is not a
    floating-point tensor of four dimensions, or the generator is on another device. Source: Ghiasi, Lin and
    Le (2018), DropBlock: A Regularization Method for Convolutional Networks. Chapter: Dropout.

    >>> y = drop_block2d(torch.ones(64, 8, 16, 16), 0.2, 3, generator=torch.Generator().manual_seed(0))
    >>> round((y == 0).float().mean().item(), 1), y.max().item()
    (0.2, 1.25)
    """
    check_dropout("drop_block2d", input, p, generator)
    check_count("drop_block2d", "block_size", block_size)
    check_dimensions("drop_block2d", input, (4,), "(N, C, H, W)")
    if not training or p == 0:
        return input
    if p == 1:
        return F.dropout(input, 1.0, True, inplace)
    gamma = 1 - (1 - p) ** (1 / block_size**2)
    n, c, h, w = input.shape
    grown = (n, c, h + block_size - 1, w + block_size - 1)  # every place where a block touches the image
    if takes_bits(input, gamma):
        count = grown[0] * grown[1] * grown[2] * grown[3]
        bits, _ = random_bits(count, gamma, generator)
        kept = 1 - _widen(unpack(bits, count).view(grown), block_size)  # (N, C, H, W)
        if not input.is_contiguous() and input.is_contiguous(memory_format=torch.channels_last):
            kept = kept.permute(0, 2, 3, 1)  # the order of memory
        return masked(input, pack(kept), 1 / (1 - p), inplace=inplace)
    seeds = input.new_empty(grown).bernoulli_(gamma, generator=generator)
    noise = (1 - _widen(seeds, block_size)) / (1 - p)
    return input.mul_(noise) if inplace else input * noise


class DropBlock2d(DropoutModule):
    """Module of :func:`drop_block2d`; it acts in training mode only."""

    __constants__ = ["p", "block_size", "inplace"]

    def __init__(self, p: float = 0.1, block_size: int = 7, inplace: bool = False, generator: Generator = None) -> None:
        super().__init__(p, inplace, generator)
        check_count(type(self).__name__, "block_size", block_size)
        self.block_size = block_size

    def forward(self, input: Tensor) -> Tensor:
        return drop_block2d(input, self.p, self.block_size, self.training, self.inplace, self.generator)

    def extra_repr(self) -> str:
        return f"p={self.p}, block_size={self.block_size}, inplace={self.inplace}"
