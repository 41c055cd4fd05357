"""Modules that change the values of every image by a draw of its own."""

import math
from typing import Any, Literal

import torch
from torch import Tensor

from .._checks import Generator
from ..errors import ConvcraftError
from . import _draws
from ._base import Augmentation
from ._checks import Levels, Range, check_clip, check_range
from .values import Clip, brightness, check_erasing, contrast, erase, noise, overwrite


class _Clipped(Augmentation):
    """A module whose results are cut off at the ends of `clip`."""

    def __init__(self, clip: Clip, p: float, generator: Generator) -> None:
        super().__init__(p, generator)
        check_clip(type(self).__name__, clip)
        self.clip = clip


class RandomBrightness(_Clipped):
    """Module of :func:`brightness` with an amount of its own for each image.

    It is uniform from -amount to amount, or from low to high, in the scale of the images.

    >>> images = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    >>> bool(RandomBrightness(0.2, clip=(0.0, 1.0))(images).max() <= 1)
    True
    """

    def __init__(self, amount: Range, *, clip: Clip = None, p: float = 1.0, generator: Generator = None) -> None:
        super().__init__(clip, p, generator)
        self.amount = check_range("RandomBrightness", "amount", amount)

    def is_identity(self) -> bool:
        return super().is_identity() or not any(self.amount)

    def transform(self, images: Tensor, generator: Generator) -> Tensor:
        return brightness(images, _draws.uniform(images, self.amount, generator), clip=self.clip)

    def extra_repr(self) -> str:
        return f"amount={self.amount}, clip={self.clip}, p={self.p}"


class RandomContrast(_Clipped):
    """Module of :func:`contrast` with a factor of its own for each image.

    It is uniform from 1 - factor to 1 + factor, or from low to high, and not negative.

    >>> images = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    >>> bool(torch.allclose(RandomContrast(0.5)(images).mean(), images.mean()))
    True
    """

    def __init__(self, factor: Range, *, clip: Clip = None, p: float = 1.0, generator: Generator = None) -> None:
        super().__init__(clip, p, generator)
        self.factor = check_range("RandomContrast", "factor", factor, centre=1.0, low=0.0)

    def is_identity(self) -> bool:
        return super().is_identity() or self.factor == (1.0, 1.0)

    def transform(self, images: Tensor, generator: Generator) -> Tensor:
        return contrast(images, _draws.uniform(images, self.factor, generator), clip=self.clip)

    def extra_repr(self) -> str:
        return f"factor={self.factor}, clip={self.clip}, p={self.p}"


class RandomNoise(_Clipped):
    """Module of :func:`noise` with one standard deviation, or one of its own for each image.

    It is std, or uniform from low to high, in the scale of the images.

    >>> noisy = RandomNoise(0.1, generator=torch.Generator().manual_seed(0))(torch.zeros(4, 1, 64, 64))
    >>> round(noisy.std().item(), 2)
    0.1
    """

    def __init__(self, std: Range, *, clip: Clip = None, p: float = 1.0, generator: Generator = None) -> None:
        super().__init__(clip, p, generator)
        self.std = check_range("RandomNoise", "std", _pair(std), low=0.0)

    def is_identity(self) -> bool:
        return super().is_identity() or not any(self.std)

    def transform(self, images: Tensor, generator: Generator) -> Tensor:
        low, high = self.std
        std = low if low == high else _draws.uniform(images, self.std, generator)
        return noise(images, std, clip=self.clip, generator=generator)

    def extra_repr(self) -> str:
        return f"std={self.std}, clip={self.clip}, p={self.p}"


class RandomErasing(Augmentation):
    """Overwrite a rectangle of each image, at a place of its own (cutout, random erasing).

    Formula: with `size`, the centre is uniform over the pixels, and a rectangle at the edge is cut off by
    it; width and height are `size`, or whole numbers drawn uniformly and independently from low to high.
    With `area`, the share of the image and the logarithm of height / width are uniform, and the whole
    rectangle lies in the image. See `erase`.

    Args:
        size: a whole number of pixels for a square, or (low, high), 0 or more; or None, with `area`.
        area: a share of the image in [0, 1], or (low, high), in place of `size`.
        ratio: height / width with `area`, a positive number or (low, high).
        value: what is written there: one number, one for each channel, or "noise", standard normal for every
            value; 0 is the mean of standardized images.

    Raises ConvcraftError unless exactly one of size and area is given, or when one of them, ratio or value is
    not as above, p is not in [0, 1], and in the call as `erase` does. Source: DeVries and Taylor (2017),
    Improved Regularization of Convolutional Neural Networks with Cutout; Zhong, Zheng, Kang, Li and Yang
    (2020), Random Erasing Data Augmentation. Chapter: Data augmentation.

    >>> erased = RandomErasing(8)(torch.ones(16, 3, 32, 32))
    >>> bool(((erased == 0).sum((1, 2, 3)) <= 3 * 64).all())
    True
    """

    def __init__(
        self,
        size: int | tuple[int, int] | None = None,
        *,
        area: Range | None = None,
        ratio: Range = (0.3, 1 / 0.3),
        value: Levels | Literal["noise"] = 0.0,
        p: float = 1.0,
        generator: Generator = None,
    ) -> None:
        super().__init__(p, generator)
        if (size is None) == (area is None):
            raise ConvcraftError(
                f"RandomErasing: exactly one of size and area must be given, got size={size!r} and "
                f"area={area!r}; use size=8 for a square, area=(0.02, 0.33) for shares of the image"
            )
        pair: Any = _pair(size)
        if area is None and (len(pair) != 2 or not all(type(n) is int for n in pair) or not 0 <= pair[0] <= pair[1]):
            raise ConvcraftError(
                "RandomErasing: size must be a whole number of pixels, 0 or more, or a pair (low, high) of "
                f"them, got {size!r}"
            )
        check_erasing("RandomErasing", value)
        self.size: tuple[int, int] | None = None if size is None else (pair[0], pair[1])
        self.area = None if area is None else check_range("RandomErasing", "area", _pair(area), low=0, high=1)
        self.ratio = check_range("RandomErasing", "ratio", _pair(ratio), low=1e-3)
        self.value = value

    def is_identity(self) -> bool:
        return super().is_identity() or not any(self.size or self.area or ())

    def transform(self, images: Tensor, generator: Generator) -> Tensor:
        height, width = images.shape[2:]
        if self.area is not None:
            share = _draws.uniform(images, self.area, generator)
            low, high = map(math.log, self.ratio)
            ratio = torch.exp(_draws.uniform(images, (low, high), generator))
            wide = torch.sqrt(share * (height * width) / ratio).round().clamp(max=width)
            tall = torch.sqrt(share * (height * width) * ratio).round().clamp(max=height)
            left = torch.floor(_draws.unit(images, generator) * (width - wide + 1)).clamp(max=width - wide)
            top = torch.floor(_draws.unit(images, generator) * (height - tall + 1)).clamp(max=height - tall)
            return erase(images, left, top, wide, tall, value=self.value, generator=generator)
        assert self.size is not None
        x = _draws.integers(images, (0, width - 1), generator)
        y = _draws.integers(images, (0, height - 1), generator)
        low_size, high_size = self.size
        if low_size == high_size and self.value != "noise":
            return overwrite(images, x - low_size // 2, y - low_size // 2, low_size, self.value)
        wide, tall = (_draws.integers(images, self.size, generator) for _ in range(2))
        left, top = x - wide // 2, y - tall // 2
        return erase(images, left, top, wide, tall, value=self.value, generator=generator)

    def extra_repr(self) -> str:
        form = f"size={self.size}" if self.area is None else f"area={self.area}, ratio={self.ratio}"
        return f"{form}, value={self.value}, p={self.p}"


def _pair(value: object) -> object:
    return value if isinstance(value, tuple | list) else (value, value)
