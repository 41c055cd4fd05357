"""Charts of layers and of recordings; matplotlib is imported when one is drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..plotting.chart import Chart
    from .layer_statistics import LayerStatistics

_LINES = 7  # layers at most that are drawn as lines; more are drawn as rows of a heatmap
_PANELS = (
    ("standard deviation", ("std",), "log"),
    ("gradient at the output", ("gradient",), "log"),
    ("gradient at the weights", ("weight_gradient",), "log"),
    ("update / weights", ("update",), "log"),
    ("share", ("zeros", "dead", "saturated"), "linear"),
)


def layers_chart(layers: Sequence[LayerStatistics], alt: str, theme: str) -> Chart:
    """Small multiples of the layers' numbers, each quantity over the layers that have it."""
    from .. import plotting

    panels: list[dict[str, Any]] = []
    for title, quantities, scale in _PANELS:
        x: dict[str, list[int]] = {}
        series: dict[str, list[float]] = {}
        for quantity in quantities:
            name = quantity if len(quantities) > 1 else " "  # one line needs no name
            points = [(i, getattr(layer, quantity)) for i, layer in enumerate(layers, 1)]
            points = [(i, v) for i, v in points if v is not None and math.isfinite(v)]
            points = [(i, v) for i, v in points if v or scale == "linear"]
            if points:
                x[name], series[name] = [i for i, _ in points], [v for _, v in points]
        if series:
            panel = {"title": title, "x": x, "series": series, "yscale": scale, "markers": True}
            panels.append({**panel, "xlim": (0.5, len(layers) + 0.5)})
    return plotting.panels(panels, columns=2, alt=alt, xlabel="layer", theme=theme)


def steps_chart(series: Mapping[str, Sequence[float]], quantity: str, alt: str, theme: str) -> Chart:
    """A quantity against the recorded step: lines for a few layers, rows of colour for many."""
    from .. import plotting

    label = quantity.replace("_", " ")
    if len(series) <= _LINES:
        steps = list(range(1, len(next(iter(series.values()))) + 1))
        return plotting.lines(steps, series, alt=alt, xlabel="recorded step", ylabel=label, theme=theme)
    positive = all(v > 0 for values in series.values() for v in values if math.isfinite(v))
    rows = [list(values) for values in series.values()]
    if positive:
        rows = [[math.log10(v) if math.isfinite(v) else math.nan for v in values] for values in rows]
    return plotting.heatmap(
        rows,
        alt=alt,
        xlabel="recorded step",
        yticks=list(series),
        label=f"log10 of {label}" if positive else label,
        theme=theme,
    )
