"""Dropout of whole channels, as functions and modules."""

import warnings
from collections.abc import Callable

import torch  # noqa: F401  (the examples use it)
import torch.nn.functional as F
from torch import Tensor, nn

from .._checks import check_dimensions
from ._modules import DropoutModule, Generator, channel_flags, check_dropout


def _drop_channels(
    function: str,
    theirs: Callable[..., Tensor],
    forms: tuple[str, ...],
    input: Tensor,
    p: float,
    training: bool,
    inplace: bool,
    generator: Generator,
) -> Tensor:
    """The channels of an input of one of the forms, which begin with N where there is a batch."""
    check_dropout(function, input, p, generator)
    dimensions = {form.count(",") + 1: form for form in forms}
    least = {"dropout2d": 2, "dropout3d": 1}.get(function, 65)
    size = input.dim() if isinstance(input, Tensor) else max(dimensions)
    batched = dimensions.get(size, "(N" if function == "dropout2d" else "(C").startswith("(N")
    allowed, advice = {*dimensions, *range(least, 65)}, "use dropout, which takes any shape"
    check_dimensions(function, input, allowed, " or ".join(forms), advice=advice)
    if size not in dimensions:
        advice = "dropout1d for it, or input.unsqueeze(0) for a single image" if size == 3 else "dropout"
        warnings.warn(
            f"{function}: a {size}-D input is taken for {'(N, C, ...)' if batched else '(C, ...)'}, as "
            f"torch does for now; use {advice}",
            stacklevel=3,
        )
    if not training or p == 0:
        return input
    if size in dimensions and (generator is None or p == 1):
        return theirs(input, p, True, inplace)
    noise = channel_flags(input, p, batched, generator)
    noise = noise.div_(1 - p) if p < 1 else noise
    return input.mul_(noise) if inplace else input * noise


def dropout1d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, generator: Generator = None
) -> Tensor:
    r"""Set whole channels of sequences to 0 with probability p, and divide the others by 1 - p.

    Formula: :math:`y_{ncl} = m_{nc} x_{ncl} / (1 - p)` with independent :math:`m_{nc} \in \{0, 1\}`,
    :math:`P(m_{nc} = 0) = p`. The input is (N, C, L) or (C, L), floating-point.

    Raises ConvcraftError when p is outside [0, 1], the input is not a floating-point tensor or has another
    number of dimensions, or the generator is on another device. Source: Tompson, Goroshin, Jain, LeCun and
    Bregler (2015), Efficient Object Localization Using Convolutional Networks. Chapter: Dropout.

    >>> dropout1d(torch.ones(8, 8, 4)).sum(2).unique()  # a channel is kept as a whole or not at all
    tensor([0., 8.])
    """
    return _drop_channels("dropout1d", F.dropout1d, ("(N, C, L)", "(C, L)"), input, p, training, inplace, generator)


def dropout2d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, generator: Generator = None
) -> Tensor:
    r"""Set whole channels of images to 0 with probability p, and divide the others by 1 - p.

    Formula: that of :func:`dropout1d` with (h, w) for l. Neighbouring pixels say nearly the same: dropping
    single ones removes little, dropping a channel removes what it says.

    The input is (N, C, H, W); with another number of dimensions, from 2 on, it is taken for (N, C, ...), with
    a warning, as in torch. Errors and source are those of :func:`dropout1d`. Chapter: Dropout.

    >>> dropout2d(torch.ones(8, 8, 2, 2)).sum((2, 3)).unique()
    tensor([0., 8.])
    """
    return _drop_channels("dropout2d", F.dropout2d, ("(N, C, H, W)",), input, p, training, inplace, generator)


def dropout3d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, generator: Generator = None
) -> Tensor:
    r"""Set whole channels of volumes to 0 with probability p, and divide the others by 1 - p.

    Formula: that of :func:`dropout1d` with (d, h, w) for l.

    The input is (N, C, D, H, W) or (C, D, H, W); with another number of dimensions it is taken for (C, ...),
    with a warning, as in torch. Errors and source are those of :func:`dropout1d`. Chapter: Dropout.

    >>> dropout3d(torch.ones(8, 8, 2, 2, 1)).sum((2, 3, 4)).unique()
    tensor([0., 8.])
    """
    forms = ("(N, C, D, H, W)", "(C, D, H, W)")
    return _drop_channels("dropout3d", F.dropout3d, forms, input, p, training, inplace, generator)


class Dropout1d(DropoutModule, nn.Dropout1d):
    """Module of :func:`dropout1d`, a drop-in for `torch.nn.Dropout1d`; it acts in training mode only."""

    def forward(self, input: Tensor) -> Tensor:
        return dropout1d(input, self.p, self.training, self.inplace, self.generator)


class Dropout2d(DropoutModule, nn.Dropout2d):
    """Module of :func:`dropout2d`, a drop-in for `torch.nn.Dropout2d`; it acts in training mode only."""

    def forward(self, input: Tensor) -> Tensor:
        return dropout2d(input, self.p, self.training, self.inplace, self.generator)


class Dropout3d(DropoutModule, nn.Dropout3d):
    """Module of :func:`dropout3d`, a drop-in for `torch.nn.Dropout3d`; it acts in training mode only."""

    def forward(self, input: Tensor) -> Tensor:
        return dropout3d(input, self.p, self.training, self.inplace, self.generator)
