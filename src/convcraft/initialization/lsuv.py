"""Layer-sequential unit variance: scale the weights by what a batch shows."""

import contextlib
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .._batch import Batch, run, take
from .._checks import Generator, check_number
from .._restore import random_state
from .._table import Table
from .._trace import Layer, successors, tensors, twin
from ..errors import ConvcraftError
from ._checks import check_model
from .variance_scaling import orthogonal_


@dataclass(frozen=True)
class LsuvStep:
    """What `lsuv_` did to one layer: the standard deviation of its output before and after, and how often."""

    layer: str
    before: float
    after: float
    iterations: int


class LsuvSteps(Table[LsuvStep]):
    """A list of `LsuvStep`, in the order of the layers; printed, an aligned table."""

    headings = ("layer", "std before", "std after", "iterations")

    def cells(self, row: LsuvStep) -> tuple[str, ...]:
        return row.layer, f"{row.before:.4g}", f"{row.after:.4g}", str(row.iterations)


class _Enough(BaseException):
    """Ends a forward pass when the layer in question has run."""


def lsuv_(
    model: nn.Module,
    batch: Any,
    *,
    tol: float = 0.01,
    max_iterations: int = 10,
    orthonormal: bool = True,
    generator: Generator = None,
) -> LsuvSteps:
    r"""Give the output of every layer the variance 1 on a batch, one layer after the other.

    Formula: :math:`W \leftarrow W / \text{std}(\text{output})`, repeated until the standard deviation lies
    within `tol` of 1, for each linear, convolution and transposed-convolution layer in the order in which
    they run; before it, each weight becomes orthonormal. Biases are kept.

    A copy of the modules measures, with the same parameters, dropout off and normalizations on the statistics of the
    batch, so that nothing but the weights of the model changes. The forward passes leave torch's random state alone;
    only the orthonormal start draws from it, and not when a generator is given. On an error the weights are what they
    were. What it measures decides what it does next: it needs real values, and waits for the device.

    Args:
        model: any module; a layer that runs twice is scaled by its first output.
        batch: a tensor, `(x, y)`, `(a, b, y)`, `((a, b), y)` or a mapping, with or without its target, or a
            loader that yields one; as many samples as give a steady variance.
        tol: the greatest distance of a standard deviation from 1.
        max_iterations: the most divisions for each layer.
        orthonormal: start from orthonormal weights; False scales the weights that are there.
        generator: source of the random numbers of the orthonormal start.

    Returns a list of `LsuvStep` that prints as a table. Raises ConvcraftError when the model has no such
    layer or does not run on the batch, tol or max_iterations is not positive, the generator is elsewhere, or
    the output of a layer is constant or not finite. Source: Mishkin and Matas (2016), All you need is a good
    init. Chapter: Weight initialization.

    >>> model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4))
    >>> steps = lsuv_(model, torch.randn(64, 8))
    >>> [step.layer for step in steps], all(abs(step.after - 1) <= 0.01 for step in steps)
    (['0', '2'], True)
    """
    check_number("lsuv_", "tol", tol, low=0, above=True)
    check_number("lsuv_", "max_iterations", max_iterations, low=1)
    check_model("lsuv_", model, generator)
    given = take("lsuv_", batch, 1, model, "nobody")[0]
    layers = [layer for layer in successors(model, given.kwargs or given.args) if _scalable(layer)]
    if not layers:
        raise ConvcraftError(
            "lsuv_: model must have a linear or convolution layer with an own weight, found none; "
            "pass the model that holds them"
        )
    kept = [_weight(layer).detach().clone() for layer in layers]
    copy = twin(model).eval()
    for module in copy.modules():
        if isinstance(module, nn.modules.batchnorm._NormBase) or hasattr(module, "running_mean"):
            module.training = True
    with torch.no_grad():
        try:
            if orthonormal:
                for layer in layers:
                    orthogonal_(_weight(layer), generator=generator)
            with random_state(model):
                return LsuvSteps(_scale(copy, layer, given, tol, max_iterations) for layer in layers)
        except BaseException:
            for layer, weight in zip(layers, kept, strict=True):
                _weight(layer).copy_(weight)
            raise


def _scalable(layer: Layer) -> bool:
    own = isinstance(layer.module._parameters.get("weight"), nn.Parameter)
    return own and layer.calls > 0 and layer.kind in ("linear", "convolution", "transposed", "other")


def _weight(layer: Layer) -> nn.Parameter:
    weight = layer.module.weight
    assert isinstance(weight, nn.Parameter)
    return weight


def _scale(model: nn.Module, layer: Layer, batch: Batch, tol: float, most: float) -> LsuvStep:
    before = std = _output_std(model, layer, batch)
    iterations = 0
    while abs(std - 1) > tol and iterations < most:
        _weight(layer).div_(std)
        last, std = std, _output_std(model, layer, batch)
        if std == last:
            raise ConvcraftError(
                f"lsuv_: batch must make the output of {layer.name} vary, got the same standard deviation "
                f"{std:.4g} for any weight; pass real data, and look for dead units before this layer"
            )
        iterations += 1
    return LsuvStep(layer.name, before, std, iterations)


def _output_std(model: nn.Module, layer: Layer, batch: Batch) -> float:
    """Standard deviation of the output of a layer, at the first time that it runs."""
    found: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        found.extend(tensors(output))
        raise _Enough

    handle = model.get_submodule(layer.name).register_forward_hook(keep)
    try:
        with contextlib.suppress(_Enough):
            run("lsuv_", model, batch)
    finally:
        handle.remove()
    std = float(found[0].double().std(correction=0)) if found else math.nan
    if not math.isfinite(std) or std == 0:
        raise ConvcraftError(
            f"lsuv_: batch must make the output of {layer.name} vary, got standard deviation {std}; "
            "pass real data, and look for dead units or infinite values before this layer"
        )
    return std
