"""Checks of the exercises of the chapter "Weight initialization"."""

import math
from collections.abc import Iterator
from statistics import NormalDist
from typing import Any

import torch
from torch import nn

from convcraft.initialization import fans
from convcraft.lab.exercises.framework import Check, Complaint, by_name, compare
from convcraft.lab.exercises.kinds import formula, number, takes
from convcraft.lab.randomness import forked


def misfit() -> nn.Sequential:
    """A network whose layers differ in everything that fan-in depends on, as torch initializes it.

    >>> [type(layer).__name__ for layer in misfit()][:2]
    ['Conv2d', 'ReLU']

    Chapter: Weight initialization.
    """
    return nn.Sequential(
        nn.Conv2d(16, 64, 3), nn.ReLU(), nn.Conv2d(64, 64, 5, groups=64), nn.ReLU(), nn.Conv2d(64, 128, 1), nn.ReLU(),
        nn.Flatten(), nn.Linear(128, 256), nn.ReLU(), nn.Linear(256, 10),
    )  # fmt: skip


@takes("the model")
def mend_the_initializer(answer: Any) -> Iterator[Complaint]:
    """A function that gives every layer of a model He's variance and a zero bias, in place."""
    with forked(0):
        model = misfit()
        answer(model)
    for index, layer in enumerate(model):
        if not isinstance(layer, nn.Conv2d | nn.Linear):
            continue
        name = f"layer {index}, {type(layer).__name__}"
        right = math.sqrt(2 / fans(layer).fan_in)
        std = float(layer.weight.detach().std())
        if layer.bias is not None and bool(layer.bias.detach().abs().max() > 0):
            yield f"{name}: the bias is not zero. A random bias is a second signal beside the first."
        if wrong := compare(std, right, f"the standard deviation of {name}", tolerance=0.1 * right):
            yield wrong.because(f"{name}: How many numbers does one output sum? See its weight's shape.")


def your_deep_network(answer: Any) -> Iterator[Complaint]:
    """An activation and a gain that keep signal and gradient over sixty layers of 256 units."""
    if not isinstance(answer, tuple) or len(answer) != 2 or not callable(answer[0]):
        yield "Give a tuple of two: the activation, a function of a tensor, and the gain, a number."
    f, gain = answer
    z = torch.linspace(-3, 3, 61, dtype=torch.float64)
    if torch.allclose(torch.as_tensor(f(2 * z)), 2 * torch.as_tensor(f(z))):
        yield "This function only scales with its input, as ReLU does. Take one that bends elsewhere, too."
    generator = torch.Generator().manual_seed(0)
    h = x = torch.randn(32, 256, generator=generator).requires_grad_()
    for _ in range(60):
        h = f(h @ torch.randn(256, 256, generator=generator) * (gain / 16))
    sent = torch.randn(h.shape, generator=generator)
    (back,) = torch.autograd.grad(h, x, sent)
    signal, gradient = float(h.detach().square().mean()), float(back.norm() / sent.norm())
    if not 0.1 <= signal <= 10:
        yield f"The second moment after sixty layers is {signal:.2g}; keep it between 0.1 and 10."
    if not 0.1 <= gradient <= 10:
        yield f"The signal arrives, the gradient is multiplied by {gradient:.2g}: look for chi near 1 at a fixed point."


CHECKS: dict[str, Check] = by_name(mend_the_initializer, your_deep_network) | {
    "he-std-of-a-convolution": number(
        "the standard deviation",
        math.sqrt(2 / (64 * 9)),
        {
            math.sqrt(2 / 64): "Each output sums over the 9 positions of the kernel, too.",
            math.sqrt(2 / (256 * 9)): "That is the fan-out. The forward pass needs the fan-in.",
            math.sqrt(1 / (64 * 9)): "That keeps the variance of a linear layer; ReLU needs twice that.",
            2 / (64 * 9): "That is the variance; the standard deviation is its root.",
        },
        tolerance=1e-3,
    ),
    "default-after-twelve": number(
        "the factor",
        6.0**-6,
        {
            (1 / 6) ** 12: "That is the factor on the second moment; the question is about its root.",
            (1 / 3) ** 6: "Default weights have the variance 1/(3 n), and ReLU halves what is left.",
            (1 / math.sqrt(2)) ** 12: "That is for weights of variance 1/n. The default's is a third of it.",
        },
        tolerance=1e-3 * 6.0**-6,
    ),
    "gain-with-dropout": formula(
        lambda p: math.sqrt(2 * (1 - p)),
        [(0.0,), (0.2,), (0.5,), (0.9,)],
        "the gain for p = {:g}",
        (lambda p: math.sqrt(2), "That is the gain without dropout. What is kept is divided by 1 - p, then squared."),
        (
            lambda p: math.sqrt(2 / (1 - p)),
            "Dropout makes the second moment larger, not smaller: a share 1 - p is kept, and each of it is "
            "multiplied by 1/(1 - p)^2. So the weights have to become smaller.",
        ),
        (lambda p: 2 * (1 - p), "That is the square of the gain: it multiplies the variance."),
    ),
    "branch-scale": formula(
        lambda branches, growth: math.sqrt(growth ** (1 / branches) - 1),
        [(1, 2.0), (10, 4.0), (50, math.e), (1000, 1.5)],
        "the factor for {} branches",
        (lambda n, growth: growth ** (1 / n) - 1, "That is its square: s multiplies the variance by s^2."),
        (lambda n, growth: growth ** (1 / n), "A block multiplies the variance by 1 + s^2: its shortcut adds 1."),
        (
            lambda n, growth: math.sqrt(math.log(growth) / n),
            "That is its limit for many branches. With few, (1 + s^2)^L has to be solved exactly.",
        ),
    ),
    "share-below-average": number(
        "the share",
        NormalDist().cdf(math.sqrt(5 * 50 / 64) / 2),
        {
            0.5: "That would be so if the second moment were spread evenly about its mean. Its logarithm is.",
            NormalDist().cdf(-math.sqrt(5 * 50 / 64) / 2): "That is the share above 1.",
            NormalDist().cdf(5 * 50 / 64 / 2): "Divide the mean by the standard deviation, not the variance.",
        },
        tolerance=0.05,
    ),
}
