"""One `grid_sample` for a batch: every image read at the positions that its own affine map tells."""

import torch
import torch.nn.functional as F
from torch import Tensor

from . import _matrices
from ._checks import Levels, Number, is_zero, levels, precision
from ._matrices import Matrix


def positions(matrix: Matrix, images: Tensor) -> Tensor:
    """(N, H, W, 2): where each pixel of the output lies in the input, in grid_sample's coordinates.

    Those run from -1 to 1 over the whole image (align_corners=False), so a position of p pixels from the
    centre is 2 p / W. Computed in float32 at least, one plane for x and one for y, without a matrix product:
    autocast would run one in half precision.
    """
    count, _, height, width = images.shape
    dtype, device = precision(images), images.device
    a, b, c, d, e, f = matrix.inverse().then(_matrices.scaling(2 / width, 2 / height))
    x = torch.arange(-(width - 1) / 2, width / 2, dtype=dtype, device=device)  # (W,)
    y = torch.arange(-(height - 1) / 2, height / 2, dtype=dtype, device=device).view(-1, 1)  # (H, 1)
    shape = (count, height, width)
    if not isinstance(b, Tensor) and not isinstance(d, Tensor) and b == d == 0:
        planes = [_column(a) * x + _column(c), _column(e) * y + _column(f)]  # (N, 1, W), (N, H, 1), or no N
        return torch.stack([plane.expand(shape) for plane in planes], 1).permute(0, 2, 3, 1)
    entries = [
        entry if isinstance(entry, Tensor) else torch.full((1,), entry, dtype=dtype, device=device)
        for entry in (a, d, b, e, c, f)
    ]
    pairs = torch.stack(torch.broadcast_tensors(*entries), -1).view(-1, 3, 2, 1, 1)  # (N or 1, column, x and y, 1, 1)
    along, down, at = pairs.unbind(1)  # (N or 1, 2, 1, 1) each
    return (along * x + (down * y + at)).expand(count, 2, height, width).permute(0, 2, 3, 1)


def _column(entry: Number) -> Number:
    """(N, 1, 1) from (N,)."""
    return entry.view(-1, 1, 1) if isinstance(entry, Tensor) else entry


def resample(
    function: str, images: Tensor, matrix: Matrix, *, nearest: bool = False, padding: str = "zeros", fill: Levels = 0.0
) -> Tensor:
    """Move the images by the map; `nearest` is exact, and one gather, when pixels fall onto pixels.

    Half-precision images are read in float32 and rounded once, at the end. The memory format is kept.
    """
    level = levels(function, "fill", fill, images)
    if matrix.is_identity() or images.numel() == 0:
        return images
    grid = positions(matrix, images).to(precision(images))
    source = images.to(precision(images))
    mode = "nearest" if nearest else "bilinear"
    out = F.grid_sample(source, grid, mode, padding, align_corners=False)
    if not is_zero(fill):
        inside = F.grid_sample(torch.ones_like(source[:, :1]), grid, mode, "zeros", align_corners=False)
        out = out + (1 - inside) * level
    return like(out.to(images.dtype), images)


def flip_where(images: Tensor, selected: Tensor | None, dim: int) -> Tensor:
    """Mirror the selected images, or all of them, along a dimension: values are moved, not computed."""
    flipped = images.flip(dim)
    if selected is None:
        return flipped
    return torch.where(selected.view(-1, *[1] * (images.dim() - 1)), flipped, images)


def like(out: Tensor, images: Tensor) -> Tensor:
    """The result in the memory format of the images; torch.func.vmap does not say which that is."""
    if images.is_contiguous():
        return out
    try:
        channels_last = images.is_contiguous(memory_format=torch.channels_last)
    except RuntimeError:
        return out
    return out.contiguous(memory_format=torch.channels_last) if channels_last else out
