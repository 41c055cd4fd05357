"""What a path of our own asks of a tensor before it uses the tensor's memory or calls a kernel directly."""

from typing import Any

import torch
from torch import Tensor, nn

SINGLE_AND_DOUBLE = (torch.float32, torch.float64)
_ORDINARY = (Tensor, nn.Parameter)
_is_compiling, _is_tracing = torch.compiler.is_compiling, torch.jit.is_tracing


def is_eager(x: Any, least: int = 0, dtypes: tuple[torch.dtype, ...] = SINGLE_AND_DOUBLE) -> bool:
    """Whether x is an ordinary CPU tensor of at least that many elements, outside compilers and tracers.

    On a small tensor this question is all that a fast path adds to torch's own time: the order matters.
    """
    ordinary = not _is_compiling() and type(x) in _ORDINARY and x.numel() >= least
    return ordinary and x.is_cpu and x.dtype in dtypes and not _is_tracing()


def has_memory(x: Tensor) -> bool:
    """Whether x holds numbers, unlike a tensor that represents a batch or a derivative under torch.func."""
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


def flat(x: Tensor) -> Tensor:
    """The elements of a dense tensor in the order of memory."""
    return x.as_strided((x.numel(),), (1,))
