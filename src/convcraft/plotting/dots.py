"""Intervals as dots with bars, and points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from convcraft.errors import ConvcraftError

from .arrays import array, mapping, triple
from .decor import decorate, drawing, legend_above, note, tidy_axis
from .style import MARKERS, WIDTH, series_style

if TYPE_CHECKING:
    from .chart import Chart


def intervals(
    values: Mapping[str, Any],
    *,
    alt: str,
    xlabel: str = "",
    reference: Any = None,
    title: str | None = None,
    xlim: tuple[float, float] | None = None,
    xscale: str = "linear",
    numbers: str | None = None,
    size: tuple[float, float] | None = None,
    theme: str = "light",
) -> Chart:
    """Draw each value as a dot with its interval, one per row, from the top.

    Args:
        values: ``{name: interval}`` or ``{name: {series: interval}}``; an interval has mean, low and high, or
            is those three numbers.
        reference: float or dict of label: float. A value for comparison, drawn as a line.
        numbers: a format such as "{:.3f}" for the mean, which is then written at the right of each row.

    Raises ConvcraftError without `alt` or values, and for what is not an interval.

    >>> chart = intervals({"relu": (0.95, 0.94, 0.96)}, alt="One accuracy.", xlabel="accuracy")
    >>> chart.axes[0].get_yticklabels()[0].get_text()
    'relu'
    """
    items = mapping(values, "values", "interval")
    rows = {k: dict(v) if isinstance(v, Mapping) else {"": v} for k, v in items.items()}
    names = list(dict.fromkeys(str(n) for row in rows.values() for n in row))
    step = 0.22 if len(names) > 1 else 0.0
    with drawing(alt, size, (WIDTH, 0.85 + (0.33 + 0.12 * (len(names) - 1)) * len(rows)), theme) as chart:
        ax = chart.add_subplot()
        handles: dict[str, Any] = {}
        for i, (row, group) in enumerate(rows.items()):
            for name, value in group.items():
                j = names.index(str(name))
                mean, low, high = triple(value, row)
                y = i + (j - (len(names) - 1) / 2) * step
                colour = series_style(j, chart.theme)["color"]
                look = {"color": colour, "markersize": 7}
                ax.plot([low, high], [y, y], linewidth=2.2, solid_capstyle="butt", marker="|", **look)
                mark, edge = MARKERS[j % len(MARKERS)], chart.theme.ground
                (handles[str(name)],) = ax.plot(mean, y, mark, markeredgecolor=edge, **look)
                if numbers is not None:
                    note(ax, chart.theme, numbers.format(mean).replace("-", "−"), (1, y), "y", (6, 0), va="center")
        ax.set_yticks(np.arange(len(rows)), list(rows))
        ax.set_ylim(len(rows) - 0.45, -0.55)
        tidy_axis(ax, "x", xscale, 4 if max(len(str(row)) for row in rows) > 24 else 7)  # labels take the width
        decorate(ax, chart.theme, title=title, xlabel=xlabel, xlim=xlim, vline=reference)
        ax.grid(axis="y", visible=False)
        ax.spines["left"].set_visible(False)
        legend_above(chart, handles)
    return chart


def forest(
    groups: Mapping[str, Mapping[str, Any]],
    *,
    alt: str,
    xlabel: str = "",
    xlim: tuple[float, float] | None = None,
    size: tuple[float, float] | None = None,
    theme: str = "light",
) -> Chart:
    """Draw many differences with their intervals against 0: thin rows under one label per group.

    Args:
        groups: ``{group: {series: intervals}}``; the series decides the colour and the mark. Within its group
            each interval has a row, sorted by its mean.

    Raises ConvcraftError without `alt` or groups, and for what is not an interval.

    >>> rows = {"digits": {"ahead": [(1.0, 0.5, 1.5)], "open": [(0.1, -0.3, 0.5), (0.2, -0.3, 0.7)]}}
    >>> chart = forest(rows, alt="Three differences.")
    >>> [label.get_text() for label in chart.axes[0].get_yticklabels()]
    ['digits']
    """
    items = mapping(groups, "groups", "mapping of series to intervals")
    series = list(dict.fromkeys(str(name) for group in items.values() for name in group))
    rows = {
        group: sorted((triple(v, group), str(s)) for s, some in parts.items() for v in some)
        for group, parts in items.items()
    }
    count = sum(len(some) + 1 for some in rows.values())
    with drawing(alt, size, (WIDTH, 0.9 + 0.075 * count), theme) as chart:
        ax = chart.add_subplot()
        handles: dict[str, Any] = {}
        y, places = 0, []
        for some in rows.values():
            places.append(y + (len(some) - 1) / 2)
            for (mean, low, high), name in some:
                j = series.index(name)
                colour = series_style(j, chart.theme)["color"]
                ax.plot([low, high], [y, y], linewidth=1.2, color=colour, solid_capstyle="butt")
                mark: dict[str, Any] = {"marker": MARKERS[j % len(MARKERS)], "markersize": 4.5, "markeredgewidth": 0}
                (handles[name],) = ax.plot(mean, y, linestyle="none", color=colour, **mark)
                y += 1
            y += 1
            ax.axhline(y - 1, color=chart.theme.muted, linewidth=0.4)
        ax.set_yticks(places, list(rows))
        ax.set_ylim(y - 0.5, -1)
        tidy_axis(ax, "x", "linear", 7)
        decorate(ax, chart.theme, xlabel=xlabel, xlim=xlim, vline=0.0)
        ax.grid(axis="y", visible=False)
        ax.spines["left"].set_visible(False)
        legend_above(chart, {name: handles[name] for name in series}, least=1)
    return chart


def differences(
    contrasts: Sequence[Any],
    *,
    alt: str,
    xlabel: str = "",
    percent: bool = False,
    numbers: str | None = None,
    title: str | None = None,
    xlim: tuple[float, float] | None = None,
    size: tuple[float, float] | None = None,
    theme: str = "light",
) -> Chart:
    """Draw paired differences with their intervals, one per row, against 0.

    Where all contrasts share a margin, the band of negligible differences is shaded.

    Args:
        contrasts: each with the names ``a`` and ``b``, the ``interval`` of a - b (mean, low, high), a
            ``measure``, and a ``margin`` or None: what ``Results.contrasts()`` gives.
        xlabel: by default the measure, where it is the same for all.
        percent: show percentage points.
        numbers: a format such as "{:+.1f}" for the mean, which is then written at the right of each row.

    Raises ConvcraftError without `alt` or contrasts, and for what is not a contrast.

    >>> from types import SimpleNamespace
    >>> row = SimpleNamespace(a="b", b="a", interval=(0.02, 0.01, 0.03), measure="accuracy", margin=0.01)
    >>> chart = differences([row], alt="b is better than a.", percent=True)
    >>> chart.axes[0].get_yticklabels()[0].get_text(), chart.axes[0].get_xlabel()
    ('b − a', 'difference in accuracy (percentage points)')
    """
    scale = 100.0 if percent else 1.0
    rows: dict[str, tuple[float, ...]] = {}
    try:
        measures, margins = {c.measure for c in contrasts}, {c.margin for c in contrasts}
        for c in contrasts:
            name = f"{c.a} − {c.b}" + (f", {c.measure}" if len(measures) > 1 else "")
            rows[name] = tuple(scale * v for v in triple(c.interval, name))
    except (AttributeError, TypeError) as error:
        raise ConvcraftError(
            f"contrasts: expected a list with a, b, measure, margin and interval each, got {error}"
        ) from error
    if not xlabel:
        what = next(iter(measures)).replace("_", " ") if len(measures) == 1 else "the measure"
        xlabel = f"difference in {what}" + (" (percentage points)" if percent else "")
    look: dict[str, Any] = {"title": title, "xlim": xlim, "numbers": numbers, "size": size, "theme": theme}
    chart = intervals(rows, alt=alt, xlabel=xlabel, reference=0.0, **look)
    margin = margins.pop() if len(margins) == 1 else None
    if margin is not None:
        ax = chart.axes[0]
        limits = ax.get_xlim()
        ax.axvspan(-scale * margin, scale * margin, color=chart.theme.muted, alpha=0.14, linewidth=0, zorder=0)
        if xlim is None:
            ax.set_xlim(min(limits[0], -1.1 * scale * margin), max(limits[1], 1.1 * scale * margin))
    return chart


def points(
    values: Mapping[str, Any],
    *,
    alt: str,
    xlabel: str = "",
    ylabel: str = "",
    title: str | None = None,
    xscale: str = "linear",
    yscale: str = "linear",
    xlim: tuple[float, float] | None = None,
    ylim: tuple[float, float] | None = None,
    hline: Any = None,
    vline: Any = None,
    diagonal: bool = False,
    size: tuple[float, float] | None = None,
    theme: str = "light",
) -> Chart:
    """Draw a scatter plot of (x, y) pairs for each name, optionally with the line y = x.

    Args:
        values: for each name ``(x, y)``, each (n,) numbers.

    Raises ConvcraftError without `alt` or values, or if x and y differ in length.

    >>> points({"seeds": ([1, 2], [3, 4])}, alt="Two seeds.").alt
    'Two seeds.'
    """
    items = mapping(values, "values", "pair (x, y)")
    with drawing(alt, size, (WIDTH, 3.6), theme) as chart:
        ax = chart.add_subplot()
        handles: dict[str, Any] = {}
        for j, (name, pair) in enumerate(items.items()):
            x, y = (array(v, name).ravel() for v in pair)
            if len(x) != len(y):
                raise ConvcraftError(f"{name!r}: expected x and y of the same length, got {len(x)} and {len(y)}")
            style = {"color": series_style(j, chart.theme)["color"], "marker": MARKERS[j % len(MARKERS)]}
            (handles[name],) = ax.plot(x, y, linestyle="none", alpha=0.85 if len(x) < 200 else 0.45, **style)
        tidy_axis(ax, "x", xscale, 8)
        tidy_axis(ax, "y", yscale, 6)
        decorate(ax, chart.theme, title, xlabel, ylabel, xlim, ylim, hline, vline)
        if diagonal:
            ax.axline((0, 0), slope=1, color=chart.theme.muted, linewidth=1.0, linestyle=(0, (2, 2)), zorder=1.5)
        legend_above(chart, handles)
    return chart
