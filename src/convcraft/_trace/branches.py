"""Residual branches: which sums have one, and which layers at its end may start at zero."""

from collections import Counter
from dataclasses import dataclass, field

from torch import nn

from . import kinds
from .recorder import Operation


def is_normalization(operation: Operation) -> bool:
    """Whether an operation is a normalization that is a module."""
    return isinstance(operation.target, nn.Module) and kinds.layer_kind(operation.target) == "normalization"


_BOUNDED = {"sigmoid", "tanh", "softmax", "softmin", "hardsigmoid", "hardtanh", "softsign", "relu6"}
_BOUNDED |= {"sin", "cos", "erf"}
_EXPONENTIALS = ("rpow", "exp", "expm1", "exp2", "sinh")
#: Functions that grow as a power of their input, with its exponent; an exponential counts as a third power.
_POWERS = {
    **{"square": 2.0, "var": 2.0, "sqrt": 0.5, "rsqrt": -0.5, "reciprocal": -1.0},
    **dict.fromkeys((*_EXPONENTIALS, "cosh", "cumprod", "prod"), 3.0),
}
_MIXED = {"einsum", "matmul", "bmm", "mm", "baddbmm", "addmm"}
_HELD = ("constant", "parameter")
_QUOTIENTS = {"div", "divide", "true_divide", "truediv", "itruediv"}
#: Degree from which no usual scale keeps a chain of products or powers in bounds: that of two in a row.
_CHAIN = 4.0


#: Gates whose value at zero is not zero, and gates that are zero there but have a slope.
_OPEN = ("sigmoid", "hardsigmoid", "softplus", "exp")
_CLOSED = ("tanh", "hardtanh", "softsign", "silu", "gelu", "elu", "selu", "mish", "leaky_relu", "sin", "erf")


@dataclass
class Branches:
    """How many residual branches a model has, and the part that each layer in them plays, by name."""

    count: int = 0
    ends: set[str] = field(default_factory=set)  # may start at zero
    growing: set[str] = field(default_factory=set)  # their values grow as a power
    ones: set[str] = field(default_factory=set)  # may start at one in a chain of products
    gates: dict[str, str] = field(default_factory=dict)  # layer -> gate of the shortcut whose argument it ends
    unsafe: set[str] = field(default_factory=set)  # no start keeps their product in bounds
    products: int = 0  # branches that grow as a power
    gated: int = 0  # branches with an open gate of the shortcut


def residual(operations: list[Operation]) -> Branches:
    """The residual branches of a model.

    A sum has a residual branch when one side has no layers of its own, and the other computes with it, or only a
    projection, and the other several layers on end; so does a product with 1 + f.
    """
    before: list[int] = []  # the operations that each depends on, itself included, as bits
    uses = Counter(operation.name for operation in operations if operation.kind == "layer")
    layers = 0
    for operation in operations:
        bits = 0 if operation.kind in _HELD else 1 << operation.index
        for i in operation.inputs:
            bits |= before[i]
        before.append(bits)
        weighted = operation.kind == "wall" and any(operations[i].kind == "parameter" for i in operation.inputs)
        if weighted or operation.kind == "layer" and not is_normalization(operation):
            layers |= 1 << operation.index
    activations = sum(1 << o.index for o in operations if o.kind == "activation")
    repeated = sum(1 << o.index for o in operations if o.kind == "layer" and uses[o.name] > 1)
    products = sum(1 << o.index for o in operations if o.kind == "product")

    ends = Counter[str]()
    gates = list[tuple[str, str]]()
    result = Branches()
    streams: set[int] = set()  # sums whose shortcut has no layers
    within = 0
    for operation in operations:
        product = operation.kind == "product"
        inputs = tuple(_shifted(operations[i]) if product else i for i in operation.inputs)
        if len(set(inputs)) != 2 or not (operation.kind == "sum" or inputs != operation.inputs):
            continue
        common = before[inputs[0]] & before[inputs[1]]
        alone = {i: before[i] & layers & ~common for i in inputs}
        short, deep = sorted(inputs, key=lambda i: alone[i].bit_count())
        if deep in streams or short in streams and alone[short] and deep not in streams:
            short, deep = (deep, short) if deep in streams else (short, deep)  # x + f + g
            alone[short] = 0
        few, many = alone[short].bit_count(), alone[deep].bit_count()
        branch = [o.index for o in operations if alone[deep] >> o.index & 1]
        origin = (before[short] & common & layers).bit_length() - 1  # the layer that the shortcut comes from
        fed = product or origin < 0 or any(before[i] >> origin & 1 for i in branch)
        stacked = any(before[i] & alone[deep] != 1 << i for i in branch)  # not parallel to the short side
        other = (alone[short] | alone[deep]) & repeated | before[short] & ~common & activations
        whole = not product or deep not in operation.inputs  # x (1 + f), not (1 + x) f
        if whole and common and few < many and (few == 0 and fed or few == 1 and stacked and not other):
            result.count += 1
            if before[short] & ~common & products and short not in streams:
                continue  # as in a highway network: without its branch the block would not be its shortcut
            exponents = [i for o in operation.inputs if operations[o].name == "exp" for i in operations[o].inputs]
            own, gate = _own(operations, deep, common, product)
            lone = own >= 0 and alone[deep].bit_count() == 1
            if gate in _OPEN:
                result.gated += 1
                gates += [(name, gate) for name in _ends(operations, own, common)]
            value = _shifted(operations[deep]) if len(operations[deep].users) == 1 else deep  # x + exp(f)
            start = own if gate else value
            ends.update(() if gate and (lone or gate in _OPEN) else _ends(operations, start, common, deep in exponents))
            if not product and few == 0:
                streams.add(operation.index)
            within |= before[operation.index if product else deep] & ~common
            inside = [o for o in operations if (before[deep] & ~common) >> o.index & 1]
            normed = any(_normalizes(o) for o in inside)
            power = not normed if product else _degrees(inside).get(deep, 1.0) > 1
            layers_inside = {o.name for o in inside if o.kind == "layer"}
            if power or gate in _CLOSED and not normed:
                result.products += 1
                result.growing |= layers_inside
            steep = lone and gate in (*_CLOSED, "hardsigmoid", "") and not normed
            if steep or power and any(o.name in _EXPONENTIALS for o in inside):
                result.unsafe |= layers_inside
    outside = [o for o in operations if not within >> o.index & 1]
    chains, ones, damped = _chains(operations, outside, before)
    chained = {name for end in chains for name in end if uses[name] == 1}
    result.ends = {name for name, count in ends.items() if count == uses[name]} | chained
    result.gates = {name: gate for name, gate in gates if gates.count((name, gate)) == uses[name]}
    result.growing |= chained | damped
    result.ones, result.count = ones & chained, result.count + len(chains)
    return result


def _own(operations: list[Operation], start: int, common: int, factor: bool) -> tuple[int, str]:
    """What a branch multiplies the shortcut's own value by: where that starts (-1: nothing), and the gate after it."""
    operation = operations[start]
    if not factor:
        operation = _before(operations, operation, kinds.PASSING)
        others = [i for i in operation.inputs if not common >> i & 1]
        whole = operation.kind != "product" or operation.name in _QUOTIENTS
        if whole or len(others) != 1 or len(operation.inputs) != 2:
            return -1, ""
        operation = operations[others[0]]
    operation = _before(operations, operation, kinds.PASSING - kinds.SUMS)
    if operation.function in (*_OPEN, *_CLOSED) and len(operation.users) == 1:
        return operation.inputs[0], operation.function
    return operation.index, ""


def _before(operations: list[Operation], operation: Operation, passing: set[str]) -> Operation:
    """The operation before any functions of one value that only pass it on."""
    while operation.kind == "other" and operation.name in passing and len(operation.inputs) == 1:
        operation = operations[operation.inputs[0]]
    return operation


def _shifted(operation: Operation) -> int:
    """The operation itself, or f where it is f plus a number or the exponential of f."""
    plus = operation.kind == "other" and operation.name in (*kinds.SUMS, "exp") and len(operation.inputs) == 1
    return operation.inputs[0] if plus else operation.index


def _normalizes(operation: Operation) -> bool:
    functional = operation.kind == "other" and operation.name.endswith(("_norm", "normalize"))
    return functional or is_normalization(operation)


def _degrees(operations: list[Operation], floor: float = -64.0) -> dict[int, float]:
    """The power of its input by which each operation grows; inputs from elsewhere have degree 1.

    Values that are normalized or bounded have degree 0; layers have at least `floor`.
    """
    degrees: dict[int, float] = {}
    names = {operation.index: operation.name for operation in operations}
    for operation in operations:
        name, module = operation.function, operation.target
        given = [degrees.get(i, 1.0) for i in operation.inputs] or [0.0]
        degree = max(given)
        if operation.kind in _HELD or name in _BOUNDED or _normalizes(operation):
            degree = 0.0
        elif operation.kind == "product" and name in _QUOTIENTS:
            divisor = names.get(operation.inputs[-1], "")
            degree = given[0] + given[-1] * (1 if divisor in _EXPONENTIALS else -1)
        elif operation.kind == "product" or name in _MIXED or isinstance(module, nn.Bilinear):
            degree = sum(given) if len(given) > 1 else 2 * degree
        elif operation.kind in ("other", "activation"):
            degree *= operation.exponent or _POWERS.get(name, 1.0)
        if operation.kind == "layer":
            degree = max(degree, floor)
        degrees[operation.index] = min(max(degree, -64.0), 64.0)
    return degrees


def _chains(
    operations: list[Operation], outside: list[Operation], before: list[int]
) -> tuple[list[set[str]], set[str], set[str]]:
    """In chains of products and powers: the layers that end a factor, those of them with no exponential after
    them, and the layers that end the argument of an exponential that is not a factor.
    """
    degrees = _degrees(outside, floor=1.0)
    chained = 0
    for operation in outside:
        chained |= before[operation.index] if degrees[operation.index] >= _CHAIN else 0
    biased = {o.name for o in operations if getattr(o.target, "bias", None) is not None and not is_normalization(o)}
    ends, ones, damped = list[set[str]](), set[str](), set[str]()
    for operation in outside:
        free = [i for i in operation.inputs if degrees.get(i, 1.0) > 0]
        if not chained >> operation.index & 1 or not free:
            continue
        if operation.name in _EXPONENTIALS:
            found = _ends(operations, free[0], 0, shared=True)
            factor = all(operations[i].kind == "product" for i in operation.users)
            damped |= set() if factor else found
            ends.append(found if factor else set())
        elif operation.kind == "product" and len(free) > 1 and operation.name not in _QUOTIENTS:
            each = (_ends(operations, i, 0) for i in free)
            ends.append(next((e for e in each if e and e <= biased), set()))
            ones |= ends[-1]
    return [e for e in ends if e], ones, damped


def _ends(operations: list[Operation], start: int, common: int, shared: bool = False) -> set[str]:
    """The layers met first on the way back from a sum, if each may start at zero.

    The walk ends at whatever would keep a zero for good (a learned scale, which may be zero itself), undo it
    (a normalization without scale, a weight that is computed), or turn it into something else (an activation,
    a function whose slope at zero may be zero). It follows only one factor of a product: if both were zero,
    neither would learn.
    """
    operation = operations[start]
    if common >> start & 1 or (len(operation.users) > 1 and not shared):
        return set()  # the shortcut, or values that are used elsewhere too
    if operation.kind == "layer":
        module = operation.target
        assert isinstance(module, nn.Module)
        scaled = not is_normalization(operation) or module._parameters.get("weight") is not None
        return {operation.name} if scaled and kinds.is_plain(module) else set()
    mixed = operation.name in _MIXED and all(operations[i].kind not in _HELD for i in operation.inputs)
    if not (mixed or _passes(operation)):
        return set()
    found = [_ends(operations, i, common, shared) for i in operation.inputs]
    if operation.kind == "product" or mixed:
        return next(filter(None, found), set()) if len(found) > 1 else set()
    return set[str]().union(*found)


def _passes(operation: Operation) -> bool:
    name = operation.name
    passing = isinstance(operation.target, nn.Module) or name in kinds.PASSING or name in ("expm1", "sinh")
    other = operation.kind == "other" and (passing or "pool" in name or "dropout" in name)
    return other or operation.kind in ("sum", "product")
