"""The price of a derivative: how much of a training step is the activation's backward pass?

Varied: the activation. Every round (a seed is a round) takes all functions in random order and measures the
processor time of one thread: of the backward pass of the activation alone, at the two shapes that it has in
the network, and of a whole training step of a convolutional network with 16 and 32 channels on 64 images of
32 x 32. A share is the former by the latter of the same round, so that what else the machine does cancels.

Measured: for each function the backward time of its two layers as a share of the ReLU network's training
step, and its training step as a multiple of ReLU's. Each time is the smallest of three. Nothing is trained to
an end, so there are no learning rates; it is run with --jobs 1.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from convcraft import activations
from convcraft.lab import models
from convcraft.lab.experiments import Study

FUNCTIONS = ("relu", "leaky_relu", "tanh", "sigmoid", "elu", "gelu", "silu", "mish")
SHAPES = ((64, 16, 32, 32), (64, 32, 16, 16))


def smallest(work: Callable[[], Any], repeats: int = 3) -> float:
    """Processor seconds of the fastest of some repetitions."""
    found = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def backward_time(name: str) -> float:
    """Seconds for the backward pass of the activation alone, over both shapes."""
    function, total = activations.catalog()[name].function, 0.0
    for shape in SHAPES:
        x = torch.randn(shape, requires_grad=True)
        y, upstream = function(x), torch.randn(shape)
        total += smallest(lambda x=x, y=y, g=upstream: torch.autograd.grad(y, x, g, retain_graph=True))
    return total


def step_time(name: str, images: Tensor, labels: Tensor) -> float:
    """Seconds for a training step of the network: forward, backward, update."""
    net = models.ConvNet((16, 32), in_channels=3, size=32, hidden=0, activation=name)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(images), labels).backward()
        optimizer.step()

    step()
    return smallest(step)


def run(arm: dict[str, Any], rate: float | None, seed: int, splits: Any, final: bool) -> dict[str, float]:
    """One round over all functions."""
    order = list(FUNCTIONS)
    random.Random(seed).shuffle(order)
    images, labels = torch.randn(64, 3, 32, 32), torch.randint(10, (64,))
    times = {name: (backward_time(name), step_time(name, images, labels)) for name in order}
    whole = times["relu"][1]
    shares = {f"backward_share_{name}": times[name][0] / whole for name in FUNCTIONS}
    return shares | {f"step_{name}": times[name][1] / whole for name in FUNCTIONS}


STUDY = Study(
    trains=False,arms={"rounds": {}}, seeds=range(30), run=run, quick={"seeds": range(2)})
