"""The still image of an interactive figure: its initial frame, as a chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from convcraft.plotting.arrays import array
from convcraft.plotting.decor import drawing, legend_above, panel_axes, tidy_axis
from convcraft.plotting.style import WIDTH, series_style

if TYPE_CHECKING:
    from convcraft.plotting import Chart


def draw_still(frame: Mapping[str, Any], panels: Sequence[Mapping[str, Any]], x: Any, columns: int, alt: str) -> Chart:
    """Draw a frame in the house style, panels side by side."""
    rows = -(-len(panels) // columns)
    default = (WIDTH, 3.3 if len(panels) == 1 else 0.4 + (2.4 if columns < 3 else 1.7) * rows)
    order: dict[str, int] = {}
    handles: dict[str, Any] = {}
    with drawing(alt, None, default, "light") as chart:
        axes = panel_axes(chart, len(panels), rows, columns)
        for ax, fixed, panel in zip(axes, panels, frame["panels"], strict=True):
            for j, series in enumerate(panel["series"]):
                name = fixed["names"][j]
                style = series_style(order.setdefault(name, len(order)), chart.theme)
                y = array(series["y"], "y")
                if fixed["kind"] == "bar":
                    step = float(fixed["x"][1] - fixed["x"][0]) * 0.92
                    wide = step / len(panel["series"])
                    at = fixed["x"] + (j - (len(panel["series"]) - 1) / 2) * wide
                    handles[name] = ax.bar(at, y, wide, color=style["color"], linewidth=0)
                elif fixed["kind"] == "interval":
                    ax.vlines(fixed["x"], y[1], y[2], color=style["color"])
                    (handles[name],) = ax.plot(fixed["x"], y[0], "o", color=style["color"], markersize=4)
                else:
                    x_of = array(series["x"], "x") if fixed["kind"] == "plane" else fixed["x"]
                    dot = fixed["kind"] == "plane" and np.isfinite(y).sum() == 1
                    (handles[name],) = ax.plot(x_of, y, marker="o" if dot else None, **style)
            whole = fixed["kind"] == "line" and bool((fixed["x"] == np.round(fixed["x"])).all())
            tidy_axis(ax, "x", "linear", 8 if columns == 1 else 5, whole)
            tidy_axis(ax, "y", fixed["yscale"], 5)
            ax.set_ylim(np.power(10.0, fixed["ylim"]) if fixed["yscale"] == "log" else fixed["ylim"])
            if fixed["kind"] == "plane":
                ax.set(xlim=fixed["xlim"], aspect="equal")
            if fixed["yticks"] is False:
                ax.set_yticks([])
            if fixed.get("xticks"):
                ax.set_xticks(fixed["x"], fixed["xticks"])
            ax.set_title(str(panel.get("title", "")), fontsize=12 if columns < 3 else 10.5)
            ax.set(xlabel=fixed["xlabel"], ylabel=fixed["ylabel"])
        named = {name: handle for name, handle in handles.items() if name}
        legend_above(chart, named)
    return chart
