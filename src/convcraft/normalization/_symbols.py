"""Symbols in place of tensors: what code may ask of one, and what code asks that no symbol notices."""

import dis
import functools
import sys
from types import CodeType, FrameType
from typing import Any, Self

from torch import Tensor, fx

from .._trace.recorder import Recorder, _Symbols, _values

MOST_DECISIONS = 32
#: Names by which code learns what a symbol does not know, or tells it from a tensor.
_TELLING = {
    **dict.fromkeys(("type", "id", "Proxy", "has_torch_function", "has_torch_function_unary"), "a type"),
    **dict.fromkeys(("is_autocast_enabled", "is_inference_mode_enabled"), "a mode"),
}
_TRUSTED = {"torch", "convcraft"}
OWN = _TRUSTED | sys.stdlib_module_names
UNFOLLOWED = "the forward pass cannot be followed: "


class Unproven(Exception):
    """Some way through the forward pass cannot be followed; the message says why."""


class Ways(_Symbols):
    """Answers a question about a symbol by the decisions given, and with False after these."""

    def __init__(self, recorder: Recorder, decided: tuple[bool, ...]) -> None:
        super().__init__(recorder)
        self.decided, self.taken, self.asked = decided, list[bool](), ""
        self.kinds: dict[int, type] = {}  # identity of a symbol -> what `isinstance` was told that it is

    def to_bool(self, obj: Any) -> bool:
        at = len(self.taken)
        if at >= MOST_DECISIONS:
            raise Unproven("the forward pass repeats itself without an end that can be seen")
        self.taken.append(self.decided[at] if at < len(self.decided) else False)
        return self.taken[at]

    def iter(self, obj: Any) -> Any:
        self.asked = UNFOLLOWED + "it needs to know a value"
        raise Unproven(self.asked)

    def kind(self, symbol: Any, first: type, *others: type) -> type:
        """What a symbol says that it is: decided once, where code that is not torch's asks."""
        if owner(sys._getframe(2)) in _TRUSTED:
            return first
        if id(symbol) not in self.kinds:
            self.kinds[id(symbol)] = next((other for other in others if self.to_bool(symbol)), first)
        return self.kinds[id(symbol)]


class Unknown(fx.Proxy):
    """A symbol of any kind whose value nobody knows; asking is noted, since the model may catch the error."""

    __int__ = __float__ = __complex__ = __len__ = lambda self: self.tracer.iter(self)  # type: ignore

    def __repr__(self) -> str:
        return "a symbol"  # in the message of an error

    def __index__(self) -> Any:
        raise Unproven(UNFOLLOWED + "it needs to know a value")  # torch asks too, and does without an answer

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        if not {"isinstance", "__class__"} & {*sys._getframe(1).f_code.co_names}:  # torch's kernels ask too
            return fx.Proxy
        return self.tracer.kind(self, fx.Proxy, int, tuple)  # type: ignore[attr-defined]


class Several(Unknown):
    """What may be one tensor or several in a tuple."""

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return self.tracer.kind(self, Tensor, tuple)  # type: ignore[attr-defined]


class Symbol(Tensor):
    """A tensor without values: each use of it in Python is recorded, and torch's kernels refuse it."""

    tracer: Ways
    given: bool

    def __new__(cls, tracer: Ways, given: bool = False) -> Self:
        symbol: Self = Tensor._make_wrapper_subclass(cls, ())
        symbol.tracer, symbol.given = tracer, given
        return symbol

    def __init__(self, tracer: Ways, given: bool = False) -> None:
        """Tensor's own takes no arguments."""

    __iter__ = fx.Proxy.__iter__

    @classmethod
    def __torch_dispatch__(cls, *call: Any) -> Any:
        next(value for value in _values(call) if type(value) is Symbol).tracer.iter(None)

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return self.tracer.kind(self, Tensor, *((list, tuple, dict) if self.given else (tuple,)))


def owner(thing: Any) -> str:
    """The package of a frame's code, or of an object's class."""
    where = thing.f_globals.get("__name__") if isinstance(thing, FrameType) else type(thing).__module__
    return str(where).partition(".")[0]


@functools.lru_cache(4096)
def hidden(code: CodeType) -> str:
    """What a function does that no symbol notices, or nothing."""
    before = ""
    for step in dis.get_instructions(code):
        name = str(step.argval)
        if step.opname.startswith(("LOAD_GLOBAL", "LOAD_NAME", "LOAD_ATTR", "LOAD_METHOD")):
            what = _TELLING.get(name, "a type" if name.endswith("Tensor") and name != "Tensor" else "")
            if what and not (name == "type" and step.opname.startswith(("LOAD_ATTR", "LOAD_METHOD"))):
                return f"it asks for {what} ({name})"
        elif step.opname == "STORE_GLOBAL":
            return f"it changes the global variable {name!r}"
        elif step.opname == "CHECK_EXC_MATCH" or (before, step.opname) == ("PUSH_EXC_INFO", "POP_TOP"):
            return "it catches errors"
        before = step.opname
    return ""
