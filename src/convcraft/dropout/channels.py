"""Dropout of whole channels, as functions and modules."""

import warnings
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .._checks import check_dimensions, check_floating, check_generator, check_probability
from ._modules import DropoutModule, channel_flags


def _drop_channels(
    function: str,
    theirs: Callable[..., Tensor],
    forms: tuple[str, ...],
    input: Tensor,
    p: float,
    training: bool,
    inplace: bool,
    generator: torch.Generator | None,
) -> Tensor:
    """The channels of an input of one of the forms, which begin with N where there is a batch."""
    check_probability(function, p)
    check_floating(function, input)
    check_generator(function, generator, input)
    dimensions = {form.count(",") + 1: form for form in forms}
    least = {"dropout2d": 2, "dropout3d": 1}.get(function, 65)
    size = input.dim() if isinstance(input, Tensor) else max(dimensions)
    batched = dimensions.get(size, "(N" if function == "dropout2d" else "(C").startswith("(N")
    check_dimensions(
        function, input, {*dimensions, *range(least, 65)}, " or ".join(forms),
        advice="use dropout, which takes any shape",
    )  # fmt: skip
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
    input: Tensor,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Set whole channels of sequences to 0 with probability p, and divide the others by 1 - p.

    Formula: :math:`y_{ncl} = m_{nc} x_{ncl} / (1 - p)` with independent :math:`m_{nc} \in \{0, 1\}`,
    :math:`P(m_{nc} = 0) = p`.

    Args:
        input: (N, C, L) or (C, L), floating-point.

    Raises ConvcraftError when p is outside [0, 1], the input is not a floating-point tensor or has another
    number of dimensions, or the generator is on another device. Source: Tompson, Goroshin, Jain, LeCun and
    Bregler (2015), Efficient Object Localization Using Convolutional Networks. Chapter: Dropout.

    >>> dropout1d(torch.ones(8, 8, 4)).sum(2).unique()  # a channel is kept as a whole or not at all
    tensor([0., 8.])
    """
    forms = ("(N, C, L)", "(C, L)")
    return _drop_channels("dropout1d", F.dropout1d, forms, input, p, training, inplace, generator)


def dropout2d(
    input: Tensor,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Set whole channels of images to 0 with probability p, and divide the others by 1 - p.

    Formula: :math:`y_{nchw} = m_{nc} x_{nchw} / (1 - p)` with independent :math:`m_{nc} \in \{0, 1\}`,
    :math:`P(m_{nc} = 0) = p`. Neighbouring pixels say nearly the same, so that dropping single ones removes
    little; dropping a channel removes what it says.

    Args:
        input: (N, C, H, W), floating-point; another number of dimensions, from 2 on, for (N, C, ...), with a
            warning, as in torch.

    Raises ConvcraftError as :func:`dropout1d`. Source: Tompson et al. (2015), Efficient Object Localization
    Using Convolutional Networks. Chapter: Dropout.

    >>> dropout2d(torch.ones(8, 8, 2, 2)).sum((2, 3)).unique()
    tensor([0., 8.])
    """
    forms = ("(N, C, H, W)",)
    return _drop_channels("dropout2d", F.dropout2d, forms, input, p, training, inplace, generator)


def dropout3d(
    input: Tensor,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Set whole channels of volumes to 0 with probability p, and divide the others by 1 - p.

    Formula: :math:`y_{ncdhw} = m_{nc} x_{ncdhw} / (1 - p)` with independent :math:`m_{nc} \in \{0, 1\}`,
    :math:`P(m_{nc} = 0) = p`.

    Args:
        input: (N, C, D, H, W) or (C, D, H, W), floating-point; another number for (C, ...), with a
            warning, as in torch.

    Raises ConvcraftError as :func:`dropout1d`. Source: Tompson et al. (2015), Efficient Object Localization
    Using Convolutional Networks. Chapter: Dropout.

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
