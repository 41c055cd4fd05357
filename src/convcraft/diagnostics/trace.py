"""What a recording holds: the statistics of every layer, and how they went from step to step."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .._checks import check_known
from .._table import table_html, table_text
from ..errors import ConvcraftError
from .layer_statistics import HEADINGS, LayerStatistics, row

if TYPE_CHECKING:
    from ..plotting.chart import Chart

_LINES = 7  # at most this many layers are drawn as lines; more are drawn as rows of a heatmap
QUANTITIES = ("mean", "std", "zeros", "saturated", "gradient", "weight_gradient", "update")


class Trace:
    """What `record` saw, layer by layer in the order in which they run; prints as an aligned table.

    `trace["name"]` is the statistics of one layer, `trace.history("name", "std")` one number per recorded step,
    `trace.steps` the number of recorded steps. Numbers are moved off the device when they are first read.
    Chapter: Combining.

    >>> import torch
    >>> from torch import nn
    >>> from convcraft.diagnostics import record
    >>> with record(nn.Sequential(nn.Linear(3, 4), nn.Tanh())) as trace:
    ...     pass
    >>> len(trace), trace.steps
    (0, 0)
    """

    def __init__(self, source: Any) -> None:
        self._source = source

    @property
    def steps(self) -> int:
        """Recorded forward passes."""
        return int(self._source.steps)

    @property
    def layers(self) -> tuple[LayerStatistics, ...]:
        """The statistics of every layer that was seen, in the order in which they run."""
        return tuple(self._source.statistics())

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[LayerStatistics]:
        return iter(self.layers)

    def __getitem__(self, name: str) -> LayerStatistics:
        found = {layer.name: layer for layer in self.layers}
        check_known("layer", name, found)
        return found[name]

    def history(self, name: str, quantity: str = "std") -> list[float]:
        """One number for each recorded step, NaN where it has none; `QUANTITIES` lists the quantities.

        Raises ConvcraftError for an unknown layer or quantity.
        """
        check_known("quantity", quantity, QUANTITIES)
        self[name]
        return self._source.history(name, quantity)

    def plot(self, quantity: str = "std", *, alt: str | None = None, theme: str = "light") -> Chart:
        """Draw a quantity against the recorded step: lines for a few layers, rows of colour for many.

        Raises ConvcraftError for an unknown quantity, and if nothing was recorded.
        """
        series = {}
        for layer in self.layers:
            values = self.history(layer.name, quantity)
            if any(math.isfinite(v) for v in values):
                series[layer.name or "(model)"] = values
        if not series:
            raise ConvcraftError(
                f"plot: quantity must have been recorded, got {quantity!r}, which was not; run "
                "the model inside the with block, and for gradients its backward pass too"
            )
        alt = alt or f"The {quantity} of {len(series)} layers over {self.steps} recorded steps."
        from .. import plotting

        label = quantity.replace("_", " ")
        if len(series) <= _LINES:
            steps = list(range(1, self.steps + 1))
            return plotting.lines(steps, series, alt=alt, xlabel="recorded step", ylabel=label, theme=theme)
        rows = list(series.values())
        if all(v > 0 for values in rows for v in values if math.isfinite(v)):
            label = f"log10 of {label}"
            rows = [[math.log10(v) if math.isfinite(v) else math.nan for v in values] for values in rows]
        names = list(series)
        return plotting.heatmap(rows, alt=alt, xlabel="recorded step", yticks=names, label=label, theme=theme)

    def __str__(self) -> str:
        return table_text(HEADINGS, [row(layer) for layer in self.layers])

    def __repr__(self) -> str:
        return f"<Trace: {len(self)} layers, {self.steps} steps>"

    def _repr_html_(self) -> str:
        return table_html(HEADINGS, [row(layer) for layer in self.layers])
