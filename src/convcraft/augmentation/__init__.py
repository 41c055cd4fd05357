"""Augmentation: a batch of images on its device, a random draw for each image, reproducible by `generator=`.

Functions change images by given parameters (a number, or a tensor with one for each image); modules draw
these parameters in training mode and do nothing in eval mode. Images are (N, C, H, W), floating-point, in
[0, 1] or standardized; dtype, device and memory format are kept. Of modules `p` is the share of the images
that are changed. `clip` is explained with `brightness`, `padding`, `fill` and `interpolation` with `shift`.

>>> import torch
>>> from convcraft import augmentation
>>> images = torch.rand(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))
>>> augment = augmentation.Compose(
...     augmentation.RandomAffine(degrees=10, shift=2, horizontal_flip=0.5),
...     augmentation.RandomErasing(8),
... )
>>> augment(images).shape
torch.Size([16, 3, 32, 32])
"""

from ._base import Augmentation
from .compose import Compose
from .geometry import affine, horizontal_flip, rotate, scale, shear, shift, vertical_flip
from .mixing import CutMix, Mixup, cutmix, mixup
from .random_geometry import (
    RandomAffine,
    RandomHorizontalFlip,
    RandomRotation,
    RandomScale,
    RandomShear,
    RandomShift,
    RandomVerticalFlip,
)
from .random_values import RandomBrightness, RandomContrast, RandomErasing, RandomNoise
from .values import brightness, contrast, erase, noise

__all__ = [
    "Augmentation", "Compose", "CutMix", "Mixup", "RandomAffine", "RandomBrightness", "RandomContrast",
    "RandomErasing", "RandomHorizontalFlip", "RandomNoise", "RandomRotation", "RandomScale", "RandomShear",
    "RandomShift", "RandomVerticalFlip", "affine", "brightness", "contrast", "cutmix", "erase",
    "horizontal_flip", "mixup", "noise", "rotate", "scale", "shear", "shift", "vertical_flip",
]  # fmt: skip
