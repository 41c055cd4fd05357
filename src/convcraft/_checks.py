"""What an argument must be: one rule for each kind of argument, and errors that name it."""

from collections.abc import Iterable
from math import inf
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter
from torch.optim import Optimizer

from .errors import ConvcraftError, unknown

Dtypes = frozenset[torch.dtype]
INTEGERS = frozenset({torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64})
COMPLEX = frozenset({torch.complex64, torch.complex128})
DISCRETE = INTEGERS | {torch.bool}
#: where random numbers come from; None: from torch's own generator
Generator = torch.Generator | None
_NUMPY = (np.floating, np.integer)


def check_tensor(
    function: str, name: str, value: Any, also: Dtypes = frozenset(), *, pass_what: str = "", convert: str = ""
) -> None:
    """Require a floating-point tensor, or one of the dtypes in `also`; tensor-like proxies pass.

    The last two arguments complete the advice: what to pass in place of another object, and how to convert
    a tensor of another dtype.
    """
    if isinstance(value, Tensor):
        if type(value) is UninitializedParameter:
            raise ConvcraftError(
                f"{function}: {name} must have a shape, got an uninitialized parameter; run one batch first"
            )
        if not value.is_floating_point() and value.dtype not in also:
            raise ConvcraftError(
                f"{function}: {name} must have a floating-point dtype, got {value.dtype}; "
                f"use {convert or f'{name}.float()'}"
            )
    elif not hasattr(type(value), "__torch_function__"):
        raise ConvcraftError(
            f"{function}: {name} must be a torch.Tensor, got {type(value).__name__}; "
            f"{pass_what or f'use torch.as_tensor({name})'}"
        )


def check_floating(function: str, value: Any, also: Dtypes = frozenset()) -> None:
    """`check_tensor` for the argument `input`."""
    check_tensor(function, "input", value, also)


def check_dimensions(
    function: str, value: Any, allowed: Iterable[int], form: str, name: str = "input", advice: str = ""
) -> None:
    """Require one of the allowed numbers of dimensions; tensor-like proxies pass."""
    if isinstance(value, Tensor) and value.dim() not in allowed:
        raise ConvcraftError(
            f"{function}: {name} must have shape {form}, got {value.dim()} dimensions (shape "
            f"{tuple(value.shape)}); {advice or 'reshape it, or use the one for that number of dimensions'}"
        )


def check_module(function: str, value: Any, name: str = "model", advice: str = "pass the model") -> None:
    """Require a module."""
    if not isinstance(value, nn.Module):
        got = f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
        raise ConvcraftError(f"{function}: {name} must be a torch.nn.Module, got {got}; {advice}")


def as_number(value: Any) -> float | None:
    """A finite Python number, also from a scalar of numpy; None for anything else, bools included."""
    if isinstance(value, _NUMPY):
        value = value.item()
    if isinstance(value, int | float) and not isinstance(value, bool) and -inf < value < inf:
        return value
    return None


def check_number(
    function: str, name: str, value: Any, low: float = -inf, high: float = inf, above: bool = False, advice: str = ""
) -> float:
    """A finite number from low to high; with `above` it must be larger than low."""
    number = as_number(value)
    if number is not None and low <= number <= high and not (above and number == low):
        return number
    if low == -inf and high == inf:
        bounds = ""
    elif high == inf:
        bounds = f" above {low:g}" if above else f" of at least {low:g}"
    elif low == -inf:
        bounds = f" of at most {high:g}"
    else:
        bounds = f" in {'(' if above else '['}{low:g}, {high:g}]"
    raise ConvcraftError(
        f"{function}: {name} must be a finite number{bounds}, got {value!r}{f'; {advice}' if advice else ''}"
    )


def check_count(function: str, name: str, value: Any, least: int = 1) -> int:
    """A whole number of at least `least`."""
    number = as_number(value)
    if not isinstance(number, int) or number < least:
        raise ConvcraftError(f"{function}: {name} must be a whole number of at least {least}, got {value!r}")
    return number


def check_groups(function: str, name: str, value: Any, channels: int) -> None:
    """Require a number of groups that divides the number of channels."""
    if not isinstance(value, int) or value < 1 or channels % value:
        raise ConvcraftError(
            f"{function}: {name} must divide the number of channels {channels}, got {value!r}; "
            f"use one of {[g for g in range(1, channels + 1) if channels % g == 0][:8]}"
        )


def check_learns(function: str, model: Any) -> list[nn.Parameter]:
    """The parameters of a model that learn; it must have one."""
    check_module(function, model, advice="pass the model itself")
    trained = [p for p in model.parameters() if p.requires_grad]
    if not trained:
        raise ConvcraftError(
            f"{function}: model must have a parameter that requires a gradient, got {type(model).__name__} "
            "without one; set requires_grad_(True)"
        )
    return trained


def check_probability(function: str, p: Any, below_one: bool = False) -> None:
    """Require a number in [0, 1], or in [0, 1) where p = 1 has no meaning."""
    if isinstance(p, bool) or not isinstance(p, int | float):
        raise ConvcraftError(
            f"{function}: p must be a number, the probability of dropping, got {type(p).__name__}; "
            "use for example p=0.5"
        )
    if not 0 <= p <= 1:
        raise ConvcraftError(
            f"{function}: p is the probability of dropping and must lie in [0, 1], got {p!r}; "
            "if it was meant as a percentage, divide it by 100"
        )
    if below_one and p == 1:
        raise ConvcraftError(
            f"{function}: p must lie in [0, 1), got {p!r}: the variance p / (1 - p) would be infinite; use a smaller p"
        )


def check_device(function: str, name: str, device: torch.device, tensor: Tensor, owner: str) -> None:
    """Require the tensor's device, where "cuda" means the first one."""
    other = tensor.device
    if device.type != other.type or (device.index or 0) != (other.index or 0):
        advice = f"torch.Generator({str(other)!r})" if name == "generator" else f"{name}.to({str(other)!r})"
        raise ConvcraftError(
            f"{function}: {name} must be on the device of the {owner}, {other}, got {device}; use {advice}"
        )


def check_generator(function: str, generator: Any, tensor: Any = None, owner: str = "input") -> None:
    """Require None or a generator, and one on the device of the tensor where that is given."""
    if generator is None:
        return
    if not isinstance(generator, torch.Generator):
        raise ConvcraftError(
            f"{function}: generator must be a torch.Generator or None, got {type(generator).__name__}; "
            "use torch.Generator().manual_seed(0)"
        )
    if isinstance(tensor, Tensor):
        check_device(function, "generator", generator.device, tensor, owner)


def check_known(kind: str, name: object, known: Iterable[str]) -> None:
    """Require a known name; `kind` says what it names, and the error lists the near matches."""
    names = tuple(known)
    if name not in names:
        raise unknown(kind, name, names)


def check_all_known(kind: str, names: Iterable[object], known: Iterable[str]) -> None:
    """`check_known` for each of several names."""
    known = tuple(known)
    for name in names:
        check_known(kind, name, known)


def check_choice(function: str, name: str, value: object, known: Iterable[str]) -> None:
    """`check_known` for the value of an argument."""
    check_known(f"value of {function}'s argument {name}", value, known)


def check_optimizer(function: str, optimizer: Any, model: nn.Module | None = None) -> None:
    """Refuse what is not an optimizer, and, where a model is given, one that holds none of its parameters."""
    kin = hasattr(optimizer, "param_groups") and callable(getattr(optimizer, "step", None))
    if not isinstance(optimizer, Optimizer) and (isinstance(optimizer, type) or not kin):
        name = type(optimizer).__name__
        if isinstance(getattr(optimizer, "optimizer", None), Optimizer):
            got = f"a {name}; pass its optimizer"
        elif isinstance(optimizer, type):
            got = f"the class {optimizer.__name__}; make an instance, {optimizer.__name__}(model.parameters())"
        else:
            got = f"{name}; pass for example torch.optim.SGD(model.parameters(), lr=0.1)"
        raise ConvcraftError(f"{function}: optimizer must be a torch.optim.Optimizer, got {got}")
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if model is not None and not any(id(p) in held for p in model.parameters()):
        raise ConvcraftError(
            f"{function}: optimizer must hold parameters of the model, got none of them; "
            "build it from model.parameters()"
        )
