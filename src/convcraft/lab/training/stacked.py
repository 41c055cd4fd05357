"""Copies of one network with their parameters stacked along a new first dimension, trained in step."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from convcraft.lab.randomness import forked, stream
from convcraft.lab.training.losses import Loss, device_of, evaluating, resolve_loss, right_answers

Tensors = dict[str, Tensor]
#: what a copy may have of its own
STRENGTHS = ("learning_rate", "momentum", "weight_decay", "l1")


class _Alone(torch.autograd.Function):
    """Calls a layer for one copy after the other, from within vmap."""

    @staticmethod
    def forward(x: Tensor, call: Callable[[Tensor], Tensor]) -> Tensor:
        raise NotImplementedError("outside of vmap the layer itself is called")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None: ...

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], x: Tensor, call: Any) -> tuple[Tensor, int]:
        return call(x.movedim(in_dims[0] or 0, 0)), 0


class Noise:
    """The random streams: layers that draw are called copy by copy, each from the stream of its seed.

    So a copy gets the dropout masks and augmentations that `fit` draws from its seed.
    """

    def __init__(self, template: nn.Module, names: Sequence[str], seeds: Sequence[int]) -> None:
        self.device = device_of(template)
        self.states = []
        for seed in seeds:
            with forked(stream(seed, "noise"), self.device):
                self.states.append(self._state())
        for name in names:
            layer = template.get_submodule(name)
            layer.forward = self._split(layer, layer.forward)

    def _state(self) -> tuple[Tensor, Tensor | None]:
        cuda = torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None
        return torch.get_rng_state(), cuda

    def _split(self, layer: nn.Module, original: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def each(x: Tensor) -> Tensor:  # (copies, n, ...)
            parts = []
            with forked(0, self.device):
                for place, (cpu, cuda) in enumerate(self.states):
                    torch.set_rng_state(cpu)
                    if cuda is not None:
                        torch.cuda.set_rng_state(cuda, self.device)
                    parts.append(original(x[place]))
                    self.states[place] = self._state()
            return torch.stack(parts)

        return lambda x: _Alone.apply(x, each) if layer.training else original(x)

    def keep(self, rows: list[int]) -> None:
        self.states = [self.states[row] for row in rows]


def drawing_layers(model: nn.Module, run: Callable[[nn.Module], object]) -> list[str] | None:
    """Names of the layers without state that draw random numbers when `run` calls the model.

    None where something else draws: the loss, or a layer that has parameters or buffers.
    """
    model, found, before = copy.deepcopy(model), [], {}
    device = device_of(model)

    def state() -> list[Tensor]:
        cuda = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
        return [torch.get_rng_state(), *cuda]

    def restore(saved: list[Tensor]) -> bool:
        """Whether the generators had moved."""
        moved = any(not torch.equal(a, b) for a, b in zip(saved, state(), strict=True))
        torch.set_rng_state(saved[0])
        if saved[1:]:
            torch.cuda.set_rng_state(saved[1], device)
        return moved

    def watch(name: str, layer: nn.Module) -> None:
        def enter(module: nn.Module, inputs: Any) -> None:
            before[name] = state()

        def leave(module: nn.Module, inputs: Any, output: Any) -> None:
            if restore(before[name]) and name not in found:
                found.append(name)

        layer.register_forward_pre_hook(enter)
        layer.register_forward_hook(leave)

    inside = ""
    for name, layer in model.named_modules():
        stateless = next(layer.parameters(), None) is None and next(layer.buffers(), None) is None
        if name and stateless and not (inside and name.startswith(inside)):
            watch(name, layer)
            inside = f"{name}."
    with forked(0, device):
        start = state()
        run(model.train())
        return None if restore(start) else found


class Stacked:
    """Some copies of a network: parameters, buffers and velocities (copies, ...), strengths (copies,)."""

    def __init__(
        self,
        models: Sequence[nn.Module],
        settings: Sequence[dict[str, float]],
        seeds: Sequence[int],
        decayed: set[str],
        drawing: Sequence[str],
    ) -> None:
        self.template = copy.deepcopy(models[0])
        self.noise = Noise(self.template, drawing, seeds) if drawing else None
        self.parameters, self.buffers = (
            {name: value.detach().clone() for name, value in part.items()}
            for part in stack_module_state(list(models))
        )
        self.trained = [name for name, p in models[0].named_parameters() if p.requires_grad]
        self.decayed, where = decayed, device_of(models[0])
        self.strengths = {
            name: torch.tensor([one[name] for one in settings], device=where) for name in STRENGTHS
        }
        self.velocity: Tensors = {}
        self.has = {name: any(one[name] for one in settings) for name in STRENGTHS}
        self._require()

    def _require(self) -> None:
        for name in self.trained:
            self.parameters[name].requires_grad_()

    def __len__(self) -> int:
        return len(self.strengths["learning_rate"])

    def outputs(self, x: Tensor, shared: bool) -> Tensor:
        """Outputs (copies, n, ...); `shared`: the same x for all, else one batch a copy."""

        def forward(parameters: Tensors, buffers: Tensors, x: Tensor) -> Tensor:
            return functional_call(self.template, (parameters, buffers), (x,))

        over = (0, 0, None if shared else 0)
        return vmap(forward, in_dims=over, randomness="different")(self.parameters, self.buffers, x)

    def step(self, losses: Tensor) -> None:
        """One step of gradient descent from the loss of each copy, (copies,).

        The losses are independent of one another, so the gradient of their sum holds the gradient of each.
        """
        parameters = [self.parameters[name] for name in self.trained]
        gradients = torch.autograd.grad(losses.sum(), parameters, materialize_grads=True)  # 0 where unused
        if not self.velocity:
            self._lay_out_like(gradients)
        with torch.no_grad():
            for name, gradient in zip(self.trained, gradients, strict=True):
                weight, velocity = self.parameters[name], self.velocity[name]
                rate, momentum, decay, l1 = (
                    self.strengths[kind].view(-1, *[1] * (weight.ndim - 1)) for kind in STRENGTHS
                )
                if name in self.decayed and self.has["weight_decay"]:
                    gradient = torch.addcmul(gradient, weight, decay)
                velocity.mul_(momentum).add_(gradient)
                weight.addcmul_(velocity, rate, value=-1)
                if name in self.decayed and self.has["l1"]:
                    limit = rate * l1 / (1 - momentum)
                    weight.sub_(torch.minimum(torch.maximum(weight, -limit), limit))

    def _lay_out_like(self, gradients: tuple[Tensor, ...]) -> None:
        """Store weights and velocities in the memory order of the gradients, for speed."""
        for name, gradient in zip(self.trained, gradients, strict=True):
            self.velocity[name] = torch.zeros_like(gradient)
            weight = torch.empty_like(gradient).copy_(self.parameters[name].detach())
            self.parameters[name] = weight.requires_grad_()

    def keep(self, rows: list[int]) -> None:
        """Only the copies at these places go on."""
        for part in (self.parameters, self.buffers, self.velocity, self.strengths):
            for name, value in part.items():
                part[name] = value.detach()[rows]
        if self.noise is not None:
            self.noise.keep(rows)
        self._require()

    def model(self, place: int) -> dict[str, Tensor]:
        """The state of one copy."""
        return {n: v.detach()[place].clone() for n, v in (self.parameters | self.buffers).items()}

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Evaluation mode without a graph."""
        with evaluating(self.template):
            yield


def losses_of(outputs: Tensor, targets: Tensor, loss: Loss) -> Tensor:
    """The mean loss of each copy, from outputs (copies, n, ...) and targets (copies, n, ...)."""
    if (
        loss == "cross_entropy"
        and outputs.ndim == 3
        and targets.ndim == 2
        and not targets.is_floating_point()
    ):
        return F.cross_entropy(outputs.transpose(1, 2), targets, reduction="none").mean(1)
    return vmap(resolve_loss(loss), randomness="different")(outputs, targets)


def correct_of(outputs: Tensor, targets: Tensor) -> Tensor:
    """For each copy the number of right answers; nan where accuracy is not defined."""
    right = right_answers(outputs, targets)
    if right is None:
        return outputs.new_full((len(outputs),), torch.nan)
    return right.flatten(1).sum(1)
