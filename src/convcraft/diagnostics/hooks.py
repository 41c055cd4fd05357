"""Sees every layer and every functional activation of a forward pass, and leaves no trace of itself."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .._checks import check_module
from .._trace import kinds, leaves, tensors
from ..errors import ConvcraftError

#: Layers whose units are the last dimension of what they return rather than the second.
_LAST = {"linear", "recurrent", "embedding", "attention"}
_MOST_CALLS = 16  # calls of one module or function in a pass that are kept apart
#: Number of the backward pass that is running, -1 outside.
_BACKWARD: Callable[[], int] = getattr(torch._C, "_current_graph_task_id", lambda: -1)
#: Modules whose forward calls nothing but their children.
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
#: Functions that are activations when they cut off everything below zero.
_CLAMPS = {"clamp", "clamp_min"}
_FUNCTIONS = kinds.ACTIVATION_FUNCTIONS - _CLAMPS - {"sin"}


@dataclass(frozen=True)
class LayerCall:
    """A call of a layer, or of a functional activation, in a forward pass.

    `role` is "weights", "normalization", "activation" or "other"; `kind` says more: "linear", "relu", ...
    """

    name: str
    kind: str
    role: str
    module: nn.Module | None
    unit_dim: int | None  # None: the values have no units


class Observer:
    """What a watcher reports to; a subclass says what it wants to hear of."""

    def begin(self) -> bool:
        """A pass begins; return False to skip it."""
        return True

    def layer(self, call: LayerCall, inputs: Any, output: Tensor) -> None:
        """A layer or a functional activation has returned."""

    def function(self, name: str, path: str, inputs: Any, output: Any) -> None:
        """Any other function of torch has returned; called only where `every_function` is set."""


def check_model(model: Any, function: str) -> None:
    """Raise ConvcraftError unless `model` is a module, not compiled or scripted, which would hide its layers."""
    check_module(function, model, advice="pass the model itself")
    if hasattr(model, "_orig_mod"):
        raise ConvcraftError(
            f"{function}: model must not be compiled, got a result of torch.compile, in which no layer can "
            "be seen; pass the model that was compiled"
        )
    compiled = [
        name or "the model itself"
        for name, module in model.named_modules()
        if hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None
    ]
    if compiled:
        raise ConvcraftError(
            f"{function}: model must not hold compiled modules, in which no layer can be seen, got "
            f"{', '.join(compiled[:3])}; build the model without torch.compile, or compile it afterwards"
        )
    if any(isinstance(module, torch.jit.ScriptModule) for module in model.modules()):
        raise ConvcraftError(
            f"{function}: model must not be scripted, got one with a torch.jit.ScriptModule; pass the model "
            "before torch.jit.script"
        )


def role_of(module: nn.Module) -> tuple[str, str]:
    """(kind, role) of a leaf module."""
    activation, kind = kinds.activation_name(module), kinds.layer_kind(module)
    if activation is None and kind is None and kinds.is_elementwise(module):
        activation = type(module).__name__.lower()
    if activation is not None:
        return activation, "activation"
    if kind == "normalization":
        return kind, "normalization"
    return (kind, "weights") if kind is not None else ("other", "other")


class Calls(TorchFunctionMode):
    """Tells of every function of torch that has returned, while it is active."""

    def __init__(self, called: Callable[[Any, Any, Any, Any], None]) -> None:
        super().__init__()
        self.called = called

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.called(func, args, kwargs, result)
        return result


class Watcher:
    """Hooks on every module of a model, and a function mode while its forward pass runs."""

    def __init__(
        self,
        model: nn.Module,
        observer: Observer,
        *,
        functional: bool = True,
        every_function: bool = False,
        roles: frozenset[str] | None = None,
    ) -> None:
        self.model, self.observer, self.every_function = model, observer, every_function
        self.names = {module: name for name, module in model.named_modules()}
        self.leaves = {module: role_of(module) for module in leaves(model)}
        own_code = any(m not in self.leaves and type(m) not in _CONTAINERS for m in self.names)
        self.mode = Calls(self._called) if every_function or (functional and own_code) else None
        if roles is not None and self.mode is None:  # nobody asks about the others
            self.names = {
                module: name
                for module, name in self.names.items()
                if module is model or module not in self.leaves or self.leaves[module][1] in roles
            }
        self.hooks: list[Any] = []
        self.known: dict[Any, str | None] = {}
        self.calls: dict[tuple[str, str, int | None], LayerCall] = {}
        self.unfed: set[str] = set()  # layers that were called without a single value
        self._reset()

    def _reset(self) -> None:
        self.path: list[nn.Module] = []
        self.inside = 0
        self.active = self.entered = False
        self.counts: dict[tuple[str, str], int] = {}
        self.unit_dim: int = 1

    def __enter__(self) -> Self:
        """Put the hooks in place."""
        for module in self.names:
            self.hooks.append(module.register_forward_pre_hook(self._enter))
            self.hooks.append(module.register_forward_hook(self._leave, always_call=True))
        return self

    def __exit__(self, *_: Any) -> None:
        """Remove the hooks, and end a pass that was broken off."""
        for hook in self.hooks:
            hook.remove()
        self.hooks.clear()
        self._close()

    def _close(self) -> None:
        if self.entered and self.mode is not None:
            self.entered = False
            self.mode.__exit__(None, None, None)
        self._reset()

    # hooks

    def _enter(self, module: nn.Module, args: Any) -> None:
        if self.path and module is self.model:
            self._close()  # the pass before was broken off by something that runs no hooks
        if not self.path:
            # during a backward pass a module runs again where its activations were not kept
            self.active = _BACKWARD() == -1 and self.observer.begin()
            if self.active and self.mode is not None:
                self.mode.__enter__()
                self.entered = True
        self.path.append(module)
        if module in self.leaves:
            self.inside += 1

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        if not self.path:
            return
        if self.active and module in self.leaves and self.inside == 1 and output is not None:
            kind, role = self.leaves[module]
            self._report(self.names[module], kind, role, module, args, output)
        if module in self.leaves:
            self.inside -= 1
        self.path.pop()
        if not self.path:
            self._close()

    def _called(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        if self.inside:
            return
        try:
            name = self.known[func]
        except KeyError:
            found = kinds.function_name(func)
            name = self.known[func] = found if found in _FUNCTIONS or found in _CLAMPS else None
        path = self.names[self.path[-1]] if self.path else ""
        kwargs = kwargs or {}
        relu = False
        if name in _CLAMPS:  # one that cuts off what is below zero and nothing else
            low = args[1] if len(args) > 1 else kwargs.get("min")
            high = args[2] if len(args) > 2 else kwargs.get("max")
            relu = isinstance(low, int | float) and low == 0 and high is None
        if name is not None and isinstance(result, Tensor) and (relu or name not in _CLAMPS):
            name = "relu" if relu else name
            self._report(f"{path}.{name}" if path else name, name, "activation", None, args, result)
        elif self.every_function:
            self.observer.function(kinds.function_name(func), path, (args, kwargs), result)

    def _report(self, name: str, kind: str, role: str, module: nn.Module | None, inputs: Any, output: Any) -> None:
        value = output if isinstance(output, Tensor) else next(tensors(output), None)
        if role == "weights":
            self.unit_dim = -1 if kind in _LAST or kind == "other" else 1
        elif isinstance(module, nn.LayerNorm):
            self.unit_dim = -1
        if value is None or not value.is_floating_point() or not value.numel():
            if value is not None and not value.numel():
                self.unfed.add(name)
            return
        number = self.counts[name, kind] = min(self.counts.get((name, kind), 0) + 1, _MOST_CALLS)
        unit_dim = None if value.dim() < 2 or role == "other" else self.unit_dim
        full = name if number == 1 else f"{name}:{number}"
        call = self.calls.get((full, kind, unit_dim))
        if call is None:
            call = self.calls[full, kind, unit_dim] = LayerCall(full, kind, role, module, unit_dim)
        self.observer.layer(call, inputs, value)
