"""Three ways to the operations of a model: a symbolic trace, a run on an example, the order of modules."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode

from . import kinds


@dataclass
class Operation:
    """One step of a forward pass: a layer, an activation, a sum, or anything else that values pass through.

    `kind` is "input", "constant", "layer", "activation", "sum", "product", "wall" (weights of no layer),
    "other" or "output"; `name` the qualified name of the module, or the name of the function.
    """

    index: int
    kind: str
    name: str
    target: nn.Module | Callable[..., Any] | None = None
    inputs: tuple[int, ...] = ()
    users: list[int] = field(default_factory=list)


class Builder:
    """Collects operations; gives each module its qualified name."""

    def __init__(self, model: nn.Module) -> None:
        self.operations: list[Operation] = []
        self._names = {id(module): name for name, module in reversed(list(model.named_modules()))}

    def add(self, kind: str, name: str, target: Any = None, inputs: tuple[int, ...] = ()) -> int:
        index = len(self.operations)
        inputs = tuple(dict.fromkeys(inputs))
        self.operations.append(Operation(index, kind, name, target, inputs))
        for i in inputs:
            self.operations[i].users.append(index)
        return index

    def module(self, module: nn.Module, inputs: tuple[int, ...]) -> int:
        name = self._names[id(module)]
        if kinds.layer_kind(module) is not None:
            return self.add("layer", name, module, inputs)
        # A module of the user's own is looked at as a whole only when it acts on each value alone.
        activation = kinds.activation_name(module) is not None or not kinds.is_known(module)
        return self.add("activation" if activation else "other", name, module, inputs)

    def function(self, target: Any, arguments: tuple[Any, ...], keywords: dict[str, Any], inputs: Any) -> int:
        """A function or method; `arguments` without the first, which is the value that it works on."""
        name = kinds.function_name(target)
        tensors = [i for i in inputs if self.operations[i].kind != "constant"]
        if name in kinds.SUMS and len(set(tensors)) > 1:
            return self.add("sum", name, None, inputs)
        if name in kinds.PRODUCTS and len(set(tensors)) > 1:
            return self.add("product", name, None, inputs)
        if name in kinds.WALLS:
            return self.add("wall", name, None, inputs)
        if name in kinds.ACTIVATION_FUNCTIONS and inputs:
            return self.add("activation", name, _bind(target, arguments, keywords), inputs[:1])
        if not tensors:
            return self.add("constant", name)
        return self.add("other", name, None, inputs)


def _bind(target: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Callable[[Tensor], Tensor]:
    """The function of one tensor that a call with these other arguments computes."""
    function = getattr(torch.Tensor, target) if isinstance(target, str) else target
    keywords = {key: value for key, value in keywords.items() if key not in ("input", "inplace")}
    if not arguments and not keywords:
        return function
    return functools.partial(_call, function, arguments, keywords)


def _call(function: Callable[..., Tensor], arguments: Any, keywords: Any, x: Tensor) -> Tensor:
    return function(x, *arguments, **keywords)


class _Tracer(fx.Tracer):
    def __init__(self, whole: list[nn.Module]) -> None:
        super().__init__()
        self._whole = {id(module) for module in whole}

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return id(m) in self._whole


def symbolic(model: nn.Module) -> list[Operation]:
    """The operations by `torch.fx`; raises whatever tracing raises."""
    whole = leaves(model)
    if whole and whole[0] is model:  # torch.fx would look into the module that it is given
        return _alone(model)
    tracer = _Tracer(whole)
    with unchanged(model):
        graph = tracer.trace(model)
    builder = Builder(model)
    index: dict[fx.Node, int] = {}

    def value(argument: Any) -> Any:
        if isinstance(argument, fx.Node) and argument.op == "get_attr":
            return functools.reduce(getattr, str(argument.target).split("."), model)
        return argument

    for node in graph.nodes:
        inputs = tuple(index[n] for n in node.all_input_nodes if n in index)
        if node.op == "placeholder":
            index[node] = builder.add("input", node.name)
        elif node.op == "get_attr":
            index[node] = builder.add("constant", str(node.target))
        elif node.op == "call_module":
            index[node] = builder.module(model.get_submodule(str(node.target)), inputs)
        elif node.op == "output":
            builder.add("output", "output", None, inputs)
        elif kinds.function_name(node.target) not in kinds.QUESTIONS:
            others = tuple(value(a) for a in node.args[1:])
            keywords = {k: value(a) for k, a in node.kwargs.items()}
            index[node] = builder.function(node.target, others, keywords, inputs)
    return builder.operations


def _alone(model: nn.Module) -> list[Operation]:
    """The operations of a model that is one layer."""
    builder = Builder(model)
    layer = builder.module(model, (builder.add("input", "input"),))
    builder.add("output", "output", None, (layer,))
    return builder.operations


class _Recorder(TorchFunctionMode):
    """Notes every call of torch outside the modules that are looked at as a whole."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.builder = Builder(model)
        self.producer: dict[int, int] = {}
        self.alive: list[Any] = []  # so that no identity is used twice
        self.inside = 0

    def inputs(self, *values: Any) -> tuple[int, ...]:
        return tuple(self.producer[id(t)] for t in tensors(values) if id(t) in self.producer)

    def made(self, result: Any, index: int) -> None:
        for tensor in tensors(result):
            self.producer[id(tensor)] = index
            self.alive.append(tensor)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if not self.inside:
            changed = args[0] if kinds.function_name(func) == "setitem" else result
            inputs = self.inputs(args, kwargs)
            if inputs and any(True for _ in tensors(changed)):
                self.made(changed, self.builder.function(func, args[1:], kwargs, inputs))
        return result

    def enter(self, module: nn.Module, args: Any) -> None:
        self.inside += 1

    def leave(self, module: nn.Module, args: Any, kwargs: Any, result: Any) -> None:
        self.inside -= 1
        if not self.inside:
            self.made(result, self.builder.module(module, self.inputs(args, kwargs)))


def run(model: nn.Module, example: Any) -> list[Operation]:
    """The operations of one forward pass in eval mode; raises whatever the model raises."""
    recorder = _Recorder(model)
    modules, hooks = leaves(model), []
    with contextlib.ExitStack() as stack:
        stack.enter_context(unchanged(model))
        for module in modules:
            hooks.append(module.register_forward_pre_hook(recorder.enter))
            hooks.append(module.register_forward_hook(recorder.leave, with_kwargs=True))
        for handle in hooks:
            stack.callback(handle.remove)
        args, kwargs = arguments(example)
        for tensor in tensors((args, kwargs)):
            recorder.made(tensor, recorder.builder.add("input", "input"))
        model.eval()
        stack.enter_context(torch.enable_grad())  # without it torch's Transformer skips its modules
        stack.enter_context(recorder)
        result = model(*args, **kwargs)
    recorder.builder.add("output", "output", None, recorder.inputs(result))
    return recorder.builder.operations


def in_order(model: nn.Module) -> list[Operation]:
    """The modules one after another in the order in which they were registered."""
    builder = Builder(model)
    last = builder.add("input", "input")
    for module in leaves(model):
        last = builder.module(module, (last,))
    builder.add("output", "output", None, (last,))
    return builder.operations


def leaves(model: nn.Module) -> list[nn.Module]:
    """The modules that are looked at as a whole, in the order of registration, each once."""
    found: list[nn.Module] = []

    def visit(module: nn.Module) -> None:
        if kinds.is_leaf(module):
            found.append(module)
            return
        for child in module.children():
            visit(child)

    visit(model)
    return list(dict.fromkeys(found))


def arguments(example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """An example as arguments: a tuple or list is several inputs, a mapping keyword arguments."""
    if isinstance(example, Mapping):
        return (), dict(example)
    if isinstance(example, (tuple, list)):
        return tuple(example), {}
    return (example,), {}


def tensors(value: Any) -> Iterator[Tensor]:
    """Every tensor in nested tuples, lists and mappings."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors(item)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors(item)


@contextlib.contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """Give every module back its attributes, mode and buffers afterwards, and torch its random state."""
    devices = {p.device for p in model.parameters() if p.device.type == "cuda"}
    kept = [(module, dict(vars(module))) for module in model.modules()]
    inner = [
        (registry, dict(registry))
        for _, attributes in kept
        for registry in (attributes["_parameters"], attributes["_buffers"], attributes["_modules"])
    ]
    try:
        with torch.random.fork_rng(devices=list(devices)):
            yield
    finally:
        for registry, before in inner:
            registry.clear()
            registry.update(before)
        for module, before in kept:
            vars(module).clear()
            vars(module).update(before)
