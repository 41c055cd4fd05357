"""What is known of a model before anything is judged, and the recorder that gathers most of it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .._trace import Graph, kinds, tensors
from .hooks import LayerCall
from .layer_statistics import LayerStatistics
from .loss_calls import LossCall
from .modes import ModeFacts
from .nonfinite import NonFinite
from .record import LayerRecorder
from .running_stats import LIMITS


@dataclass
class InputFacts:
    """What a layer is fed: mean, standard deviation, and the range of its features' standard deviations."""

    layer: str
    mean: float
    std: float
    smallest: float
    largest: float
    is_batch: bool  # whether these are the values of the batch itself


@dataclass
class NormFacts:
    """What a batch normalization is fed, batch by batch."""

    name: str
    examples: int
    values: int  # per channel
    means: list[Tensor] = field(default_factory=list)
    variances: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True)
class GradientFacts:
    """The gradient of one parameter over all batches."""

    name: str
    given: bool  # whether backward reached it at all
    norm: float
    size: float  # norm of the parameter


@dataclass(frozen=True)
class StepFacts:
    """How one step of the optimizer moved one weight."""

    name: str
    change: float  # norm
    size: float  # norm before the step
    usual: float  # norm that such a weight has with a variance of 1 / fan-in


@dataclass(frozen=True)
class LossFacts:
    """The loss on one batch before and after a step, and the cosine between gradient and step."""

    before: float
    after: float
    cosine: float


@dataclass(frozen=True)
class OutputFacts:
    """The activation that the model ends in, the range that it can reach, and that of the targets."""

    layer: str
    kind: str
    low: float
    high: float
    smallest: float
    largest: float
    outside: float  # share of the targets that are out of reach


@dataclass
class Evidence:
    """Everything that the checks look at; `model` is the user's own, to be read and left alone."""

    model: nn.Module
    optimizer: Any
    graph: Graph | None = None
    layers: tuple[LayerStatistics, ...] = ()
    loss: float | None = None
    loss_calls: list[LossCall] = field(default_factory=list)
    negated: bool = False  # whether the loss is the negative of the one loss of torch that it computes
    broadcast: tuple[tuple[int, ...], tuple[int, ...]] | None = None  # shapes of an output and its target
    gradients: list[GradientFacts] = field(default_factory=list)
    inputs: list[InputFacts] = field(default_factory=list)
    norms: list[NormFacts] = field(default_factory=list)
    in_time: dict[str, list[float]] = field(default_factory=dict)  # gradient at each step of a sequence
    attention: dict[str, float] = field(default_factory=dict)  # spread of the scores
    output: OutputFacts | None = None
    steps: list[StepFacts] = field(default_factory=list)
    stepped: LossFacts | None = None
    unfed: set[str] = field(default_factory=set)  # layers that no example of the batches reached
    revived: set[str] = field(default_factory=set)  # without a gradient at first, with one after a step
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
        return calls[0].uniform if calls else None

    def weight_layers(self) -> list[LayerStatistics]:
        """Layers with weights that the data passed through."""
        return [layer for layer in self.layers if layer.role == "weights" and layer.std is not None]


#: Functions that show the same values in another shape, or drop some, on the way to what they scale.
_VIEWS = {
    *("view", "reshape", "unsqueeze", "squeeze", "expand", "expand_as", "flatten", "getitem", "chunk"),
    *("split", "permute", "transpose", "movedim", "contiguous", "dropout", "mean"),
}
_MATRIX_PRODUCTS = ("matmul", "bmm", "einsum")
#: The limits of an activation's values.
RANGES = {
    **dict.fromkeys(("relu", "softplus"), (0.0, math.inf)),
    **dict.fromkeys(("tanh", "softsign", "hardtanh"), (-1.0, 1.0)),
    **dict.fromkeys(("sigmoid", "hardsigmoid", "softmax"), (0.0, 1.0)),
    **dict.fromkeys(("logsigmoid", "log_softmax"), (-math.inf, 0.0)),
    **{"relu6": (0.0, 6.0), "elu": (-1.0, math.inf), "silu": (-0.2785, math.inf), "gelu": (-0.17, math.inf)},
}


class Examiner(LayerRecorder):
    """A recorder that counts every value, and notes inputs, batch statistics, gates, attention and time."""

    def __init__(self, model: nn.Module, batch_tensors: Iterable[Tensor]) -> None:
        super().__init__(model, exact=True)
        self.starts = {t.data_ptr() for t in batch_tensors if t.is_floating_point() and t.numel()}
        self.inputs: dict[str, InputFacts] = {}
        self.norms: dict[str, NormFacts] = {}
        self.spreads: dict[str, list[float]] = {}
        self.in_time: dict[str, list[float]] = {}
        self.first_layer = True
        self.outputs: dict[int, tuple[Tensor, LayerCall, bool]] = {}  # of activations, and whether each is a view
        self.entries = [
            module.register_forward_pre_hook(self._time_hook(name, module))
            for name, module in model.named_modules()
            if isinstance(module, nn.RNNBase)
        ]

    def detach(self) -> None:
        super().detach()
        for entry in self.entries:
            entry.remove()

    def begin(self) -> bool:
        self.outputs.clear()
        self.first_layer = self.passes == 0
        return super().begin()

    def layer(self, call: LayerCall, inputs: Any, output: Tensor) -> None:
        first = next((t for t in tensors(inputs) if t.is_floating_point()), None)
        with torch.no_grad():
            if call.role in ("weights", "normalization"):
                if first is not None and call.role == "weights":
                    self._input(call, first.detach())
                self.first_layer = False
            if first is not None and isinstance(call.module, _BatchNorm):
                x = first.detach().float()  # (N, C, ...)
                others = [d for d in range(x.dim()) if d != 1]
                name = call.name.partition(":")[0]
                facts = self.norms.setdefault(name, NormFacts(name, x.shape[0], x.numel() // max(1, x.shape[1])))
                facts.means.append(x.mean(others))
                facts.variances.append(x.var(others, correction=0))
            if call.kind == "softmax":
                self._attention(call.name, output.detach())
        super().layer(call, inputs, output)
        if call.kind in RANGES:
            self.outputs[id(output)] = (output, call, False)
        elif call.role == "other" and "Drop" in type(call.module).__name__ and id(first) in self.outputs:
            self.outputs[id(output)] = (output, self.outputs[id(first)][1], True)

    def function(self, name: str, path: str, inputs: Any, output: Any) -> None:
        found = [self.outputs[id(t)][1] for t in tensors(inputs) if id(t) in self.outputs]
        if name in kinds.PRODUCTS or name in _MATRIX_PRODUCTS:
            for source in found:
                if source.kind in LIMITS or source.kind == "softmax":
                    self.tallies[source.name].gate = True
        elif name in _VIEWS and found:
            for tensor in tensors(output):
                self.outputs[id(tensor)] = (tensor, found[0], name != "mean")
        elif name == "scaled_dot_product_attention" and isinstance(output, Tensor):
            args, kwargs = inputs
            names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale")
            given = {**dict(zip(names, args, strict=False)), **kwargs}
            q, k = given["query"][:8].detach().float(), given["key"][:8].detach().float()  # (N, heads, L, E)
            scale = given.get("scale")
            if q.shape[1:-2] == k.shape[1:-2]:
                scores = q @ k.mT * (q.shape[-1] ** -0.5 if scale is None else scale)  # (N, heads, L, S)
                self._attention(f"{path}.attention" if path else "attention", scores.softmax(-1))

    def attention(self) -> dict[str, float]:
        """The spread of the scores, for each softmax whose output weights something."""
        gates = {name for name, tally in self.tallies.items() if tally.gate}
        return {n: max(v) for n, v in self.spreads.items() if n in gates or n.endswith("attention")}

    def output_facts(self, output: Any, target: Any) -> OutputFacts | None:
        """Whether the target is in reach, where the model returns what an activation has returned."""
        value = next(tensors(output), None)
        known = self.outputs.get(id(value))
        if known is None or not isinstance(target, Tensor) or not target.is_floating_point():
            return None
        if value is None or value.numel() != target.numel() or not target.numel():
            return None
        call = known[1]
        low, high = RANGES[call.kind]
        if call.kind == "hardtanh" and call.module is not None:
            low, high = float(call.module.min_val), float(call.module.max_val)  # type: ignore[arg-type]
        if call.kind == "elu" and call.module is not None:
            low = -float(call.module.alpha)  # type: ignore[arg-type]
        t = target.detach().float()
        slack = 1e-3 * max(float(t.std(correction=0)), 1e-6)
        outside = ((t < low - slack) | (t > high + slack)).float().mean()
        return OutputFacts(call.name, call.kind, low, high, float(t.min()), float(t.max()), float(outside))

    def _input(self, call: LayerCall, value: Tensor) -> None:
        raw = value.data_ptr() in self.starts
        if not (raw or self.first_layer) or self.passes > 1 or call.name in self.inputs:
            return
        if value.dim() < 2 or not value.numel():
            return
        dim = -1 if call.unit_dim == -1 else 1
        x = value.float()  # (N, C, ...) or (N, ..., C)
        spread = x.std([d for d in range(x.dim()) if d != dim % x.dim()], correction=0)  # (C,)
        mean, std, low, high = map(float, (x.mean(), x.std(correction=0), spread.min(), spread.max()))
        self.inputs[call.name] = InputFacts(call.name, mean, std, low, high, raw)

    def _attention(self, name: str, weights: Tensor) -> None:
        """The spread of the scores over the keys of the median row, from the logarithms of the weights."""
        for dim in range(-1, -weights.dim() - 1, -1):  # the one along which they sum to 1
            if weights.shape[dim] >= 4 and bool(((weights.float().sum(dim) - 1).abs() < 1e-2).all()):
                p = weights.float().movedim(dim, -1).flatten(0, -2)  # (rows, keys)
                seen = p > 0  # what a mask leaves
                count = seen.sum(1).clamp(min=1)
                logs = torch.where(seen, p, 1.0).log()
                mean = logs.sum(1, keepdim=True) / count[:, None]
                variance = torch.where(seen, (logs - mean).square(), 0.0).sum(1) / count
                self.spreads.setdefault(name, []).append(float(variance.sqrt().median()))
                return

    def _time_hook(self, name: str, module: nn.RNNBase) -> Any:
        """Pass the input on as another tensor, at which the gradient through this module arrives."""

        def hook(_: nn.Module, args: Any) -> Any:
            x = args[0] if args else None
            if not isinstance(x, Tensor) or x.dim() != 3 or not torch.is_grad_enabled():
                return None
            alias = x.view_as(x) if x.requires_grad else x.detach().requires_grad_(True)
            over = (0, 2) if module.batch_first else (1, 2)

            def keep(slope: Tensor) -> None:
                self.in_time[name] = torch.linalg.vector_norm(slope.detach().float(), dim=over).tolist()

            alias.register_hook(keep)
            return (alias, *args[1:])

        return hook
