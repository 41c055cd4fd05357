"""Which activation, normalization or sum follows which layer of a model.

`successors(model)` answers it from a symbolic trace by `torch.fx`. Where the model cannot be traced it runs
the model on the example in eval mode and watches every call of torch, so that functional activations and sums
are seen too; without an example it takes the modules in the order in which they were registered. The model
is left as it was: weights, buffers, mode, hooks and random state.

Example:
    >>> from torch import nn
    >>> graph = successors(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4, 2)))
    >>> [(layer.name, layer.activation and layer.activation.name, layer.output) for layer in graph]
    [('0', 'relu', False), ('3', None, True)]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ..errors import ConvcraftError
from . import kinds
from .trace import Operation, arguments, in_order, leaves, run, symbolic, tensors, unchanged

__all__ = [
    "Activation",
    "Graph",
    "Layer",
    "Operation",
    "arguments",
    "leaves",
    "successors",
    "tensors",
    "unchanged",
]


@dataclass(frozen=True)
class Activation:
    """An activation in a model: its name, and what computes it on one tensor (a module or a function)."""

    name: str
    function: Callable[[Tensor], Tensor]
    index: int  # of its operation


@dataclass(frozen=True)
class Layer:
    """A layer and what follows it.

    Attributes:
        name: qualified name in the model.
        module: the module.
        kind: "linear", "convolution", "transposed", "normalization", "recurrent", "embedding", "attention",
            or "other" for a module of the user's own with a weight of two or more dimensions.
        index: of its first operation.
        calls: how often a forward pass uses it; 0 when it does not.
        activation: the first that its values meet, seen through normalization, dropout, pooling, flattening,
            concatenation and sums, but not through another layer; None when they meet none.
        output: whether its values reach the return value without another layer in between and without an
            activation other than softmax, sigmoid and their logarithms.
        residual: whether it is the last layer, or the normalization after it, of a branch that is added to a
            path without layers, or with a projection alone, from the same origin.
        normalization: name of the normalization that alone takes its values, directly; None when there is
            none, or when either is used more than once.
    """

    name: str
    module: nn.Module
    kind: str
    index: int
    calls: int
    activation: Activation | None = None
    output: bool = False
    residual: bool = False
    normalization: str | None = None


@dataclass(frozen=True)
class Graph:
    """The layers in the order in which they run, and every operation; `len`, iteration and `graph[name]`."""

    layers: tuple[Layer, ...]
    operations: tuple[Operation, ...]
    source: str  # "trace", "run" or "order"
    branches: int  # residual sums

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, name: str) -> Layer:
        return {layer.name: layer for layer in self.layers}[name]


def successors(model: nn.Module, example: Any = None) -> Graph:
    """The layers of a model in the order in which they run, each with what follows it.

    Args:
        model: any module.
        example: what the model is called with where it cannot be traced: a tensor, a tuple of positional or a
            mapping of keyword arguments. A batch of two samples is enough.

    Raises:
        ConvcraftError: when model is no module, or can neither be traced nor run on the example.
    """
    if not isinstance(model, nn.Module):
        raise ConvcraftError(
            f"model must be a torch.nn.Module, got {type(model).__name__}; pass the model, not its parameters"
        )
    operations, source = _operations(model, example)
    _join_gates(operations)
    residual, branches = _residual(operations)
    found: dict[str, list[Operation]] = {}
    for operation in operations:
        if operation.kind == "layer":
            found.setdefault(operation.name, []).append(operation)
    calls = {name: len(uses) for name, uses in found.items()}
    layers = [_layer(operations, uses, calls, residual) for uses in found.values()]
    names = {id(module): name for name, module in reversed(list(model.named_modules()))}
    for module in leaves(model):
        kind, name = kinds.layer_kind(module), names[id(module)]
        if kind is not None and name not in found:
            layers.append(Layer(name, module, kind, len(operations), 0))
    return Graph(tuple(layers), tuple(operations), source, branches)


def _operations(model: nn.Module, example: Any) -> tuple[list[Operation], str]:
    try:
        return symbolic(model), "trace"
    except Exception as error:  # tracing calls the model's own code, which may raise anything
        if example is None:
            return in_order(model), "order"
        reason = error
    try:
        return run(model, example), "run"
    except Exception as error:
        raise ConvcraftError(
            f"model can neither be traced ({type(reason).__name__}) nor run on the example: "
            f"{type(error).__name__}: {error}; pass as example a batch that the model accepts"
        ) from error


def _join_gates(operations: list[Operation]) -> None:
    """Make one activation of x * sigmoid(x)."""
    for operation in operations:
        if operation.kind != "product" or len(operation.inputs) != 2:
            continue
        for gated, factor in (operation.inputs, operation.inputs[::-1]):
            gate = operations[factor]
            joined = kinds.gate(_activation_name(gate)) if gate.kind == "activation" else None
            if joined and gate.inputs == (gated,) and gate.users == [operation.index]:
                operation.kind, (operation.name, operation.target), gate.kind = "activation", joined, "other"


def _activation_name(operation: Operation) -> str:
    if isinstance(operation.target, nn.Module):
        return kinds.activation_name(operation.target) or type(operation.target).__name__.lower()
    return operation.name


def _layer(
    operations: list[Operation], uses: list[Operation], calls: dict[str, int], residual: set[int]
) -> Layer:
    activation, output = None, False
    for use in uses:
        met, reaches = _ahead(operations, use)
        activation, output = activation or met, output or reaches
    module = uses[0].target
    assert isinstance(module, nn.Module)
    return Layer(
        name=uses[0].name,
        module=module,
        kind=kinds.layer_kind(module) or "other",
        index=uses[0].index,
        calls=len(uses),
        activation=activation,
        output=output,
        residual=any(use.index in residual for use in uses),
        normalization=_normalization(operations, uses, calls),
    )


def _is_normalization(operation: Operation) -> bool:
    return isinstance(operation.target, nn.Module) and kinds.layer_kind(operation.target) == "normalization"


def _ahead(operations: list[Operation], start: Operation) -> tuple[Activation | None, bool]:
    """The first activation after an operation, and whether its values reach the output."""
    met: list[Operation] = []
    output, waiting, seen = False, list(start.users), set[int]()
    while waiting:
        operation = operations[waiting.pop()]
        if operation.index in seen:
            continue
        seen.add(operation.index)
        if operation.kind == "activation":
            met.append(operation)
            if _activation_name(operation) not in kinds.READOUTS:
                continue
        elif operation.kind == "wall" or (operation.kind == "layer" and not _is_normalization(operation)):
            continue
        output = output or operation.kind == "output"
        waiting.extend(operation.users)
    if not met:
        return None, output
    first = min(met, key=lambda operation: operation.index)
    assert callable(first.target)
    return Activation(_activation_name(first), first.target, first.index), output


def _normalization(operations: list[Operation], uses: list[Operation], calls: dict[str, int]) -> str | None:
    if len(uses) != 1 or len(uses[0].users) != 1:
        return None
    after = operations[uses[0].users[0]]
    if not _is_normalization(after) or calls[after.name] != 1:
        return None
    return after.name


def _residual(operations: list[Operation]) -> tuple[set[int], int]:
    """Operations that end a residual branch, and the number of such branches."""
    before: list[int] = []  # the operations that each depends on, itself included, as bits
    times: dict[str, int] = {}
    layers = 0
    for operation in operations:
        bits = 0 if operation.kind == "constant" else 1 << operation.index
        for i in operation.inputs:
            bits |= before[i]
        before.append(bits)
        if operation.kind == "layer":
            times[operation.name] = times.get(operation.name, 0) + 1
            layers |= 0 if _is_normalization(operation) else 1 << operation.index
    activations = sum(1 << o.index for o in operations if o.kind == "activation")
    repeated = sum(1 << o.index for o in operations if o.kind == "layer" and times[o.name] > 1)

    ends: set[int] = set()
    branches = 0
    for operation in operations:
        if operation.kind != "sum" or len(operation.inputs) != 2:
            continue
        common = before[operation.inputs[0]] & before[operation.inputs[1]]
        alone = {i: before[i] & layers & ~common for i in operation.inputs}
        short, deep = sorted(operation.inputs, key=lambda i: alone[i].bit_count())
        few, many = alone[short].bit_count(), alone[deep].bit_count()
        other = (alone[short] | alone[deep]) & repeated | before[short] & ~common & activations
        if common and few < many and (few == 0 or few == 1 and not other):
            branches += 1
            ends |= _ends(operations, deep, common)
    return ends, branches


def _ends(operations: list[Operation], start: int, common: int) -> set[int]:
    """The layers that are met first when one walks back from a sum, and the normalizations after them."""
    ends, waiting = set[int](), [start]
    while waiting:
        operation = operations[waiting.pop()]
        if common >> operation.index & 1 or operation.kind in ("activation", "wall", "constant"):
            continue
        if operation.kind == "layer":
            ends.add(operation.index)
            if not _is_normalization(operation):
                continue
        waiting.extend(operation.inputs)
    return ends
