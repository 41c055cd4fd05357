"""Changing the values of a batch and not where they stand: brightness, contrast, noise, erasing."""

from typing import Any, Literal

import torch
from torch import Tensor

from .._checks import Generator, check_generator
from . import _draws
from ._checks import Levels, Number, check_clip, check_each, check_images, check_levels, levels, per_image
from ._sampling import like

Clip = tuple[Levels, Levels] | None


def brightness(images: Tensor, amount: Number, *, clip: Clip = None) -> Tensor:
    r"""Add a constant to every value of an image.

    Formula: :math:`y = x + a`, cut off at the ends of `clip`. The amount is in the scale of the images: 0.1
    of [0, 1] is 0.1 / std in standardized images. The number 0 gives the images back, without a cut.

    Args:
        amount: a number, or a tensor (N,).
        clip: None, or (low, high), each one number or one for each channel: (0.0, 1.0) for images in [0, 1].

    Raises ConvcraftError when images are not such a tensor, the amount is neither a finite number nor one for
    each image, or clip is not a pair in order. Source: Shorten and Khoshgoftaar (2019), A Survey on Image
    Data Augmentation for Deep Learning. Chapter: Data augmentation.

    >>> brightness(torch.tensor([[[[0.25, 0.75]]]]), 0.5, clip=(0.0, 1.0)).flatten().tolist()
    [0.75, 1.0]
    """
    check_images("brightness", images)
    check_clip("brightness", clip)
    added = per_image("brightness", "amount", amount, images)
    if not isinstance(added, Tensor) and added == 0:
        return images
    return clipped("brightness", images + column(added, images), clip)


def contrast(images: Tensor, factor: Number, *, clip: Clip = None) -> Tensor:
    r"""Stretch the values of an image about their mean (factor above 1) or draw them together (below 1).

    Formula: :math:`y = f x + (1 - f)\, \bar{x}` with :math:`\bar{x}` the mean over the channels and pixels of
    the image, cut off at the ends of `clip`. f = 0 leaves a grey image, f = 1 the image to the last bit; the
    number 1 gives the images back, without a cut. The factor is a number or a tensor (N,).

    Raises ConvcraftError as `brightness` does, and when the factor is negative. Source: Shorten and
    Khoshgoftaar (2019), A Survey on Image Data Augmentation for Deep Learning. Chapter: Data augmentation.

    >>> contrast(torch.tensor([[[[0.25, 0.75]]]]), 0.5).flatten().tolist()
    [0.375, 0.625]
    """
    check_images("contrast", images)
    check_clip("contrast", clip)
    stretch = per_image("contrast", "factor", factor, images)
    check_each("contrast", "factor", factor, stretch >= 0, "0 or more (1 keeps the contrast)")
    if images.numel() == 0 or (not isinstance(stretch, Tensor) and stretch == 1):
        return images
    mean = images.mean((1, 2, 3), keepdim=True, dtype=column(stretch, images, wide=True).dtype)
    offset = ((1 - column(stretch, images, wide=True)) * mean).to(images.dtype)
    return clipped("contrast", torch.addcmul(offset, images, column(stretch, images)), clip)


def noise(images: Tensor, std: Number, *, clip: Clip = None, generator: Generator = None) -> Tensor:
    r"""Add normal noise, independent for every value.

    Formula: :math:`y = x + s\, \varepsilon`, :math:`\varepsilon \sim N(0, 1)`, cut off at the ends of
    `clip`. The noise is drawn in float32 in the order of the indices: the same for every dtype and memory
    format. The number 0 gives the images back, without a cut, and draws nothing.

    Args:
        std: 0 or more, in the scale of the images, a number, or a tensor (N,).
        generator: on the device of the images; None is torch's own.

    Raises ConvcraftError as `brightness` does, and when std is negative or the generator on another device. Source:
    Bishop (1995), Training with Noise is Equivalent to Tikhonov Regularization. Chapter: Data augmentation.

    >>> noisy = noise(torch.zeros(4, 1, 64, 64), 0.1, generator=torch.Generator().manual_seed(0))
    >>> round(noisy.std().item(), 2)
    0.1
    """
    check_images("noise", images)
    check_clip("noise", clip)
    check_generator("noise", generator, images, "images")
    spread = per_image("noise", "std", std, images)
    check_each("noise", "std", std, spread >= 0, "0 or more")
    if not isinstance(spread, Tensor) and spread == 0:
        return images
    drawn = _draws.normal(images, generator) * column(spread, images, wide=True)
    return clipped("noise", images + drawn.to(images.dtype), clip)


def erase(
    images: Tensor,
    x: Number,
    y: Number,
    width: Number,
    height: Number,
    *,
    value: Levels | Literal["noise"] = 0.0,
    generator: Generator = None,
) -> Tensor:
    r"""Overwrite a rectangle of each image, as much of it as lies inside.

    Formula: value where :math:`x \le w < x + width` and :math:`y \le h < y + height`, the image elsewhere;
    the gradient of what is overwritten is 0.

    Args:
        x, y: left column and upper row, a number or a tensor (N,) each.
        width, height: 0 or more.
        value: what is written there: one number, one for each channel, or "noise", standard normal for every value.
        generator: of the noise, on the device of the images; None is torch's own.

    Raises ConvcraftError when images are not such a tensor, a position or a size is neither a finite number
    nor one for each image, a size is negative, value is none of the three, or the generator is on another
    device. Source: DeVries and Taylor (2017), Improved Regularization of Convolutional Neural Networks with
    Cutout. Chapter: Data augmentation.

    >>> erase(torch.ones(1, 1, 2, 3), 1, 0, width=5, height=1).tolist()
    [[[[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]]]]
    """
    check_images("erase", images)
    check_erasing("erase", value)
    check_generator("erase", generator, images, "images")
    given = {"x": x, "y": y, "width": width, "height": height}
    left, top, wide, high = (per_image("erase", name, number, images) for name, number in given.items())
    for name, size in (("width", wide), ("height", high)):
        check_each("erase", name, size, size >= 0, "0 or more")
    across, down = spans(images, left, top, wide, high)
    if value == "noise":
        filled: Number = _draws.normal(images, generator)
    else:
        filled = levels("erase", "value", value, images)
    if isinstance(filled, Tensor):
        filled = filled.to(images.dtype)
    return like(torch.where(across & down, filled, images), images)


def check_erasing(function: str, value: Levels | str) -> None:
    """Require levels, or "noise"."""
    if value != "noise":
        check_levels(function, "value", value, also=", or 'noise'")


def overwrite(images: Tensor, x: Tensor, y: Tensor, size: int, value: Levels) -> Tensor:
    """`erase` of squares that reach into their images: writes their pixels only, whatever the memory format.

    Pixels outside go to the edge, where the square lies as well.
    """
    steps = torch.arange(size, device=images.device)
    columns = (x.view(-1, 1, 1) + steps).clamp(0, images.size(3) - 1)  # (N, 1, size)
    rows = (y.view(-1, 1, 1) + steps.view(-1, 1)).clamp(0, images.size(2) - 1)  # (N, size, 1)
    which = torch.arange(images.size(0), device=images.device).view(-1, 1, 1)  # (N, 1, 1)
    level = levels("RandomErasing", "value", value, images)
    filled = level.to(images.dtype).flatten() if isinstance(level, Tensor) else images.new_full((), level)
    channels_behind = images.permute(0, 2, 3, 1)  # (N, H, W, C): one write for all channels
    return channels_behind.index_put((which, rows, columns), filled).permute(0, 3, 1, 2)


def spans(images: Tensor, x: Number, y: Number, width: Number, height: Number) -> tuple[Tensor, Tensor]:
    """The columns (N or 1, 1, 1, W) and the rows (N or 1, 1, H, 1) that the rectangle covers."""
    columns = torch.arange(images.size(3), device=images.device)
    rows = torch.arange(images.size(2), device=images.device).view(-1, 1)
    left, top = column(x, images, wide=True), column(y, images, wide=True)
    right, bottom = left + column(width, images, wide=True), top + column(height, images, wide=True)
    return (columns >= left) & (columns < right), (rows >= top) & (rows < bottom)


def column(value: Number, images: Tensor, wide: bool = False) -> Tensor:
    """(N, 1, 1, 1) or (1, 1, 1, 1), in the dtype of the images, or `wide` in that of the parameters."""
    tensor = value if isinstance(value, Tensor) else torch.full((1,), float(value), device=images.device)
    if isinstance(value, Tensor) and wide:
        return tensor.view(-1, 1, 1, 1)
    dtype = images.dtype if not wide or images.dtype == torch.float64 else torch.float32
    return tensor.to(dtype).view(-1, 1, 1, 1)


def clipped(function: str, images: Tensor, clip: Clip) -> Tensor:
    """Cut off the values at the ends of clip, in place: the images are a result that nobody else holds."""
    if clip is None:
        return images
    low, high = (levels(function, "clip", end, images) for end in clip)
    # vmap has no batching rule for clamp_
    transformed = torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()
    cut: Any = torch.clamp if transformed else torch.clamp_
    if isinstance(low, Tensor) or isinstance(high, Tensor):
        low, high = (torch.as_tensor(end, device=images.device).to(images.dtype) for end in (low, high))
    return cut(images, low, high)
