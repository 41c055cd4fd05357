"""Compares what a model computes in training and in evaluation mode."""

from contextlib import nullcontext
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
from .hooks import LayerCall, Observer, Watcher

#: Functions of torch with an argument that switches their randomness or statistics, and its position.
_TRAIN = (torch.dropout, torch.feature_dropout, torch.alpha_dropout)  # these call it train
_TRAINING = (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout)
_SWITCHED: dict[Any, int] = {**dict.fromkeys((*_TRAIN, *_TRAINING), 2), F.rrelu: 3, F.batch_norm: 5}

#: Functions that draw the mask of a handwritten dropout.
_MASKS = {"bernoulli", "bernoulli_", "rand", "rand_like", "uniform_"}


@dataclass(frozen=True)
class ModeFacts:
    """Relative differences of outputs, and the first layer where they appear.

    `unexplained`: training against evaluation with dropout and batch normalization switched off in both;
    `random`: evaluation against evaluation; `noise`: whether samples of a distribution cause that difference
    rather than dropout.
    """

    unexplained: float | None = None
    unexplained_layer: str = ""
    random: float | None = None
    random_layer: str = ""
    noise: bool = False


class _Outputs(Observer):
    """Keeps what every layer returned."""

    def __init__(self) -> None:
        self.values: dict[str, Tensor] = {}

    def layer(self, call: LayerCall, inputs: Any, output: Tensor) -> None:
        self.values[call.name] = output.detach().clone()


class _Still(TorchFunctionMode):
    """Calls dropout and batch normalization as evaluation does; notes whether something draws a mask."""

    masks = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        self.masks = self.masks or getattr(func, "__name__", "") in _MASKS
        try:
            place = _SWITCHED.get(func)
        except TypeError:
            place = None
        if func is F.batch_norm and (args[1] if len(args) > 1 else kwargs.get("running_mean")) is None:
            place = None  # it standardizes a weight, or the batch in either mode
        if place is not None:
            if len(args) > place:
                args = (*args[:place], False, *args[place + 1 :])
            else:
                kwargs["train" if func in _TRAIN else "training"] = False
        return func(*args, **kwargs)


def known_to_differ(module: nn.Module) -> bool:
    """Whether a module is one of those that differ between the modes by nature."""
    name = type(module).__name__.lower()
    if any(part in name for part in ("drop", "norm", "stochasticdepth", "rrelu")):
        return True
    if any("norm" in type(hook).__name__.lower() for hook in module._forward_pre_hooks.values()):
        return True  # torch.nn.utils.spectral_norm, which iterates in training
    if isinstance(module, nn.RNNBase | nn.MultiheadAttention):
        return True
    return type(module).__module__.startswith("convcraft.") and not any(module.children())


def _run(model: nn.Module, batch: Batch, seed: int, *, still: bool) -> tuple[Any, dict[str, Tensor]]:
    """One pass: what the model returns, and what its layers do."""
    outputs = _Outputs()
    seed_all(model, seed)
    with Watcher(model, outputs), torch.no_grad(), _Still() if still else nullcontext():
        return batch(model), outputs.values


def compare_modes(model: nn.Module, batch: Batch) -> ModeFacts:
    """Run the model in both modes; leaves it in training mode, but for what is known to differ."""
    model.eval()
    first, layers = _run(model, batch, 0, still=False)
    second, again = _run(model, batch, 1, still=False)
    random = difference(first, second)
    place = _first_difference(layers, again) if random else ""
    with _Still() as watch:
        still, layers = _run(model, batch, 0, still=True)
    apart = difference(still, _run(model, batch, 1, still=True)[0]) if random else 0.0
    sampled = not watch.masks and (apart or 0.0) > thresholds.OUTPUT_TOLERANCE
    model.train()
    for module in model.modules():
        if known_to_differ(module):
            module.eval()
    trained, again = _run(model, batch, 0, still=True)
    unexplained = difference(still, trained)
    if unexplained:  # a model that samples in training mode, such as a variational autoencoder, may do so
        noise = difference(trained, _run(model, batch, 1, still=True)[0])
        if noise is not None and unexplained <= thresholds.SAMPLING * noise:
            unexplained = None
    where = _first_difference(layers, again) if unexplained else ""
    return ModeFacts(unexplained, where, random, place, sampled)


def difference(a: Any, b: Any) -> float | None:
    """Relative norm of the difference of the first floating-point tensors; None unless comparable and finite."""
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
