"""What is measured: every activation against torch.nn, and what each costs in a convolutional network."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convcraft import activations
from convcraft.errors import ConvcraftError

from .textbook import ACTIVATIONS
from .timing import Function, Ratio, compare, saved_bytes

NAMES = (
    "relu relu6 leaky_relu prelu elu celu selu gelu silu mish sigmoid hardsigmoid hardswish tanh softplus "
    "softsign softmax log_softmax"
).split()


def _inputs(shape: tuple[int, ...], layout: str) -> tuple[Tensor, Tensor]:
    """Fresh input and gradient, in the layout."""
    generator = torch.Generator(torch.get_default_device()).manual_seed(time.time_ns() % (1 << 31))
    form = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    x, grad = (torch.randn(shape, generator=generator).to(memory_format=form) for _ in range(2))
    return x, grad


def _pair(name: str) -> tuple[Function, Function]:
    """Ours and torch's function of one argument."""
    ours: Callable[..., Tensor] = getattr(activations, name)
    theirs: Callable[..., Tensor] = getattr(F, name)
    if name == "prelu":
        slope = torch.tensor([0.25])
        return (lambda x: ours(x, slope)), (lambda x: theirs(x, slope))
    if "softmax" in name:
        return (lambda x: ours(x, 1)), (lambda x: theirs(x, 1))
    return ours, theirs


def _forward(function: Function, x: Tensor) -> Callable[[], object]:
    def run() -> Tensor:
        with torch.no_grad():
            return function(x)

    return run


def _both(function: Function, x: Tensor, grad: Tensor) -> Callable[[], Tensor]:
    leaf = x.detach().requires_grad_(True)
    return lambda: torch.autograd.grad(function(leaf), leaf, grad)[0]


def _check(name: str, ours: Tensor, theirs: Tensor) -> None:
    worst = float((ours - theirs).abs().max())
    if not worst <= 1e-5:
        raise ConvcraftError(
            f"bench: {name} must agree with torch.nn within 1e-5, the largest difference is {worst}"
        )


def both_ways(
    name: str, candidates: dict[str, Function], x: Tensor, grad: Tensor, layout: str, rounds: int
) -> list[Ratio]:
    """Forward and forward+backward of "ours" and of all others over "base", in the same rounds."""
    repeats = max(1, min(24, 200_000 // x.numel()))
    saved = (saved_bytes(candidates["ours"], x), saved_bytes(candidates["base"], x))
    found = []
    for what in ("forward", "forward+backward"):
        actions = {
            who: _forward(f, x) if what == "forward" else _both(f, x, grad) for who, f in candidates.items()
        }
        times = compare(actions, rounds, repeats)
        over = {
            who: tuple(a / b for a, b in zip(own, times["base"], strict=True)) for who, own in times.items()
        }
        baseline = 1e3 * float(np.median(times["base"]))
        rivals = {who: ratios for who, ratios in over.items() if who not in ("ours", "base")}
        found.append(Ratio(name, what, layout, tuple(x.shape), over["ours"], baseline, *saved, rivals))
    return found


def compiled(function: Function) -> Function:
    """torch.compile of a function; what was compiled before is forgotten, for there is a limit to it."""
    torch.compiler.reset()
    return torch.compile(lambda x: function(x))


def case(name: str, shape: tuple[int, ...], layout: str, rounds: int, compile: bool = False) -> list[Ratio]:
    """One activation, the textbook's formula and torch.compile over torch.nn; values and bytes too."""
    x, grad = _inputs(shape, layout)
    ours, theirs = _pair(name)
    candidates = {"ours": ours, "base": theirs, "textbook": ACTIVATIONS[name]}
    if compile:
        candidates["compiled"] = compiled(theirs)
    for who, function in candidates.items():
        _check(name, function(x), theirs(x))
        if who != "textbook":  # whose maximum shares the gradient out where x is exactly 0
            _check(name, _both(function, x, grad)(), _both(theirs, x, grad)())
    return both_ways(name, candidates, x, grad, layout, rounds)


def _against(
    cases: Mapping[str, Callable[[], object]], what: str, shape: tuple[int, ...], rounds: int
) -> list[Ratio]:
    """Every case against the first one."""
    times = compare(cases, rounds)
    first = times[next(iter(cases))]
    baseline = 1e3 * float(np.median(first))
    return [
        Ratio(
            name, what, "contiguous", shape, tuple(a / b for a, b in zip(own, first, strict=True)), baseline
        )
        for name, own in times.items()
    ]


def _network(activation: Function) -> nn.Module:
    """The convolutional network of the cost claims; `activation` twice."""

    class Activation(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return activation(x)

    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), Activation(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), Activation(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * 8 * 8, 10),
    )  # fmt: skip


def _step(activation: Function, batch: Tensor, labels: Tensor) -> Callable[[], object]:
    model = _network(activation)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(batch), labels).backward()
        optimizer.step()

    return step


def costs(rounds: int, shape: tuple[int, ...] = (64, 32, 32, 32), batch: int = 64) -> list[Ratio]:
    """What each activation costs against ReLU: alone, beside a convolution, and in a training step."""
    functions: dict[str, Function] = {
        name: getattr(activations, name)
        for name in ("relu", "leaky_relu", "elu", "silu", "tanh", "sigmoid", "mish")
    }
    functions["x*sigmoid(x)"] = lambda x: x * torch.sigmoid(x)
    x, grad = _inputs(shape, "contiguous")
    convolution = nn.Conv2d(shape[1], shape[1], 3, padding=1)
    alone = {name: _both(f, x, grad) for name, f in functions.items()}
    alone["3x3 convolution"] = _both(convolution, x, grad)
    images, labels = torch.randn(batch, 3, 32, 32), torch.randint(10, (batch,))
    steps = {name: _step(f, images, labels) for name, f in functions.items()}
    return [
        *_against(alone, "alone, forward+backward", shape, rounds),
        *_against(steps, "training step", (batch, 3, 32, 32), rounds),
    ]
