"""Images in a row or a grid, small arrays of numbered cells, and matrices as heat maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from convcraft._checks import check_all_known
from convcraft.errors import ConvcraftError

from .arrays import array
from .decor import common_labels, drawing, grid_shape, panel_axes
from .style import SMALL, WIDTH

if TYPE_CHECKING:
    from .chart import Chart


def _as_images(value: Any) -> list[np.ndarray]:
    """Return a list of (H, W) or (H, W, 3) arrays from any usual layout."""
    if isinstance(value, (list, tuple)) and all(isinstance(v, (np.ndarray, torch.Tensor)) for v in value):
        return [picture for item in value for picture in _as_images(item)]
    data = array(value, "images")
    if data.ndim == 2:
        return [data]
    if data.ndim == 3:
        return [np.moveaxis(data, 0, -1)] if data.shape[0] == 3 and min(data.shape[1:]) > 3 else list(data)
    if data.ndim == 4 and data.shape[1] in (1, 3):
        return [image[0] if len(image) == 1 else np.moveaxis(image, 0, -1) for image in data]
    raise ConvcraftError(
        "images: expected (H, W), (N, H, W), (N, 1, H, W), (N, 3, H, W) or a list of those, "
        f"got shape {tuple(data.shape)}"
    )


def images(
    images: Any,
    *,
    alt: str,
    titles: Sequence[str] | None = None,
    columns: int | None = None,
    limits: tuple[float, float] | None = None,
    share: bool = True,
    colorbar: bool = False,
    title: str | None = None,
    size: tuple[float, float] | None = None,
    theme: str = "light",
) -> Chart:
    """Draw images in a grid with sharp pixels; large values are dark on the light ground.

    An image with negative values is drawn in two colours, white at zero; one with three channels in its own colours.

    Args:
        images: tensor, array or list. (H, W), (N, H, W), (N, 1, H, W), (N, 3, H, W), or a list of images that
            may differ in size.
        titles: list of str. One above each image.
        limits: tuple of float. The values of the lightest and the darkest ink; by default of all images, or
            of each with ``share=False``.
        colorbar: show the scale beside the images.

    Raises ConvcraftError without `alt` or images, for a shape that is none of these, or if titles and
    images differ in number.

    >>> import torch
    >>> chart = images(torch.eye(8).expand(3, 1, 8, 8), alt="Three diagonals.", titles=["a", "b", "c"])
    >>> len(chart.axes)
    3
    """
    pictures = _as_images(images)
    if not pictures:
        raise ConvcraftError("images: expected at least one image, got none")
    if titles is not None and len(titles) != len(pictures):
        raise ConvcraftError(f"titles: expected {len(pictures)}, one for each image, got {len(titles)}")
    rows, wide = grid_shape(len(pictures), columns, most=8)
    tall = max(p.shape[0] / p.shape[1] for p in pictures)
    cell = min(WIDTH / wide, 2.6)
    height = rows * (cell * tall + (0.3 if titles else 0.02)) + (0.35 if title else 0.0)
    default = (WIDTH if wide * cell > 5 or titles else max(SMALL, wide * cell), height)
    flat = np.concatenate([p.ravel() for p in pictures])
    with drawing(alt, size, default, theme) as chart:
        axes = panel_axes(chart, len(pictures), rows, wide)
        for index, (ax, picture) in enumerate(zip(axes, pictures, strict=True)):
            shown = ax.imshow(picture, **_scale(picture, flat if share else picture, limits, chart.theme.light))
            ax.grid(False)
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set(visible=True, linewidth=0.6, color=chart.theme.grid)
            if titles:
                ax.set_title(titles[index], fontsize=11, fontweight="normal", loc="center", pad=4)
        if colorbar:
            bar = chart.colorbar(shown, ax=axes, shrink=0.9, aspect=18)
            bar.outline.set_visible(False)
        common_labels(chart, title)
    return chart


def _scale(picture: np.ndarray, values: np.ndarray, limits: tuple[float, float] | None, light: bool) -> dict[str, Any]:
    """Colour map and limits for one image."""
    if picture.ndim == 3:
        return {}
    low, high = limits or (float(np.nanmin(values)), float(np.nanmax(values)))
    if low < 0 < high:
        high = max(-low, high)
        return {"cmap": "PuOr_r", "vmin": -high, "vmax": high, "interpolation": "nearest"}
    low = min(low, 0.0) if limits is None else low
    return {"cmap": "gray_r" if light else "gray", "vmin": low, "vmax": high, "interpolation": "nearest"}


def grids(
    panels: Sequence[Mapping[str, Any]],
    *,
    alt: str,
    columns: int | None = None,
    size: tuple[float, float] | None = None,
    theme: str = "light",
) -> Chart:
    """Draw small arrays as squares with a number or text in each.

    Args:
        panels: for each panel ``cells``, rows of numbers or texts (a text may be empty), and if needed
            ``title``; ``marked``, cells as (row, column) that are tinted; ``rim``, the number of rows and
            columns around the array that are drawn faint, as padding is.
        columns: panels per row; by default all.

    Raises ConvcraftError without `alt` or panels, and for an unknown entry of a panel.

    >>> kernel = {"title": "kernel", "cells": [[1, -1], [0, 2]]}
    >>> chart = grids([kernel, {"cells": [[3]], "marked": [(0, 0)]}], alt="A kernel and a number.")
    >>> [text.get_text() for text in chart.axes[0].texts]
    ['1', '−1', '0', '2']
    """
    if not len(panels):
        raise ConvcraftError("panels: expected at least one panel, got none")
    for panel in panels:
        check_all_known("entry of a panel", panel, ("title", "cells", "marked", "rim"))
    rows, wide = grid_shape(len(panels), columns, most=len(panels))
    high = [max(len(p["cells"]) for p in panels[r * wide : (r + 1) * wide]) for r in range(rows)]
    across = [max(len(p["cells"][0]) for p in panels[c::wide]) for c in range(wide)]
    cell = min(0.36, WIDTH / (sum(across) + wide))
    with drawing(alt, size, (cell * (sum(across) + wide), cell * sum(high) + 0.4 * rows), theme) as chart:
        ratios = {"width_ratios": across, "height_ratios": high}
        for ax, panel in zip(panel_axes(chart, len(panels), rows, wide, gridspec_kw=ratios), panels, strict=True):
            _draw_cells(ax, chart.theme, panel)
    return chart


def _draw_cells(ax: Any, theme: Any, panel: Mapping[str, Any]) -> None:
    """One array: an outline and a text for each cell, dotted and muted on the rim, tinted where marked."""
    from matplotlib.patches import Rectangle

    cells, rim = panel["cells"], panel.get("rim", 0)
    m, n = len(cells), len(cells[0])
    marked = {tuple(place) for place in panel.get("marked", ())}
    for i, j in sorted(np.ndindex(m, n), key=lambda place: place in marked):
        faint = not (rim <= i < m - rim and rim <= j < n - rim)
        tint = theme.series[0] + "38" if (i, j) in marked else "none"
        line = {"edgecolor": theme.frame, "linestyle": ":" if faint else "-", "linewidth": 0.9}
        ax.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor=tint, **line))
        value = cells[i][j]
        text = value if isinstance(value, str) else f"{value:g}".replace("-", "−")
        ax.text(j, i, text, ha="center", va="center", color=theme.muted if faint else theme.ink, fontsize=11)
    ax.set(xlim=(-0.6, n - 0.4), ylim=(m - 0.4, -0.6), aspect="equal")
    ax.axis("off")
    if title := panel.get("title"):
        ax.set_title(title, fontsize=11, fontweight="normal", loc="center", pad=4)


def heatmap(
    matrix: Any,
    *,
    alt: str,
    xlabel: str = "",
    ylabel: str = "",
    xticks: Sequence[Any] | None = None,
    yticks: Sequence[Any] | None = None,
    label: str = "",
    limits: tuple[float, float] | None = None,
    centre: float | None = None,
    numbers: str | None = None,
    title: str | None = None,
    size: tuple[float, float] | None = None,
    theme: str = "light",
) -> Chart:
    """Draw a matrix as a heat map with its scale and, optionally, the number in each cell.

    Args:
        matrix: (rows, columns) tensor or array. The values; NaN is left blank.
        xticks, yticks: list. Names of the columns and the rows.
        label: what the colours mean, with the unit.
        centre: use two colours that meet at this value.
        numbers: a format such as "{:.2f}" for the number in each cell.

    Raises ConvcraftError without `alt`, for anything but a matrix, or if names and rows or columns differ in number.

    >>> chart = heatmap([[1, 2], [3, 4]], alt="Four numbers.", numbers="{:.0f}")
    >>> [text.get_text() for text in chart.axes[0].texts]
    ['1', '2', '3', '4']
    """
    data = array(matrix, "matrix")
    if data.ndim != 2 or not data.size:
        raise ConvcraftError(f"matrix: expected rows and columns, got shape {tuple(data.shape)}")
    for name, ticks, count in (("xticks", xticks, data.shape[1]), ("yticks", yticks, data.shape[0])):
        if ticks is not None and len(ticks) != count:
            raise ConvcraftError(f"{name}: expected {count} names, got {len(ticks)}")
    low, high = limits or (float(np.nanmin(data)), float(np.nanmax(data)))
    if centre is not None:
        bound = max(abs(low - centre), abs(high - centre))
        low, high = centre - bound, centre + bound
    with drawing(alt, size, (WIDTH, float(np.clip(0.9 + 0.36 * data.shape[0], 2.4, 5.2))), theme) as chart:
        ax = chart.add_subplot()
        cmap = chart.theme.diverging if centre is not None else chart.theme.sequential
        shown = ax.imshow(data, cmap=cmap, vmin=low, vmax=high, aspect="auto", interpolation="nearest")
        ax.grid(False)
        for axis, ticks in ((ax.xaxis, xticks), (ax.yaxis, yticks)):
            if ticks is not None:
                axis.set_ticks(np.arange(len(ticks)), [str(t) for t in ticks])
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        ax.set(xlabel=xlabel, ylabel=ylabel)
        if title:
            ax.set_title(title)
        for (i, j), value in np.ndenumerate(data):
            if numbers is None or not np.isfinite(value):
                continue
            red, green, blue, _ = shown.to_rgba(value)
            luminance = 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2
            ink = "#000000" if luminance > 0.18 else "#ffffff"  # whichever is legible
            ax.text(j, i, numbers.format(value), ha="center", va="center", fontsize=10.5, color=ink)
        bar = chart.colorbar(shown, ax=ax, pad=0.02, aspect=24)
        bar.outline.set_visible(False)
        bar.ax.tick_params(length=0)
        bar.set_label(label)
    return chart
