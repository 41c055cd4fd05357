"""A batch of images with the masks and boxes that move along with it."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from .._checks import DISCRETE, check_device, check_number, check_tensor
from ..errors import ConvcraftError
from ._checks import Number, check_images, precision
from ._matrices import Matrix


class Sample(NamedTuple):
    """Images (N, C, H, W), masks (N, H, W) or (N, C, H, W), boxes (N, K, 4), and what fills the masks."""

    images: Tensor
    masks: Tensor | None = None
    boxes: Tensor | None = None
    mask_fill: float = 0.0

    def given(self) -> Any:
        """The images, or a tuple of what was given."""
        rest = [part for part in (self.masks, self.boxes) if part is not None]
        return (self.images, *rest) if rest else self.images


def check_sample(function: str, sample: Sample, exact: bool | None) -> None:
    """Require images, and masks and boxes that fit them."""
    images, masks, boxes, mask_fill = sample
    check_images(function, images, exact)
    count, _, height, width = images.shape
    if masks is not None:
        check_tensor(function, "masks", masks, DISCRETE)
        if masks.dim() not in (3, 4) or (masks.size(0), *masks.shape[-2:]) != (count, height, width):
            raise ConvcraftError(
                f"{function}: masks must have shape ({count}, {height}, {width}) or ({count}, C, {height}, "
                f"{width}) as the images have, got {tuple(masks.shape)}; use masks[None] for one mask"
            )
        check_device(function, "masks", masks.device, images, "images")
        check_number(function, "mask_fill", mask_fill)
    if boxes is not None:
        check_tensor(function, "boxes", boxes)
        if boxes.dim() != 3 or boxes.size(0) != count or boxes.size(2) != 4:
            raise ConvcraftError(
                f"{function}: boxes must have shape ({count}, K, 4), each (x1, y1, x2, y2) in pixels, got "
                f"{tuple(boxes.shape)}; fill up to the largest K with zeros"
            )
        check_device(function, "boxes", boxes.device, images, "images")


def move_boxes(boxes: Tensor, matrix: Matrix, images: Tensor) -> Tensor:
    """The smallest upright boxes around the moved ones, as far as they lie in the image."""
    height, width = images.shape[2:]
    x1, y1, x2, y2 = boxes.to(precision(images)).unbind(-1)  # (N, K) each
    x = torch.stack([x1, x2, x1, x2], -1) - width / 2  # (N, K, 4): the corners, from the centre
    y = torch.stack([y1, y1, y2, y2], -1) - height / 2

    def along(to_x: Number, to_y: Number, shift: Number, size: int) -> tuple[Tensor, Tensor]:
        p, q, r = (e.view(-1, 1, 1) if isinstance(e, Tensor) else e for e in (to_x, to_y, shift))
        moved = (p * x + q * y + r + size / 2).clamp(0, size)
        return moved.amin(-1), moved.amax(-1)

    a, b, c, d, e, f = matrix
    left, right = along(a, b, c, width)
    top, bottom = along(d, e, f, height)
    return torch.stack([left, top, right, bottom], -1).to(boxes.dtype)
