"""Everything that training changes, kept and put back, bit for bit."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

__all__ = ["preserved", "random_state"]


@contextmanager
def preserved(model: nn.Module, optimizer: Optimizer | None = None) -> Iterator[None]:
    """Put back, at the end and after an error, what is listed here.

    Parameters, buffers, gradients, modes, the optimizer with parameters of its own, and random state.

    The tensors stay the same objects, so that whoever holds one (a scheduler, an average of the weights) sees
    it restored. Random state: torch's own on the CPU and on the devices of the model, and that of every
    generator that a module holds as an attribute.
    """
    parts: list[_Tensors | _Modules | _Optimizer] = [_Tensors(model), _Modules(model)]
    if optimizer is not None:
        parts.append(_Optimizer(optimizer, model))
    with random_state(model):
        try:
            yield
        finally:
            for part in parts:
                part.restore()


@contextmanager
def random_state(model: nn.Module) -> Iterator[None]:
    """Put torch's random state back, and that of the generators that the modules hold."""
    devices = {tensor.device for tensor in (*model.parameters(), *model.buffers()) if tensor.is_cuda}
    generators = [
        value
        for module in model.modules()
        for value in vars(module).values()
        if isinstance(value, torch.Generator)
    ]
    states = [generator.get_state() for generator in generators]
    with torch.random.fork_rng(sorted(devices, key=str)):
        try:
            yield
        finally:
            for generator, state in zip(generators, states, strict=True):
                generator.set_state(state)


class _Tensors:
    """Parameters with their gradients, and buffers, also those that a module replaces by new ones."""

    def __init__(self, model: nn.Module) -> None:
        self.slots: list[tuple[Any, dict[str, Any]]] = [
            (slots, dict(slots))
            for module in model.modules()
            for slots in (module._parameters, module._buffers)
        ]
        self.values = {
            id(tensor): (tensor, tensor.detach().clone(memory_format=torch.preserve_format))
            for _, kept in self.slots
            for tensor in kept.values()
            if tensor is not None
        }
        self.gradients = [(p, p.grad, None if p.grad is None else p.grad.clone()) for p in model.parameters()]

    def restore(self) -> None:
        for slots, kept in self.slots:
            slots.clear()
            slots.update(kept)
        with torch.no_grad():
            for tensor, kept_value in self.values.values():
                tensor.copy_(kept_value)
            for parameter, gradient, value in self.gradients:
                parameter.grad = gradient
                if gradient is not None and value is not None:
                    gradient.copy_(value)


class _Modules:
    """Train or eval, module by module."""

    def __init__(self, model: nn.Module) -> None:
        self.modes = [(module, module.training) for module in model.modules()]

    def restore(self) -> None:
        for module, training in self.modes:
            module.training = training


class _Optimizer:
    """State and groups of an optimizer, its own numbers and flags, and its parameters outside the model."""

    def __init__(self, optimizer: Optimizer, model: nn.Module) -> None:
        self.optimizer = optimizer
        inside = {id(p) for p in model.parameters()}
        self.parameters = [
            (p, _keep(p), p.grad, None if p.grad is None else _keep(p.grad))
            for group in optimizer.param_groups
            for p in group["params"]
            if id(p) not in inside
        ]
        self.state = {key: _keep(value) for key, value in optimizer.state.items()}
        self.groups = [
            {key: _keep(value) for key, value in group.items() if key != "params"}
            for group in optimizer.param_groups
        ]
        self.flags = {
            key: value for key, value in vars(optimizer).items() if type(value) in (bool, int, float)
        }

    def restore(self) -> None:
        for parameter, value, gradient, slope in self.parameters:
            _put_back(value)
            parameter.grad = gradient
            if slope is not None:
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


def _keep(value: Any) -> Any:
    """What is needed to restore a value: for a tensor itself and a copy."""
    if isinstance(value, Tensor):
        return (_TENSOR, value, value.detach().clone(memory_format=torch.preserve_format))
    if isinstance(value, dict):
        return (_DICT, {key: _keep(item) for key, item in value.items()})
    if isinstance(value, list):
        return (_LIST, [_keep(item) for item in value])
    return (_OTHER, copy.deepcopy(value))


def _put_back(kept: Any) -> Any:
    kind = kept[0]
    if kind is _TENSOR:
        with torch.no_grad():
            kept[1].copy_(kept[2])
        return kept[1]
    if kind is _DICT:
        return {key: _put_back(item) for key, item in kept[1].items()}
    if kind is _LIST:
        return [_put_back(item) for item in kept[1]]
    return kept[1]


_TENSOR, _DICT, _LIST, _OTHER = object(), object(), object(), object()
