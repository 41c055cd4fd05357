"""What is known of a model before anything is judged: statistics, gradients, losses, modes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import nn

from .._graph import Graph
from ._examine import InputFacts, NormFacts
from ._losses import LossCall
from ._modes import ModeFacts
from .trace import LayerStatistics


@dataclass(frozen=True)
class GradientFacts:
    """The gradient of one parameter over all batches."""

    name: str
    given: bool  # whether backward reached it at all
    norm: float
    size: float  # norm of the parameter


@dataclass(frozen=True)
class NonFinite:
    """Where the first value that is NaN or infinite appears, and of what kind it is."""

    layer: str
    what: str
    kind: str  # "NaN" or "infinity"


@dataclass
class Evidence:
    """Everything that the checks look at; `model` is the user's own, to be read and not to be touched."""

    model: nn.Module
    optimizer: Any
    graph: Graph | None
    layers: tuple[LayerStatistics, ...] = ()
    loss: float | None = None
    loss_calls: list[LossCall] = field(default_factory=list)
    gradients: list[GradientFacts] = field(default_factory=list)
    inputs: list[InputFacts] = field(default_factory=list)
    norms: list[NormFacts] = field(default_factory=list)
    examples: int = 0
    batch_size: int = 0
    modes: ModeFacts | None = None
    nonfinite: NonFinite | None = None
    trained: bool = False
    frozen: set[str] = field(default_factory=set)  # modules that model.train() leaves in evaluation mode
    failure: str | None = None  # why the pass in training mode could not be made
    skipped: list[str] = field(default_factory=list)

    @property
    def uniform_loss(self) -> float | None:
        """The loss of a uniform guess, where one loss with classes was computed."""
        calls = [c for c in self.loss_calls if c.name in ("cross_entropy", "nll_loss")]
        return calls[0].uniform if len(calls) >= 1 else None

    def weight_layers(self) -> list[LayerStatistics]:
        """Layers with weights that the data passed through."""
        return [layer for layer in self.layers if layer.role == "weights" and layer.std is not None]

    def activations(self) -> list[LayerStatistics]:
        """Activations that are neither gates nor read-outs."""
        readouts = ("softmax", "log_softmax", "softmin", "logsigmoid", "glu")
        return [
            layer
            for layer in self.layers
            if layer.role == "activation" and not layer.gate and layer.kind not in readouts
        ]
