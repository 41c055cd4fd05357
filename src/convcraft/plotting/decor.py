"""Labels, reference lines, scales and legends that the helpers share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from convcraft._checks import check_known
from convcraft.errors import ConvcraftError

from .style import Theme, need_matplotlib, settings, text_colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .chart import Chart

XY = Literal["x", "y"]
SCALES = ("linear", "log", "symlog", "logit")


@contextmanager
def drawing(alt: str, size: tuple[float, float] | None, default: tuple[float, float], theme: str) -> Iterator[Chart]:
    """An empty chart of the given size, or of the default one, and the house style while it is drawn."""
    need_matplotlib()
    from .chart import Chart

    chart = Chart(alt=alt, size=size or default, theme=theme)
    with settings(chart.theme):
        yield chart


def panel_axes(chart: Chart, count: int, rows: int, columns: int, **options: Any) -> list[Axes]:
    """The axes of `count` panels in a grid, row by row; the places that are left over stay empty."""
    grid = chart.subplots(rows, columns, squeeze=False, **options).ravel()
    for ax in grid[count:]:
        ax.remove()
    return list(grid[:count])


def common_labels(chart: Chart, title: str | None = None, xlabel: str = "", ylabel: str = "") -> None:
    """Write title and axis labels that belong to all panels."""
    if xlabel:
        chart.supxlabel(xlabel, fontsize=11.5)
    if ylabel:
        chart.supylabel(ylabel, fontsize=11.5)
    if title:
        chart.suptitle(title, x=0.012, ha="left")


def tidy_axis(ax: Axes, which: XY, scale: str, count: int, whole: bool = False) -> None:
    """Set the scale and a few round ticks, whole numbers where the data are whole."""
    from matplotlib.ticker import LogFormatterMathtext, MaxNLocator, NullFormatter

    check_known(f"{which}scale", scale, SCALES)
    axis = ax.xaxis if which == "x" else ax.yaxis
    if scale == "linear":
        steps = [1, 2, 5, 10] if whole else [1, 2, 2.5, 5, 10]
        axis.set_major_locator(MaxNLocator(nbins=count, steps=steps, integer=whole))
        return
    (ax.set_xscale if which == "x" else ax.set_yscale)(scale)
    axis.set_minor_formatter(NullFormatter())
    if scale == "log":
        axis.set_major_formatter(LogFormatterMathtext())


def reference_lines(
    ax: Axes, lines: float | Sequence[float] | Mapping[str, float] | None, which: Literal["h", "v"], theme: Theme
) -> None:
    """Draw thin lines across the panel at the given values, labelled where they have a name."""
    if lines is None:
        return
    if isinstance(lines, Mapping):
        named = [(str(k), float(v)) for k, v in lines.items()]
    else:
        named = [("", float(v)) for v in np.atleast_1d(np.asarray(lines, dtype=float))]
    line = ax.axhline if which == "h" else ax.axvline
    for label, value in named:
        line(value, color=theme.muted, linewidth=1.0, linestyle=(0, (2, 2)), zorder=1.5)
        if label and which == "h":
            note(ax, theme, label, (0.995, value), "y", (0, 2), ha="right", va="bottom")
        elif label:
            note(ax, theme, label, (value, 0.985), "x", (4, 0), ha="left", va="top")


def note(
    ax: Axes, theme: Theme, text: str, at: tuple[float, float], axis: XY, offset: tuple[float, float], **align: str
) -> None:
    """Write a small text at a value of one axis and a fraction of the other, offset by `offset` points."""
    transform = ax.get_xaxis_transform() if axis == "x" else ax.get_yaxis_transform()
    style: dict[str, Any] = {"color": theme.muted, "fontsize": 10.5, "textcoords": "offset points", **align}
    ax.annotate(text, at, offset, xycoords=transform, **style)


def decorate(
    ax: Axes,
    theme: Theme,
    title: str | None = None,
    xlabel: str = "",
    ylabel: str = "",
    xlim: tuple[float, float] | None = None,
    ylim: tuple[float, float] | None = None,
    hline: Any = None,
    vline: Any = None,
) -> None:
    """Write title and axis labels, set limits and draw the reference lines."""
    reference_lines(ax, hline, "h", theme)
    reference_lines(ax, vline, "v", theme)
    wanted = {"title": title, "xlabel": xlabel, "ylabel": ylabel, "xlim": xlim, "ylim": ylim}
    ax.set(**{name: value for name, value in wanted.items() if value is not None and len(value)})


def grid_shape(count: int, columns: int | None, most: int = 3) -> tuple[int, int]:
    """Rows and columns for a number of panels; raises ConvcraftError for `columns` that are not positive."""
    if columns is not None and (not isinstance(columns, int) or columns < 1):
        raise ConvcraftError(f"columns: expected a positive whole number, got {columns!r}")
    wide = columns or (count if count <= most else (2 if count == 4 else most))
    wide = min(wide, count)
    return -(-count // wide), wide


def legend_above(chart: Chart, handles: Mapping[str, Any], least: int = 2) -> None:
    """Put one legend above all panels, in as many columns as fit; none for fewer than `least` series."""
    if len(handles) < least:
        return
    room = chart.get_figwidth() * 72
    widest = max(len(name) for name in handles) * 6.5 + 44
    fit = max(1, min(len(handles), int(room // widest)))
    chart.legend(list(handles.values()), list(handles), loc="outside upper left", ncols=fit)


def end_labels(chart: Chart, ax: Axes, ends: Mapping[str, tuple[float, float, str]], reach: float = 1.2) -> bool:
    """Write each series' name beside its last point, spread so that none overlap.

    Returns False, and draws nothing, where a name would end up more than `reach` lines of text from its line.
    """
    chart.lay_out()
    names = list(ends)
    pixel = np.array([ax.transData.transform(ends[n][:2])[1] for n in names])
    box = ax.get_window_extent()
    step = 17.0 * chart.dpi / 96
    order = np.argsort(pixel, kind="stable")
    spread = _spread(pixel[order], step, box.y0 + 2, box.y1 - 2)
    if spread is None or np.abs(spread - pixel[order]).max() > reach * step:
        return False
    for place, index in zip(spread, order, strict=True):
        name = names[int(index)]
        x, y, colour = ends[name]
        shift = (place - pixel[index]) * 72 / chart.dpi
        style: dict[str, Any] = {"textcoords": "offset points", "va": "center", "ha": "left", "fontsize": 11}
        if abs(shift) > 4:
            line = {"arrowstyle": "-", "color": colour, "linewidth": 0.7, "relpos": (0, 0.5)}
            style["arrowprops"] = {**line, "shrinkA": 0, "shrinkB": 2}
        ink = text_colour(colour, chart.theme)
        ax.annotate(name, (x, y), (9, shift), annotation_clip=False, color=ink, **style)
    return True


def _spread(positions: np.ndarray, step: float, low: float, high: float) -> np.ndarray | None:
    """Move sorted positions apart to at least `step`, as little as possible, within low and high."""
    if len(positions) * step > high - low:
        return None
    # Pool neighbours that collide and place each pool around its mean: least squares under the spacing.
    offset = np.arange(len(positions)) * step
    blocks: list[list[float]] = []
    for value in positions - offset:
        blocks.append([value, 1.0])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            last, before = blocks.pop(), blocks.pop()
            weight = last[1] + before[1]
            blocks.append([(last[0] * last[1] + before[0] * before[1]) / weight, weight])
    flat = np.concatenate([np.full(int(n), v) for v, n in blocks])
    flat = np.clip(flat, low + step / 2, high - step / 2 - offset[-1])
    return flat + offset
