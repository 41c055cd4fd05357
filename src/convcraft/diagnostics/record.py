"""Watch a model at work: statistics of every layer, without changing anything."""

import functools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from .._checks import check_choice, check_count
from .hooks import LayerCall, Observer, Watcher, check_model
from .layer_statistics import LayerStatistics
from .running_stats import FOLD, ExactTally, Series, Tally, root_mean_square, wide
from .trace import Trace

LAYERS = ("all", "activations")
_SAMPLE = 1 << 16  # at most this many entries of a weight are used to measure its update


@contextmanager
def record(
    model: nn.Module,
    *,
    every: int = 1,
    layers: str = "all",
    functional: bool = True,
    gradients: bool = True,
    updates: bool = True,
) -> Iterator[Trace]:
    r"""Collect statistics of every layer while the model is used inside the `with` block.

    Formula: per layer the mean :math:`m = \sum y / n`, the standard deviation :math:`\sqrt{\sum y^2 / n - m^2}`, the
    share of zeros, the units that are zero on everything seen, the share of saturated values, the norm of the gradient
    at the output and at the weights, and the update ratio :math:`\lVert \Delta W \rVert / \lVert W \rVert` of each
    step. Every number is a sum, a `vector_norm` or a `sign().sum()` that stays on the device until somebody reads it.

    Activations that are called as functions (`F.relu`, `torch.tanh`, `x.relu()`) are seen as well as modules;
    a module that is called several times in a pass has one entry per call. Weights, buffers, gradients, random
    state and mode stay as they are, and the hooks go when the block ends, even by an exception.

    Every layer at every step is the default: activations, layers with weights and normalizations, not
    pooling, dropout and reshaping. In a training loop use `every=10`, or `every=50` where a step takes less
    than some 3 ms, since a recorded pass costs about a millisecond of Python however small the layers are. On
    one CPU thread (AMD EPYC) `every=10` added 3 % to steps of 35 ms, `every=50` 7 % to steps of 1.5 ms, and
    every step 13 and 70 %; `python -m convcraft bench diagnostics` measures it. `layers="activations"` leaves
    out what the other layers return. Shares of zeros and of saturation are counted on the leading 16,384
    values of a batch, and update ratios on the leading rows of a weight with more than 65,536 entries.

    Args:
        model: the module whose forward pass is to be watched; a part of it may be called on its own.
        every: record one of so many forward passes; 1 records all.
        layers: "all", or "activations" for the values of activations only.
        functional: whether to see activations that are called as functions.
        gradients: whether to measure gradients, in the backward passes of recorded forward passes.
        updates: whether to measure update ratios, which needs a copy of the weights.

    Raises ConvcraftError when model is not a module or is compiled, every is below 1, or layers is unknown. Source:
    Karpathy (2015), CS231n notes on neural networks 3, for the update ratio; Glorot and Bengio (2010), Understanding
    the difficulty of training deep feedforward neural networks, for the rest. Chapter: Combining.

    >>> _ = torch.manual_seed(0)
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> with record(model) as trace:
    ...     for _ in range(3):
    ...         model(torch.randn(16, 4)).sum().backward()
    >>> [layer.name for layer in trace], trace.steps, 0 < trace["1"].zeros < 1
    (['0', '1', '2'], 3, True)
    """
    check_model(model, "record")
    check_count("record", "every", every)
    check_choice("record", "layers", layers, LAYERS)
    recorder = LayerRecorder(model, every=every, layers=layers, gradients=gradients, updates=updates)
    roles = None if layers == "all" else frozenset({"activation", "weights"})
    try:
        with Watcher(model, recorder, functional=functional, roles=roles):
            yield Trace(recorder)
    finally:
        recorder.detach()


class LayerRecorder(Observer):
    """Gathers what a watcher reports into one tally per layer."""

    def __init__(
        self,
        model: nn.Module,
        *,
        every: int = 1,
        layers: str = "all",
        gradients: bool = True,
        updates: bool = True,
        exact: bool = False,
    ) -> None:
        self.model, self.every, self.all = model, every, layers == "all"
        self.gradients, self.updates, self.exact = gradients, updates, exact
        self.tallies: dict[str, Tally] = {}
        self.weights = owned_weights(model)
        self.slopes = {name: [Series() for _ in owned] for name, owned in self.weights.items()}
        self.ratios = {name: Series() for name in self.weights}
        self.steps = self.passes = 0
        self.sampled = False
        self.before: list[Tensor] | None = None
        self.copies: list[Tensor] = []
        self.hooks: list[Any] = []

    def detach(self) -> None:
        """Remove the hooks, and measure the last step."""
        self._forget_weights()
        self._measure()
        self.copies = []
        self.gradients = self.updates = False  # hooks on tensors that outlive the block do nothing more

    def _forget_weights(self) -> None:
        for hook in self.hooks:
            hook.remove()
        self.hooks.clear()

    def _keep_slope(self, series: Series, parameter: Tensor) -> None:
        grad = parameter.grad
        if self.sampled and grad is not None and not grad.is_sparse:
            series.append(self.steps, torch.linalg.vector_norm(grad, dtype=wide(grad.dtype)))

    # what a watcher calls

    def begin(self) -> bool:
        self._measure()
        # move the longest of the waiting series off the device: at most one wait per pass
        series = [*self.ratios.values(), *(s for each in self.slopes.values() for s in each)]
        waiting: list[Series | Tally] = [*series, *self.tallies.values()]
        waiting += [tally.slopes for tally in self.tallies.values()]
        longest = max(waiting, key=len, default=None)
        if longest is not None and len(longest) >= FOLD:
            longest.fold()
        self.sampled = self.passes % self.every == 0
        self.passes += 1
        if not (self.sampled and self.gradients):
            self._forget_weights()
        elif not self.hooks:  # on the weights, which run once their gradient is there
            for name, owned in self.weights.items():
                for parameter, slopes in zip(owned, self.slopes[name], strict=True):
                    if parameter.requires_grad and parameter.is_leaf:
                        keep = functools.partial(self._keep_slope, slopes)
                        self.hooks.append(parameter.register_post_accumulate_grad_hook(keep))
        if self.sampled:
            self.steps += 1
            if self.weights and self.updates and self.model.training and torch.is_grad_enabled():
                weights = self._samples()
                self.copies = self.copies or [torch.empty_like(weight) for weight in weights]
                with torch.no_grad():
                    torch._foreach_copy_(self.copies, weights)
                self.before = self.copies
        return self.sampled

    def layer(self, call: LayerCall, inputs: Any, output: Tensor) -> None:
        if call.role == "other" or (not self.all and call.role != "activation"):
            return
        tally = self.tallies.get(call.name)
        if tally is None:
            tally = self.tallies[call.name] = (ExactTally if self.exact else Tally)(call)
        tally.add(output.detach(), self.steps)
        if self.gradients and output.requires_grad:
            step = self.steps
            output.register_hook(lambda slope: tally.gradient(slope, step) if self.gradients else None)

    # update ratios

    def _samples(self) -> list[Tensor]:
        """The leading rows of every weight, all of them where the ratio is to be exact."""
        weights = [p.detach() for owned in self.weights.values() for p in owned]
        if self.exact:
            return weights
        return [w[: max(1, _SAMPLE * len(w) // w.numel())] if w.numel() > _SAMPLE else w for w in weights]

    @torch.no_grad()
    def _measure(self) -> None:
        """The change of the weights since the recorded pass; a pass after which none changed has no ratio."""
        before, self.before = self.before, None
        if not before:
            return
        weights = self._samples()
        size = torch._foreach_norm(before)
        torch._foreach_sub_(before, weights)
        change = torch._foreach_norm(before)
        place = 0
        for name, owned in self.weights.items():
            part = slice(place, place + len(owned))
            place += len(owned)
            if len(owned) == 1:
                pair = torch.stack([change[part][0], size[part][0]])
            else:
                pair = torch.stack([torch.linalg.vector_norm(torch.stack(norms[part])) for norms in (change, size)])
            self.ratios[name].append(self.steps, pair)

    # reading

    def update_ratios(self, name: str) -> dict[int, float]:
        """step -> ratio, without the steps in which nothing moved; infinite for a step from zero."""
        series = self.ratios.get(name)
        rows = series.fold() if series is not None else []
        return {step: change / size if size else math.inf for step, (change, size) in rows if change != 0}

    def weight_gradients(self, name: str) -> dict[int, float]:
        """step -> norm of the gradient of a module's weights."""
        squares: dict[int, float] = {}
        for series in self.slopes.get(name, ()):
            last = {step: value for step, (value,) in series.fold()}  # the last of the accumulated gradients
            for step, value in last.items():
                squares[step] = squares.get(step, 0.0) + value**2
        return {step: math.sqrt(value) for step, value in squares.items()}

    def statistics(self) -> list[LayerStatistics]:
        """One entry per tally, and one for each module with weights that has none."""
        layers = {name: tally.statistics() for name, tally in list(self.tallies.items())}
        for name in self.weights if self.steps else ():
            layers.setdefault(name, LayerStatistics(name, "weights", "weights"))
        for name, layer in layers.items():
            ratios = [ratio for ratio in self.update_ratios(name).values() if ratio != math.inf]
            update = sum(ratios) / len(ratios) if ratios else None
            slope = root_mean_square(list(self.weight_gradients(name).values()))
            layers[name] = replace(layer, update=update, weight_gradient=slope)
        found = layers.values()
        return [x for x in found if x.seen or {x.mean, x.update, x.weight_gradient} != {None}]

    def history(self, name: str, quantity: str) -> list[float]:
        """One number per recorded step."""
        if quantity == "update":
            found = self.update_ratios(name)
        elif quantity == "weight_gradient":
            found = self.weight_gradients(name)
        else:
            found = self.tallies[name].history(quantity) if name in self.tallies else {}
        return [found.get(step, math.nan) for step in range(1, self.steps + 1)]


def owned_weights(model: nn.Module) -> dict[str, list[Tensor]]:
    """Each module's own parameters with two dimensions or more, each parameter once."""
    found: dict[str, list[Tensor]] = {}
    seen: set[int] = set()
    for name, module in model.named_modules():
        own = [p for p in module.parameters(recurse=False) if not isinstance(p, nn.UninitializedParameter)]
        own = [p for p in own if id(p) not in seen and p.dim() > 1 and p.is_floating_point()]
        seen.update(id(p) for p in own)
        if own:
            found[name] = own
    return found
