"""Finds the first operation whose result is not finite although its arguments are."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .._batch import Batch
from .._trace import tensors
from .hooks import LayerCall, Observer, Watcher

#: Functions that put an infinity where one is wanted, as a mask.
_MASKS = {"masked_fill", "where", "full", "full_like", "fill", "triu", "tril", "setitem", "new_full"}


@dataclass(frozen=True)
class NonFinite:
    """Where the first value that is NaN or infinite appears, and of what kind it is."""

    layer: str
    what: str
    kind: str  # "NaN" or "infinity"


def not_finite(tensor: Tensor) -> str:
    """Which of "NaN" and "infinity" a tensor holds."""
    return "NaN" if bool(torch.isnan(tensor).any()) else "infinity"


class _Finite(Observer):
    """Remembers the first result that is not finite while every argument is."""

    def __init__(self) -> None:
        self.found: NonFinite | None = None

    def layer(self, call: LayerCall, inputs: Any, output: Tensor) -> None:
        self._look(call.name, "the output", inputs, output)

    def function(self, name: str, path: str, inputs: Any, output: Any) -> None:
        if name not in _MASKS:
            self._look(path, f"the result of {name}", inputs, output)

    def _look(self, layer: str, what: str, inputs: Any, output: Any) -> None:
        if self.found is not None:
            return
        made = [t for t in tensors(output) if t.is_floating_point() and not bool(torch.isfinite(t).all())]
        given = (t for t in tensors(inputs) if t.is_floating_point())
        if made and all(bool(torch.isfinite(t).all()) for t in given):
            self.found = NonFinite(layer, what, not_finite(made[0]))


def locate(model: nn.Module, batch: Batch) -> NonFinite | None:
    """Where the first NaN or infinity of a forward pass appears; None when it has none."""
    observer = _Finite()
    with Watcher(model, observer, every_function=True), torch.no_grad():
        batch(model)
    return observer.found
