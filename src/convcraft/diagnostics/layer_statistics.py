"""The statistics of one layer, and their line in a table."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from .._table import number, share

__all__ = ["LayerStatistics"]


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
        update: norm of one step's change of the weights over their norm before it, mean over the steps; one
            from zero does not count.
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
