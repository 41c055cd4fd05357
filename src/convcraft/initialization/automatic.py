"""Initialize a whole model: for each layer the scheme and gain of the activation that follows it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensor

from .._checks import Generator, check_choice, check_number
from .._table import Table
from .._trace import Graph, Layer, successors
from .._trace.kinds import is_plain
from ..activations import catalog
from ..errors import ConvcraftError, unknown
from . import recurrent, variance_scaling
from ._checks import check_model
from .gains import calculate_gain, gate_argument

Scheme = Literal[
    "auto", "kaiming_normal", "kaiming_uniform", "lecun_normal", "lecun_uniform", "xavier_normal",
    "xavier_uniform", "orthogonal", "delta_orthogonal",
]  # fmt: skip
Residual = Literal["zero", "scale", "none"]
_WEIGHTED = ("linear", "convolution", "transposed", "other")
#: Activations with parameters for each channel, and the plain one that they start as or near to.
_START = {"dynamic_relu": "relu", "frelu": "relu", "acon_c": "silu", "meta_acon_c": "silu", "rrelu": "relu"}
#: Of weights in a residual branch that multiplies its values, which grow as a power; beyond 6 branches less.
_DAMPED = 0.2
_SOFTMAX = ("softmax", "log_softmax", "softmin")


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
    scheme: Scheme = "auto",
    *,
    generator: Generator = None,
    example: Any = None,
    residual: Residual = "zero",
    skip: str | nn.Module | Tensor | Iterable[str | nn.Module | Tensor] = (),
    memory: float | None = None,
) -> Assignments:
    r"""Initialize every layer of a model by the activation that follows it, and say what was done.

    Formula: with the gain g of the activation (`calculate_gain`) and the fans of the layer (`fans`), "auto"
    draws the weight from a normal distribution of variance

    - :math:`g^2 / \text{fan}_{in}` (Kaiming) before ReLU and what resembles it,
    - :math:`2 g^2 / (\text{fan}_{in} + \text{fan}_{out})` (Xavier) before tanh, sigmoid and their like,
    - :math:`1 / \text{fan}_{in}` (LeCun) before SELU and softmax, for output layers and where no activation follows.

    Biases become 0, weights of normalizations 1 and running statistics new. Recurrent layers get Xavier for
    the input, an orthogonal matrix for each gate's recurrent weight, and forget biases of 1; attention
    Xavier for query, key and value; embeddings N(0, 1). What belongs to no layer is kept: learned
    activations and scales, position embeddings, tokens; so are weights that are computed, as by weight norm.
    A weight that two layers share is drawn once.

    A residual branch ends, with residual="zero", in a zero: the weight of the normalization at its end, or of
    its last layer where there is none, so that each block starts as its shortcut. With "scale" that weight is
    multiplied by :math:`1 / \sqrt L` for L branches instead, so that the variance of the sum grows by a
    constant factor at most, whatever the depth. Of a product of two layers' values one factor ends the
    branch; :math:`x (1 + f)` has the branch f. A branch that multiplies unbounded values or takes powers, and
    has no normalization, grows faster than its input: its weights are drawn a fifth as large, and with L > 6
    such branches smaller again by :math:`\sqrt{6 / L}`. A sigmoid or its like that multiplies the shortcut's
    own value, :math:`x + x \sigma(f)`, would be one half at zero, and L of them grow as :math:`1.5^L`: its
    bias is set so that each starts at :math:`1 / (2 L)`, all together below a factor :math:`\sqrt e`. No start
    keeps :math:`x + x f(x)` with a single linear f, or a branch with an exponential, from running away under
    plain SGD at a high rate when many are stacked; the table says so. Normalize their input. In a chain of
    products without shortcuts one factor of each starts at one, by its bias; an exponential is such a factor
    as it is. A chain of products or powers without shortcuts, normalizations and biases has no start that
    keeps its scale, and its layers are drawn as any others: normalize in between. The end of a
    branch is drawn as any other layer where a zero would keep it from learning or would be undone: before a
    learned scale (ReZero, LayerScale), a gate of the branch's own values or a normalization without scale,
    and in a layer with a forward of its own, such as one that standardizes its weight.

    Args:
        model: any module. Where its code cannot run on symbols, it is run on the example; without an example
            the order of registration decides, and functional activations are not seen.
        scheme: "auto", or one for all: "kaiming_normal", "kaiming_uniform", "lecun_normal", "lecun_uniform",
            "xavier_normal", "xavier_uniform", "orthogonal", or "delta_orthogonal" (convolutions with enough
            output channels; "orthogonal" for the others).
        generator: source of all random numbers, on the model's device; torch's own by default.
        example: what the model is called with: a tensor, a tuple of positional or a mapping of keyword arguments.
        residual: "zero", "scale" or "none" (branches as any other layer).
        skip: what to leave alone: a module or parameter, or its name, in which * stands for anything; or
            several of them.
        memory: the number of steps T that gated recurrent layers are to remember. The forget gates of
            `nn.LSTM` get biases :math:`b_f \sim \log U(1, T - 1)`, the input gates :math:`b_i = -b_f`; the
            update gates of `nn.GRU`, which in torch multiply the old state, get :math:`b_z \sim \log U(1, T -
            1)`. `bias_ih` carries them, `bias_hh` is 0. The same holds for the cells.

    Returns a list of `Assignment` that prints as a table. Raises ConvcraftError, before anything is changed,
    when the model has no layers, or uninitialized or meta parameters, runs neither on symbols nor on the
    example, the scheme or residual is not known, skip names nothing in the model, memory is below 2 or finds
    no gated layer with a bias, or the generator is elsewhere.

    >>> model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10))
    >>> for row in initialize(model):
    ...     print(row.layer, row.activation, row.scheme, round(row.gain, 4))
    0 relu kaiming_normal 1.4142
    3 output lecun_normal 1.0

    Source: He, Zhang, Ren and Sun (2015), Delving Deep into Rectifiers, for the variances; Goyal et al.
    (2017), Accurate, Large Minibatch SGD, for the zero weight of the last normalization; Zhang, Dauphin and
    Ma (2019), Fixup Initialization, for the zero last layer and scales that depend on the number of branches;
    Jozefowicz, Zaremba and Sutskever (2015), An Empirical Exploration of Recurrent Network Architectures, for
    the forget bias; Tallec and Ollivier (2018), Can recurrent neural networks warp time?, for `memory`.
    Chapter: Weight initialization.
    """
    check_choice("initialize", "scheme", scheme, get_args(Scheme))
    check_choice("initialize", "residual", residual, get_args(Residual))
    check_model("initialize", model, generator)
    if memory is not None:
        recurrent.check_memory(model, check_number("initialize", "memory", memory, low=2))
    skipped = _skipped(model, skip)
    graph = successors(model, example)
    if not len(graph):
        raise ConvcraftError(
            "initialize: model must have layers, found none; pass the model that holds them, "
            "or fill a single parameter by kaiming_normal_ and its like"
        )
    with torch.no_grad():
        return _Pass(graph, scheme, residual, generator, skipped, memory).run(model)


def _skipped(model: nn.Module, skip: Any) -> set[int]:
    """Identities of the parameters and buffers that are to be left alone."""
    modules = dict(model.named_modules(remove_duplicate=False))
    tensors: dict[str, Tensor] = dict(model.named_parameters(remove_duplicate=False))
    found: list[nn.Module | Tensor] = []
    several = isinstance(skip, Iterable) and not isinstance(skip, (str, nn.Module, Tensor))
    for item in skip if several else (skip,):
        if isinstance(item, str):
            named = {**modules, **tensors}
            chosen = [thing for name, thing in named.items() if fnmatchcase(name, item)]
            if not chosen:
                raise unknown("module or parameter in initialize's argument skip", item, filter(None, named))
            found += chosen
        elif any(item is thing for thing in (*modules.values(), *tensors.values())):
            found.append(item)
        else:
            raise ConvcraftError(
                "initialize: skip must hold modules and parameters of this model, or their names, got "
                f"{type(item).__name__}; see model.named_parameters()"
            )
    return {id(tensor) for thing in found for tensor in _tensors(thing)}


def _tensors(thing: nn.Module | Tensor) -> list[Tensor]:
    return [thing] if isinstance(thing, Tensor) else [*thing.parameters(), *thing.buffers()]


@dataclass
class _Pass:
    """One pass over the layers of a model."""

    graph: Graph
    scheme: str
    residual: str
    generator: Generator
    skipped: set[int]
    memory: float | None
    done: dict[int, str] = field(default_factory=dict)  # identity of a parameter -> the layer it was set with

    def __post_init__(self) -> None:
        scale = 1 / math.sqrt(max(1, self.graph.branches))
        self.factor = {"zero": 0.0, "none": 1.0}.get(self.residual, scale)
        ending = {"zero": "residual: zero", "none": "residual"}
        self.ending = ending.get(self.residual, f"residual: times {scale:.4g}")

    def run(self, model: nn.Module) -> Assignments:
        order = sorted(self.graph, key=lambda layer: layer.kind == "embedding")  # tied: the other layer's
        rows = {layer.name: self.layer(layer) for layer in order}
        table = Assignments(rows[layer.name] for layer in self.graph)
        for name, parameter in model.named_parameters():
            if id(parameter) not in self.done:
                note = "skip" if id(parameter) in self.skipped else ""
                table.append(Assignment(name, "parameter", "", "kept", math.nan, _std(parameter), note))
        return table

    def layer(self, layer: Layer) -> Assignment:
        """Set the weights of a layer, put back those that are skipped, and say what was done."""
        module, held = layer.module, _tensors(layer.module)
        kept = [(tensor, tensor.clone()) for tensor in held if id(tensor) in self.skipped]
        own = list(module.parameters())
        gain, note = math.nan, ""
        if held and len(kept) == len(held):
            scheme, note = "kept", "skip"
        elif layer.kind in _WEIGHTED:
            scheme, gain, note = self.weighted(layer)
        elif own and all(id(p) in self.done for p in own):
            scheme, note = "kept", "shared"
        elif layer.kind == "normalization":
            scheme, note = self.normalization(layer)
        else:
            scheme = recurrent.fill(layer.kind, module, self.generator, self.memory)
            if layer.residual and isinstance(module, nn.MultiheadAttention):
                module.out_proj.weight.mul_(self.factor)
                note = self.ending
        for tensor, before in kept:
            tensor.copy_(before)
        for parameter in own:
            self.done.setdefault(id(parameter), layer.name)
        activation = layer.activation.name if layer.activation else ""
        shown = "output" if layer.output and layer.kind in _WEIGHTED else activation
        weight = getattr(module, "weight", None)
        std = _std(weight) if isinstance(weight, Tensor) else math.nan
        return Assignment(layer.name, layer.kind, shown, scheme, gain, std, note)

    def normalization(self, layer: Layer) -> tuple[str, str]:
        """Set the scale, offset and running statistics of a normalization; scheme and note."""
        reset = getattr(layer.module, "reset_running_stats", None)
        if callable(reset):
            reset()
        weight, bias = (layer.module._parameters.get(name) for name in ("weight", "bias"))
        if bias is not None:
            bias.zero_()
        if weight is None:
            return "none", ""
        if not (layer.residual or is_plain(layer.module) or isinstance(weight, FakeTensor) or weight.any()):
            return "kept", "starts at 0"  # a scale of 1 + weight
        if layer.gate and bias is not None and self.residual != "none":
            return "constant", self.open(layer, weight.fill_(1.0), bias)
        value = self.factor if layer.residual else 1.0
        weight.fill_(value)
        return f"weight {value:.4g}, bias 0", self.ending if layer.residual else ""

    def open(self, layer: Layer, weight: Tensor, bias: Tensor | None) -> str:
        """Set what feeds a gate of the shortcut's own value so that L of them keep it within a factor 1.65."""
        if bias is None:
            return "its gate starts open: give it a bias"
        weight.mul_(self.factor)
        bias.fill_(gate_argument(layer.gate, 1 / (2 * max(1, self.graph.gates))))
        return f"{self.ending}, bias {float(bias.flatten()[0]):.3g} for the gate"

    def weighted(self, layer: Layer) -> tuple[str, float, str]:
        """Draw the weight of a layer and set its bias; scheme, gain and note."""
        weight, bias = (layer.module._parameters.get(name) for name in ("weight", "bias"))
        if bias is not None and id(bias) not in self.done:
            bias.zero_()
        if weight is None:
            return "kept", math.nan, "its weight is computed"
        if id(weight) in self.done:
            return "kept", math.nan, f"shared with {self.done[id(weight)]}"
        scheme, gain, note = self.scheme_and_gain(layer)
        if "orthogonal" in scheme:
            target = layer.module if scheme == "delta_orthogonal" else weight
            getattr(variance_scaling, f"{scheme}_")(target, gain, generator=self.generator)
        elif scheme.startswith("xavier"):
            getattr(variance_scaling, f"{scheme}_")(layer.module, gain, generator=self.generator)
        else:
            lecun = scheme.replace("kaiming", "lecun")
            getattr(variance_scaling, f"{lecun}_")(layer.module, generator=self.generator).mul_(gain)
        notes = [note]
        if self.residual != "none":
            if layer.growing:
                factor = _DAMPED * min(1.0, math.sqrt(6 / max(1, self.graph.products)))
                weight.mul_(factor)
                notes.append(f"in a product: times {factor:.2g}")
            if layer.factor and bias is not None and id(bias) not in self.done:
                bias.fill_(1.0)
                notes.append("bias 1")
            if layer.gate:
                notes.append(self.open(layer, weight, bias))
            if layer.unsafe:
                notes.append("may run away: normalize its input")
        if layer.residual:
            weight.mul_(self.factor)
            notes.append(self.ending)
        return scheme, gain, ", ".join(filter(None, notes))

    def scheme_and_gain(self, layer: Layer) -> tuple[str, float, str]:
        """Scheme, gain and note of a layer with a weight, by the activation that follows it."""
        activation, gain, note, family = layer.activation, 1.0, "", "lecun"
        if activation is None and not layer.output and self.graph.source == "order":
            note = "no activation found: pass example="
        elif activation is not None and not layer.output and activation.name not in _SOFTMAX:
            name = _START.get(activation.name, activation.name)
            rule = catalog()[name].initialization.partition(":")[0].lower() if name in catalog() else "he"
            family = {"he": "kaiming", "own gain": "kaiming"}.get(rule, rule)
            by_name = family == "xavier" or name != activation.name
            try:
                gain = 1.0 if family == "lecun" else calculate_gain(name if by_name else activation.function)
            except ConvcraftError:
                family, note = "lecun", f"no gain for {activation.name}"
        scheme = f"{family}_normal" if self.scheme == "auto" else self.scheme
        if scheme == "delta_orthogonal":
            module: Any = layer.module
            inputs = module.weight.size(1) * module.groups if layer.kind == "convolution" else math.inf
            scheme = scheme if module.weight.size(0) >= inputs else "orthogonal"
        return scheme, 1.0 if scheme.startswith("lecun") else gain, note


def _std(parameter: Tensor) -> float:
    if not parameter.numel() or isinstance(parameter, FakeTensor):
        return math.nan
    return float(parameter.detach().double().square().mean().sqrt())
