"""Residual branches: which sums have one, and whose weight may start at zero at its end."""

from __future__ import annotations

from torch import nn

from . import kinds
from .recorder import Operation


def is_normalization(operation: Operation) -> bool:
    """Whether an operation is a normalization that is a module."""
    return isinstance(operation.target, nn.Module) and kinds.layer_kind(operation.target) == "normalization"


def residual(operations: list[Operation]) -> tuple[set[str], int]:
    """Names of the layers that end a residual branch and may start at zero, and the number of branches.

    A sum has a residual branch when one side has no layers of its own, or a projection alone, and both come
    from one origin.
    """
    before: list[int] = []  # the operations that each depends on, itself included, as bits
    uses: dict[str, int] = {}
    layers = 0
    for operation in operations:
        bits = 0 if operation.kind in ("constant", "parameter") else 1 << operation.index
        for i in operation.inputs:
            bits |= before[i]
        before.append(bits)
        if operation.kind == "layer":
            uses[operation.name] = uses.get(operation.name, 0) + 1
            layers |= 0 if is_normalization(operation) else 1 << operation.index
    activations = sum(1 << o.index for o in operations if o.kind == "activation")
    repeated = sum(1 << o.index for o in operations if o.kind == "layer" and uses[o.name] > 1)
    products = sum(1 << o.index for o in operations if o.kind == "product")

    ends: dict[str, int] = {}
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
            if before[short] & ~common & products:
                continue  # as in a highway network: without its branch the block would not be its shortcut
            for name in _ends(operations, deep, common):
                ends[name] = ends.get(name, 0) + 1
    return {name for name, count in ends.items() if count == uses[name]}, branches


def _ends(operations: list[Operation], start: int, common: int) -> set[str]:
    """The layers that are met first when one walks back from a sum, where each may start at zero.

    The walk ends at whatever would hold a zero for good (a learned scale, which may be zero itself), undo it
    (a normalization without scale, a weight that is computed), or make something else of it (an activation, a
    function that is not linear). It follows one factor of a product: were both zero, neither would learn.
    """
    operation = operations[start]
    if common >> start & 1 or len(operation.users) > 1:
        return set()  # the shortcut, or values that are wanted elsewhere too
    if operation.kind == "layer":
        module = operation.target
        assert isinstance(module, nn.Module)
        scaled = not is_normalization(operation) or module._parameters.get("weight") is not None
        return {operation.name} if scaled and kinds.is_plain(module) else set()
    if operation.kind == "scale" or not _passes(operation):
        return set()
    found = [_ends(operations, i, common) for i in operation.inputs]
    if operation.kind == "product":
        return next(filter(None, found), set()) if len(found) > 1 else set()
    return set[str]().union(*found)


def _passes(operation: Operation) -> bool:
    if operation.kind in ("sum", "product"):
        return True
    name = operation.name
    module = isinstance(operation.target, nn.Module)
    return operation.kind == "other" and (
        module or name in kinds.PASSING or "pool" in name or "dropout" in name
    )
