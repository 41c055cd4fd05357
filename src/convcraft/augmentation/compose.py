"""Several augmentations, one after the other; neighbours that move pixels share one resampling."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .._checks import check_generator
from ._base import Augmentation
from ._checks import check_images
from .random_geometry import Moves, Spatial, move

__all__ = ["Compose"]


class Compose(nn.Sequential):
    r"""Apply modules in order, with neighbouring flips, shifts, rotations … merged into one resampling.

    Formula: for neighbours with maps :math:`M_1, M_2` (and equal padding and fill) the images are read once
    at :math:`(M_2 M_1)^{-1} p`. So they are interpolated once instead of twice, and what the first would
    push out of the frame the second can bring back. Neighbours that only move whole pixels stay one exact
    gather. The draws are those of the modules one by one, in the same order.

    Args:
        *modules: augmentations and any other modules; also an ordered dict, as nn.Sequential takes.

    A generator given to the call goes to every augmentation. Modules in eval mode do nothing.

    Raises:
        ConvcraftError: when images are not (N, C, H, W) of a floating-point dtype, or the generator is on
            another device.

    Example:
        >>> from convcraft.augmentation import RandomErasing, RandomHorizontalFlip, RandomShift
        >>> augment = Compose(RandomHorizontalFlip(), RandomShift(4, padding="reflection"), RandomErasing(8))
        >>> augment(torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))).shape
        torch.Size([8, 3, 32, 32])

    Chapter 8.
    """

    def forward(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        check_images("Compose", images)
        check_generator("Compose", generator, images, "images")
        run: list[tuple[Spatial, Moves]] = []
        for module in self:
            if isinstance(module, Spatial):
                if not module.acts(images):
                    continue
                if not _alike(module, run):
                    images, run = _apply(images, run), []
                own = module.generator if generator is None else generator
                check_generator(type(module).__name__, own, images, "images")
                run.append((module, module.draw(images, own)))
                continue
            images, run = _apply(images, run), []
            takes_generator = isinstance(module, Augmentation | Compose)
            images = module(images, generator) if takes_generator else module(images)
        return _apply(images, run)


def _alike(module: Spatial, run: list[tuple[Spatial, Moves]]) -> bool:
    """Whether it brings the same in from outside as the run before it; flips bring in nothing."""
    return module.neutral or all(
        other.neutral or (other.padding, other.fill) == (module.padding, module.fill) for other, _ in run
    )


def _apply(images: Tensor, run: list[tuple[Spatial, Moves]]) -> Tensor:
    """All maps of a run of neighbours in one resampling."""
    if not run:
        return images
    owner, moves = run[0]
    for module, further in run[1:]:
        owner = module if owner.neutral else owner
        moves = moves.then(further)
    return move(owner, images, moves, all(module.lattice for module, _ in run))
