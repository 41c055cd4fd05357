"""One `grid_sample` a batch: every image read at the positions that its own affine map tells."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

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
    back = matrix.inverse()
    x = torch.arange(width, dtype=dtype, device=device) - (width - 1) / 2
    y = torch.arange(height, dtype=dtype, device=device) - (height - 1) / 2

    def pair(first: Number, second: Number) -> Tensor:
        entries = [
            entry if isinstance(entry, Tensor) else torch.full((1,), entry, dtype=dtype, device=device)
            for entry in (first * (2 / width), second * (2 / height))
        ]
        return torch.stack(torch.broadcast_tensors(*entries), -1).view(-1, 2, 1, 1)

    along = pair(back.a, back.d) * x
    grid = along + (pair(back.b, back.e) * y[:, None] + pair(back.c, back.f))
    return grid.expand(count, 2, height, width).permute(0, 2, 3, 1)


def resample(
    function: str,
    images: Tensor,
    matrix: Matrix,
    *,
    nearest: bool = False,
    padding: str = "zeros",
    fill: Levels = 0.0,
) -> Tensor:
    """Move the images by the map; `nearest` is exact, and one gather, when pixels fall onto pixels.

    Half-precision images are read in float32 and rounded once, at the end. The memory format is kept.
    """
    level = levels(function, "fill", fill, images)
    if matrix.is_identity() or images.numel() == 0:
        return images
    grid = positions(matrix, images)
    source = images.to(precision(images))
    mode = "nearest" if nearest else "bilinear"
    out = F.grid_sample(source, grid, mode, padding, align_corners=False)
    if not is_zero(fill):
        inside = F.grid_sample(torch.ones_like(source[:, :1]), grid, mode, "zeros", align_corners=False)
        out = out + (1 - inside) * level
    return like(out.to(images.dtype), images)


def like(out: Tensor, images: Tensor) -> Tensor:
    """The result in the memory format of the images; torch.func.vmap does not say which that is."""
    if images.is_contiguous():
        return out
    try:
        channels_last = images.is_contiguous(memory_format=torch.channels_last)
    except RuntimeError:
        return out
    return out.contiguous(memory_format=torch.channels_last) if channels_last else out
