"""Compares what a model computes in training and in evaluation mode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .._batch import Batch
from .._restore import seed_all
from .._trace import tensors
from . import thresholds
from .hooks import LayerCall, Watcher

#: Functions of torch with an argument that switches their randomness or their statistics; its place.
_SWITCHED: dict[Any, int] = {
    F.dropout: 2,
    F.dropout1d: 2,
    F.dropout2d: 2,
    F.dropout3d: 2,
    F.alpha_dropout: 2,
    F.feature_alpha_dropout: 2,
    F.rrelu: 3,
    F.batch_norm: 5,
    torch.dropout: 2,
    torch.feature_dropout: 2,
    torch.alpha_dropout: 2,
}


@dataclass(frozen=True)
class ModeFacts:
    """Relative differences of outputs, and the first layer where they appear.

    `unexplained`: training against evaluation with dropout and batch normalization switched off in both;
    `random`: evaluation against evaluation.
    """

    unexplained: float | None = None
    unexplained_layer: str = ""
    random: float | None = None
    random_layer: str = ""


class _Outputs:
    """An observer that keeps what every layer returned."""

    def __init__(self) -> None:
        self.values: dict[str, Tensor] = {}

    def begin(self) -> bool:
        return True

    def end(self) -> None:
        pass

    def layer(self, call: LayerCall, inputs: Any, output: Tensor) -> None:
        self.values[call.name] = output.detach().clone()

    def function(self, name: str, path: str, inputs: Any, output: Any) -> None:
        pass


class _Still(TorchFunctionMode):
    """Calls dropout and batch normalization as evaluation does."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        try:
            place = _SWITCHED.get(func)
        except TypeError:
            place = None
        if place is not None:
            if len(args) > place:
                args = (*args[:place], False, *args[place + 1 :])
            else:
                name = (
                    "train"
                    if func in (torch.dropout, torch.feature_dropout, torch.alpha_dropout)
                    else "training"
                )
                kwargs[name] = False
        return func(*args, **kwargs)


def known_to_differ(module: nn.Module) -> bool:
    """Whether a module is one of those that differ between the modes by their nature."""
    name = type(module).__name__.lower()
    if any(part in name for part in ("drop", "norm", "stochasticdepth", "rrelu")):
        return True
    if isinstance(module, nn.RNNBase | nn.MultiheadAttention):
        return True
    return type(module).__module__.startswith("convcraft.") and not any(module.children())


def _run(model: nn.Module, batch: Batch, seed: int, *, still: bool) -> tuple[Any, dict[str, Tensor]]:
    """One pass: what the model returns, and what its layers do."""
    outputs = _Outputs()
    watcher = Watcher(model, outputs)
    seed_all(model, seed)
    watcher.attach()
    try:
        with torch.no_grad():
            if still:
                with _Still():
                    result = batch(model)
            else:
                result = batch(model)
    finally:
        watcher.detach()
    return result, outputs.values


def compare_modes(model: nn.Module, batch: Batch) -> ModeFacts:
    """Run a copy of the model in both modes; leaves it in evaluation mode."""
    model.eval()
    first, layers = _run(model, batch, 0, still=False)
    second, again = _run(model, batch, 1, still=False)
    random = difference(first, second)
    place = _first_difference(layers, again) if random else ""
    still, layers = _run(model, batch, 0, still=True)
    model.train()
    for module in model.modules():
        if known_to_differ(module):
            module.eval()
    trained, again = _run(model, batch, 0, still=True)
    unexplained = difference(still, trained)
    if unexplained:  # a model that samples in training mode, as a variational autoencoder, may do so
        noise = difference(trained, _run(model, batch, 1, still=True)[0])
        if noise is not None and unexplained <= thresholds.SAMPLING * noise:
            unexplained = None
    return ModeFacts(unexplained, _first_difference(layers, again) if unexplained else "", random, place)


def difference(a: Any, b: Any) -> float | None:
    """Norm of the difference over the norm, of the first floating-point tensor in each; None for other "
    "shapes."""
    x, y = (next((t for t in tensors(value) if t.is_floating_point()), None) for value in (a, b))
    if x is None or y is None or x.shape != y.shape:
        return None
    x, y = x.detach().float(), y.detach().float()
    if not bool(torch.isfinite(x).all() and torch.isfinite(y).all()):
        return None
    size = float(torch.linalg.vector_norm(x)) or 1.0
    return float(torch.linalg.vector_norm(x - y)) / size


def _first_difference(a: dict[str, Tensor], b: dict[str, Tensor]) -> str:
    for name, value in a.items():
        apart = difference(value, b[name]) if name in b else None
        if apart is not None and apart > thresholds.OUTPUT_TOLERANCE:
            return name
    return ""
