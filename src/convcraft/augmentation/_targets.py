"""Targets that can be averaged, and which image is mixed with which."""

from typing import Any

import torch
from torch import Tensor

from .._checks import Generator, check_device
from ..errors import ConvcraftError
from ._checks import holds, precision


def targets_of(function: str, images: Tensor, labels: Any, classes: int | None, masks: bool) -> Tensor:
    """Targets of a floating-point dtype as they are, masks where they are taken, and a 1 at each label."""
    count = images.size(0)
    if not isinstance(labels, Tensor) or labels.shape[:1] != (count,):
        raise ConvcraftError(
            f"{function}: labels must be integers ({count},) or targets ({count}, ...), got "
            f"{tuple(labels.shape) if isinstance(labels, Tensor) else type(labels).__name__}; pass the tensor that "
            "came with these images"
        )
    check_device(function, "labels", labels.device, images, "images")
    if masks and labels.dim() > 2:
        if labels.dim() > 4 or labels.shape[-2:] != images.shape[-2:]:
            raise ConvcraftError(
                f"{function}: masks must have shape (N, H, W) or (N, K, H, W) with the images' height and "
                f"width {tuple(images.shape[-2:])}, got {tuple(labels.shape)}"
            )
        return labels
    if labels.is_floating_point():
        if labels.dim() == 1 and classes is not None:
            raise ConvcraftError(
                f"{function}: labels ({count},) must be integers with classes={classes!r}, got "
                f"{labels.dtype}; use labels.long(), or leave classes out for targets of a regression"
            )
        return labels.to(torch.promote_types(labels.dtype, torch.float32))
    if labels.dim() > 1:
        raise ConvcraftError(
            f"{function}: targets {tuple(labels.shape)} must have a floating-point dtype, got "
            f"{labels.dtype}; use labels.float(), and for masks cutmix, or one channel for each class"
        )
    if labels.is_complex() or labels.dtype == torch.bool:
        raise ConvcraftError(f"{function}: labels ({count},) must be integers, got {labels.dtype}; use long()")
    if type(classes) is not int or classes < 1:
        raise ConvcraftError(
            f"{function}: classes must be the number of classes, got {classes!r}; "
            "integer labels become vectors of that length, use for example classes=10"
        )
    if not holds((labels >= 0) & (labels < classes)):
        low, high = map(int, labels.aminmax())
        raise ConvcraftError(
            f"{function}: labels must be from 0 to {classes - 1}, got {low} to {high}; "
            "number the labels from 0, and pass as many classes as there are"
        )
    return (labels[:, None] == torch.arange(classes, device=labels.device)).to(precision(images))


def mean_of(targets: Tensor, other: Tensor, share: Tensor) -> Tensor:
    """The mean of two targets, a share (N or 1, ...) of the other."""
    weight = share.flatten().to(targets.dtype)
    return torch.lerp(targets, other, weight.view(-1, *[1] * (targets.dim() - 1)))


def partners(function: str, images: Tensor, partner: Any, generator: Generator) -> Tensor:
    """(N,): the other image that each image is mixed with."""
    count = images.size(0)
    if partner is None:
        return torch.randperm(count, generator=generator, device=images.device)
    known = isinstance(partner, Tensor) and partner.shape == (count,) and partner.dtype == torch.int64
    if not known or not holds((partner >= 0) & (partner < count)):
        raise ConvcraftError(f"{function}: partner must be int64 indices ({count},), got {partner!r}")
    check_device(function, "partner", partner.device, images, "images")
    return partner
