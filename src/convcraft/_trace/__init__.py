"""Which activation, normalization or sum follows which layer of a model.

`successors(model)` runs the model's code on symbols. If the code needs to know a value, the model runs on the
example in eval mode, and every call of torch is recorded, so that functional activations and sums are seen too;
without an example it falls back on the order in which the modules were registered. Only a copy of the
modules runs, with the same parameters: the model is left as it was, and other threads may use it meanwhile.

>>> from torch import nn
>>> graph = successors(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4, 2)))
>>> [(layer.name, layer.activation and layer.activation.name, layer.output) for layer in graph]
[('0', 'relu', False), ('3', None, True)]
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from .._checks import check_module
from ..errors import ConvcraftError
from . import kinds
from .branches import Branches, is_normalization, residual
from .recorder import Operation, arguments, in_order, leaves, run, symbolic, tensors, twin

__all__ = [
    "Activation", "Graph", "Layer", "Operation", "arguments", "kinds", "leaves", "successors", "tensors", "twin",
]  # fmt: skip


@dataclass(frozen=True)
class Activation:
    """An activation in a model: its name, and what computes it on one tensor (a module or a function)."""

    name: str
    function: Callable[[Tensor], Tensor]
    index: int  # of its operation


@dataclass(frozen=True)
class Layer:
    """A layer and what follows it."""

    name: str  #: qualified name in the model
    module: nn.Module  #: the module
    #: "linear", "convolution", "transposed", "normalization", "recurrent", "embedding", "attention", or
    #: "other" for a module of the user's own with a weight of two or more dimensions
    kind: str
    index: int  #: of its first operation
    calls: int  #: how often a forward pass uses it; 0 when it does not
    #: the first one that its values meet, looking through normalization, dropout, pooling, flattening, concatenation
    #: and sums, but not through another layer; None when they meet none
    activation: Activation | None = None
    #: whether its values reach the return value without another layer in between and without an activation
    #: other than softmax, sigmoid and their logarithms
    output: bool = False
    #: whether it ends a residual branch and may start at zero: it is a normalization with a weight or, where
    #: none follows, the last layer, and its values reach the sum unchanged
    residual: bool = False
    #: whether it is in a residual branch that multiplies values or takes powers without normalization, or
    #: feeds the exponential of a chain of such operations
    growing: bool = False
    #: "" or the gate of the shortcut's own value that it feeds: "sigmoid", "hardsigmoid", "softplus" or "exp"
    gate: str = ""
    #: whether it is in a branch of products that diverges under plain SGD, however it is initialized
    unsafe: bool = False
    #: whether it ends one factor of a product in a chain of products, and has a bias
    factor: bool = False
    #: name of the normalization that directly receives its values, and alone does; None when there is none,
    #: or when either is used more than once
    normalization: str | None = None


@dataclass(frozen=True)
class Graph:
    """The layers in the order in which they run, and every operation; `len`, iteration and `graph[name]`."""

    layers: tuple[Layer, ...]
    operations: tuple[Operation, ...]
    source: str  # "trace", "run" or "order"
    branches: int  # residual sums
    products: int = 0  # those of them that grow as a power
    gates: int = 0  # those of them that gate the shortcut's own value
    optional: tuple[str, ...] = ()  # arguments that kept their defaults while the model was traced

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, name: str) -> Layer:
        return {layer.name: layer for layer in self.layers}[name]

    def behind(self, index: int) -> list[Operation]:
        """The layers whose values reach an operation, and what they meet on the way."""
        found: dict[int, Operation] = {}
        waiting = list(self.operations[index].inputs)
        while waiting:
            operation = self.operations[waiting.pop()]
            if operation.index not in found:
                found[operation.index] = operation
                waiting += () if operation.kind == "layer" else operation.inputs
        return list(found.values())


def successors(model: nn.Module, example: Any = None) -> Graph:
    """The layers of a model in the order in which they run, each with what follows it.

    Args:
        model: any module.
        example: what to call the model with if it cannot be traced: a tensor, a tuple of positional or a
            mapping of keyword arguments. A batch of two samples is enough.

    Raises ConvcraftError when model is not a module, or can neither be traced nor run on the example.
    """
    check_module("successors", model)
    operations, source, optional = _operations(model, example)
    _join_gates(operations)
    branches = residual(operations)
    found: dict[str, list[Operation]] = {}
    for operation in operations:
        if operation.kind == "layer":
            found.setdefault(operation.name, []).append(operation)
    calls = {name: len(uses) for name, uses in found.items()}
    layers = [_layer(operations, uses, calls, branches) for uses in found.values()]
    names = {id(module): name for name, module in reversed(list(model.named_modules()))}
    for module in leaves(model):
        kind, name = kinds.layer_kind(module), names[id(module)]
        if kind is not None and name not in found:
            layers.append(Layer(name, module, kind, len(operations), 0))
    counts = branches.count, branches.products, branches.gated
    return Graph(tuple(layers), tuple(operations), source, *counts, optional)


def _operations(model: nn.Module, example: Any) -> tuple[list[Operation], str, tuple[str, ...]]:
    try:
        operations, optional = symbolic(model)
        return operations, "trace", optional
    except Exception as error:  # tracing calls the model's own code, which may raise anything
        if example is None:
            return in_order(model), "order", ()
        reason = error
    try:
        return run(model, example), "run", ()
    except Exception as error:
        raise ConvcraftError(
            f"model can neither be traced ({type(reason).__name__}) nor run on the example: "
            f"{type(error).__name__}: {error}; pass as example a batch that the model accepts"
        ) from error


def _join_gates(operations: list[Operation]) -> None:
    """Join x * sigmoid(x) into one activation."""
    for operation in operations:
        if operation.kind != "product" or len(operation.inputs) != 2:
            continue
        for gated, factor in (operation.inputs, operation.inputs[::-1]):
            gate = operations[factor]
            joined = kinds.gate(gate.function) if gate.kind == "activation" else None
            if joined and gate.inputs == (gated,) and gate.users == [operation.index]:
                operation.kind, (operation.name, operation.target), gate.kind = "activation", joined, "other"


def _layer(operations: list[Operation], uses: list[Operation], calls: dict[str, int], branches: Branches) -> Layer:
    activation, output, first = None, False, uses[0]
    for use in uses:
        met, reaches = _ahead(operations, use)
        activation, output = activation or met, output or reaches
    assert isinstance(first.target, nn.Module)
    return Layer(
        first.name,
        first.target,
        kinds.layer_kind(first.target) or "other",
        index=first.index,
        calls=len(uses),
        activation=activation,
        output=output,
        residual=first.name in branches.ends,
        growing=first.name in branches.growing,
        gate=branches.gates.get(first.name, ""),
        unsafe=first.name in branches.unsafe,
        factor=first.name in branches.ones,
        normalization=_normalization(operations, uses, calls),
    )


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
            if operation.function not in kinds.READOUTS:
                continue
        elif operation.kind == "wall" or (operation.kind == "layer" and not is_normalization(operation)):
            continue
        output = output or operation.kind == "output"
        waiting.extend(operation.users)
    if not met:
        return None, output
    first = min(met, key=lambda operation: operation.index)
    assert callable(first.target)
    return Activation(first.function, first.target, first.index), output


def _normalization(operations: list[Operation], uses: list[Operation], calls: dict[str, int]) -> str | None:
    if len(uses) != 1 or len(uses[0].users) != 1:
        return None
    after = operations[uses[0].users[0]]
    return after.name if is_normalization(after) and calls[after.name] == 1 else None
