"""Use a model and leave no mark on it: one rule for everything that is put back, bit for bit."""

import copy
import random
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

_CONTAINERS = (dict, OrderedDict, list, set)  # what a module may hold and a forward pass may change in place


@contextmanager
def modes(model: nn.Module) -> Iterator[None]:
    """Put back training or evaluation mode, module by module."""
    kept = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in kept:
            module.training = training


@contextmanager
def buffers(model: nn.Module) -> Iterator[None]:
    """Put back the buffers, which a parametrization changes when its weight is read in training mode."""
    kept = [_keep(buffer) for buffer in model.buffers()]
    try:
        yield
    finally:
        for item in kept:
            _put_back(item)


@contextmanager
def preserved(model: nn.Module, optimizer: Optimizer | None = None, data: Any = None) -> Iterator[None]:
    """Put back, at the end and after an error, whatever training changes.

    Of the model: parameters and buffers (those of parametrizations too), gradients, modes, hooks and
    attributes. The tensors stay the same objects, so that a scheduler or an average of the weights that
    holds one sees it restored. Of the optimizer: state, groups, its own numbers and flags, and parameters
    that are not the model's. Random states: see :func:`random_state`.
    """
    parts: list[_Model | _Optimizer] = [_Model(model)]
    if optimizer is not None:
        parts.append(_Optimizer(optimizer, model))
    with random_state(model, data):
        try:
            yield
        finally:
            for part in parts:
                part.restore()


@contextmanager
def random_state(model: nn.Module, data: Any = None, seed: int | None = None) -> Iterator[None]:
    """Put every random state back: torch's on the CPU and the model's devices, NumPy's, Python's, and that of
    the generators which the model's modules and the loader hold; run from a seed if one is given."""
    holders = [*model.modules(), data, getattr(data, "sampler", None), getattr(data, "batch_sampler", None)]
    holders += [getattr(holder, "sampler", None) for holder in holders[-2:]]
    generators = {
        id(value): value
        for holder in holders
        for value in getattr(holder, "__dict__", {}).values()
        if isinstance(value, torch.Generator)
    }
    states = [(generator, generator.get_state()) for generator in generators.values()]
    try:
        with host_random_state(), torch.random.fork_rng(sorted(_gpus(model), key=str)):
            if seed is not None:
                seed_all(model, seed)
            yield
    finally:
        for generator, state in states:
            generator.set_state(state)


@contextmanager
def host_random_state() -> Iterator[None]:
    """Put NumPy's and Python's random state back."""
    numpy_state, python_state = np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)


def seed_all(model: nn.Module, seed: int) -> None:
    """Seed NumPy, Python, torch's generator of the CPU and those of the model's GPUs."""
    np.random.seed(seed % 2**32)
    random.seed(seed)
    seed_torch(seed, _gpus(model))


def seed_torch(seed: int, gpus: Iterable[torch.device] = ()) -> None:
    """Seed torch's generator of the CPU and those of these GPUs, and of no other GPU."""
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed every GPU as well
    for device in gpus:
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


def _gpus(model: nn.Module) -> set[torch.device]:
    """The GPUs of a model; none where there are none, as for fake tensors that name one."""
    here = (*model.parameters(), *model.buffers()) if torch.cuda.is_available() else ()
    return {t.device for t in here if t.device.type == "cuda"}


class _Model:
    """The tensors of a model by value, and everything that its modules hold by reference."""

    def __init__(self, model: nn.Module) -> None:
        self.modules = [(module, dict(vars(module))) for module in model.modules()]
        held = [value for _, attributes in self.modules for value in attributes.values()]
        # registries of parameters, buffers, children and hooks are containers like any other
        self.containers = [(value, copy.copy(value)) for value in held if type(value) in _CONTAINERS]
        tensors = [value for value in held if isinstance(value, Tensor)]
        tensors += [*model.parameters(), *model.buffers()]
        self.tensors = [_keep(tensor) for tensor in {id(tensor): tensor for tensor in tensors}.values()]
        self.gradients = [(p, p.grad, _keep(p.grad)) for p in model.parameters()]

    def restore(self) -> None:
        for value, before in self.containers:
            value.clear()
            value.extend(before) if isinstance(value, list) else value.update(before)
        for module, attributes in self.modules:
            vars(module).clear()
            vars(module).update(attributes)
        for kept in self.tensors:
            _put_back(kept)
        for parameter, gradient, kept in self.gradients:
            parameter.grad = gradient
            _put_back(kept)


class _Optimizer:
    """State and groups of an optimizer, its own numbers and flags, and its parameters outside the model."""

    def __init__(self, optimizer: Optimizer, model: nn.Module) -> None:
        self.optimizer = optimizer
        inside = {id(p) for p in model.parameters()}
        self.parameters = [
            (p, _keep(p), p.grad, _keep(p.grad))
            for group in optimizer.param_groups
            for p in group["params"]
            if id(p) not in inside
        ]
        self.state = {key: _keep(value) for key, value in optimizer.state.items()}
        self.groups = [{k: _keep(v) for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
        self.flags = {k: v for k, v in vars(optimizer).items() if type(v) in (bool, int, float)}

    def restore(self) -> None:
        for parameter, value, gradient, slope in self.parameters:
            _put_back(value)
            parameter.grad = gradient
            _put_back(slope)
        self.optimizer.state.clear()
        self.optimizer.state.update({key: _put_back(kept) for key, kept in self.state.items()})
        for group, values in zip(self.optimizer.param_groups, self.groups, strict=True):
            for key in [key for key in group if key != "params" and key not in values]:
                del group[key]
            group.update({key: _put_back(kept) for key, kept in values.items()})
        for key, value in list(vars(self.optimizer).items()):
            if type(value) in (bool, int, float) and key not in self.flags:
                delattr(self.optimizer, key)
        vars(self.optimizer).update(self.flags)


def _keep(value: Any) -> tuple[str, Any, Any]:
    """What is needed to restore a value: of a tensor itself and a copy, of a container its items."""
    if isinstance(value, nn.UninitializedParameter | nn.UninitializedBuffer):
        return ("other", value, value)
    if isinstance(value, Tensor):
        return ("tensor", value, value.detach().clone(memory_format=torch.preserve_format))
    if isinstance(value, dict):
        return ("dict", value, {key: _keep(item) for key, item in value.items()})
    if isinstance(value, list):
        return ("list", value, [_keep(item) for item in value])
    return ("other", value, copy.deepcopy(value))


def _put_back(kept: tuple[str, Any, Any]) -> Any:
    kind, value, before = kept
    if kind == "tensor":
        if not _same(value, before):  # a graph that waits for its backward pass would notice a write
            with torch.no_grad():
                value.copy_(before)
        return value
    if kind == "dict":
        return {key: _put_back(item) for key, item in before.items()}
    return [_put_back(item) for item in before] if kind == "list" else before


_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def _same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are equal bit for bit: a NaN equals itself, and 0 does not equal -0."""
    if a.layout is not torch.strided or a.is_quantized or a.is_meta:
        return False
    if a.is_complex():
        a, b = torch.view_as_real(a.detach().resolve_conj()), torch.view_as_real(b)
    whole = _INTEGERS.get(a.element_size())
    return whole is not None and torch.equal(a.detach().view(whole), b.view(whole))
