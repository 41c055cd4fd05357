"""Softmax and log-softmax: the functions that turn a vector of scores into probabilities."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .._checks import check_floating

__all__ = ["LogSoftmax", "Softmax", "log_softmax", "softmax"]


def _inner(input: Tensor, dim: int | None) -> bool:
    """Whether `dim` is not the last but lies innermost in memory, as channels do in channels-last tensors.

    There torch would copy the input to another layout; with the dimension moved last it need not, and the
    output has the memory format of the input.
    """
    if dim is None or torch.compiler.is_compiling() or not isinstance(input, Tensor):
        return False
    if input.is_contiguous() or input.dim() < 3:
        return False
    return -input.dim() <= dim < input.dim() and input.stride(dim) == 1 < input.stride(-1)


def softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: torch.dtype | None = None) -> Tensor:
    r"""Positive numbers along one dimension that sum to 1.

    Formula: :math:`p_i = e^{x_i} / \sum_j e^{x_j}`; derivative
    :math:`\partial p_i / \partial x_j = p_i (\delta_{ij} - p_j)`.

    Takes any shape, floating-point, or any dtype when `dtype`, to compute in, is given; else it raises
    ConvcraftError. Without `dim` torch chooses the dimension and warns. Source: Bridle (1990), Probabilistic
    Interpretation of Feedforward Classification Network Outputs. Chapter: Activations.

    >>> softmax(torch.tensor([1000.0, 1000.0]), dim=0)
    tensor([0.5000, 0.5000])
    """
    if dtype is None:
        check_floating("softmax", input)
    if _inner(input, dim):
        return F.softmax(input.movedim(dim, -1), -1, dtype=dtype).movedim(-1, dim)  # type: ignore[arg-type]
    return F.softmax(input, dim, _stacklevel + 1, dtype)


def log_softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: torch.dtype | None = None
) -> Tensor:
    r"""Logarithm of the softmax, computed without taking the logarithm of a vanishing number.

    Formula: :math:`x_i - \log \sum_j e^{x_j}`; derivative :math:`\delta_{ij} - p_j`.

    Takes any shape, floating-point, or any dtype when `dtype`, to compute in, is given; else it raises
    ConvcraftError. Without `dim` torch chooses the dimension and warns. Source: Bridle (1990), Probabilistic
    Interpretation of Feedforward Classification Network Outputs. Chapter: Activations.

    >>> log_softmax(torch.tensor([0.0, -1e4]), dim=0)
    tensor([     0., -10000.])
    """
    if dtype is None:
        check_floating("log_softmax", input)
    if _inner(input, dim):
        return F.log_softmax(input.movedim(dim, -1), -1, dtype=dtype).movedim(-1, dim)  # type: ignore[arg-type]
    return F.log_softmax(input, dim, _stacklevel + 1, dtype)


class Softmax(nn.Softmax):
    """Module of :func:`softmax`, a drop-in for `torch.nn.Softmax`."""

    def forward(self, input: Tensor) -> Tensor:
        return softmax(input, self.dim, _stacklevel=5)


class LogSoftmax(nn.LogSoftmax):
    """Module of :func:`log_softmax`, a drop-in for `torch.nn.LogSoftmax`."""

    def forward(self, input: Tensor) -> Tensor:
        return log_softmax(input, self.dim, _stacklevel=5)
