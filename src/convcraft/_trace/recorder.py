"""The operations of a forward pass: on symbols, on an example, or guessed from the order of the modules.

All three look at a copy of the model's modules that shares its parameters, and a torch function mode belongs
to one thread, so other threads may meanwhile call this model and any other.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.proxy import TracerBase
from torch.overrides import TorchFunctionMode

from .._restore import random_state
from . import kinds


@dataclass
class Operation:
    """One step of a forward pass: a layer, an activation, a sum, or anything else that values pass through.

    `kind` is "input", "parameter" (one that is read outside its layer, or anything computed from such alone),
    "constant", "layer", "activation", "sum" or "product" (of two values that depend on the input), "scale" (by
    a parameter), "wall" (mixes features without being a layer), "other" or "output"; `name` is the qualified name of
    the module, parameter or buffer, or the name of the function.
    """

    index: int
    kind: str
    name: str
    target: nn.Module | Callable[..., Any] | None = None
    inputs: tuple[int, ...] = ()
    users: list[int] = field(default_factory=list)
    exponent: float | None = None  # of a power

    @property
    def function(self) -> str:
        """The name of its function or of the class of its module."""
        known = kinds.activation_name(self.target) if isinstance(self.target, nn.Module) else self.name
        return known or type(self.target).__name__.lower()


class Builder:
    """Collects operations; `twin` is the copy of the model that runs."""

    def __init__(self, model: nn.Module, twin: nn.Module) -> None:
        self.operations: list[Operation] = []
        self._modules = dict(model.named_modules())
        self._names = {id(module): name for name, module in reversed(list(twin.named_modules()))}
        self._held = {id(p): (name, "parameter") for name, p in twin.named_parameters()}
        self._held.update((id(b), (name, "constant")) for name, b in twin.named_buffers())

    def add(self, kind: str, name: str, target: Any = None, inputs: tuple[int, ...] = ()) -> int:
        index = len(self.operations)
        inputs = tuple(dict.fromkeys(inputs))
        self.operations.append(Operation(index, kind, name, target, inputs))
        for i in inputs:
            self.operations[i].users.append(index)
        return index

    def held(self, tensor: Tensor) -> int | None:
        """The operation that reads a parameter or buffer; None for any other tensor."""
        found = self._held.get(id(tensor))
        return None if found is None else self.add(found[1], found[0])

    def module(self, twin: nn.Module, inputs: tuple[int, ...]) -> int:
        name = self._names[id(twin)]
        module = self._modules[name]
        if kinds.layer_kind(twin) is not None:
            return self.add("layer", name, module, inputs)
        # A module of the user's own counts as one operation only when it acts on each value alone.
        activation = kinds.activation_name(twin) is not None or not kinds.is_known(twin)
        return self.add("activation" if activation else "other", name, module, inputs)

    def function(self, target: Any, arguments: Any, keywords: dict[str, Any], inputs: tuple[int, ...]) -> int:
        """A function or method; `arguments` without the first, which is the value that it works on."""
        name = kinds.function_name(target)
        data = [i for i in inputs if self.operations[i].kind not in ("constant", "parameter")]
        learned = any(self.operations[i].kind == "parameter" for i in inputs)
        if name in kinds.FACTORIES:
            return self.add("constant", name)
        if name == "setitem" and (added := self.added(inputs)):
            return added
        if not data:
            return self.add("parameter" if learned else "constant", name, None, inputs)
        if name in ("addcmul", "addcdiv") and len(set(inputs)) == 3:
            product = self.add("product", "mul" if name == "addcmul" else "div", None, inputs[1:])
            return self.add("sum", "add", None, (inputs[0], product))
        if name in kinds.SUMS and len(set(data)) > 1:
            return self.add("sum", name, None, inputs)
        if name in kinds.PRODUCTS and (learned or len(data) > 1):
            return self.add("product" if len(data) > 1 else "scale", name, None, inputs)
        if name in kinds.WALLS:
            return self.add("wall", name, None, inputs)
        if name in kinds.ACTIVATION_FUNCTIONS:
            return self.add("activation", name, _bind(target, arguments, keywords), inputs[:1])
        index = self.add("other", name, None, inputs)
        if name in ("pow", "ipow", "float_power") and arguments and isinstance(arguments[0], (int, float)):
            self.operations[index].exponent = float(arguments[0])
        return index

    def added(self, inputs: tuple[int, ...]) -> int | None:
        """One sum in place of the three operations of `y[rows] += value`, whose last has these inputs."""
        base, total = inputs[0], self.operations[inputs[-1]]
        parts = [self.operations[i] for i in total.inputs]
        read = [o.index for o in parts if o.name == "getitem" and o.inputs[0] == base and o.users == [total.index]]
        if total.name not in kinds.SUMS or len(read) != 1 or len(parts) != 2 or total.users:
            return None
        value = next(i for i in total.inputs if i not in read)
        for index in (total.index, read[0]):
            for i in self.operations[index].inputs:
                self.operations[i].users.remove(index)
            self.operations[index] = Operation(index, "other", "part of an update")
        return self.function("add", (), {}, (base, value))


def _bind(target: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Callable[[Tensor], Tensor]:
    """The function of one tensor that a call with these other arguments computes."""
    function = getattr(torch.Tensor, target) if isinstance(target, str) else target
    keywords = {key: value for key, value in keywords.items() if key not in ("input", "inplace")}
    if not arguments and not keywords:
        return function
    return lambda x: function(x, *arguments, **keywords)


class _Number(fx.Proxy):
    """A symbol that depends on shapes alone; as a float it may scale values, but nothing can branch on it."""

    def __float__(self) -> float:
        return 1.0


class _Symbols(TracerBase):
    """What an `fx.Proxy` reports its methods and operators to."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder

    def create_proxy(self, kind: str, target: Any, args: Any, kwargs: Any, *rest: Any, **others: Any) -> Any:
        return self.recorder.symbol(target, args, kwargs)


class Recorder(TorchFunctionMode):
    """Records every call of torch in this thread, outside the modules that count as one operation."""

    def __init__(self, model: nn.Module, twin: nn.Module, symbolic: bool) -> None:
        super().__init__()
        self.builder, self.symbolic, self.inside = Builder(model, twin), symbolic, 0
        self.symbols = _Symbols(self)
        self.producer: dict[int, int] = {}  # identity of a tensor -> operation
        self.alive: list[Any] = []  # otherwise an identity could be used twice
        for leaf in leaves(twin):
            leaf.__dict__["forward"] = functools.partial(self.leaf, leaf, leaf.forward)

    def __deepcopy__(self, memo: Any) -> Recorder:
        return self  # a model may copy its own parts

    def inputs(self, *values: Any) -> tuple[int, ...]:
        found: list[int] = []
        for value in _values(values):
            index: Any = value.node if isinstance(value, fx.Proxy) else self.producer.get(id(value))
            if index is None and isinstance(value, Tensor) and (index := self.builder.held(value)) is not None:
                self.producer[id(value)] = index
            if index is not None:
                found.append(index)
        return tuple(found)

    def made(self, result: Any, index: int) -> None:
        for value in _values(result):
            if isinstance(value, fx.Proxy):
                value.node = index  # type: ignore[assignment]
            else:
                self.producer[id(value)] = index
                self.alive.append(value)

    def leaf(self, module: nn.Module, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """The forward of a module that counts as one operation."""
        if self.symbolic:
            return fx.Proxy(self.builder.module(module, self.inputs(args, kwargs)), self.symbols)  # type: ignore[arg-type]
        inputs = self.inputs(args, kwargs) if not self.inside else ()
        self.inside += 1
        try:
            result = forward(*args, **kwargs)
        finally:
            self.inside -= 1
        if not self.inside:
            self.made(result, self.builder.module(module, inputs))
        return result

    def symbol(self, target: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """The symbol that a function of symbols returns."""
        if target is getattr:
            target = args[1]
        name, inputs = kinds.function_name(target), self.inputs(*kinds.sources(target, args, kwargs))
        if name in kinds.QUESTIONS or not inputs and name not in kinds.FACTORIES:
            return _Number(None, self.symbols)  # type: ignore[arg-type]
        index = self.builder.function(target, args[1:], kwargs, inputs)
        if kinds.is_in_place(target):
            self.made(args[0], index)
        return fx.Proxy(index, self.symbols)  # type: ignore[arg-type]

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.inside:
            return func(*args, **kwargs)
        if any(isinstance(value, fx.Proxy) for value in _values((args, kwargs))):
            return self.symbol(func, args, kwargs)
        result = func(*args, **kwargs)
        changed = args[0] if kinds.is_in_place(func) else result
        if any(True for _ in tensors(changed)):
            inputs = self.inputs(*kinds.sources(func, args, kwargs))
            if inputs or kinds.function_name(func) in kinds.FACTORIES:
                self.made(changed, self.builder.function(func, args[1:], kwargs, inputs))
        return result


def _values(value: Any) -> Iterator[Any]:
    """Every tensor and symbol in nested arguments, slices included."""
    if isinstance(value, (Tensor, fx.Proxy)):
        yield value
    elif isinstance(value, slice):
        yield from _values((value.start, value.stop, value.step))
    elif isinstance(value, Mapping):
        yield from _values(tuple(value.values()))
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _values(item)


def symbolic(model: nn.Module) -> tuple[list[Operation], tuple[str, ...]]:
    """The operations of a pass on symbols, and the arguments left at their defaults; raises what the model raises."""
    positional = [
        argument
        for argument in inspect.signature(model.forward).parameters.values()
        if argument.kind in (argument.POSITIONAL_ONLY, argument.POSITIONAL_OR_KEYWORD)
    ]
    optional = tuple(a.name for a in positional if a.default is not a.empty)
    count = len(positional) - len(optional)
    with _alone(model) as twin:
        recorder = Recorder(model, twin, symbolic=True)
        add = functools.partial(recorder.builder.add, "input", "input")
        symbols = [fx.Proxy(add(), recorder.symbols) for _ in range(max(1, count))]  # type: ignore[arg-type]
        with recorder:
            result = twin(*symbols)
        recorder.builder.add("output", "output", None, recorder.inputs(result))
    return recorder.builder.operations, optional


def run(model: nn.Module, example: Any) -> list[Operation]:
    """The operations of one forward pass in eval mode; raises whatever the model raises."""
    args, kwargs = arguments(example)
    with _alone(model) as twin:
        recorder = Recorder(model, twin.eval(), symbolic=False)
        for tensor in tensors((args, kwargs)):
            recorder.made(tensor, recorder.builder.add("input", "input"))
        with torch.enable_grad(), recorder:  # without gradients torch's Transformer skips its modules
            result = twin(*args, **kwargs)
        recorder.builder.add("output", "output", None, recorder.inputs(result))
    return recorder.builder.operations


def in_order(model: nn.Module) -> list[Operation]:
    """The modules one after another in the order in which they were registered."""
    builder = Builder(model, model)
    last = builder.add("input", "input")
    for module in leaves(model):
        last = builder.module(module, (last,))
    builder.add("output", "output", None, (last,))
    return builder.operations


@contextlib.contextmanager
def _alone(model: nn.Module) -> Iterator[nn.Module]:
    """A copy of the modules and buffers with the same parameters; every random state is restored."""
    with random_state(model):
        yield twin(model)


def twin(model: nn.Module) -> nn.Module:
    """A copy of every module and buffer, with the parameters of the model itself."""
    uninitialized = (nn.UninitializedParameter, nn.UninitializedBuffer)  # a pass gives these a shape
    memo: dict[int, Any] = {id(p): p for p in model.parameters() if not isinstance(p, uninitialized)}
    for buffer in (b for b in model.buffers() if not isinstance(b, uninitialized)):
        memo[id(buffer)] = buffer.detach().clone()
    for module in model.modules():  # tensors that were computed cannot be copied, and need not be
        memo.update((id(v), v) for v in vars(module).values() if isinstance(v, Tensor))
    try:
        return copy.deepcopy(model, dict(memo))
    except Exception:  # whatever a module holds that cannot be copied
        return _shell(model, memo)


def _shell(module: nn.Module, memo: dict[int, Any]) -> nn.Module:
    """A module with the attributes of another one, and copies of its buffers and children."""
    if id(module) not in memo:
        memo[id(module)] = new = module.__new__(type(module))
        new.__dict__.update(module.__dict__)
        buffers = {name: memo.get(id(buffer)) for name, buffer in module._buffers.items()}
        new.__dict__.update(_parameters=dict(module._parameters), _buffers=buffers)
        new.__dict__["_modules"] = {
            name: child if child is None else _shell(child, memo) for name, child in module._modules.items()
        }
    return memo[id(module)]


def leaves(model: nn.Module) -> list[nn.Module]:
    """The modules that count as one operation, each once, in the order of registration."""

    def below(module: nn.Module) -> list[nn.Module]:
        return [module] if kinds.is_leaf(module) else [leaf for child in module.children() for leaf in below(child)]

    return list(dict.fromkeys(below(model)))


def arguments(example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """An example as arguments: a tuple or list is several inputs, a mapping keyword arguments."""
    if isinstance(example, Mapping):
        return (), dict(example)
    if isinstance(example, (tuple, list)):
        return tuple(example), {}
    return (example,), {}


def tensors(value: Any) -> Iterator[Tensor]:
    """Every tensor in nested tuples, lists and mappings."""
    return (item for item in _values(value) if isinstance(item, Tensor))
