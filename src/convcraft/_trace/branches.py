"""Residual branches: which sums have one, and whose weight may start at zero at its end."""

from torch import nn

from . import kinds
from .recorder import Operation


def is_normalization(operation: Operation) -> bool:
    """Whether an operation is a normalization that is a module."""
    return isinstance(operation.target, nn.Module) and kinds.layer_kind(operation.target) == "normalization"


_BOUNDED = {"sigmoid", "tanh", "softmax", "softmin", "hardsigmoid", "hardtanh", "softsign", "relu6"}
_POWERS = {"square", "pow", "rpow", "exp", "expm1", "exp2", "sinh", "cosh"}
_MIXED = {"einsum", "matmul", "bmm", "mm", "baddbmm", "addmm"}
_NORMS = {"div", "divide", "true_divide", "truediv", "itruediv", "rsqrt", "normalize"}


def residual(operations: list[Operation]) -> tuple[set[str], set[str], int]:
    """Layers that end a residual branch and may start at zero, layers in a branch that grows, and branches.

    A sum has a residual branch when one side has no layers of its own, or a projection alone, and both come
    from one origin; so has a product with 1 + f.
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
    growing: set[str] = set()
    branches = 0
    for operation in operations:
        inputs = operation.inputs
        if operation.kind == "product":
            inputs = tuple(_shifted(operations[i]) for i in inputs)
        if len(set(inputs)) != 2 or not (operation.kind == "sum" or inputs != operation.inputs):
            continue
        common = before[inputs[0]] & before[inputs[1]]
        alone = {i: before[i] & layers & ~common for i in inputs}
        short, deep = sorted(inputs, key=lambda i: alone[i].bit_count())
        few, many = alone[short].bit_count(), alone[deep].bit_count()
        other = (alone[short] | alone[deep]) & repeated | before[short] & ~common & activations
        if common and few < many and (few == 0 or few == 1 and not other):
            branches += 1
            if before[short] & ~common & products:
                continue  # as in a highway network: without its branch the block would not be its shortcut
            for name in _ends(operations, deep, common):
                ends[name] = ends.get(name, 0) + 1
            inside = [o for o in operations if (before[deep] & ~common) >> o.index & 1]
            if not any(is_normalization(o) or o.name in _NORMS or o.name.endswith("_norm") for o in inside):
                if operation.kind == "product" or any(_grows(operations, o) for o in inside):
                    growing |= {o.name for o in inside if o.kind == "layer"}
    return {name for name, count in ends.items() if count == uses[name]}, growing, branches


def _shifted(operation: Operation) -> int:
    """The operation itself, or f where it is f plus a number."""
    plus = operation.kind == "other" and operation.name in kinds.SUMS and len(operation.inputs) == 1
    return operation.inputs[0] if plus else operation.index


def _grows(operations: list[Operation], operation: Operation) -> bool:
    """Whether an operation makes more than twice as much of twice its input: a product or power."""
    free = [i for i in operation.inputs if not _bounded(operations, i)]
    if operation.kind == "product" or operation.name in _MIXED:
        return len(free) > 1 or len(operation.inputs) == len(free) == 1
    return operation.kind == "other" and operation.name in _POWERS and bool(free)


def _bounded(operations: list[Operation], index: int) -> bool:
    operation = operations[index]
    if operation.kind == "activation":
        target = operation.target
        name = kinds.activation_name(target) if isinstance(target, nn.Module) else operation.name
        return name in _BOUNDED
    if operation.kind in ("constant", "parameter"):
        return True
    inner = [_bounded(operations, i) for i in operation.inputs]
    return _passes(operation) and bool(inner) and all(inner)


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
    passing = isinstance(operation.target, nn.Module) or name in kinds.PASSING
    return operation.kind == "other" and (passing or "pool" in name or "dropout" in name)
