"""The statistics of one layer, and their line in a table."""

from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from .._table import number, share


@dataclass(frozen=True)
class LayerStatistics:
    """Statistics of one call of one layer or activation, over all the data that was recorded."""

    #: qualified name of the module; for a functional activation, the module that calls it and its name; from
    #: the second call in a pass on, with ":2", ":3" and so on
    name: str
    kind: str  #: "relu", "tanh", "linear", "convolution", "normalization", ...
    role: str  #: "activation", "weights" or "normalization"
    units: int = 0  #: channels or features; 0 where the values have no units
    seen: int = 0  #: values seen of each unit
    mean: float | None = None  #: of all values, as `std`
    std: float | None = None
    #: standard deviation within a unit, averaged over the units; only `diagnose` measures it
    signal: float | None = None
    zeros: float | None = None  #: share of values that are exactly zero; for activations
    #: share of units that were zero on everything seen; for activations with a flat piece at zero
    dead: float | None = None
    dead_units: tuple[int, ...] = ()  #: which
    #: share of values so near a limit that the slope is below a twentieth of the largest; for activations with
    #: two limits
    saturated: float | None = None
    #: norm of the loss's gradient at the output, root mean square over the steps
    gradient: float | None = None
    weight_gradient: float | None = None  #: norm of the loss's gradient at the weights, likewise
    #: norm of one step's change of the weights over their norm before it, mean over the steps; a step from
    #: zero does not count
    update: float | None = None
    finite: bool = True  #: whether every value was
    gate: bool = False  #: whether something was multiplied by the activation's values

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**asdict(self), "dead_units": list(self.dead_units)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The inverse of `as_dict`; unknown entries are left out."""
        known = {f.name for f in fields(cls)}
        kept = {k: v for k, v in values.items() if k in known}
        return cls(**{**kept, "dead_units": tuple(kept.get("dead_units", ()))})


HEADINGS = ("layer", "kind", "mean", "std", "zeros", "dead", "saturated", "gradient", "update")


def row(layer: LayerStatistics) -> tuple[str, ...]:
    """One line of the table of layers."""
    spread = map(number, (layer.mean, layer.std))
    shares = map(share, (layer.zeros, layer.dead, layer.saturated))
    slope = layer.gradient if layer.gradient is not None else layer.weight_gradient
    return layer.name or "(model)", layer.kind, *spread, *shares, number(slope), number(layer.update)
