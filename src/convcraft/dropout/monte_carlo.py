"""Prediction with dropout left on: the mean and the variance over many random passes."""

import copy
import dataclasses
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from .. import _batch
from .._checks import Generator, check_count, check_generator, check_module
from .._restore import modes, random_state
from ..errors import ConvcraftError

# Running statistics are no dropout: these stay in eval mode, and so does what is found to change a buffer.
_NORMALIZATION = nn.modules.batchnorm._NormBase


class Prediction(NamedTuple):
    """Mean and variance over the random passes, each in the form of the model's output.

    >>> Prediction(torch.ones(1), torch.zeros(1)).mean
    tensor([1.])
    """

    mean: Any  #: over the passes
    variance: Any  #: over the passes, with T - 1 in the denominator


def _states(model: nn.Module) -> list[Any]:
    """Every state from which a forward pass may draw random numbers."""
    own = [v for m in model.modules() for v in vars(m).values() if isinstance(v, torch.Generator)]
    devices = {p.device for p in model.parameters() if p.device.type == "cuda"}
    states = [torch.get_rng_state(), *(g.get_state() for g in own), *map(torch.cuda.get_rng_state, devices)]
    others = repr(np.random.get_state()), random.getstate()
    return [*(state.tolist() for state in states), *others]


@contextmanager
def _random_parts_only(model: nn.Module, batch: _batch.Batch) -> Iterator[None]:
    """Training mode for all but normalization and whatever changes a buffer there, which a pass shows.

    Refuses a model that draws no random numbers then, or returns something else than in eval mode.
    """
    before = {name: b.detach().clone() for name, b in model.named_buffers()}

    def restore() -> list[str]:
        changed = [name for name, b in model.named_buffers() if not torch.equal(b, before[name])]
        for name in changed:
            model.get_buffer(name).copy_(before[name])
        return changed

    with modes(model):
        for module in model.modules():
            module.training = False
        with random_state(model):
            plain = _leaves(_batch.run("mc_predict", model, copy.deepcopy(batch)))
        for module in model.modules():
            module.training = not isinstance(module, _NORMALIZATION)
        while True:
            with random_state(model):
                states = _states(model)
                trained = _leaves(_batch.run("mc_predict", model, copy.deepcopy(batch)))
                random_ones = _states(model) != states
            owners = [model.get_submodule(name.rpartition(".")[0]) for name in restore()]
            if not any(owner.training for owner in owners):
                break
            for owner in owners:
                owner.training = False
        if not random_ones:
            raise ConvcraftError(
                "mc_predict: model must have a dropout layer with p > 0 or call another kind of dropout in "
                "training mode, got none that draws random numbers; add convcraft.dropout.Dropout"
            )
        if _form(plain) != _form(trained):
            raise ConvcraftError(
                "mc_predict: model must return the same kind of output in training and in eval mode, got "
                f"{_form(trained)} and {_form(plain)}; wrap it in a module that returns what to predict"
            )
        try:
            yield
        finally:
            restore()


def _leaves(output: Any) -> tuple[list[Any], Any]:
    """The parts of an output and their form; other mappings and dataclasses are taken for dictionaries."""
    leaves, form = tree_flatten(output)
    if leaves and leaves[0] is output:
        if isinstance(output, Mapping):
            return tree_flatten(dict(output))
        if dataclasses.is_dataclass(output):
            return tree_flatten(dict(vars(output)))
    return leaves, form


def _form(flattened: tuple[list[Any], Any]) -> list[Any]:
    """What of an output must not change: the shapes of its tensors."""
    return [tuple(leaf.shape) if isinstance(leaf, Tensor) else type(leaf).__name__ for leaf in flattened[0]]


@contextmanager
def _seeded(model: nn.Module, generator: Generator) -> Iterator[None]:
    """With a generator, every random number of the model depends on it alone, and no other state moves."""
    if generator is None:
        yield
        return
    own: list[Any] = [m for m in model.modules() if isinstance(vars(m).get("generator"), torch.Generator)]
    kept = [m.generator for m in own]
    seed = int(torch.empty((), dtype=torch.int64, device="cpu").random_(generator=generator))
    with random_state(model, seed=seed):
        try:
            for module in own:
                module.generator = None
            yield
        finally:
            for module, before in zip(own, kept, strict=True):
                module.generator = before


def mc_predict(model: nn.Module, x: Any, samples: int = 30, generator: Generator = None) -> Prediction:
    r"""Mean and variance of the model's output over random dropout masks (Monte-Carlo dropout).

    Formula: with the outputs :math:`y_1, \dots, y_T` of T passes, :math:`\bar y = \frac{1}{T} \sum_t y_t` and
    :math:`s^2 = \frac{1}{T - 1} \sum_t (y_t - \bar y)^2`, summed up by Welford's method.

    Everything runs in training mode, functional dropout, attention and layers of other libraries included, but for
    batch normalization and what else changes a buffer in a first pass on `x`: these use what they have learned, and
    nothing is changed. Afterwards every submodule is in the mode that it was in. No gradient is kept. Without
    `generator` the passes draw from torch's global generator as any dropout does (and from the generators of the
    layers that have one); with it the result depends on it alone, and the global generators are put back as they were.

    Args:
        model: with dropout of any kind; whatever else is random in training mode takes part.
        x: the model's input: a tensor, several in a tuple, or a mapping; a target is left out.
        samples: the number T of passes, at least 2.
        generator: a CPU generator, for a result that can be repeated.

    Returns `Prediction(mean, variance)`, each in the form of the output (a tensor, tuples and mappings of tensors, or a
    dataclass, of which it makes a dictionary; with None in place of what is not floating-point), in float32 for
    half-precision output. Raises ConvcraftError when
    samples is below 2, the model draws no random numbers in training mode or returns something else there than in eval
    mode, it returns no floating-point tensor, or the generator is not on the CPU. Source: Gal and Ghahramani (2016),
    Dropout as a Bayesian Approximation: Representing Model Uncertainty in Deep Learning. Chapter: Dropout.

    >>> model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 2))
    >>> mean, variance = mc_predict(model, torch.ones(3, 4), samples=20)
    >>> mean.shape, bool((variance > 0).all())
    (torch.Size([3, 2]), True)
    """
    check_count("mc_predict", "samples", samples, 2)
    check_module("mc_predict", model)
    check_generator("mc_predict", generator, torch.empty(0, device="cpu"))
    batch = _batch.split("mc_predict", x, model, "nobody")
    means: list[Any] = []
    spreads: list[Any] = []
    with torch.no_grad(), _random_parts_only(model, batch), _seeded(model, generator):
        for number in range(1, samples + 1):
            leaves, form = _leaves(batch(model))
            floats = [v if isinstance(v, Tensor) and v.is_floating_point() else None for v in leaves]
            if not any(value is not None for value in floats):
                got = leaves[0].dtype if leaves and isinstance(leaves[0], Tensor) else "no tensor"
                raise ConvcraftError(
                    f"mc_predict: model must return a floating-point tensor, got {got}; "
                    "wrap it in a module that returns the tensor of interest"
                )
            if number == 1:
                wide = [v if v is None else v.to(torch.promote_types(v.dtype, torch.float32)) for v in floats]
                means = [None if v is None else v.clone() for v in wide]
                spreads = [None if m is None else torch.zeros_like(m) for m in means]
                continue
            for value, mean, spread in zip(floats, means, spreads, strict=True):
                if value is not None:
                    deviation = value.to(mean.dtype) - mean
                    mean += deviation / number
                    spread += deviation * (value.to(mean.dtype) - mean)
    variances = [None if spread is None else spread / (samples - 1) for spread in spreads]
    return Prediction(tree_unflatten(means, form), tree_unflatten(variances, form))
