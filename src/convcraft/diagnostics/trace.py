"""What a recording holds: the statistics of every layer, and how they went from step to step."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from ..errors import ConvcraftError, unknown
from ._draw import steps_chart
from ._tables import number, share, table_html, table_text

if TYPE_CHECKING:
    from ..plotting.chart import Chart

__all__ = ["LayerStatistics", "Trace"]

QUANTITIES = ("mean", "std", "zeros", "saturated", "gradient", "weight_gradient", "update")


@dataclass(frozen=True)
class LayerStatistics:
    """Statistics of one call of one layer or activation, over all the data that was recorded.

    Attributes:
        name: qualified name of the module; of a functional activation, the module that calls it and its name;
            from the second call in a pass on, with ":2", ":3", ...
        kind: "relu", "tanh", "linear", "convolution", "normalization", ...
        role: "activation", "weights" or "normalization".
        units: channels or features; 0 where the values have no units.
        seen: values seen of each unit.
        mean, std: of all values.
        signal: standard deviation within a unit, averaged over the units; `diagnose` alone measures it.
        zeros: share of values that are exactly zero; of activations.
        dead: share of units that were zero on everything seen; of activations with a flat piece at zero.
        dead_units: which.
        saturated: share of values so near a limit that the slope is below a twentieth of the largest; of
            activations with two limits.
        gradient: norm of the loss's gradient at the output, root mean square over the steps.
        weight_gradient: norm of the loss's gradient at the weights, likewise.
        update: norm of one step's change of the weights over the norm of the weights, mean over the steps.
        finite: whether every value was.
        gate: whether something was multiplied by the activation's values.
    """

    name: str
    kind: str
    role: str
    units: int = 0
    seen: int = 0
    mean: float | None = None
    std: float | None = None
    signal: float | None = None
    zeros: float | None = None
    dead: float | None = None
    dead_units: tuple[int, ...] = ()
    saturated: float | None = None
    gradient: float | None = None
    weight_gradient: float | None = None
    update: float | None = None
    finite: bool = True
    gate: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**asdict(self), "dead_units": list(self.dead_units)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> LayerStatistics:
        """The inverse of `as_dict`; entries that are not known are left out."""
        known = {f.name for f in fields(cls)}
        kept = {k: v for k, v in values.items() if k in known}
        return cls(**{**kept, "dead_units": tuple(kept.get("dead_units", ()))})


HEADINGS = ("layer", "kind", "mean", "std", "zeros", "dead", "saturated", "gradient", "update")


def row(layer: LayerStatistics) -> tuple[str, ...]:
    """One line of the table of layers."""
    return (
        layer.name or "(model)",
        layer.kind,
        number(layer.mean),
        number(layer.std),
        share(layer.zeros),
        share(layer.dead),
        share(layer.saturated),
        number(layer.gradient if layer.gradient is not None else layer.weight_gradient),
        number(layer.update),
    )


class Trace:
    """What `record` saw, layer by layer in the order in which they run; printed, an aligned table.

    `trace["name"]` is the statistics of one layer, `trace.history("name", "std")` one number a recorded step,
    `trace.steps` the number of recorded steps. Numbers are moved off the device when they are first read.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from convcraft.diagnostics import record
        >>> with record(nn.Sequential(nn.Linear(3, 4), nn.Tanh())) as trace:
        ...     pass
        >>> len(trace), trace.steps
        (0, 0)

    Chapter 10.
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
        if name not in found:
            raise unknown("layer", name, found)
        return found[name]

    def history(self, name: str, quantity: str = "std") -> list[float]:
        """One number a recorded step: "mean", "std", "zeros", "saturated", "gradient", "weight_gradient" or
        "update"; NaN where a step has none.

        Raises:
            ConvcraftError: for a layer or quantity that is not known.
        """
        if quantity not in QUANTITIES:
            raise unknown("quantity", quantity, QUANTITIES)
        self[name]
        return self._source.history(name, quantity)

    def plot(self, quantity: str = "std", *, alt: str | None = None, theme: str = "light") -> Chart:
        """Draw a quantity of every layer against the recorded step.

        Raises:
            ConvcraftError: for a quantity that is not known, and where nothing was recorded.
        """
        series = {}
        for layer in self.layers:
            values = self.history(layer.name, quantity)
            if any(math.isfinite(v) for v in values):
                series[layer.name or "(model)"] = values
        if not series:
            raise ConvcraftError(
                f"plot: quantity must have been recorded, got {quantity!r}, of which there is nothing; run "
                "the model inside the with block, and for gradients its backward pass too"
            )
        alt = alt or f"The {quantity} of {len(series)} layers over {self.steps} recorded steps."
        return steps_chart(series, quantity, alt, theme)

    def __str__(self) -> str:
        return table_text(HEADINGS, [row(layer) for layer in self.layers])

    def __repr__(self) -> str:
        return f"<Trace: {len(self)} layers, {self.steps} steps>"

    def _repr_html_(self) -> str:
        return table_html(HEADINGS, [row(layer) for layer in self.layers])
