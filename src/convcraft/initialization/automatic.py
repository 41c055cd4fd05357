"""Initialize a whole model: for each layer the scheme and gain of the activation that follows it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter

from .._checks import check_generator
from .._graph import Graph, Layer, successors
from .._table import Table
from ..activations import catalog
from ..errors import ConvcraftError, unknown
from . import _special
from .gains import calculate_gain
from .scaled import (
    delta_orthogonal_,
    kaiming_normal_,
    kaiming_uniform_,
    lecun_normal_,
    lecun_uniform_,
    orthogonal_,
    xavier_normal_,
    xavier_uniform_,
)

__all__ = ["Assignment", "Assignments", "initialize"]

SCHEMES = (
    "auto",
    *(f"{name}_{kind}" for name in ("kaiming", "lecun", "xavier") for kind in ("normal", "uniform")),
    "orthogonal",
    "delta_orthogonal",
)
_WEIGHTED = ("linear", "convolution", "transposed", "other")
#: Activations with parameters for each channel, and the plain one that they start as or near to.
_START = {"dynamic_relu": "relu", "frelu": "relu", "acon_c": "silu", "meta_acon_c": "silu", "rrelu": "relu"}


@dataclass(frozen=True)
class Assignment:
    """What `initialize` did to one layer; `scheme` is "kept" for what it left alone."""

    layer: str
    kind: str
    activation: str
    scheme: str
    gain: float
    std: float  # of the weight as it is now
    note: str = ""


class Assignments(Table[Assignment]):
    """A list of `Assignment`, in the order in which the layers run; printed, an aligned table."""

    headings = ("layer", "kind", "activation", "scheme", "gain", "std", "note")

    def cells(self, row: Assignment) -> tuple[str, ...]:
        numbers = ("" if math.isnan(value) else f"{value:.4g}" for value in (row.gain, row.std))
        return row.layer, row.kind, row.activation, row.scheme, *numbers, row.note


def initialize(
    model: nn.Module,
    scheme: str = "auto",
    *,
    generator: torch.Generator | None = None,
    example: Any = None,
    residual: Literal["zero", "scale", "none"] = "zero",
) -> Assignments:
    r"""Initialize every layer of a model by the activation that follows it, and say what was done.

    Formula: with the gain g of the activation (`calculate_gain`) and the fans of the layer (`fans`), "auto"
    draws the weight from a normal distribution of variance

    - :math:`g^2 / \text{fan}_{in}` (Kaiming) before ReLU and what resembles it,
    - :math:`2 g^2 / (\text{fan}_{in} + \text{fan}_{out})` (Xavier) before tanh, sigmoid and their like,
    - :math:`1 / \text{fan}_{in}` (LeCun) before SELU, for output layers and where no activation follows.

    Biases become 0, weights of normalizations 1 and running statistics new. Recurrent layers get Xavier for
    the input, an orthogonal matrix for each gate's recurrent weight, and forget biases of 1; attention
    Xavier for query, key and value; embeddings N(0, 1). What belongs to no layer is kept: learned
    activations, position embeddings, tokens. A weight that two layers share is drawn once.

    A residual branch ends, with residual="zero", in a zero: the weight of the normalization at its end, or
    of its last layer where there is none, so that each block starts as its shortcut. With "scale" that
    weight is multiplied by :math:`1 / \sqrt L` for L branches instead, so that the variance of the sum grows
    by a constant factor at most, whatever the depth.

    Args:
        model: any module. Where `torch.fx` cannot trace it, it is run on the example; without an example the
            order of registration decides, and functional activations are not seen.
        scheme: "auto", or one for all: "kaiming_normal", "kaiming_uniform", "lecun_normal", "lecun_uniform",
            "xavier_normal", "xavier_uniform", "orthogonal", or "delta_orthogonal" (convolutions with enough
            output channels; "orthogonal" for the others).
        generator: source of all random numbers, on the model's device; torch's own by default.
        example: what the model is called with: a tensor, a tuple of positional or a mapping of keyword
            arguments.
        residual: "zero", "scale" or "none" (branches as any other layer).

    Returns:
        A list of `Assignment` that prints as a table.

    Raises:
        ConvcraftError: before anything is changed, when the model has no layers or uninitialized ones, runs
            neither under `torch.fx` nor on the example, the scheme or residual is not known, or the generator
            is elsewhere.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10))
        >>> for row in initialize(model):
        ...     print(row.layer, row.activation, row.scheme, round(row.gain, 4))
        0 relu kaiming_normal 1.4142
        3 output lecun_normal 1.0

    Source: He, Zhang, Ren and Sun (2015), Delving Deep into Rectifiers, for the variances; Goyal et al.
    (2017), Accurate, Large Minibatch SGD, for the zero weight of the last normalization; Zhang, Dauphin and
    Ma (2019), Fixup Initialization, for the zero last layer and scales that depend on the number of branches;
    Jozefowicz, Zaremba and Sutskever (2015), An Empirical Exploration of Recurrent Network Architectures, for
    the forget bias. Chapter 4.
    """
    if scheme not in SCHEMES:
        raise unknown("value of initialize's argument scheme", scheme, SCHEMES)
    if residual not in ("zero", "scale", "none"):
        raise unknown("value of initialize's argument residual", residual, ("zero", "scale", "none"))
    graph = successors(model, example)
    if not len(graph):
        raise ConvcraftError(
            "initialize: model must have layers, found none; pass the model that holds them, "
            "or fill a single parameter by kaiming_normal_ and its like"
        )
    for name, parameter in model.named_parameters():
        if isinstance(parameter, UninitializedParameter):
            raise ConvcraftError(
                f"initialize: model must have shapes, but {name} is uninitialized; run one batch first"
            )
        check_generator("initialize", generator, parameter, "tensor")
    with torch.no_grad():
        return _Pass(graph, scheme, residual, generator).run(model)


class _Pass:
    """One pass over the layers of a model."""

    def __init__(self, graph: Graph, scheme: str, residual: str, generator: torch.Generator | None) -> None:
        self.graph, self.scheme, self.residual, self.generator = graph, scheme, residual, generator
        self.done: dict[int, str] = {}  # identity of a parameter -> the layer that it was set with
        self.factor = {"zero": 0.0, "none": 1.0}.get(residual, 1 / math.sqrt(max(1, graph.branches)))

    def run(self, model: nn.Module) -> Assignments:
        order = sorted(self.graph, key=lambda layer: layer.kind == "embedding")  # tied: the other layer's
        rows = {layer.name: self.layer(layer) for layer in order}
        table = Assignments(rows[layer.name] for layer in self.graph)
        for name, parameter in model.named_parameters():
            if id(parameter) not in self.done:
                table.append(Assignment(name, "parameter", "", "kept", math.nan, _std(parameter)))
        return table

    def layer(self, layer: Layer) -> Assignment:
        if layer.kind in _WEIGHTED:
            return self.weighted(layer)
        module = layer.module
        mine = [p for p in module.parameters() if id(p) not in self.done]
        if not mine and any(True for _ in module.parameters()):
            return self.row(layer, "kept", note="shared")
        if layer.kind == "normalization":
            return self.normalization(layer)
        scheme = _special.fill(layer.kind, module, self.generator)
        note = ""
        if layer.residual and isinstance(module, nn.MultiheadAttention):
            module.out_proj.weight.mul_(self.factor)
            note = self.note()
        self.mark(layer)
        return self.row(layer, scheme, note=note)

    def normalization(self, layer: Layer) -> Assignment:
        module = layer.module
        reset = getattr(module, "reset_running_stats", None)
        if callable(reset):
            reset()
        weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
        value, note = 1.0, ""
        if layer.residual and isinstance(weight, nn.Parameter):
            value, note = self.factor, self.note()
        if isinstance(weight, nn.Parameter):
            weight.fill_(value)
        if isinstance(bias, nn.Parameter):
            bias.zero_()
        self.mark(layer)
        return self.row(
            layer, f"weight {value:.4g}, bias 0" if isinstance(weight, nn.Parameter) else "none", note=note
        )

    def weighted(self, layer: Layer) -> Assignment:
        module = layer.module
        weight = module._parameters.get("weight")
        bias = module._parameters.get("bias")
        if bias is not None and id(bias) not in self.done:
            bias.zero_()
        if weight is None or id(weight) in self.done:
            owner = "" if weight is None else self.done[id(weight)]
            self.mark(layer)
            return self.row(layer, "kept", note=f"shared with {owner}" if owner else "its weight is computed")
        scheme, gain, note = self.choice(layer)
        self.fill(layer, scheme, gain)
        if layer.residual and not self.followed(layer):
            weight.mul_(self.factor)
            note = ", ".join(filter(None, (note, self.note())))
        self.mark(layer)
        return self.row(layer, scheme, gain, note)

    def followed(self, layer: Layer) -> bool:
        """Whether a normalization with a weight ends the branch, and takes the factor instead."""
        if layer.normalization is None:
            return False
        return isinstance(getattr(self.graph[layer.normalization].module, "weight", None), nn.Parameter)

    def choice(self, layer: Layer) -> tuple[str, float, str]:
        """Scheme, gain and note for a layer with a weight."""
        gain, note, family = self.gain(layer)
        scheme = self.scheme
        if scheme == "auto":
            scheme = f"{family}_normal"
        elif scheme == "delta_orthogonal":
            module = layer.module
            fits = layer.kind == "convolution" and module.weight.size(0) >= (  # type: ignore[operator]
                module.weight.size(1) * module.groups  # type: ignore[operator]
            )
            scheme = scheme if fits else "orthogonal"
        if scheme.startswith("lecun"):
            gain = 1.0
        return scheme, gain, note

    def gain(self, layer: Layer) -> tuple[float, str, str]:
        """Gain, note and family of schemes by the activation that follows."""
        activation = layer.activation
        if layer.output:
            return 1.0, "", "lecun"
        if activation is None:
            seen = self.graph.source != "order"
            return 1.0, "" if seen else "no activation found: pass example=", "lecun"
        name = _START.get(activation.name, activation.name)
        family = catalog()[name].initialization.partition(":")[0].lower() if name in catalog() else "he"
        family = {"he": "kaiming", "own gain": "kaiming"}.get(family, family)
        if family == "lecun":
            return 1.0, "", family
        try:
            if family == "xavier" or name != activation.name:
                return calculate_gain(name), "", family
            return calculate_gain(activation.function), "", family
        except ConvcraftError:
            return 1.0, f"no gain for {activation.name}", "lecun"

    def fill(self, layer: Layer, scheme: str, gain: float) -> None:
        module, generator = layer.module, self.generator
        kaiming = {"kaiming_normal": kaiming_normal_, "kaiming_uniform": kaiming_uniform_}
        lecun = {"lecun_normal": lecun_normal_, "lecun_uniform": lecun_uniform_}
        xavier = {"xavier_normal": xavier_normal_, "xavier_uniform": xavier_uniform_}
        if scheme in kaiming:
            kaiming[scheme](module, nonlinearity="linear", generator=generator).mul_(gain)
        elif scheme in lecun:
            lecun[scheme](module, generator=generator)
        elif scheme in xavier:
            xavier[scheme](module, gain, generator=generator)
        elif scheme == "delta_orthogonal":
            delta_orthogonal_(module, gain, generator=generator)
        else:
            weight = module.weight
            assert isinstance(weight, nn.Parameter)
            orthogonal_(weight, gain, generator=generator)

    def note(self) -> str:
        return {
            "zero": "residual: zero",
            "scale": f"residual: times {self.factor:.4g}",
            "none": "residual",
        }[self.residual]

    def mark(self, layer: Layer) -> None:
        for parameter in layer.module.parameters():
            self.done.setdefault(id(parameter), layer.name)

    def row(self, layer: Layer, scheme: str, gain: float = math.nan, note: str = "") -> Assignment:
        activation = layer.activation.name if layer.activation else ""
        shown = "output" if layer.output and layer.kind in _WEIGHTED else activation
        weight = getattr(layer.module, "weight", None)
        std = _std(weight) if isinstance(weight, torch.Tensor) else math.nan
        return Assignment(layer.name, layer.kind, shown, scheme, gain, std, note)


def _std(parameter: torch.Tensor) -> float:
    return float(parameter.detach().double().square().mean().sqrt()) if parameter.numel() else math.nan
