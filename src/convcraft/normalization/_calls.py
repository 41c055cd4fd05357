"""Which modules every way through a model's forward calls, in which order, and what else it reads of them."""

import gc
import inspect
import itertools
import random
import sys
from collections import Counter, deque
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from .._restore import random_state
from .._trace import kinds
from .._trace.recorder import Recorder, _values, twin
from ._symbols import OWN, UNFOLLOWED, Several, Symbol, Unknown, Unproven, Ways, hidden, owner

MOST_WAYS = 128
MOST_OPTIONAL = 4
#: What the forward pass may read of a watched module: it stays the same whatever the weights are.
_HARMLESS = {
    *("forward", "training", "named_modules", "modules", "children", "named_children"),
    *("in_channels", "out_channels", "in_features", "out_features", "kernel_size", "stride", "padding"),
    *("dilation", "groups"),
}
#: Methods of a tensor that have to return a value of Python's own, or an array.
_VALUES = {"int", "float", "complex", "index", "len", "reversed", "array", "tolist", "numpy"}
#: Functions that may return several values.
_SEVERAL = {
    *("chunk", "split", "tensor_split", "hsplit", "vsplit", "dsplit", "unbind", "topk", "sort", "max", "min"),
    *("median", "mode", "kthvalue", "cummax", "cummin", "std_mean", "var_mean", "unique", "meshgrid"),
}


@dataclass
class Calls:
    """What one way through the forward pass does with the watched modules, by name; `log` is every step."""

    count: Counter[str] = field(default_factory=Counter)
    before: dict[str, tuple[bool, str]] = field(default_factory=dict)  # (it is a layer, its name)
    readers: dict[str, int] = field(default_factory=dict)
    reads: dict[str, set[str]] = field(default_factory=dict)  # attributes and parameters
    log: list[Any] = field(default_factory=list)


class _Follower(Recorder):
    """Gives a symbol for every tensor, and nothing with a value for what depends on shapes."""

    def __init__(self, model: nn.Module, copied: nn.Module, decided: tuple[bool, ...]) -> None:
        super().__init__(model, copied, symbolic=True)
        self.ways = self.symbols = Ways(self, decided)
        self.log: list[Any] = []
        self.codes: dict[CodeType, bool] = {}  # of each function that ran, whether it is the model's

    def tensor(self, index: int, given: bool = False) -> Symbol:
        symbol = Symbol(self.ways, given)
        self.made(symbol, index)
        return symbol

    def leaf(self, module: nn.Module, forward: Any, *args: Any, **kwargs: Any) -> Any:
        held = [p for part in module.modules() for p in vars(part)["_parameters"].values() if p is not None]
        if not all(id(p) in self.builder._held for p in held):
            raise Unproven(UNFOLLOWED + f"it gives {type(module).__name__} other parameters for a call")
        index: Any = super().leaf(module, forward, *args, **kwargs).node
        self.log.append((self.builder.operations[index].name, self.builder.operations[index].inputs))
        many = isinstance(module, nn.RNNBase | nn.LSTMCell | nn.MultiheadAttention)
        many = many or vars(module).get("return_indices", False)
        return Several(index, self.ways) if many else self.tensor(index)

    def symbol(self, target: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        index: Any = super().symbol(target, args, kwargs).node
        name = kinds.function_name(args[1] if target is getattr else target)
        self.log.append((name, index, _snapshot((args, kwargs), self.inputs)))
        if index is None:
            return Unknown(index, self.ways)  # type: ignore[arg-type]
        return Several(index, self.ways) if name in _SEVERAL else self.tensor(index)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self.inputs(args, kwargs)  # a parameter may be read for a number
        symbols = (v for v in _values((args, kwargs)) if isinstance(v, fx.Proxy) or type(v) is Symbol)
        if next(symbols, None) is None:
            return super().__torch_function__(func, types, args, kwargs)
        if kinds.function_name(func) == "get":  # an attribute such as x.shape
            return self.symbol(func.__self__.__name__, args, kwargs)
        if kinds.function_name(func) == "bool":
            return self.ways.to_bool(args[0])
        if kinds.function_name(func) in ("repr", "format"):  # in the message of an error
            return "a symbol"
        if kinds.function_name(func) in _VALUES:
            return self.ways.iter(args)
        return self.symbol(func, args, kwargs)

    def __enter__(self) -> Any:
        self.collects = gc.isenabled()
        gc.disable()  # what others do when garbage is collected is not the model's doing
        self.profile = sys.getprofile()
        sys.setprofile(self.note)
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        sys.setprofile(self.profile)
        if self.collects:
            gc.enable()
        super().__exit__(*error)

    def note(self, frame: FrameType, event: str, value: Any) -> None:
        """Keep the code of every function that runs."""
        if event == "call" and frame.f_code not in self.codes:
            self.codes[frame.f_code] = owner(frame) not in OWN


def follow(model: nn.Module, watched: tuple[type[nn.Module], ...]) -> list[Calls]:
    """Every way through the forward pass, on symbols: both sides of each branch, with and without each
    optional argument and gradients; Unproven where one cannot be followed."""
    found: list[Calls] = []
    for (args, kwargs), gradients in itertools.product(_arguments(model), (False, True)):
        waiting: list[tuple[bool, ...]] = [()]
        while waiting:
            decided = waiting.pop()
            with torch.set_grad_enabled(gradients), random_state(model):
                calls, taken = _way(model, watched, decided, args, kwargs)
            waiting += [(*taken[:at], True) for at in range(len(decided), len(taken))]
            if calls is not None:
                found.append(calls)
            if len(found) + len(waiting) > MOST_WAYS:
                raise Unproven("the forward pass has too many branches to follow all")
    return found


def _arguments(model: nn.Module) -> list[tuple[int, dict[str, Any]]]:
    """(number of positional symbols, values or `fx.Proxy` for a symbol by name) of each kind of call."""
    parameters = inspect.signature(model.forward).parameters.values()
    if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters):
        raise Unproven("the forward pass takes any number of arguments, which cannot all be followed")
    optional = [p for p in parameters if p.default is not p.empty]
    needed = [p for p in parameters if p.default is p.empty]
    if len(optional) > MOST_OPTIONAL:
        raise Unproven(f"the forward pass has {len(optional)} optional arguments, too many to follow each")
    named = {p.name: fx.Proxy for p in needed if p.kind is p.KEYWORD_ONLY}
    choices = [(True, False) if isinstance(p.default, bool) else (p.default, fx.Proxy) for p in optional]
    return [
        (len(needed) - len(named), {**named, **dict(zip([p.name for p in optional], chosen, strict=True))})
        for chosen in itertools.product(*choices)
    ]


def _way(
    model: nn.Module, watched: tuple[type[nn.Module], ...], decided: tuple[bool, ...], args: int, kwargs: dict[str, Any]
) -> tuple[Calls | None, tuple[bool, ...]]:
    """One way, and the decisions taken on it; None for the calls where it ends in a failed assertion."""
    copied = twin(model)
    recorder = _Follower(model, copied, decided)
    ways, calls = recorder.ways, Calls(log=recorder.log)
    for name, module in copied.named_modules():
        if isinstance(module, watched):
            _spy(module, calls.reads.setdefault(name, set()))

    def symbol() -> Symbol:
        return recorder.tensor(recorder.builder.add("input", "input"), given=True)

    for seen in calls.reads.values():
        seen.clear()
    before = _state(copied)
    try:
        with recorder:
            given = {name: symbol() if value is fx.Proxy else value for name, value in kwargs.items()}
            result = copied(*[symbol() for _ in range(args)], **given)
        recorder.builder.add("output", "output", None, recorder.inputs(result))
    except Unproven:
        raise
    except AssertionError as error:
        if ways.taken:  # the model refuses what takes this branch
            return None, tuple(ways.taken)
        raise Unproven(f"the forward pass cannot be followed (AssertionError: {error})") from error
    except Exception as error:  # whatever the model's code raises on symbols
        text = str(error).strip().split("\n")[0][:80]
        raise Unproven(f"the forward pass cannot be followed ({type(error).__name__}: {text})") from error
    if ways.asked:
        raise Unproven(ways.asked)
    own = (code for code, own in recorder.codes.items() if own)
    if secret := next(filter(None, map(hidden, own)), ""):
        raise Unproven(UNFOLLOWED + secret)
    after = _state(copied)
    if changed := next((name for name in {**before, **after} if before.get(name) != after.get(name)), ""):
        raise Unproven(f"the forward pass changes {changed}, on which the next one may depend")
    operations = recorder.builder.operations
    for operation in operations:
        if operation.kind == "layer" and operation.name in calls.reads:
            calls.count[operation.name] += 1
            calls.readers[operation.name] = len(operation.users)
            first = operations[operation.inputs[0]] if operation.inputs else None
            alone = first is not None and first.kind == "layer" and len(operation.inputs) == 1
            calls.before[operation.name] = alone, "nothing" if first is None else first.name
        elif operation.kind in ("parameter", "constant"):  # read outside the layer that holds it
            holder, _, leaf = operation.name.rpartition(".")
            if holder in calls.reads and operation.inputs == ():
                calls.reads[holder].add(leaf)
    return calls, tuple(ways.taken)


def _state(model: nn.Module) -> dict[str, Any]:
    """What the modules hold, nested values by value and tensors by version, and the random states."""
    state = {
        f"the attribute {name!r} of {prefix or 'the model'}": _snapshot(value)
        for prefix, module in model.named_modules()
        if not any(owner(hook) == "torch" for hook in module._forward_pre_hooks.values())  # prune's
        for name, value in vars(module).items()
    }
    numpy_state: Any = np.random.get_state()
    return state | {
        "Python's random state": random.getstate(),
        "NumPy's random state": (numpy_state[1].tobytes(), *numpy_state[2:]),
        "torch's random state": torch.get_rng_state().numpy().tobytes(),
    }


def _snapshot(value: Any, index: Any = None, seen: set[int] | None = None) -> Any:
    """Nested values in a form that can be compared; with `index`, tensors by the operation they come from."""
    if value is None or type(value) in (bool, int, float, complex, str, bytes):
        return value
    if isinstance(value, fx.Proxy) or type(value) is Symbol or (index and isinstance(value, Tensor)):
        return "symbol", index and index(value)
    if isinstance(value, Tensor):
        return id(value), value._version
    seen = set() if seen is None else seen
    if id(value) in seen:
        return "again"
    seen.add(id(value))
    if isinstance(value, dict):
        return tuple((str(key), _snapshot(item, index, seen)) for key, item in value.items())
    if isinstance(value, list | tuple | set | deque):
        return tuple(_snapshot(item, index, seen) for item in value)
    if isinstance(value, slice):
        return _snapshot((value.start, value.stop, value.step), index, seen)
    if index:
        return str(value) if isinstance(value, torch.dtype | torch.device) else type(value).__name__
    held = getattr(value, "__dict__", None)
    plain = type(held) is dict and not isinstance(value, nn.Module | type) and not callable(value)
    return id(value), _snapshot(held, index, seen) if plain else None


def _spy(module: nn.Module, seen: set[str]) -> None:
    """Let a module note which of its attributes are read."""
    kind = type(module)

    def read(self: Any, name: str) -> Any:
        if not name.startswith("_") and name not in _HARMLESS:
            seen.add(name)
        return kind.__getattribute__(self, name)

    module.__class__ = type(kind.__name__, (kind,), {"__getattribute__": read, "__module__": kind.__module__})
