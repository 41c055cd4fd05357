"""Moving the pixels of a batch: functions of given parameters, each one number for all images or one for each."""

from typing import Any

import torch
from torch import Tensor

from .._checks import check_device
from ..errors import ConvcraftError
from . import _matrices
from ._checks import Levels, Number, check_each, check_images, check_sampling, holds, per_image, precision
from ._matrices import Matrix
from ._sampling import flip_where, resample


def horizontal_flip(images: Tensor, where: Tensor | bool = True) -> Tensor:
    r"""Mirror images left to right.

    Formula: :math:`y_{nchw} = x_{n,c,h,W-1-w}` for the images in `where` (True: all; or a bool tensor (N,)).
    Exact: values are moved, not computed.

    Raises ConvcraftError when images are not such a tensor, or where is neither a bool nor (N,) of bools.
    Source: Krizhevsky, Sutskever and Hinton (2012), ImageNet Classification with Deep Convolutional Neural
    Networks, section 4.1. Chapter: Data augmentation.

    >>> horizontal_flip(torch.tensor([[[[1.0, 2.0, 3.0]]]])).flatten().tolist()
    [3.0, 2.0, 1.0]
    """
    return _flip("horizontal_flip", images, where, -1)


def vertical_flip(images: Tensor, where: Tensor | bool = True) -> Tensor:
    r"""Mirror images top to bottom.

    Formula: :math:`y_{nchw} = x_{n,c,H-1-h,w}`, exact; arguments and errors are those of
    :func:`horizontal_flip`. Source: Shorten and Khoshgoftaar (2019), A Survey on Image Data Augmentation for
    Deep Learning. Chapter: Data augmentation.

    >>> vertical_flip(torch.tensor([[[[1.0], [2.0]]]]), torch.tensor([False])).flatten().tolist()
    [1.0, 2.0]
    """
    return _flip("vertical_flip", images, where, -2)


def _flip(function: str, images: Tensor, where: Tensor | bool, dim: int) -> Tensor:
    check_images(function, images, True)
    if isinstance(where, bool):
        return images.flip(dim) if where else images
    if not isinstance(where, Tensor) or where.dtype != torch.bool or where.shape != images.shape[:1]:
        raise ConvcraftError(
            f"{function}: where must be a bool, or a bool tensor with one for each of the {images.size(0)} "
            f"images, got {_describe(where)}"
        )
    check_device(function, "where", where.device, images, "images")
    return flip_where(images, where, dim)


def shift(
    images: Tensor,
    x: Number = 0,
    y: Number = 0,
    *,
    padding: str = "zeros",
    fill: Levels = 0.0,
    interpolation: str = "bilinear",
) -> Tensor:
    r"""Move images by x pixels to the right and y pixels down.

    Formula: :math:`y_{nchw} = x_{n,c,h-y,w-x}`. Whole numbers (ints, integer tensors, floats without a
    fraction) move pixels in one gather, exactly; fractions are interpolated.

    Args:
        x, y: a number, or a tensor (N,).
        padding: what comes in from outside: "zeros" (or `fill`), "border" (the nearest pixel) or "reflection"
            (mirrored at the edge of the image, its outermost pixel repeated).
        fill: value instead of zero, one number or one for each channel: black in standardized images is
            (0 - mean) / std.
        interpolation: "bilinear", or "nearest", which moves values and computes none: for masks, also of integers.

    Raises ConvcraftError when images are not such a tensor, x or y is neither a finite number nor one for each image,
    the padding is unknown, or fill comes with a padding other than "zeros". Source: Simard, Steinkraus and Platt
    (2003), Best Practices for Convolutional Neural Networks Applied to Visual Document Analysis.
    Chapter: Data augmentation.

    >>> shift(torch.tensor([[[[1.0, 2.0, 3.0]]]]), x=1).flatten().tolist()
    [0.0, 1.0, 2.0]
    """
    check_sampling("shift", padding, fill, interpolation)
    nearest = interpolation == "nearest" or all(_is_whole(value) for value in (x, y))
    check_images("shift", images, nearest)
    matrix = _matrices.shifting(per_image("shift", "x", x, images), per_image("shift", "y", y, images))
    return _move("shift", images, matrix, padding, fill, nearest=nearest)


def rotate(
    images: Tensor, degrees: Number, *, padding: str = "zeros", fill: Levels = 0.0, interpolation: str = "bilinear"
) -> Tensor:
    r"""Turn images about their centre, counterclockwise.

    Formula: the output at position p (pixels from the centre) is the input at :math:`R(-\theta)\, p`,
    interpolated. The angle is a number or a tensor (N,); a multiple of 90 (180 where H is not W) is exact.

    Raises ConvcraftError as `shift` does. Source: Shorten and Khoshgoftaar (2019), A Survey on Image Data
    Augmentation for Deep Learning. Chapter: Data augmentation.

    >>> rotate(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), 90)
    tensor([[[[2., 4.],
              [1., 3.]]]])
    """
    check_sampling("rotate", padding, fill, interpolation)
    nearest = interpolation == "nearest"
    check_images("rotate", images, nearest)
    matrix = _matrices.rotation(per_image("rotate", "degrees", degrees, images))
    step = 90 if images.size(-1) == images.size(-2) else 180
    exact = not isinstance(degrees, Tensor) and degrees % step == 0
    return _move("rotate", images, matrix, padding, fill, nearest=nearest or exact)


def scale(
    images: Tensor,
    x: Number,
    y: Number | None = None,
    *,
    padding: str = "zeros",
    fill: Levels = 0.0,
    interpolation: str = "bilinear",
) -> Tensor:
    r"""Enlarge images about their centre (factor above 1) or make them smaller (below 1), in the same frame.

    Formula: the output at position p (pixels from the centre) is the input at :math:`(p_x / x, p_y / y)`,
    interpolated. No filter against aliasing: meant for factors near 1.

    The factors along width and height are positive, each a number or a tensor (N,); y is x when left out.
    Raises ConvcraftError as `shift` does, and when a factor is not positive. Source: Shorten and Khoshgoftaar
    (2019), A Survey on Image Data Augmentation for Deep Learning. Chapter: Data augmentation.

    >>> scale(torch.tensor([[[[1.0, 2.0, 3.0, 4.0]]]]), 2.0, 1.0).flatten().tolist()
    [1.75, 2.25, 2.75, 3.25]
    """
    check_sampling("scale", padding, fill, interpolation)
    nearest = interpolation == "nearest"
    check_images("scale", images, nearest)
    given = {"x": x, "y": x if y is None else y}
    factors = [per_image("scale", name, value, images) for name, value in given.items()]
    for name, factor in zip("xy", factors, strict=True):
        check_each("scale", name, factor, factor > 0, "positive (1 keeps the size)")
    return _move("scale", images, _matrices.scaling(*factors), padding, fill, nearest)


def shear(
    images: Tensor,
    x: Number = 0.0,
    y: Number = 0.0,
    *,
    padding: str = "zeros",
    fill: Levels = 0.0,
    interpolation: str = "bilinear",
) -> Tensor:
    r"""Slant images: rows slide along x by x degrees, then columns along y by y degrees.

    Formula: a pixel at position p (pixels from the centre, y downwards) goes to
    :math:`p_x' = p_x + \tan(x) p_y`, then :math:`p_y' = p_y + \tan(y) p_x'`; interpolated.

    Each angle is a number or a tensor (N,). Raises ConvcraftError as `shift` does, and when one is not
    between -90 and 90. Source: Shorten and Khoshgoftaar (2019), A Survey on Image Data Augmentation for Deep
    Learning. Chapter: Data augmentation.

    >>> shear(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), x=45.0, padding="border")
    tensor([[[[1.5000, 2.0000],
              [3.0000, 3.5000]]]])
    """
    check_sampling("shear", padding, fill, interpolation)
    nearest = interpolation == "nearest"
    check_images("shear", images, nearest)
    angles = [per_image("shear", name, value, images) for name, value in (("x", x), ("y", y))]
    for name, angle in zip("xy", angles, strict=True):
        check_each("shear", name, angle, (angle > -90) & (angle < 90), "between -90 and 90 degrees")
    return _move("shear", images, _matrices.shearing(*angles), padding, fill, nearest)


def affine(
    images: Tensor, matrix: Tensor, *, padding: str = "zeros", fill: Levels = 0.0, interpolation: str = "bilinear"
) -> Tensor:
    r"""Move images by any affine map, in one `grid_sample` for the batch.

    Formula: a pixel at position :math:`(p_x, p_y)`, in pixels from the centre with y downwards, goes to
    :math:`M (p_x, p_y, 1)^T`; interpolated. M is (2, 3), or (N, 2, 3) with one map for each image.

    Raises ConvcraftError as `shift` does, and when a matrix has no inverse. Source: Jaderberg, Simonyan,
    Zisserman and Kavukcuoglu (2015), Spatial Transformer Networks, section 3.2. Chapter: Data augmentation.

    >>> half_turn = torch.tensor([[-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    >>> affine(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), half_turn).flatten().tolist()
    [4.0, 3.0, 2.0, 1.0]
    """
    check_sampling("affine", padding, fill, interpolation)
    nearest = interpolation == "nearest"
    check_images("affine", images, nearest)
    known = isinstance(matrix, Tensor) and matrix.shape in ((2, 3), (images.size(0), 2, 3))
    if not known or not matrix.is_floating_point():
        raise ConvcraftError(
            f"affine: matrix must be a floating-point tensor (2, 3) or ({images.size(0)}, 2, 3), "
            f"got {_describe(matrix)}"
        )
    check_device("affine", "matrix", matrix.device, images, "images")
    parts = matrix.to(precision(images)).flatten(-2).unbind(-1)
    entries = Matrix(*(part.expand(images.size(0)) for part in parts))
    size = entries.determinant()
    assert isinstance(size, Tensor)
    if not holds(size.isfinite() & (size != 0)):
        raise ConvcraftError(f"affine: matrix must have an inverse, got determinant {size.detach()}")
    return _move("affine", images, entries, padding, fill, nearest)


def _move(function: str, images: Tensor, matrix: Matrix, padding: str, fill: Levels, nearest: bool = False) -> Tensor:
    """Resample; images that an (N,) parameter leaves where they are stay as they are, to the last bit."""
    moved = resample(function, images, matrix, nearest=nearest, padding=padding, fill=fill)
    differs = [entry != still for entry, still in zip(matrix, _matrices.IDENTITY, strict=True)]
    varying = [entry for entry in differs if isinstance(entry, Tensor)]
    if nearest or not varying or any(entry is True for entry in differs):
        return moved
    changed = torch.stack(torch.broadcast_tensors(*varying)).any(0)
    return torch.where(changed.view(-1, 1, 1, 1), moved, images)


def _is_whole(value: Any) -> bool:
    if isinstance(value, Tensor):
        return not value.is_floating_point()
    return isinstance(value, int) or (isinstance(value, float) and value.is_integer())


def _describe(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{value.dtype} of shape {tuple(value.shape)}"
    return repr(value)
