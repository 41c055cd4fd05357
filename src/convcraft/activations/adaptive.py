"""Activations that adapt to their input or to the channel: Dynamic ReLU, ACON-C, meta-ACON, FReLU."""

import functools
from typing import Any

import torch
from torch import Tensor, nn

from .._checks import check_count, check_floating
from ..errors import ConvcraftError

__all__ = ["AconC", "DynamicReLU", "FReLU", "MetaAconC", "acon_c"]


def _check_channels(module: str, input: Tensor, channels: int, least: int = 2) -> None:
    check_floating(module, input)
    if input.dim() < least or input.size(1) != channels:
        raise ConvcraftError(
            f"{module}: input must have at least {least} dimensions and {channels} channels in dimension 1, "
            f"got shape {tuple(input.shape)}; build the module with the number of channels of its input"
        )


def _per_channel(values: Tensor, input: Tensor) -> Tensor:
    """(C,) or (N, C) in the dtype of the input, in a shape that broadcasts with its (N, C, ...)."""
    shape = values.shape if values.dim() == 2 else (1, -1)
    return values.to(input.dtype).view(*shape, *(1,) * (input.dim() - 2))


def _context(input: Tensor) -> Tensor:
    """Mean over every position: (N, C, ...) to (N, C)."""
    return input.flatten(2).mean(2) if input.dim() > 2 else input


def acon_c(input: Tensor, p1: Tensor | float, p2: Tensor | float, beta: Tensor | float = 1.0) -> Tensor:
    r"""Smooth maximum of two lines through the origin: their mean for beta = 0, the larger for large beta.

    Formula: :math:`(p_1 - p_2) x\, \sigma(\beta (p_1 - p_2) x) + p_2 x`. With :math:`p_1 = 1, p_2 = 0` it is Swish.

    Args:
        input: any shape, floating-point.
        p1: the slope for large positive input (for beta > 0 and p1 > p2).
        p2: the slope for very negative input.
        beta: sharpness of the switch; each a number or a tensor that broadcasts with the input.

    Raises ConvcraftError when the input is not a floating-point tensor. Source: Ma, Zhang, Liu and Sun
    (2021), Activate or Not: Learning Customized Activation. Chapter: Activations.

    >>> acon_c(torch.tensor([-100.0, 100.0]), 1.0, 0.25)
    tensor([-25., 100.])
    """
    check_floating("acon_c", input)
    difference = (p1 - p2) * input
    return difference * torch.sigmoid(beta * difference) + p2 * input


class AconC(nn.Module):
    """Module of :func:`acon_c` with p1, p2 and beta learned for each channel.

    `num_parameters` is the number of channels C of the input (N, C, ...), or 1 for all together. p1 and p2
    start as standard normal values and beta as 1, as in the authors' code. Raises ConvcraftError when
    num_parameters is below 1 or does not fit the input.

    >>> AconC(3)(torch.zeros(2, 3, 4, 4)).shape
    torch.Size([2, 3, 4, 4])
    """

    def __init__(self, num_parameters: int = 1, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        check_count("AconC", "num_parameters", num_parameters)
        self.num_parameters = num_parameters
        values = (torch.empty(num_parameters, device=device, dtype=dtype) for _ in range(3))
        self.p1, self.p2, self.beta = map(nn.Parameter, values)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.p1)
        nn.init.normal_(self.p2)
        nn.init.ones_(self.beta)

    def forward(self, input: Tensor) -> Tensor:
        learned = self.p1, self.p2, self.beta
        if self.num_parameters == 1:
            return acon_c(input, *(value.view(()) for value in learned))
        _check_channels("AconC", input, self.num_parameters)
        return acon_c(input, *(_per_channel(value, input) for value in learned))

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class MetaAconC(nn.Module):
    r"""ACON-C whose beta is computed from the input, for each channel, by a small network.

    Formula: :math:`\beta = \sigma(W_2 W_1 \bar{x})` with :math:`\bar{x}` the mean over all positions and
    batch normalization after each matrix, then ACON-C.

    The input is (N, C, ...) with C `channels`; the hidden width is C / reduction, at least `reduction`.
    Raises ConvcraftError when channels or reduction is below 1, or the input does not fit. Source: Ma, Zhang,
    Liu and Sun (2021), Activate or Not: Learning Customized Activation. Chapter: Activations.

    >>> MetaAconC(8)(torch.zeros(2, 8, 4, 4)).shape
    torch.Size([2, 8, 4, 4])
    """

    def __init__(self, channels: int, reduction: int = 16, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        check_count("MetaAconC", "channels", channels)
        check_count("MetaAconC", "reduction", reduction)
        self.channels, self.reduction = channels, reduction
        hidden = max(reduction, channels // reduction)
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        self.p1 = nn.Parameter(torch.randn(channels, **factory))
        self.p2 = nn.Parameter(torch.randn(channels, **factory))
        self.fc1 = nn.Linear(channels, hidden, **factory)
        self.bn1 = nn.BatchNorm1d(hidden, **factory)
        self.fc2 = nn.Linear(hidden, channels, **factory)
        self.bn2 = nn.BatchNorm1d(channels, **factory)

    def forward(self, input: Tensor) -> Tensor:
        _check_channels("MetaAconC", input, self.channels)
        beta = torch.sigmoid(self.bn2(self.fc2(self.bn1(self.fc1(_context(input))))))  # (N, C)
        p1, p2, beta = (_per_channel(value, input) for value in (self.p1, self.p2, beta))  # (N or 1, C, 1, ...)
        return acon_c(input, p1, p2, beta)

    def extra_repr(self) -> str:
        return f"channels={self.channels}, reduction={self.reduction}"


class DynamicReLU(nn.Module):
    r"""Maximum of K lines whose slopes and intercepts are computed from the input, for each channel.

    Formula: :math:`\max_k (a_c^k x + b_c^k)` with :math:`a^k = \alpha^k + \lambda_a \Delta a^k`, :math:`b^k =
    \lambda_b \Delta b^k`, where :math:`\Delta = 2 \sigma(W_2 \mathrm{relu}(W_1 \bar{x})) - 1` comes from the
    mean :math:`\bar{x}` over all positions; :math:`\alpha = (1, 0, ...), \lambda_a = 1, \lambda_b = 1/2`.

    The input is (N, C, ...) with C `channels`, the hidden width C / reduction, at least 1, and K `pieces`.
    With `shared` there is one set of lines for all channels (the paper's variant A), else one for each
    (variant B). The second matrix starts at 0, so that the module starts as ReLU (for K = 2). Raises
    ConvcraftError when an argument is below 1 (pieces below 2), or the input does not fit. Source: Chen, Dai,
    Liu, Chen, Yuan and Liu (2020), Dynamic ReLU. Chapter: Activations.

    >>> DynamicReLU(8)(torch.full((1, 8, 2, 2), -1.0)).abs().max().item()
    0.0
    """

    initial: Tensor
    spread: Tensor

    def __init__(
        self,
        channels: int,
        reduction: int = 8,
        pieces: int = 2,
        shared: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        check_count("DynamicReLU", "channels", channels)
        check_count("DynamicReLU", "reduction", reduction)
        if pieces < 2:
            raise ConvcraftError(f"DynamicReLU: pieces must be at least 2, got {pieces}; one line is linear")
        self.channels, self.reduction, self.pieces, self.shared = channels, reduction, pieces, shared
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        hidden = max(1, channels // reduction)
        self.fc1 = nn.Linear(channels, hidden, **factory)
        self.fc2 = nn.Linear(hidden, 2 * pieces * (1 if shared else channels), **factory)
        initial = torch.zeros(2 * pieces, **factory)
        spread = torch.full((2 * pieces,), 0.5, **factory)
        initial[0], spread[:pieces] = 1.0, 1.0
        self.register_buffer("initial", initial)
        self.register_buffer("spread", spread)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        self.fc1.reset_parameters()
        nn.init.zeros_(self.fc2.weight)
        nn.init.zeros_(self.fc2.bias)

    def coefficients(self, input: Tensor) -> tuple[Tensor, Tensor]:
        """Slopes and intercepts for this input, each of shape (N, C or 1, K)."""
        _check_channels("DynamicReLU", input, self.channels)
        residual = 2 * torch.sigmoid(self.fc2(torch.relu(self.fc1(_context(input))))) - 1
        groups = 1 if self.shared else self.channels
        lines = self.initial + self.spread * residual.view(-1, groups, 2 * self.pieces)  # (N, C or 1, 2 K)
        slopes, intercepts = lines.to(input.dtype).split(self.pieces, -1)  # autocast may have left the dtype
        return slopes, intercepts

    def forward(self, input: Tensor) -> Tensor:
        slopes, intercepts = self.coefficients(input)  # (N, C or 1, K)
        shape = (*slopes.shape[:2], *(1,) * (input.dim() - 2))  # (N, C or 1, 1, ...)
        pieces = zip(slopes.unbind(-1), intercepts.unbind(-1), strict=True)
        lines = [input * slope.reshape(shape) + intercept.reshape(shape) for slope, intercept in pieces]
        return functools.reduce(torch.maximum, lines)

    def extra_repr(self) -> str:
        return f"channels={self.channels}, reduction={self.reduction}, pieces={self.pieces}, shared={self.shared}"


class FReLU(nn.Module):
    r"""Funnel activation: the larger of the value and a learned mean of its neighbourhood.

    Formula: :math:`\max(x, T(x))` with T a depthwise 3x3 convolution followed by batch normalization.

    The input is (N, C, H, W) with C `channels`; kernel_size, of the neighbourhood, is odd. Raises
    ConvcraftError when channels is below 1, kernel_size is even, or the input does not fit. Source: Ma, Zhang
    and Sun (2020), Funnel Activation for Visual Recognition. Chapter: Activations.

    >>> FReLU(3)(torch.zeros(2, 3, 4, 4)).shape
    torch.Size([2, 3, 4, 4])
    """

    def __init__(self, channels: int, kernel_size: int = 3, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        check_count("FReLU", "channels", channels)
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ConvcraftError(f"FReLU: kernel_size must be odd, got {kernel_size}; use 3")
        self.channels = channels
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        self.conv = nn.Conv2d(
            channels, channels, kernel_size, padding=kernel_size // 2, groups=channels, bias=False, **factory
        )
        self.bn = nn.BatchNorm2d(channels, **factory)

    def forward(self, input: Tensor) -> Tensor:
        _check_channels("FReLU", input, self.channels, least=4)
        return torch.maximum(input, self.bn(self.conv(input)))
