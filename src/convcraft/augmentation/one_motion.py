"""Modules that draw one kind of motion: rotation, scale or shear, a `RandomAffine` of that alone."""

from typing import Any

from .random_geometry import RandomAffine


class RandomRotation(RandomAffine):
    """Turn each image about its centre by an angle of its own.

    Formula: the angle is uniform from -degrees to degrees, or from low to high; see `rotate`.

    Args:
        degrees: a number, or (low, high); positive is counterclockwise.
        **options: padding, fill, interpolation, p and generator as in `RandomAffine`.

    Raises ConvcraftError as `RandomAffine` does. Source: Simard, Steinkraus and Platt (2003), Best Practices
    for Convolutional Neural Networks Applied to Visual Document Analysis. Chapter: Data augmentation.

    >>> import torch
    >>> images = torch.rand(8, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    >>> RandomRotation(15)(images).shape
    torch.Size([8, 1, 28, 28])
    """

    def __init__(self, degrees: float | tuple[float, float], **options: Any) -> None:
        super().__init__(degrees, **options)


class RandomScale(RandomAffine):
    """Enlarge or shrink each image about its centre by a factor of its own.

    Formula: the factor is uniform from low to high; see `scale`.

    Args:
        scale: (low, high), or s for 1 - s to 1 + s.
        **options: padding, fill, interpolation, p and generator as in `RandomAffine`.

    Raises ConvcraftError as `RandomAffine` does. Source: Shorten and Khoshgoftaar (2019), A Survey on Image
    Data Augmentation for Deep Learning. Chapter: Data augmentation.

    >>> import torch
    >>> images = torch.rand(8, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    >>> RandomScale((0.8, 1.2))(images).shape
    torch.Size([8, 1, 28, 28])
    """

    def __init__(self, scale: float | tuple[float, float], **options: Any) -> None:
        super().__init__(scale=scale, **options)


class RandomShear(RandomAffine):
    """Slant each image along x by an angle of its own.

    Formula: the angle is uniform from -degrees to degrees, or from low to high; see `shear`.

    Args:
        degrees: a number, or (low, high), between -89 and 89.
        **options: padding, fill, interpolation, p and generator as in `RandomAffine`.

    Raises ConvcraftError as `RandomAffine` does. Source: Shorten and Khoshgoftaar (2019), A Survey on Image
    Data Augmentation for Deep Learning. Chapter: Data augmentation.

    >>> import torch
    >>> images = torch.rand(8, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    >>> RandomShear(10)(images).shape
    torch.Size([8, 1, 28, 28])
    """

    def __init__(self, degrees: float | tuple[float, float], **options: Any) -> None:
        super().__init__(shear=degrees, **options)
