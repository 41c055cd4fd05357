"""DropPath: dropout of whole samples, which in a residual block skips the branch (stochastic depth)."""

import torch  # noqa: F401  (the examples use it)
import torch.nn.functional as F
from torch import Tensor

from .._checks import check_dimensions
from ._modules import DropoutModule, Generator, check_dropout


def drop_path(
    input: Tensor,
    p: float = 0.1,
    training: bool = True,
    inplace: bool = False,
    scale_by_keep: bool = True,
    generator: Generator = None,
) -> Tensor:
    r"""Set whole samples to 0 with probability p: in a residual block, x + drop_path(f(x)) skips the branch.

    Formula: :math:`y_n = m_n x_n / (1 - p)` with one independent :math:`m_n \in \{0, 1\}` a sample,
    :math:`P(m_n = 0) = p`.

    The input is (N, ...); with scale_by_keep=False nothing is divided, and the mean is (1 - p) x. Raises
    ConvcraftError as :func:`dropout`, and for an input without dimensions. Source: Huang, Sun, Liu, Sedra and
    Weinberger (2016), Deep Networks with Stochastic Depth; named in Larsson, Maire and Shakhnarovich (2017),
    FractalNet. Chapter: Dropout.

    >>> y = drop_path(torch.ones(50, 3, 2), 0.5)
    >>> y.sum((1, 2)).unique()
    tensor([ 0., 12.])
    """
    check_dropout("drop_path", input, p, generator)
    check_dimensions("drop_path", input, tuple(range(1, 65)), "(N, ...)")
    if not training or p == 0:
        return input
    if p == 1:
        return F.dropout(input, 1.0, True, inplace)
    noise = input.new_empty((input.shape[0], *(1,) * (input.dim() - 1)))
    noise = noise.bernoulli_(1 - p, generator=generator)
    if scale_by_keep:
        noise = noise.div_(1 - p)
    return input.mul_(noise) if inplace else input * noise


class DropPath(DropoutModule):
    """Module of :func:`drop_path`; it acts in training mode only."""

    __constants__ = ["p", "inplace", "scale_by_keep"]

    def __init__(
        self, p: float = 0.1, inplace: bool = False, scale_by_keep: bool = True, generator: Generator = None
    ) -> None:
        super().__init__(p, inplace, generator)
        self.scale_by_keep = scale_by_keep

    def forward(self, input: Tensor) -> Tensor:
        return drop_path(input, self.p, self.training, self.inplace, self.scale_by_keep, self.generator)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}, scale_by_keep={self.scale_by_keep}"
