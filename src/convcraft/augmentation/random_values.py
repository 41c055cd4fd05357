"""Modules that change the values of every image by a draw of its own."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import ConvcraftError
from . import _draws
from ._base import Augmentation
from ._checks import Levels, check_clip, check_levels, check_range
from .values import Clip, brightness, contrast, erase, noise, overwrite

__all__ = ["RandomBrightness", "RandomContrast", "RandomErasing", "RandomNoise"]

Generator = torch.Generator | None


class RandomBrightness(Augmentation):
    """Add a constant of its own to each image.

    Formula: the amount is uniform from -amount to amount, or from low to high; see `brightness`.

    Args:
        amount: a number, or (low, high), in the scale of the images.
        clip: as in `brightness`.
        p: the share of images that are changed.
        generator: as in `Augmentation`.

    Raises:
        ConvcraftError: when amount is neither, clip not a pair in order, p not in [0, 1], and in the call as
            `brightness` does.

    Example:
        >>> images = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        >>> bool(RandomBrightness(0.2, clip=(0.0, 1.0))(images).max() <= 1)
        True

    Source: Shorten and Khoshgoftaar (2019), A Survey on Image Data Augmentation for Deep Learning. Chapter 8.
    """

    def __init__(
        self,
        amount: float | tuple[float, float],
        *,
        clip: Clip = None,
        p: float = 1.0,
        generator: Generator = None,
    ) -> None:
        super().__init__(p, generator)
        self.amount = check_range("RandomBrightness", "amount", amount)
        check_clip("RandomBrightness", clip)
        self.clip = clip

    def is_identity(self) -> bool:
        return super().is_identity() or not any(self.amount)

    def transform(self, images: Tensor, generator: Generator) -> Tensor:
        return brightness(images, _draws.uniform(images, self.amount, generator), clip=self.clip)

    def extra_repr(self) -> str:
        return f"amount={self.amount}, clip={self.clip}, p={self.p}"


class RandomContrast(Augmentation):
    """Stretch the values of each image about their mean by a factor of its own.

    Formula: the factor is uniform from 1 - factor to 1 + factor, or from low to high; see `contrast`.

    Args:
        factor: a number up to 1, or (low, high) with low 0 or more.
        clip: as in `brightness`.
        p: the share of images that are changed.
        generator: as in `Augmentation`.

    Raises:
        ConvcraftError: when factor is neither, clip not a pair in order, p not in [0, 1], and in the call as
            `contrast` does.

    Example:
        >>> images = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        >>> bool(torch.allclose(RandomContrast(0.5)(images).mean(), images.mean()))
        True

    Source: Shorten and Khoshgoftaar (2019), A Survey on Image Data Augmentation for Deep Learning. Chapter 8.
    """

    def __init__(
        self,
        factor: float | tuple[float, float],
        *,
        clip: Clip = None,
        p: float = 1.0,
        generator: Generator = None,
    ) -> None:
        super().__init__(p, generator)
        self.factor = check_range("RandomContrast", "factor", factor, centre=1.0, low=0.0)
        check_clip("RandomContrast", clip)
        self.clip = clip

    def is_identity(self) -> bool:
        return super().is_identity() or self.factor == (1.0, 1.0)

    def transform(self, images: Tensor, generator: Generator) -> Tensor:
        return contrast(images, _draws.uniform(images, self.factor, generator), clip=self.clip)

    def extra_repr(self) -> str:
        return f"factor={self.factor}, clip={self.clip}, p={self.p}"


class RandomNoise(Augmentation):
    """Add normal noise to each image.

    Formula: the standard deviation is std, or uniform from low to high for each image; see `noise`.

    Args:
        std: a number, or (low, high), 0 or more, in the scale of the images.
        clip: as in `brightness`.
        p: the share of images that are changed.
        generator: as in `Augmentation`.

    Raises:
        ConvcraftError: when std is neither, clip not a pair in order, p not in [0, 1], and in the call as
            `noise` does.

    Example:
        >>> noisy = RandomNoise(0.1, generator=torch.Generator().manual_seed(0))(torch.zeros(4, 1, 64, 64))
        >>> round(noisy.std().item(), 2)
        0.1

    Source: Bishop (1995), Training with Noise is Equivalent to Tikhonov Regularization. Chapter 8.
    """

    def __init__(
        self,
        std: float | tuple[float, float],
        *,
        clip: Clip = None,
        p: float = 1.0,
        generator: Generator = None,
    ) -> None:
        super().__init__(p, generator)
        pair = std if isinstance(std, tuple | list) else (std, std)
        self.std = check_range("RandomNoise", "std", pair, low=0.0)
        check_clip("RandomNoise", clip)
        self.clip = clip

    def is_identity(self) -> bool:
        return super().is_identity() or not any(self.std)

    def transform(self, images: Tensor, generator: Generator) -> Tensor:
        low, high = self.std
        std = low if low == high else _draws.uniform(images, self.std, generator)
        return noise(images, std, clip=self.clip, generator=generator)

    def extra_repr(self) -> str:
        return f"std={self.std}, clip={self.clip}, p={self.p}"


class RandomErasing(Augmentation):
    """Overwrite a rectangle of each image, at a place of its own (cutout).

    Formula: the centre is uniform over the pixels, so that a rectangle at the edge is cut off by it; width
    and height are `size`, or whole numbers drawn uniformly and independently from low to high; see `erase`.

    Args:
        size: a whole number of pixels for a square, or (low, high), 0 or more.
        value: what stands there, one number or one a channel; 0 is the mean of standardized images.
        p: the share of images that are changed.
        generator: as in `Augmentation`.

    Raises:
        ConvcraftError: when size is neither, value neither a number nor one a channel, p not in [0, 1], and
            in the call as `erase` does.

    Example:
        >>> erased = RandomErasing(8)(torch.ones(16, 3, 32, 32))
        >>> bool(((erased == 0).sum((1, 2, 3)) <= 3 * 64).all())
        True

    Source: DeVries and Taylor (2017), Improved Regularization of Convolutional Neural Networks with Cutout;
    Zhong, Zheng, Kang, Li and Yang (2020), Random Erasing Data Augmentation. Chapter 8.
    """

    def __init__(
        self,
        size: int | tuple[int, int],
        *,
        value: Levels = 0.0,
        p: float = 1.0,
        generator: Generator = None,
    ) -> None:
        super().__init__(p, generator)
        pair = size if isinstance(size, tuple | list) else (size, size)
        if len(pair) != 2 or not all(type(n) is int for n in pair) or not 0 <= pair[0] <= pair[1]:
            raise ConvcraftError(
                "RandomErasing: size must be a whole number of pixels, 0 or more, or a pair (low, "
                "high) of them, "
                f"got {size!r}"
            )
        check_levels("RandomErasing", "value", value)
        self.size = (pair[0], pair[1])
        self.value = value

    def is_identity(self) -> bool:
        return super().is_identity() or not any(self.size)

    def transform(self, images: Tensor, generator: Generator) -> Tensor:
        x = _draws.integers(images, (0, images.size(3) - 1), generator)
        y = _draws.integers(images, (0, images.size(2) - 1), generator)
        low, high = self.size
        if low == high:
            return overwrite(images, x - low // 2, y - low // 2, low, self.value)
        width, height = (_draws.integers(images, self.size, generator) for _ in range(2))
        return erase(images, x - width // 2, y - height // 2, width, height, value=self.value)

    def extra_repr(self) -> str:
        return f"size={self.size}, value={self.value}, p={self.p}"
