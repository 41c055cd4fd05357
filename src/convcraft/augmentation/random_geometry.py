"""Modules that move every image of a batch by a draw of its own."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from .._checks import Generator, check_number
from ..errors import ConvcraftError
from . import _draws, _matrices
from ._base import Augmentation
from ._checks import Levels, Range, check_range, check_sampling, check_shift, precision
from ._matrices import IDENTITY, Matrix
from ._samples import Sample, move_boxes
from ._sampling import flip_where, resample


class Moves(NamedTuple):
    """What was drawn: the maps, and which images move at all (None: every one)."""

    matrix: Matrix
    selected: Tensor | None

    def then(self, other: Moves) -> Moves:
        """These first, the others after them; an image moves when either moves it."""
        matrix = self.matrix.then(other.matrix)
        if self.selected is None or other.selected is None:
            return Moves(matrix, None)
        return Moves(matrix, self.selected | other.selected)


class Spatial(Augmentation):
    """What the modules that move pixels have in common: a drawn affine map, applied by one resampling.

    Args:
        padding, fill, interpolation: as in `convcraft.augmentation.shift`.
        p: the share of images that it moves.
    """

    #: True when every draw moves pixels onto pixels
    lattice = False
    #: True when nothing comes in from outside, so that padding and fill do not matter
    neutral = False
    #: True when a draw may turn rectangles into parallelograms
    slants = False

    def __init__(
        self, p: float, generator: Generator, padding: str = "zeros", fill: Levels = 0, interpolation: str = "bilinear"
    ) -> None:
        super().__init__(p, generator)
        check_sampling(type(self).__name__, padding, fill, interpolation)
        self.padding, self.fill, self.interpolation = padding, fill, interpolation

    @property
    def exact(self) -> bool:  # type: ignore[override]
        return self.lattice or self.interpolation == "nearest"

    def draw_matrix(self, images: Tensor, generator: Generator) -> Matrix:
        """A map for each image; a subclass defines it."""
        raise ConvcraftError(f"{type(self).__name__}: the class must define draw_matrix(images, generator)")

    def draw(self, images: Tensor, generator: Generator) -> Moves:
        """The maps, the identity for images that are not selected."""
        selected = None if self.p == 1 else _draws.chance(images, self.p, generator)
        matrix = self.draw_matrix(images, generator)
        return Moves(matrix if selected is None else matrix.where(selected), selected)

    def carry(self, planes: Tensor, moves: Moves, nearest: bool, fill: Levels) -> Tensor:
        """Move images or masks (N, C, H, W) as drawn."""
        name, matrix = type(self).__name__, moves.matrix
        return resample(name, planes, matrix, nearest=nearest, padding=self.padding, fill=fill)

    def act(self, sample: Sample, generator: Generator) -> Sample:
        return move(self, sample, self.draw(sample.images, generator), self.exact)


def move(owner: Spatial, sample: Sample, moves: Moves, exact: bool) -> Sample:
    """Apply what was drawn; images that were not selected stay as they are, to the last bit."""
    name = type(owner).__name__
    images, masks, boxes, mask_fill = sample
    out = owner.carry(images, moves, exact, owner.fill)
    if moves.selected is not None and not exact:
        out = torch.where(moves.selected.view(-1, 1, 1, 1), out, images)
    if masks is not None:
        planes = masks if masks.dim() == 4 else masks.unsqueeze(1)
        outside = mask_fill if owner.padding == "zeros" else 0.0
        masks = owner.carry(planes, moves, True, outside).view(masks.shape)
    if boxes is not None:
        if owner.slants:
            raise ConvcraftError(f"{name}: boxes cannot be sheared, got shear; leave shear out")
        moved = move_boxes(boxes, moves.matrix, images)
        boxes = moved if moves.selected is None else torch.where(moves.selected.view(-1, 1, 1), moved, boxes)
    return Sample(out, masks, boxes, mask_fill)


class Flip(Spatial):
    """What the two flips have in common: the mirrored images are chosen among, and nothing is resampled."""

    lattice = True
    neutral = True
    dim: int

    def __init__(self, p: float = 0.5, *, generator: Generator = None) -> None:
        super().__init__(p, generator)

    def draw_matrix(self, images: Tensor, generator: Generator) -> Matrix:
        return _matrices.flipping(self.dim == -1, self.dim == -2, precision(images))

    def carry(self, planes: Tensor, moves: Moves, nearest: bool, fill: Levels) -> Tensor:
        return flip_where(planes, moves.selected, self.dim)


class RandomHorizontalFlip(Flip):
    """Module of :func:`horizontal_flip`, for each image with probability p.

    >>> RandomHorizontalFlip(p=1.0)(torch.tensor([[[[1.0, 2.0, 3.0]]]])).flatten().tolist()
    [3.0, 2.0, 1.0]
    """

    dim = -1


class RandomVerticalFlip(Flip):
    """Module of :func:`vertical_flip`, for each image with probability p.

    >>> RandomVerticalFlip(p=1.0)(torch.tensor([[[[1.0], [2.0]]]])).flatten().tolist()
    [2.0, 1.0]
    """

    dim = -2


class RandomShift(Spatial):
    """Module of :func:`shift` with a draw of its own for each image, along x and y independently.

    Each is uniform on the whole numbers from -pixels to pixels (one number, or (x, y)), which are moved
    exactly, or on the interval with subpixel=True. Raises ConvcraftError for a fraction without subpixel.

    >>> images = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    >>> RandomShift(4, padding="reflection")(images).shape
    torch.Size([8, 3, 32, 32])
    """

    def __init__(
        self,
        pixels: Range,
        *,
        subpixel: bool = False,
        padding: str = "zeros",
        fill: Levels = 0.0,
        interpolation: str = "bilinear",
        p: float = 1.0,
        generator: Generator = None,
    ) -> None:
        super().__init__(p, generator, padding, fill, interpolation)
        self.pixels = check_shift("RandomShift", "pixels", pixels)
        if not subpixel and any(value != int(value) for value in self.pixels):
            raise ConvcraftError(
                f"RandomShift: pixels must be whole numbers, got {pixels!r}; use subpixel=True for fractions"
            )
        self.subpixel = subpixel
        self.lattice = not subpixel

    def is_identity(self) -> bool:
        return super().is_identity() or not any(self.pixels)

    def draw_matrix(self, images: Tensor, generator: Generator) -> Matrix:
        def one(most: float) -> Tensor:
            if self.subpixel:
                return _draws.uniform(images, (-most, most), generator)
            return _draws.integers(images, (-int(most), int(most)), generator).to(precision(images))

        return _matrices.shifting(*map(one, self.pixels))

    def extra_repr(self) -> str:
        return f"pixels={self.pixels}, subpixel={self.subpixel}, padding={self.padding!r}, p={self.p}"


class RandomAffine(Spatial):
    r"""Flip, scale, shear, rotate and shift each image by draws of its own, in one `grid_sample` a batch.

    Formula: :math:`M = T R H S F`, with the flips F first and the shift T last, each about the centre and
    each uniform on its range; the images are interpolated once.

    Args:
        degrees: rotation from -degrees to degrees, or (low, high).
        shift: largest shift in pixels, fractions included, one number or (x, y).
        scale: (low, high) of the factor, or s for 1 - s to 1 + s.
        shear: slant along x in degrees, from -shear to shear, or (low, high).
        horizontal_flip, vertical_flip: probabilities.
        p: the share of images that are moved.

    Raises ConvcraftError when a range is empty, negative where it cannot be, a probability not in [0, 1], the padding
    unknown, and in the call when images are not (N, C, H, W) of a floating-point dtype. Source: Simard, Steinkraus and
    Platt (2003), Best Practices for Convolutional Neural Networks Applied to Visual Document Analysis; Jaderberg,
    Simonyan, Zisserman and Kavukcuoglu (2015), Spatial Transformer Networks. Chapter: Data augmentation.

    >>> augment = RandomAffine(degrees=15, shift=2, scale=(0.9, 1.1), horizontal_flip=0.5)
    >>> augment(torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))).shape
    torch.Size([8, 3, 32, 32])
    """

    def __init__(
        self,
        degrees: Range = 0.0,
        *,
        shift: Range = 0.0,
        scale: Range = (1.0, 1.0),
        shear: Range = 0.0,
        horizontal_flip: float = 0.0,
        vertical_flip: float = 0.0,
        padding: str = "zeros",
        fill: Levels = 0.0,
        interpolation: str = "bilinear",
        p: float = 1.0,
        generator: Generator = None,
    ) -> None:
        super().__init__(p, generator, padding, fill, interpolation)
        name = type(self).__name__
        self.degrees = check_range(name, "degrees", degrees)
        self.shift = check_shift(name, "shift", shift)
        self.scale = check_range(name, "scale", scale, centre=1.0, low=1e-3)
        self.shear = check_range(name, "shear", shear, low=-89.0, high=89.0)
        self.slants = any(self.shear)
        self.flips = tuple(
            check_number(name, flip, value, 0.0, 1.0)
            for flip, value in (("horizontal_flip", horizontal_flip), ("vertical_flip", vertical_flip))
        )

    def is_identity(self) -> bool:
        still = not any((*self.degrees, *self.shift, *self.shear, *self.flips)) and self.scale == (1.0, 1.0)
        return super().is_identity() or still

    def draw_matrix(self, images: Tensor, generator: Generator) -> Matrix:
        """Parts whose range is one value are not drawn."""
        matrix = IDENTITY
        if any(self.flips):
            flips = [_draws.chance(images, p, generator) if p else False for p in self.flips]
            matrix = matrix.then(_matrices.flipping(flips[0], flips[1], precision(images)))
        if self.scale != (1.0, 1.0):
            factor = _draws.uniform(images, self.scale, generator)
            matrix = matrix.then(_matrices.scaling(factor, factor))
        if any(self.shear):
            matrix = matrix.then(_matrices.shearing(_draws.uniform(images, self.shear, generator), 0.0))
        if any(self.degrees):
            matrix = matrix.then(_matrices.rotation(_draws.uniform(images, self.degrees, generator)))
        if any(self.shift):
            x, y = (_draws.uniform(images, (-most, most), generator) for most in self.shift)
            matrix = matrix.then(_matrices.shifting(x, y))
        return matrix

    def extra_repr(self) -> str:
        return (
            f"degrees={self.degrees}, shift={self.shift}, scale={self.scale}, shear={self.shear}, "
            f"flips={self.flips}, padding={self.padding!r}, p={self.p}"
        )


class RandomRotation(RandomAffine):
    """Module of :func:`rotate` with an angle of its own for each image; arguments as in `RandomAffine`."""

    def __init__(self, degrees: Range, **options: Any) -> None:
        super().__init__(degrees, **options)


class RandomScale(RandomAffine):
    """Module of :func:`scale` with a factor of its own for each image, from `scale` as in `RandomAffine`."""

    def __init__(self, scale: Range, **options: Any) -> None:
        super().__init__(scale=scale, **options)


class RandomShear(RandomAffine):
    """Module of :func:`shear` along x with an angle of its own for each image, `shear` of `RandomAffine`."""

    def __init__(self, degrees: Range, **options: Any) -> None:
        super().__init__(shear=degrees, **options)
