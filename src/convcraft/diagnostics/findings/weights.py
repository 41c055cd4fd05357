"""The weights themselves: constant ones, copies of one another, and those that do not suit the activation."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from ..._table import number
from ..._trace import Layer, kinds
from .. import thresholds
from ..evidence import Evidence
from ..finding import Finding
from .catalogue import find

_KINDS = ("linear", "convolution")


def constant(evidence: Evidence) -> Iterator[Finding]:
    """Weights that are all equal, or whose units are copies of one another."""
    names = {id(module): name for name, module in reversed(list(evidence.model.named_modules()))}
    for module in evidence.model.modules():
        # parameters of other modules, a scale or a decay, may be equal on purpose
        if kinds.layer_kind(module) in (None, "normalization", "embedding"):
            continue
        for key, weight in module.named_parameters(recurse=False):
            if weight.dim() < 2 or not weight.requires_grad or isinstance(weight, nn.UninitializedParameter):
                continue
            if not key.startswith("weight") and weight.numel() == max(weight.shape):
                continue  # a scale for each unit
            if weight.is_sparse or min(weight.shape[0], weight.numel() // max(1, weight.shape[0])) < 1:
                continue
            found = _judge_constant(evidence, names[id(module)], module, key, weight.detach())
            if found is not None:
                yield found


def _judge_constant(evidence: Evidence, name: str, module: nn.Module, key: str, weight: Tensor) -> Finding | None:
    rows = (torch.view_as_real(weight) if weight.is_complex() else weight).flatten(1).float()
    largest = float(rows.abs().max())
    if largest == 0:
        # harmless where it gets a gradient, at once or when the layers around it have moved
        parameter = f"{name}.{key}".lstrip(".")
        fact = {fact.name: fact for fact in evidence.gradients}.get(parameter)
        if fact is not None:
            learns = fact.norm > 0 or parameter in evidence.revived
            severity = "note" if learns or name in evidence.unfed else "severe"
        else:
            layer = {layer.name: layer for layer in evidence.graph or ()}.get(name)
            severity = "note" if layer is not None and (layer.output or layer.residual) else "severe"
        how = "all zero"
    elif len(rows) > 1 and getattr(module, "groups", 1) == 1:
        apart = float((rows - rows[:1]).abs().max())
        if apart > thresholds.SYMMETRIC * largest:
            return None
        severity = "severe"
        even = float(rows.max() - rows.min()) <= thresholds.SYMMETRIC * largest
        how = f"all {number(float(rows[0, 0]))}" if even else "the same for every unit"
    else:
        return None
    if not math.isfinite(largest):
        return None
    message = f"The {len(rows)} x {rows.shape[1]} entries of {key} are {how}."
    if severity == "note":
        message += " They learn; at the end of a residual branch or of the network that is meant."
    return find("constant-weights", severity, name, message, units=len(rows), largest=largest)


def mismatch(evidence: Evidence) -> Iterator[Finding]:
    """The factor by which the variance map predicts signal and gradient to change, chain by chain."""
    if evidence.trained or evidence.graph is None or evidence.graph.branches:
        return
    for chain in _chains(evidence):
        forward, backward, gains = _predict(chain)
        away = max(forward, 1 / forward, backward, 1 / backward)
        if away < thresholds.MISMATCH_WARNING:
            continue
        first = chain[0]
        assert first.activation is not None
        try:
            wanted = 1 / max(_second_moments(first, 1.0)[0], 1e-12)
        except Exception:  # an activation that does not take a row of numbers
            wanted = math.nan
        message = (
            f"Over {len(chain)} layers from {first.name} to {chain[-1].name} the weights' variance times the fan-in is "
            f"{number(gains)} in the geometric mean; {first.activation.name} keeps the signal at {number(wanted)}. "
            f"Predicted factors: {number(forward)} for the signal, {number(backward)} for its gradient."
        )
        numbers = {"forward": forward, "backward": backward, "gain": gains, "wanted": wanted}
        severe = away >= thresholds.DRIFT_SEVERE
        yield find("initialization-mismatch", severe, first.name, message, **numbers)


def _chains(evidence: Evidence) -> Iterator[list[Layer]]:
    """Runs of hidden layers with an activation and without normalization."""
    assert evidence.graph is not None
    own = dict(evidence.model.named_modules())  # the graph is of a copy, whose weights have taken a step
    chain: list[Layer] = []
    for found in evidence.graph:
        layer = replace(found, module=own.get(found.name, found.module))
        usable = layer.kind in _KINDS and layer.calls == 1 and not layer.output and not layer.normalization
        fed = {o.name for o in evidence.graph.behind(layer.index) if o.kind == "layer"} if usable else set()
        weighted = isinstance(getattr(layer.module, "weight", None), Tensor)
        hidden = usable and weighted and layer.activation is not None and layer.activation.name != "softmax"
        if chain and not (hidden and fed == {chain[-1].name}):  # it branches off, or is not of this kind
            if len(chain) > 1:
                yield chain
            chain = []
        if hidden:
            chain.append(layer)
    if len(chain) > 1:
        yield chain


_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(80)
_Z = torch.from_numpy(_NODES)
_P = torch.from_numpy(_WEIGHTS / math.sqrt(2 * math.pi))


def _second_moments(layer: Layer, q: float) -> tuple[float, float]:
    """E f(z)^2 and E f'(z)^2 for a normal z of variance q."""
    assert layer.activation is not None
    with torch.enable_grad():
        z = (_Z * math.sqrt(q)).requires_grad_(True)
        value = layer.activation.function(z)
        (slope,) = torch.autograd.grad(value.sum(), z, allow_unused=True)
    squared = float((_P * value.detach() ** 2).sum())
    return squared, float((_P * slope**2).sum()) if slope is not None else 0.0


def _predict(chain: list[Layer]) -> tuple[float, float, float]:
    """Factors of the standard deviation forward and of the gradient backward; geometric mean of the gains."""
    q, chi, gains = 1.0, 1.0, 1.0
    square = 1.0  # mean square of what the layer is fed
    start = None
    for layer in chain:
        weight, bias = layer.module.weight.detach().double(), getattr(layer.module, "bias", None)  # type: ignore[operator]
        gain = float(weight.square().mean()) * weight[0].numel()
        gains *= max(gain, 1e-300) ** (1 / len(chain))
        q = gain * square
        if isinstance(bias, Tensor):
            q += float(bias.detach().double().square().mean())
        if not math.isfinite(q) or q <= 0:
            return 1.0, 1.0, gains
        start = q if start is None else start
        try:
            square, slope = _second_moments(layer, q)
        except Exception:  # an activation that does not take a row of numbers
            return 1.0, 1.0, gains
        if layer is not chain[0]:
            chi *= gain
        if layer is not chain[-1]:
            chi *= slope
    assert start is not None
    return math.sqrt(q / start), math.sqrt(max(chi, 1e-300)), gains


ALWAYS = (constant,)
CHECKS = (mismatch,)
