"""Work on a model without changing it: a copy where one can be made, and everything put back where not."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from .._graph import unchanged


def copies(model: nn.Module, optimizer: Any) -> tuple[nn.Module, Any] | None:
    """A deep copy of a model and of the optimizer of its parameters; None where there can be none."""
    memo: dict[int, Any] = {}
    try:
        return copy.deepcopy(model, memo), copy.deepcopy(optimizer, memo)
    except Exception:  # whatever a module holds that cannot be copied
        return None


@contextmanager
def restored(model: nn.Module) -> Iterator[None]:
    """Put back parameters, buffers, gradients, modes, attributes and generators of a model."""
    parameters, buffers = list(model.parameters()), list(model.buffers())
    values = [p.detach().clone() for p in (*parameters, *buffers)]
    gradients = [p.grad for p in parameters]
    generators = [
        (item, item.get_state())
        for module in model.modules()
        for item in vars(module).values()
        if isinstance(item, torch.Generator)
    ]
    try:
        for parameter in parameters:
            parameter.grad = None
        with unchanged(model):
            yield
    finally:
        with torch.no_grad():
            for tensor, value in zip((*parameters, *buffers), values, strict=True):
                if not _same(tensor, value):
                    tensor.copy_(value)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        for generator, state in generators:
            generator.set_state(state)


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool(torch.equal(a, b)) and bool(torch.isfinite(b).all() if b.is_floating_point() else True)


def seed_all(model: nn.Module, seed: int) -> None:
    """Seed the CPU's generator and those of the model's GPUs, and of no other GPU."""
    torch.default_generator.manual_seed(seed)
    for device in {p.device for p in model.parameters() if p.device.type == "cuda"}:
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


@contextmanager
def random_states(model: nn.Module, data: Any, seed: int) -> Iterator[None]:
    """Run from a seed, and give every generator back as it was: torch's, NumPy's, Python's, the loader's."""
    devices = {p.device for p in model.parameters() if p.device.type == "cuda"}
    own = [
        generator
        for holder in (data, getattr(data, "sampler", None), getattr(data, "batch_sampler", None))
        for part in (holder, getattr(holder, "sampler", None))
        if isinstance(generator := getattr(part, "generator", None), torch.Generator)
    ]
    states = [generator.get_state() for generator in own]
    numpy_state, python_state = np.random.get_state(), random.getstate()
    try:
        with torch.random.fork_rng(devices=list(devices)):
            seed_all(model, seed)
            yield
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)
        for generator, state in zip(own, states, strict=True):
            generator.set_state(state)
