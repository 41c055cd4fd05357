"""Penalties and proximal steps over a loop over the parameters; what `record` adds to a training step."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from convcraft import penalties
from convcraft.diagnostics import record
from convcraft.errors import ConvcraftError
from convcraft.lab.models import ConvNet

from .timing import Ratio, compare

L1, L2 = 1e-4, 1e-3
Action = Callable[[], object]


def stack(layers: int, width: int) -> nn.Module:
    """A dense network: many parameter tensors of one size."""
    return nn.Sequential(*[nn.Linear(width, width) for _ in range(layers)])


def loop_penalty(parameters: list[nn.Parameter]) -> torch.Tensor:
    """The elastic net as a sum over the parameters."""
    total = torch.zeros(())
    for p in parameters:
        total = total + L1 * p.abs().sum() + L2 * (p**2).sum()
    return total


def loop_step(parameters: list[nn.Parameter], threshold: float) -> None:
    """The soft threshold of each parameter in turn."""
    with torch.no_grad():
        for p in parameters:
            p.copy_(torch.sign(p) * torch.relu(p.abs() - threshold))


def _penalty_actions(model: nn.Module) -> tuple[dict[str, Action], dict[str, Action]]:
    parameters = list(model.parameters())
    ours, loop = penalties.elastic_net(parameters, L1, L2), loop_penalty(parameters)
    if not torch.allclose(ours, loop, rtol=1e-3):
        raise ConvcraftError(f"bench: elastic_net must agree with the loop, got {ours} and {loop}")
    values: dict[str, Action] = {
        "ours": lambda: torch.autograd.grad(penalties.elastic_net(parameters, L1, L2), parameters),
        "base": lambda: torch.autograd.grad(loop_penalty(parameters), parameters),
    }
    steps: dict[str, Action] = {
        "ours": lambda: penalties.soft_threshold_(parameters, 1e-9),
        "base": lambda: loop_step(parameters, 1e-9),
    }
    return values, steps


def penalty_ratios(rounds: int, sizes: tuple[tuple[int, int], ...] = ((4, 96), (30, 392))) -> list[Ratio]:
    """Elastic net with its gradient and the soft threshold, over the loop; a small network, a large one."""
    found = []
    for layers, width in sizes:
        model = stack(layers, width)
        count = sum(p.numel() for p in model.parameters())
        repeats = max(1, min(24, 400_000 // count))
        for name, what, actions in zip(
            ("elastic_net", "soft_threshold_"),
            ("value+gradient", "proximal step"),
            _penalty_actions(model),
            strict=True,
        ):
            found.append(_ratio(name, what, (count,), actions, rounds, repeats))
    return found


def _ratio(
    name: str, what: str, shape: tuple[int, ...], actions: dict[str, Action], rounds: int, repeats: int
) -> Ratio:
    times = compare(actions, rounds, repeats)
    ratios = tuple(a / b for a, b in zip(times["ours"], times["base"], strict=True))
    return Ratio(name, what, "", shape, ratios, 1e3 * float(np.median(times["base"])))


def _steps(build: Callable[[], nn.Module], batch: tuple[int, ...], count: int, every: int | None) -> Action:
    """So many training steps, watched by `record` or not."""
    model = build()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    x, labels = torch.randn(batch), torch.randint(10, (batch[0],))

    def train() -> None:
        for _ in range(count):
            optimizer.zero_grad()
            F.cross_entropy(model(x), labels).backward()
            optimizer.step()

    def watched() -> None:
        with record(model, every=every or 1):
            train()

    return watched if every else train


def record_ratios(rounds: int, quick: bool = False) -> list[Ratio]:
    """A training under `record`, sampled as it is documented and at every step, over the same without it."""
    networks: dict[tuple[int, ...], tuple[int, int, Callable[[], nn.Module]]] = {
        (64, 1, 8, 8): (50, 200, lambda: ConvNet((16, 32), hidden=64)),
        (64, 3, 32, 32): (10, 20, lambda: ConvNet((32, 64), size=32, in_channels=3)),
    }
    found = []
    for batch, (sampled, steps, build) in list(networks.items())[: 1 if quick else None]:
        count = 2 if quick else steps
        for every in (sampled, 1):
            actions = {"ours": _steps(build, batch, count, every), "base": _steps(build, batch, count, None)}
            found.append(_ratio(f"record every {every}", "training step", batch, actions, rounds, 1))
    return found
