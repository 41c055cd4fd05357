"""The gain of an activation: the factor on the weights that keeps the second moment from layer to layer."""

import copy
import functools
import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import unset_fake_temporarily

from .._checks import check_choice, check_number
from .._trace import kinds
from ..activations import catalog, moments
from ..errors import ConvcraftError, unknown

_LINEAR = ("linear", "identity", *(f"conv{t}{n}d" for t in ("", "_transpose") for n in (1, 2, 3)))
_TORCH = {"sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2), "selu": 3 / 4}


@unset_fake_temporarily()
def calculate_gain(
    nonlinearity: str | nn.Module | Callable[[Tensor], Tensor],
    param: float | None = None,
    *,
    direction: Literal["forward", "backward"] = "forward",
) -> float:
    r"""Find the factor on the weights after which an activation keeps the variance of what flows through it.

    Formula: forward :math:`E[f(z)^2]^{-1/2}`, backward :math:`E[f'(z)^2]^{-1/2}`, for :math:`z \sim N(0, 1)`,
    by quadrature. With weights of variance gain² / fan_in the pre-activations keep their second moment,
    with gain² / fan_out (the backward gain) the gradients keep theirs. For ReLU both are :math:`\sqrt 2`.
    The gain holds at variance 1; whether a variance near 1 stays near it, `variance_map` tells.

    The names that `torch.nn.init.calculate_gain` knows give torch's forward values: linear and the
    convolutions 1, sigmoid 1, tanh 5/3, relu :math:`\sqrt 2`, leaky_relu :math:`\sqrt{2 / (1 + a^2)}`, selu
    3/4. Three of them were found by trial and keep no moment: quadrature gives 1.5925 for `torch.tanh`, 1 for
    `F.selu` and 1.8463 for `torch.sigmoid`. Pass the function or the module instead of the name to get these.

    Args:
        nonlinearity: a name of torch's, a name in `activations.catalog()`, a module or an element-wise
            function. A module is evaluated as a copy in eval mode and float64; one with a parameter for each
            channel must have the same value in all of them.
        param: the parameter of a named activation, for example the negative slope of leaky_relu.
        direction: "forward" or "backward".

    Raises ConvcraftError when the name or the direction is not known, param is not a number or belongs to
    nothing, the activation is not element-wise (softmax, GLU and normalizations are not), or its moment is 0.
    Source: He, Zhang, Ren and Sun (2015), Delving Deep into Rectifiers. Chapter: Weight initialization.

    >>> round(calculate_gain("gelu"), 4), round(calculate_gain(torch.tanh, direction="backward"), 4)
    (1.5335, 1.4674)
    """
    check_choice("calculate_gain", "direction", direction, ("forward", "backward"))
    if isinstance(nonlinearity, str):
        if nonlinearity in _LINEAR:
            return 1.0
        if nonlinearity == "leaky_relu":
            return math.sqrt(2 / (1 + _slope(0.01 if param is None else param) ** 2))
        if direction == "forward" and nonlinearity in _TORCH:
            return _TORCH[nonlinearity]
        nonlinearity = named_function("calculate_gain", nonlinearity, param)
    elif param is not None:
        raise ConvcraftError(
            f"calculate_gain: param must be None for a module or a function, got {param!r}; "
            "set the parameter in it, for example by functools.partial"
        )
    found = moments(elementwise("calculate_gain", nonlinearity))
    second = found.second if direction == "forward" else found.derivative_second
    if second <= 0:
        moment = "E f(z)^2" if direction == "forward" else "E f'(z)^2"
        raise ConvcraftError(
            f"calculate_gain: nonlinearity must have {moment} above 0 for z ~ N(0, 1), got {second}; "
            "no gain keeps what it sets to zero"
        )
    return 1 / math.sqrt(second)


def _slope(param: Any) -> float:
    advice = "for leaky_relu it is the negative slope"
    return check_number("calculate_gain", "param", param, advice=advice)


def named_function(caller: str, name: str, param: Any) -> Callable[[Tensor], Tensor]:
    entries = catalog()
    if name not in entries:
        raise unknown("activation", name, (*_LINEAR, *entries))
    entry = entries[name]
    if param is None or name in _TORCH:
        return entry.function
    if entry.parameter is None:
        raise ConvcraftError(f"{caller}: {name} has no parameter, got param={param!r}; leave param out")
    return functools.partial(entry.function, **{entry.parameter.name: _slope(param)})


def elementwise(caller: str, nonlinearity: Any, argument: str = "nonlinearity") -> Callable[[Tensor], Tensor]:
    """A module or function as a function of a float64 tensor, refused when it mixes the elements."""
    if not callable(nonlinearity):
        raise ConvcraftError(
            f"{caller}: {argument} must be a name, a module or a function, got {type(nonlinearity).__name__}"
            "; activations.catalog() has the names"
        )
    module = isinstance(nonlinearity, nn.Module)
    label = type(nonlinearity).__name__ if module else getattr(nonlinearity, "__name__", repr(nonlinearity))
    if module and kinds.layer_kind(nonlinearity) is not None:
        raise ConvcraftError(
            f"{caller}: {argument} must act on each element alone, but {label} is a layer; "
            "pass the activation that follows it"
        )
    function = _channels(caller, nonlinearity, argument) if module else nonlinearity

    def call(z: Tensor) -> Tensor:
        try:
            return function(z.clone())  # which an in-place activation may overwrite
        except ConvcraftError:
            raise
        except Exception as error:
            raise ConvcraftError(
                f"{caller}: {argument} must act on each element of a float64 tensor, but {label} "
                f"raised {type(error).__name__}: {error}; pass an element-wise function"
            ) from error

    z = torch.linspace(-3, 3, 16, dtype=torch.float64, device="cpu").view(2, 8).mT.flatten()  # not in order
    halves = []
    with torch.no_grad():
        for half in (slice(0, 8), slice(8, 16)):
            other = z.clone()
            other[half] = other[half].flip(0) * 5 + 1  # the values of the other half are not touched
            y, changed = call(z), call(other)
            rest = slice(8 - half.start, 16 - half.start)
            same = isinstance(y, Tensor) and y.shape == z.shape == changed.shape
            halves.append(not same or torch.allclose(y[rest], changed[rest], rtol=1e-6, equal_nan=True))
    if not all(halves):
        raise ConvcraftError(
            f"{caller}: {argument} must act on each element alone, but {label} mixes the elements; "
            "before a softmax and in front of a gate the gain is 1"
        )
    return call


def _channels(caller: str, module: nn.Module, argument: str) -> Callable[[Tensor], Tensor]:
    """A copy of a module in eval mode and float64, with the channels that its parameters want."""
    twin = copy.deepcopy(module).to("cpu", torch.float64).eval()
    channels = max((p.numel() for p in twin.parameters()), default=1)
    if channels == 1:
        return twin
    for parameter in twin.parameters():
        if any(True for _ in twin.children()) or bool((parameter != parameter.flatten()[0]).any()):
            raise ConvcraftError(
                f"{caller}: {argument} must be one function for all channels, got {module}; "
                "pass the function that it starts as, for example 'relu'"
            )
    # (n,) -> (n, channels, 1, 1) -> (n,)
    return lambda z: twin(z.reshape(-1, 1, 1, 1).expand(-1, channels, 1, 1))[:, 0].reshape(z.shape)


def gate_argument(gate: str, p: float) -> float:
    """The argument at which a gate has the value p, between 0 and 1."""
    return {
        "sigmoid": math.log(p / (1 - p)),
        "hardsigmoid": 6 * p - 3,
        "softplus": math.log(math.expm1(p)),
        "exp": math.log(p),
    }[gate]
