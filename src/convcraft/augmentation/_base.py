"""What all random augmentations have in common: when they act, on which images, and from which draws."""

from typing import Any

import torch
from torch import Tensor, nn

from .._checks import Generator, check_generator, check_number
from ..errors import ConvcraftError
from . import _draws
from ._samples import Sample, check_sample


class OnSamples(nn.Module):
    """A module that is called with images, and with the masks and boxes that move along with them."""

    generator: Generator = None
    #: whether values are only moved, which integers allow; None where no setting makes it so
    exact: bool | None = None

    def acts(self, images: Tensor) -> bool:
        return True

    def act(self, sample: Sample, generator: Generator) -> Sample:
        """Draw and apply to a batch that was checked."""
        return sample

    def forward(
        self,
        images: Tensor,
        generator: Generator = None,
        *,
        masks: Tensor | None = None,
        boxes: Tensor | None = None,
        mask_fill: float = 0.0,
    ) -> Any:
        name, sample = type(self).__name__, Sample(images, masks, boxes, mask_fill)
        generator = self.generator if generator is None else generator
        check_sample(name, sample, self.exact)
        check_generator(name, generator, images, "images")
        return (self.act(sample, generator) if self.acts(images) else sample).given()


class Augmentation(OnSamples):
    """Base of the random augmentations: acts in training mode, on a share p of the images.

    Images are (N, C, H, W) of any floating-point dtype, on any device and in any scale ([0, 1] or standardized);
    shape, dtype, device and memory format are kept. Every image has draws of its own, made on the device of the
    images. In eval mode, for p = 0, and for settings that change nothing, the same tensor is given back.

    A call may pass `masks` (N, H, W) or (N, C, H, W) of any dtype and `boxes` (N, K, 4), each (x1, y1, x2,
    y2) in pixels from the upper left corner; the result is then a tuple. They move with the pixels, in the
    same draw: masks by their nearest value, with `mask_fill` outside, boxes to the upright boxes around
    them, cut off at the edge. Modules that only change values leave both as they are.

    Formula: the image transformed with probability p, else the image.

    Args:
        p: the share of images that it acts on.
        generator: where the draws come from, on the device of the images; None is torch's own generator, as
            for torch.nn.Dropout. A generator given to the call goes before it. torch.compile takes no
            generator into a graph: with one, torch refuses fullgraph=True, and the draws are made eagerly.

    Raises ConvcraftError when p is not in [0, 1], and in the call when images are not (N, C, H, W) of a
    floating-point dtype, masks or boxes do not fit them, boxes would be sheared, or the generator is on
    another device. Chapter: Data augmentation.

    >>> from convcraft.augmentation import RandomHorizontalFlip
    >>> flip = RandomHorizontalFlip().eval()
    >>> images = torch.zeros(2, 1, 4, 4)
    >>> flip(images) is images
    True
    """

    def __init__(self, p: float = 1.0, generator: Generator = None) -> None:
        super().__init__()
        self.p = check_number(type(self).__name__, "p", p, 0.0, 1.0)
        self.generator = generator

    def is_identity(self) -> bool:
        """Whether the settings change no image; then nothing is drawn."""
        return self.p == 0

    def augment(self, images: Tensor, generator: Generator) -> Tensor:
        """Draw and apply to a share p of the images."""
        selected = None if self.p == 1 else _draws.chance(images, self.p, generator)
        out = self.transform(images, generator)
        return out if selected is None else torch.where(selected.view(-1, 1, 1, 1), out, images)

    def transform(self, images: Tensor, generator: Generator) -> Tensor:
        """Draw and apply to all images; a subclass defines it."""
        raise ConvcraftError(f"{type(self).__name__}: the class must define transform(images, generator)")

    def act(self, sample: Sample, generator: Generator) -> Sample:
        """Draw and apply to a batch; masks and boxes stay where the pixels stay."""
        return sample._replace(images=self.augment(sample.images, generator))

    def acts(self, images: Tensor) -> bool:
        return self.training and images.numel() > 0 and not self.is_identity()

    def extra_repr(self) -> str:
        return f"p={self.p}"
