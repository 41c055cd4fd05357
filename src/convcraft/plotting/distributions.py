"""Histograms and bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from convcraft.errors import ConvcraftError

from .arrays import array, mapping, triple
from .decor import common_labels, decorate, drawing, grid_shape, legend_above, panel_axes, tidy_axis
from .style import WIDTH, series_style

if TYPE_CHECKING:
    from .chart import Chart


def histograms(
    values: Mapping[str, Any] | Sequence[Any],
    *,
    alt: str,
    bins: int | Sequence[float] = 40,
    range: tuple[float, float] | None = None,
    overlay: bool = False,
    columns: int | None = None,
    xlabel: str = "",
    ylabel: str = "share of values",
    yscale: str = "linear",
    title: str | None = None,
    sharey: bool = False,
    size: tuple[float, float] | None = None,
    theme: str = "light",
) -> Chart:
    """Draw histograms over common bins, in small multiples, or as outlines in one panel.

    Each bin shows the share of its set's values that fall into it; values outside `range` are in no bin.

    Args:
        values: dict or list. For each name a tensor or array of any shape and dtype.
        bins: int or list of float. Number of bins, or their edges.
        range: tuple of float. The ends of the bins; by default the smallest and the largest value of all.
        overlay: draw all in one panel.

    Raises ConvcraftError without `alt` or values, and for values that are not finite.

    >>> chart = histograms({"layer 1": [0.0, 0.5, 1.0]}, alt="Three values.", bins=2)
    >>> [round(float(bar.get_height()), 2) for bar in chart.axes[0].patches]
    [0.33, 0.67]
    """
    named = isinstance(values, Mapping)
    items = mapping(values if isinstance(values, Mapping) else dict(enumerate(values)), "values", "set of values")
    data = {name: array(v, name).ravel() for name, v in items.items()}
    for name, flat in data.items():
        if not flat.size or not np.isfinite(flat).all():
            got = f"{int((~np.isfinite(flat)).sum())} that are not" if flat.size else "none"
            raise ConvcraftError(f"{name!r}: expected finite values, got {got}")
    if range is None:
        range = (float(min(v.min() for v in data.values())), float(max(v.max() for v in data.values())))
    edges = np.histogram_bin_edges(np.array([0.0]), bins=bins, range=range)
    share = {name: np.histogram(v, bins=edges)[0] / v.size for name, v in data.items()}
    rows, wide = (1, 1) if overlay else grid_shape(len(data), columns, most=4)
    with drawing(alt, size, (WIDTH, 3.2 if rows * wide == 1 else 0.45 + 1.85 * rows), theme) as chart:
        axes = panel_axes(chart, 1 if overlay else len(share), rows, wide, sharex=True, sharey=sharey)
        handles: dict[str, Any] = {}
        for index, (name, height) in enumerate(share.items()):
            ax = axes[0 if overlay else index]
            style = series_style(index if overlay else 0, chart.theme)
            if overlay:
                handles[name] = ax.stairs(height, edges, color=style["color"], ls=style["linestyle"], lw=1.8)
                ax.stairs(height, edges, color=style["color"], fill=True, alpha=0.13)
            else:
                ax.bar(edges[:-1], height, np.diff(edges), align="edge", color=style["color"], linewidth=0)
                decorate(ax, chart.theme, title=name if named else None)
            ax.grid(axis="x", visible=False)
            tidy_axis(ax, "x", "linear", 7 if wide < 3 else 6 - wide)
            tidy_axis(ax, "y", yscale, 4)
        if wide * rows == 1:
            decorate(axes[0], chart.theme, xlabel=xlabel, ylabel=ylabel)
            common_labels(chart, title)
        else:
            common_labels(chart, title, xlabel, ylabel)
        if named:
            legend_above(chart, handles)
    return chart


def bars(
    values: Mapping[str, Any],
    *,
    alt: str,
    xlabel: str = "",
    ylabel: str = "",
    title: str | None = None,
    yscale: str = "linear",
    ylim: tuple[float, float] | None = None,
    hline: Any = None,
    stacked: bool = False,
    size: tuple[float, float] | None = None,
    theme: str = "light",
) -> Chart:
    """Draw one bar per name, or one group of bars per name, with an interval on each bar that has one.

    Args:
        values: ``{name: value}``, ``{name: interval}``, or ``{group: {name: value or interval}}``; an
            interval has mean, low and high, or is those three numbers.
        stacked: stack the bars of a group, as parts of a whole, without intervals.

    Raises ConvcraftError without `alt` or values.

    >>> chart = bars({"relu": 0.5, "silu": 0.36}, alt="Second moments.", ylabel="E f²")
    >>> [float(bar.get_height()) for bar in chart.axes[0].patches]
    [0.5, 0.36]
    """
    items = mapping(values, "values", "bar")
    grouped = all(isinstance(v, Mapping) for v in items.values())
    groups = {k: dict(v) for k, v in items.items()} if grouped else {k: {"": v} for k, v in items.items()}
    names = list(dict.fromkeys(str(n) for group in groups.values() for n in group))
    with drawing(alt, size, (WIDTH, 3.2), theme) as chart:
        ax = chart.add_subplot()
        width = 0.66 if len(names) == 1 or stacked else 0.82 / len(names)
        base = np.zeros(len(groups))
        handles: dict[str, Any] = {}
        for j, name in enumerate(names):
            colour = series_style(j, chart.theme)["color"]
            have = [i for i, group in enumerate(groups.values()) if name in group]
            three = np.array([triple(list(groups.values())[i][name], name or list(groups)[i]) for i in have])
            at = np.array(have) + (0 if stacked else (j - (len(names) - 1) / 2) * width)
            handles[name] = ax.bar(at, three[:, 0], width * 0.94, base[have], color=colour, linewidth=0)
            if stacked:
                base[have] += three[:, 0]
                continue
            error = np.stack([three[:, 0] - three[:, 1], three[:, 2] - three[:, 0]])
            if (error > 0).any():
                ax.errorbar(at, three[:, 0], error, fmt="none", ecolor=chart.theme.ink, elinewidth=1.3, capsize=3)
        ax.set_xticks(np.arange(len(groups)), list(groups))
        if sum(len(g) for g in groups) > 62:
            for label in ax.get_xticklabels():
                label.set(rotation=32, ha="right", rotation_mode="anchor")
        ax.tick_params(axis="x", length=0)
        ax.grid(axis="x", visible=False)
        tidy_axis(ax, "y", yscale, 6)
        decorate(ax, chart.theme, title=title, xlabel=xlabel, ylabel=ylabel, ylim=ylim, hline=hline)
        legend_above(chart, handles)
    return chart
