"""Copies of one network with their parameters stacked along a new first dimension, trained in step."""

import copy
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.fx.experimental.proxy_tensor import make_fx

from convcraft.lab.randomness import forked
from convcraft.lab.training.layers import Noise, compute_across, get_random_state, set_random_state
from convcraft.lab.training.losses import Loss, device_of, is_classification, resolve_loss, right_answers

Tensors = dict[str, Tensor]
#: the settings that may differ between copies
STRENGTHS = ("learning_rate", "momentum", "weight_decay", "l1")


def drawing_layers(model: nn.Module, run: Callable[[nn.Module], object]) -> list[str] | None:
    """Names of the layers without state that draw random numbers when `run` calls the model.

    None where something else draws: the loss, or a layer that has parameters or buffers.
    """
    model, found, before = copy.deepcopy(model), [], {}
    device = device_of(model)

    def restore(saved: list[Tensor]) -> bool:
        """Whether the generators had moved."""
        now = get_random_state(device)
        set_random_state(saved, device)
        return any(not torch.equal(a, b) for a, b in zip(saved, now, strict=True))

    def watch(name: str, layer: nn.Module) -> None:
        def enter(module: nn.Module, inputs: Any) -> None:
            before[name] = get_random_state(device)

        def leave(module: nn.Module, inputs: Any, output: Any) -> None:
            if restore(before[name]) and name not in found:
                found.append(name)

        layer.register_forward_pre_hook(enter)
        layer.register_forward_hook(leave)

    inside = ""
    for name, layer in model.named_modules():
        stateless = next(layer.parameters(), None) is None and next(layer.buffers(), None) is None
        listed = isinstance(layer, nn.ModuleList | nn.ModuleDict)  # not called itself
        if name and stateless and not listed and not (inside and name.startswith(inside)):
            watch(name, layer)
            inside = f"{name}."
    with forked(0, device):
        start = get_random_state(device)
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
        loss: Loss,
    ) -> None:
        self.template, self.loss, self.decayed = copy.deepcopy(models[0]), loss, decayed
        hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
        hooked = any(getattr(module, name) for module in self.template.modules() for name in hooks)
        self.gradients = Replay(self._gradients, isinstance(loss, str) and not drawing and not hooked)
        self.noise = Noise(self.template, drawing, seeds) if drawing else None
        compute_across(self.template)
        self.parameters, self.buffers = (
            {name: value.detach().clone() for name, value in part.items()} for part in stack_module_state(list(models))
        )
        self.trained = [name for name, p in models[0].named_parameters() if p.requires_grad]
        self.velocity: Tensors = {}
        where = device_of(models[0])
        self.strengths = {name: torch.tensor([one[name] for one in settings], device=where) for name in STRENGTHS}
        #: the strengths that all copies have in common, which are cheaper as numbers
        self.common = {n: settings[0][n] for n in STRENGTHS if all(one[n] == settings[0][n] for one in settings)}

    def __len__(self) -> int:
        return len(self.strengths["learning_rate"])

    def outputs(self, x: Tensor, shared: bool) -> Tensor:
        """Outputs (copies, n, ...); `shared`: the same x for all, else one batch per copy."""
        return self._outputs(self.parameters, self.buffers, x, shared)

    def _outputs(self, parameters: Tensors, buffers: Tensors, x: Tensor, shared: bool) -> Tensor:
        def forward(parameters: Tensors, buffers: Tensors, x: Tensor) -> Tensor:
            if self.noise is not None:
                self.noise.stacked = next(iter(parameters.values())).detach()
            return functional_call(self.template, (parameters, buffers), (x,))

        over = (0, 0, None if shared else 0)
        return vmap(forward, in_dims=over, randomness="different")(parameters, buffers, x)

    def _gradients(self, parameters: list[Tensor], buffers: list[Tensor], batch: list[Tensor]) -> list[Tensor]:
        """Loss and right answers of each copy, both (copies,), and the gradients of what is trained.

        The losses are independent of one another, so the gradient of their sum holds the gradient of each.
        """
        x, y = batch  # (copies, n, ...)
        named = {n: p.detach() for n, p in zip(self.parameters, parameters, strict=True)}
        trained = [named[name].requires_grad_() for name in self.trained]
        with torch.enable_grad():
            outputs = self._outputs(named, dict(zip(self.buffers, buffers, strict=True)), x, shared=False)
            losses = losses_of(outputs, y, self.loss)
            gradients = torch.autograd.grad(losses.sum(), trained, materialize_grads=True)  # 0 where unused
        return [losses.detach(), correct_of(outputs.detach(), y), *(g.detach() for g in gradients)]

    def update(self, x: Tensor, y: Tensor, to_come: int = 0) -> tuple[Tensor, Tensor]:
        """One step of gradient descent on (copies, n, ...); returns loss and right answers of each copy.

        `to_come`: how many updates will follow.
        """
        state = list(self.parameters.values()), list(self.buffers.values())
        before = None if self.velocity else _numbers(self.template)
        losses, right, *gradients = self.gradients(to_come, *state, [x, y])
        if before is not None:
            # Weights and velocities are stored in the memory order of the gradients, for speed.
            for name, gradient in zip(self.trained, gradients, strict=True):
                self.velocity[name] = torch.zeros_like(gradient)
                self.parameters[name] = torch.empty_like(gradient).copy_(self.parameters[name])
            self.gradients.allowed &= before == _numbers(self.template)  # a graph would not update them
        self._step(gradients)
        return losses, right

    @torch.no_grad()
    def _step(self, gradients: list[Tensor]) -> None:
        weights = [self.parameters[name] for name in self.trained]
        velocities = [self.velocity[name] for name in self.trained]
        decayed = [i for i, name in enumerate(self.trained) if name in self.decayed]

        def strength(kind: str, tensors: list[Tensor]) -> list[Tensor]:
            return [self.strengths[kind].view(-1, *[1] * (t.ndim - 1)) for t in tensors]  # (copies, 1, ...) each

        some = [weights[i] for i in decayed]
        if self.common.get("weight_decay") != 0:
            for i, decay in zip(decayed, strength("weight_decay", some), strict=True):
                gradients[i] = torch.addcmul(gradients[i], weights[i], decay)
        momentum, rate = (self.common.get(kind) for kind in ("momentum", "learning_rate"))
        torch._foreach_mul_(velocities, strength("momentum", weights) if momentum is None else momentum)
        torch._foreach_add_(velocities, gradients)
        if rate is None:
            torch._foreach_addcmul_(weights, velocities, strength("learning_rate", weights), value=-1)
        else:
            torch._foreach_add_(weights, velocities, alpha=-rate)
        if self.common.get("l1") != 0:
            limits = self.strengths["learning_rate"] * self.strengths["l1"] / (1 - self.strengths["momentum"])
            for weight in some:
                limit = limits.view(-1, *[1] * (weight.ndim - 1))
                weight.sub_(torch.minimum(torch.maximum(weight, -limit), limit))

    def keep(self, rows: list[int]) -> None:
        """Go on with only the copies at these places."""
        for part in (self.parameters, self.buffers, self.velocity, self.strengths):
            for name, value in part.items():
                part[name] = value[rows]
        if self.noise is not None:
            self.noise.keep(rows)

    def model(self, place: int) -> dict[str, Tensor]:
        """The state of one copy."""
        return {n: v[place].clone() for n, v in (self.parameters | self.buffers).items()}


def _numbers(model: nn.Module) -> list[dict[str, object]]:
    """The plain numbers among the attributes of each module, which a forward pass may change."""
    return [{k: v for k, v in vars(m).items() if isinstance(v, int | float)} for m in model.modules()]


def losses_of(outputs: Tensor, targets: Tensor, loss: Loss) -> Tensor:
    """The mean loss of each copy, from outputs (copies, n, ...) and targets (copies, n, ...)."""
    if loss == "cross_entropy" and is_classification(outputs, targets) and outputs.ndim == 3:
        flat = F.cross_entropy(outputs.flatten(0, 1), targets.flatten(), reduction="none")  # (copies * n,)
        return flat.view(targets.shape).mean(1)
    return vmap(resolve_loss(loss), randomness="different")(outputs, targets)


def correct_of(outputs: Tensor, targets: Tensor) -> Tensor:
    """For each copy the number of right answers; nan where accuracy is not defined."""
    right = right_answers(outputs, targets)
    if right is None:
        return outputs.new_full((len(outputs),), torch.nan)
    return right.flatten(1).sum(1)


#: how often inputs of one form must have been seen, and how many calls must still follow, for a trace to pay off
AFTER, WORTH = 10, 150

Lists = tuple[list[Tensor], ...]


class Replay:
    """Calls a function of lists of tensors and, after some calls on inputs of one form, its graph instead.

    The function must do the same operations at every call. The graph is compared with it when it is made, and
    is not used if any value differs, or if it cannot be made.
    """

    def __init__(self, function: Callable[..., list[Tensor]], allowed: bool) -> None:
        self.function, self.allowed = function, allowed
        self.seen: Counter[Any] = Counter()
        self.graphs: dict[Any, Callable[[Lists], list[Tensor]]] = {}

    def __call__(self, to_come: int, *inputs: list[Tensor]) -> list[Tensor]:
        if not self.allowed:
            return self.function(*inputs)
        form = tuple((t.shape, t.stride()) for t in chain(*inputs))
        if form not in self.graphs:
            self.seen[form] += 1
            if self.seen[form] < AFTER or to_come < WORTH:
                return self.function(*inputs)
            graph = _traced(self.function, inputs)
            if graph is None:
                self.allowed = False
                return self.function(*inputs)
            self.graphs[form] = graph
        with torch.no_grad():
            return self.graphs[form](inputs)


def _traced(function: Callable[..., list[Tensor]], inputs: Lists) -> Callable[[Lists], list[Tensor]] | None:
    """The graph of a function, if it returns the same and changes its inputs in the same way."""

    def cloned() -> Lists:
        return tuple([t.clone(memory_format=torch.preserve_format) for t in part] for part in inputs)

    ours, theirs = cloned(), cloned()
    try:
        graph = make_fx(lambda inputs: function(*inputs))(cloned())  # a method would confuse it
        with torch.no_grad():
            found = graph(ours)
    except Exception:  # whatever stops a trace: the function itself has just worked on these inputs
        return None
    expected = function(*theirs)
    pairs = zip([*found, *chain(*ours)], [*expected, *chain(*theirs)], strict=True)
    same = all(torch.allclose(a, b, rtol=1e-4, atol=1e-6, equal_nan=True) for a, b in pairs)
    return graph if same else None
