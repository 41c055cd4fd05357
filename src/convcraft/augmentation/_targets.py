"""Targets as distributions over the classes, and who is mixed with whom."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .._checks import check_device
from ..errors import ConvcraftError
from . import _draws
from ._checks import holds, precision


def soft_targets(function: str, images: Tensor, labels: Any, classes: int | None) -> Tensor:
    """(N, K): a 1 at the label, or the targets as they are given."""
    count = images.size(0)
    if not isinstance(labels, Tensor) or labels.shape[:1] != (count,) or labels.dim() > 2:
        raise ConvcraftError(
            f"{function}: labels must be integers ({count},) or targets ({count}, K), got "
            f"{tuple(labels.shape) if isinstance(labels, Tensor) else type(labels).__name__}"
        )
    check_device(function, "labels", labels.device, images, "images")
    if labels.dim() == 2:
        if not labels.is_floating_point():
            raise ConvcraftError(
                f"{function}: targets (N, K) must have a floating-point dtype, got {labels.dtype}; "
                "use labels.float()"
            )
        return labels.to(torch.promote_types(labels.dtype, torch.float32))
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise ConvcraftError(
            f"{function}: labels ({count},) must be integers, got {labels.dtype}; use labels.long()"
        )
    if type(classes) is not int or classes < 1:
        raise ConvcraftError(
            f"{function}: classes must be the number of classes for integer labels, got {classes!r}"
        )
    if not holds((labels >= 0) & (labels < classes)):
        raise ConvcraftError(
            f"{function}: labels must be from 0 to {classes - 1}, got {int(labels.min())} to "
            f"{int(labels.max())}"
        )
    return (labels[:, None] == torch.arange(classes, device=labels.device)).to(precision(images))


def partners(function: str, images: Tensor, partner: Any, generator: torch.Generator | None) -> Tensor:
    """(N,): the other image that each image is mixed with."""
    if partner is None:
        return _draws.permutation(images, generator)
    count = images.size(0)
    known = isinstance(partner, Tensor) and partner.shape == (count,) and partner.dtype == torch.int64
    if not known or not holds((partner >= 0) & (partner < count)):
        raise ConvcraftError(
            f"{function}: partner must be int64 indices ({count},) into the batch, got {partner!r}"
        )
    check_device(function, "partner", partner.device, images, "images")
    return partner
