"""Lines, alone or in small multiples, with intervals as bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from convcraft._checks import check_all_known, check_known
from convcraft.errors import ConvcraftError

from .arrays import array, band, mapping, t_quantile
from .decor import common_labels, decorate, drawing, end_labels, grid_shape, legend_above, panel_axes, tidy_axis
from .style import MARKERS, WIDTH, series_style

if TYPE_CHECKING:
    from .chart import Chart

LIMIT_POINTS = 12  # lines with at most this many points show them as markers
LABELS = ("title", "xlabel", "ylabel", "xlim", "ylim", "hline", "vline")
PANEL_KEYS = ("x", "series", "xscale", "yscale", "markers", *LABELS)


def _draw(ax: Any, theme: Any, x: Any, series: Any, styles: dict[str, int], markers: bool | None) -> tuple[dict, dict]:
    """Draw the series on the axes; return the artists for a legend and the ends for direct labels."""
    handles: dict[str, Any] = {}
    ends: dict[str, tuple[float, float, str]] = {}
    for name, value in mapping(series, "series", "y").items():
        xs = array(x[name] if isinstance(x, Mapping) else x, f"x of {name!r}")
        if xs.ndim != 1 or not len(xs):
            raise ConvcraftError(f"x: expected one row of numbers, got shape {tuple(xs.shape)}")
        y, low, high = band(value, len(xs), name)
        place = styles.setdefault(name, len(styles))
        style = series_style(place, theme)
        show = len(xs) <= LIMIT_POINTS if markers is None else markers
        (line,) = ax.plot(xs, y, label=name, marker=MARKERS[place % len(MARKERS)] if show else "none", **style)
        handles[name] = line
        if low is not None:
            area = ax.fill_between(xs, low, high, color=style["color"], alpha=0.17, linewidth=0)
            handles[name] = (area, line)
        good = np.flatnonzero(np.isfinite(y))
        if len(good):
            ends[name] = (float(xs[good[-1]]), float(y[good[-1]]), style["color"])
    return handles, ends


def _whole(ax: Any) -> bool:
    """Whether every abscissa is a whole number: an epoch, a layer."""
    return all(bool((x == np.round(x)).all()) for x in (np.asarray(line.get_xdata()) for line in ax.get_lines()))


def lines(
    x: Any,
    series: Mapping[str, Any],
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
    markers: bool | None = None,
    legend: str = "auto",
    size: tuple[float, float] | None = None,
    theme: str = "light",
) -> Chart:
    """Draw one line per series over a common abscissa, with intervals as bands.

    Args:
        x: (n,) tensor, array or list; or a dict of them by series. The abscissa.
        series: for each name ``y``, or ``(y, low, high)``; each (n,) numbers of any dtype. A blank name has no label.
        hline, vline: float, list or dict of label: float. Reference lines.
        markers: mark the points; by default where there are at most 12.
        legend: {"auto", "direct", "top", "none"}. Names at the ends of the lines, or above; "auto" prefers the ends,
            where there is room.

    Raises ConvcraftError without `alt`, for an unknown scale, theme or legend, or if a series is not as
    long as `x`.

    >>> chart = lines([0, 1, 2], {"loss": [3.0, 1.0, 0.5]}, alt="The loss falls.", xlabel="epoch")
    >>> chart.alt
    'The loss falls.'
    """
    check_known("legend", legend, ("auto", "direct", "top", "none"))
    with drawing(alt, size, (WIDTH, 3.3), theme) as chart:
        ax = chart.add_subplot()
        handles, ends = _draw(ax, chart.theme, x, series, {}, markers)
        tidy_axis(ax, "x", xscale, 8, _whole(ax))
        tidy_axis(ax, "y", yscale, 6)
        decorate(ax, chart.theme, title, xlabel, ylabel, xlim, ylim, hline, vline)
        handles = {name: handle for name, handle in handles.items() if name.strip()}
        ends = {name: end for name, end in ends.items() if name in handles}
        if legend == "none" or not handles or (legend == "auto" and len(handles) == 1 and ylabel):
            return chart
        direct = legend in ("auto", "direct") and len(ends) == len(handles)
        if not (direct and end_labels(chart, ax, ends, 6.0 if legend == "direct" else 1.2)):
            legend_above(chart, handles, least=1)
    return chart


def panels(
    panels: Sequence[Mapping[str, Any]],
    *,
    alt: str,
    columns: int | None = None,
    xlabel: str = "",
    ylabel: str = "",
    title: str | None = None,
    sharex: bool = False,
    sharey: bool = False,
    size: tuple[float, float] | None = None,
    theme: str = "light",
) -> Chart:
    """Draw small multiples of lines under one legend; a series of the same name looks the same in each.

    Args:
        panels: for each panel ``x`` and ``series`` as in :func:`lines`, and if needed ``title``, ``xlabel``,
            ``ylabel``, ``xscale``, ``yscale``, ``xlim``, ``ylim``, ``hline``, ``vline``, ``markers``.
        columns: panels per row; by default at most three.
        xlabel, ylabel: labels common to all panels.
        sharex, sharey: give all panels the same limits.

    Raises ConvcraftError without `alt` or panels, and for an unknown entry of a panel.

    >>> x = [-1.0, 0.0, 1.0]
    >>> chart = panels([{"title": "f", "x": x, "series": {"relu": [0, 0, 1]}},
    ...                 {"title": "g", "x": x, "series": {"relu": [0, 0, 1]}}], alt="ReLU twice.")
    >>> [ax.get_title(loc="left") for ax in chart.axes]
    ['f', 'g']
    """
    if not len(panels):
        raise ConvcraftError("panels: expected at least one panel, got none")
    rows, wide = grid_shape(len(panels), columns)
    with drawing(alt, size, (WIDTH, 0.5 + 2.35 * rows if wide > 1 else 0.4 + 2.5 * rows), theme) as chart:
        axes = panel_axes(chart, len(panels), rows, wide, sharex=sharex, sharey=sharey)
        styles: dict[str, int] = {}
        handles: dict[str, Any] = {}
        for ax, panel in zip(axes, panels, strict=True):
            check_all_known("entry of a panel", panel, PANEL_KEYS)
            new, _ = _draw(ax, chart.theme, panel.get("x"), panel.get("series"), styles, panel.get("markers"))
            handles |= {name: handle for name, handle in new.items() if name.strip()}
            tidy_axis(ax, "x", panel.get("xscale", "linear"), 7 if wide < 3 else 5, _whole(ax))
            tidy_axis(ax, "y", panel.get("yscale", "linear"), 5)
            decorate(ax, chart.theme, **{k: panel[k] for k in LABELS if k in panel})
        common_labels(chart, title, xlabel, ylabel)
        legend_above(chart, handles)
    return chart


def learning_rates(
    sweeps: Mapping[str, Any] | Any,
    *,
    alt: str,
    level: float = 0.95,
    chance: float | None = None,
    xlabel: str = "learning rate",
    ylabel: str = "validation accuracy",
    title: str | None = None,
    ylim: tuple[float, float] | None = None,
    size: tuple[float, float] | None = None,
    theme: str = "light",
) -> Chart:
    """Draw the final validation accuracy against the learning rate: mean over seeds and its t interval.

    Args:
        sweeps: for each name a sweep: ``learning_rates`` (r,) and ``validation_accuracy`` (r, seeds, epochs);
            or the results of a study, whose ``sweeps()`` gives them; or ``{arm: results}`` for some arms.
        level: level of the interval, in (0, 1).
        chance: the accuracy of guessing, drawn as a line.

    Raises ConvcraftError without `alt` or sweeps, and for a level that is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ConvcraftError(f"level: expected a number between 0 and 1, got {level!r}")
    x: dict[str, Any] = {}
    series: dict[str, Any] = {}
    for name, sweep in mapping(sweeps.sweeps() if hasattr(sweeps, "sweeps") else sweeps, "sweeps", "sweep").items():
        if hasattr(sweep, "sweeps"):  # the results of a study
            arms = sweep.sweeps()
            check_known("arm", name, arms)
            sweep = arms[name]
        final = array(sweep.validation_accuracy, name)[:, :, -1]
        mean, count = final.mean(axis=1), final.shape[1]
        x[name] = array(sweep.learning_rates, name)
        series[name] = mean
        if count > 1:
            half = t_quantile(level, count - 1) * final.std(axis=1, ddof=1) / np.sqrt(count)
            series[name] = (mean, np.clip(mean - half, 0, 1), np.clip(mean + half, 0, 1))
    look: dict[str, Any] = {"xlabel": xlabel, "ylabel": ylabel, "title": title, "size": size, "theme": theme}
    guess = None if chance is None else {"chance": chance}
    return lines(x, series, alt=alt, xscale="log", ylim=ylim, hline=guess, markers=True, **look)
