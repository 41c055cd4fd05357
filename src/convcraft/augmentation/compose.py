"""Several augmentations, one after the other; neighbours that move pixels share one resampling."""

import torch  # noqa: F401  (the examples use it)
from torch import nn

from .._checks import Generator, check_generator
from ._base import Augmentation, OnSamples
from ._samples import Sample
from .random_geometry import Moves, Spatial, move


class Compose(OnSamples, nn.Sequential):
    r"""Apply modules in order, with neighbouring flips, shifts, rotations … merged into one resampling.

    Formula: for neighbours with maps :math:`M_1, M_2` (and equal padding and fill) the images are read once
    at :math:`(M_2 M_1)^{-1} p`. So they are interpolated once instead of twice, and what the first would
    push out of the frame the second can bring back. Neighbours that only move whole pixels stay one exact
    gather. The draws are those of the modules one by one, in the same order.

    It takes augmentations and any other modules, or an ordered dict, as nn.Sequential does. A generator given to the
    call goes to every augmentation. Masks and boxes go through as in `Augmentation`. Modules in eval mode do nothing.

    Raises ConvcraftError when images are not (N, C, H, W) of a floating-point dtype, or the generator is on
    another device. Chapter: Data augmentation.

    >>> from convcraft.augmentation import RandomErasing, RandomHorizontalFlip, RandomShift
    >>> augment = Compose(RandomHorizontalFlip(), RandomShift(4, padding="reflection"), RandomErasing(8))
    >>> augment(torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))).shape
    torch.Size([8, 3, 32, 32])
    """

    def act(self, sample: Sample, generator: Generator) -> Sample:
        run: list[tuple[Spatial, Moves]] = []
        for module in self:
            if isinstance(module, Spatial):
                if not module.acts(sample.images):
                    continue
                # flips bring nothing in and compute nothing: they read pixels as any run before them does
                how = module.padding, module.fill, module.interpolation
                others = [other for other, _ in run if not (other.neutral or module.neutral)]
                if any((other.padding, other.fill, other.interpolation) != how for other in others):
                    sample, run = _apply(sample, run), []
                own = module.generator if generator is None else generator
                check_generator(type(module).__name__, own, sample.images, "images")
                run.append((module, module.draw(sample.images, own)))
                continue
            sample, run = _apply(sample, run), []
            if isinstance(module, Compose):
                sample = module.act(sample, generator)
            else:
                images = sample.images
                images = module(images, generator) if isinstance(module, Augmentation) else module(images)
                sample = sample._replace(images=images)
        return _apply(sample, run)


def _apply(sample: Sample, run: list[tuple[Spatial, Moves]]) -> Sample:
    """All maps of a run of neighbours in one resampling."""
    if all(module.neutral for module, _ in run):  # flips alone (or nothing) are cheaper one by one
        for module, moves in run:
            sample = move(module, sample, moves, True)
        return sample
    owner, moves = run[0]
    for module, further in run[1:]:
        owner = module if owner.neutral else owner
        moves = moves.then(further)
    if sample.boxes is not None:  # a box is cut off at the edge once, and a shear is refused by its own name
        owner = next((module for module, _ in run if module.slants), owner)
    return move(owner, sample, moves, all(module.exact for module, _ in run))
