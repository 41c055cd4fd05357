"""Which modules every way through a model's forward calls, in which order, and what else it reads of them."""

from __future__ import annotations

import inspect
import itertools
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from .._restore import random_state
from .._trace.recorder import Recorder, _Symbols, twin

MOST_WAYS = 256
MOST_OPTIONAL = 4
#: What the forward pass may read of a watched module: it stays the same whatever the weights are.
_HARMLESS = {
    *("forward", "training", "named_modules", "modules", "children", "named_children"),
    *("in_channels", "out_channels", "in_features", "out_features", "kernel_size", "stride", "padding"),
    *("dilation", "groups"),
}


class Unproven(Exception):
    """Some way through the forward pass cannot be followed; the message says why."""


@dataclass
class Calls:
    """What one way through the forward pass does with the watched modules, by name."""

    count: Counter[str] = field(default_factory=Counter)
    before: dict[str, tuple[bool, str]] = field(default_factory=dict)  # (it is a layer, its name)
    readers: dict[str, int] = field(default_factory=dict)
    reads: dict[str, set[str]] = field(default_factory=dict)  # attributes and parameters


class _Ways(_Symbols):
    """Answers a question about a symbol by the decisions given, and with False after these."""

    def __init__(self, recorder: Recorder, decided: tuple[bool, ...]) -> None:
        super().__init__(recorder)
        self.decided, self.taken, self.asked = decided, list[bool](), ""

    def to_bool(self, obj: fx.Proxy) -> bool:
        at = len(self.taken)
        if at >= MOST_WAYS:
            raise Unproven("the forward pass repeats itself without an end that can be seen")
        self.taken.append(self.decided[at] if at < len(self.decided) else False)
        return self.taken[at]

    def iter(self, obj: fx.Proxy) -> Any:
        self.asked = "the forward pass cannot be followed: it needs to know a value"
        raise Unproven(self.asked)


class _Unknown(fx.Proxy):
    """A symbol whose value nobody knows; asking for it is noted, since the model may catch the error."""

    def _ask(self) -> Any:
        self.tracer.iter(self)

    __int__ = __index__ = __float__ = __complex__ = __len__ = _ask


class _Symbol(_Unknown):
    """A symbol that `isinstance` takes for a tensor, with the attributes of one."""

    _is_param = _is_buffer = False

    def __getattr__(self, name: str) -> Any:
        if callable(getattr(Tensor, name)):  # raises as a tensor does when there is none of this name
            return super().__getattr__(name)
        return self.tracer.create_proxy("call_function", getattr, (self, name), {})

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return Tensor


class _Follower(Recorder):
    """Gives a symbol for every tensor, and nothing with a value for what depends on shapes."""

    def leaf(self, *args: Any, **kwargs: Any) -> Any:
        return _Symbol(super().leaf(*args, **kwargs).node, self.symbols)

    def symbol(self, *args: Any) -> Any:
        node = super().symbol(*args).node
        return _Unknown(node, self.symbols) if node is None else _Symbol(node, self.symbols)  # type: ignore[arg-type]


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
    model: nn.Module,
    watched: tuple[type[nn.Module], ...],
    decided: tuple[bool, ...],
    args: int,
    kwargs: dict[str, Any],
) -> tuple[Calls | None, tuple[bool, ...]]:
    """One way, and the decisions taken on it; None for the calls where it ends in a failed assertion."""
    copied = twin(model)
    recorder = _Follower(model, copied, symbolic=True)
    ways = recorder.symbols = _Ways(recorder, decided)
    calls = Calls()
    for name, module in copied.named_modules():
        if isinstance(module, watched):
            _spy(module, calls.reads.setdefault(name, set()))

    def symbol() -> fx.Proxy:
        return _Symbol(recorder.builder.add("input", "input"), ways)  # type: ignore[arg-type]

    for seen in calls.reads.values():
        seen.clear()
    before = _state(copied)
    try:
        with recorder:
            given = {name: symbol() if value is fx.Proxy else value for name, value in kwargs.items()}
            result = copied(*[symbol() for _ in range(args)], **given)
        kept = [value for module in copied.modules() for value in vars(module).values()]
        symbols = [value for value in kept if not isinstance(value, nn.Module | dict)]  # a cache, for example
        recorder.builder.add("output", "output", None, recorder.inputs(result))
        recorder.builder.add("output", "kept", None, recorder.inputs(*symbols))
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
    if changed := next((name for name, value in _state(copied).items() if before.get(name) != value), ""):
        raise Unproven(f"the forward pass changes {changed}, on which the next one may depend")
    _collect(recorder, calls)
    return calls, tuple(ways.taken)


def _state(model: nn.Module) -> dict[str, Any]:
    """The numbers, flags and texts that modules hold, and the random states, by name."""
    state: dict[str, Any] = {
        f"the attribute {name!r} of {prefix or 'the model'}": value
        for prefix, module in model.named_modules()
        for name, value in vars(module).items()
        if isinstance(value, bool | int | float | str)
    }
    return state | {
        "Python's random state": random.getstate(),
        "NumPy's random state": str(np.random.get_state()),
        "torch's random state": torch.get_rng_state().tolist(),
    }


def _spy(module: nn.Module, seen: set[str]) -> None:
    """Let a module note which of its attributes are read."""
    kind = type(module)

    def read(self: Any, name: str) -> Any:
        if not name.startswith("_") and name not in _HARMLESS:
            seen.add(name)
        return kind.__getattribute__(self, name)

    module.__class__ = type(kind.__name__, (kind,), {"__getattribute__": read, "__module__": kind.__module__})


def _collect(recorder: Recorder, calls: Calls) -> None:
    operations = recorder.builder.operations
    for operation in operations:
        if operation.kind == "layer" and operation.name in calls.reads:
            calls.count[operation.name] += 1
            calls.readers[operation.name] = len(operation.users)
            first = operations[operation.inputs[0]] if operation.inputs else None
            alone = first is not None and first.kind == "layer" and len(operation.inputs) == 1
            calls.before[operation.name] = alone, "nothing" if first is None else first.name
        elif operation.kind in ("parameter", "constant"):  # read outside the layer that holds it
            owner, _, leaf = operation.name.rpartition(".")
            if owner in calls.reads and operation.inputs == ():
                calls.reads[owner].add(leaf)
