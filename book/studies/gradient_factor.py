"""Gradient factor: what a layer multiplies the gradient by, before any training.

Varied: activation, gain (standard deviation of the weights times the root of the fan-in), batch
normalization, skip connections, depth. Measured at random weights of width 512: the factor per layer by
which the norm of a random gradient changes on its way from layer D to the input, the second moment of the
pre-activations at layer D, and what the mean-field formulas predict for both; nothing is trained.

A layer is x' = W f(x), with BN x' = W f(BN(x)), and with a skip x' = x + (the same). The weights are
N(0, gain^2 / 512), the input is N(0, 1) and plays the part of the first pre-activations; with BN and no skip
it has the variance that every later layer has, so that a gain shows in the factor only if it matters.
The gain "matching" is E[f(z)^2]^(-1/2). Reduced: a batch of 64 where there is no BN (its rows do not
interact), 256 where there is.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from convcraft import activations, normalization
from convcraft.initialization import calculate_gain
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.randomness import forked

WIDTH = 512
OWN: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda x: 1 * x,
    "sigmoid_centred": lambda x: 0.5 * torch.tanh(x / 2),  # sigmoid(x) - 1/2, exact near 0
    "sigmoid_steep": lambda x: torch.sigmoid(4 * x),
    "sigmoid_steep_centred": lambda x: 0.5 * torch.tanh(2 * x),  # sigmoid(4 x) - 1/2
}


def function(name: str) -> Callable[[Tensor], Tensor]:
    return OWN[name] if name in OWN else activations.catalog()[name].function


@functools.cache
def matching(name: str) -> float:
    """The gain that keeps a second moment of 1."""
    return calculate_gain(function(name))


@functools.cache
def moments(name: str, q: float) -> tuple[float, float, float]:
    """Variance and second moment of f, and second moment of f', at pre-activations N(0, q)."""
    scale, unit = math.sqrt(q), min(1.0, math.sqrt(q))  # quadrature is exact to 1e-12, so nothing may be tiny
    found = activations.moments(lambda z: function(name)(scale * z) / unit)
    second = found.second * unit**2
    return second - (found.mean * unit) ** 2, second, found.derivative_second * unit**2 / q


def predicted(arm: dict, depth: int) -> tuple[float, float]:
    """Mean-field theory: the gradient factor per layer, and the second moment at layer `depth`.

    With BN the moments are those at variance 1, and a layer sees the variance of f over the batch.
    """
    name, square = arm["activation"], arm["gain"] ** 2
    q = square * moments(name, 1.0)[0] if arm["norm"] and not arm["skip"] else 1.0
    logarithm = 0.0
    for _ in range(depth):
        variance, second, slope = moments(name, 1.0 if arm["norm"] else q)
        chi = square * slope / (q if arm["norm"] else 1.0)
        logarithm += math.log(chi + 1 if arm["skip"] else chi)
        q = (q if arm["skip"] else 0.0) + square * (variance if arm["norm"] else second)
    return math.exp(logarithm / (2 * depth)), q


def layer(x: Tensor, weight: Tensor, arm: dict) -> Tensor:
    h = normalization.batch_norm(x, None, None, training=True, eps=1e-12) if arm["norm"] else x
    branch = function(arm["activation"])(h) @ weight.T
    return x + branch if arm["skip"] else branch


def run(arm: dict, rate: float | None, seed: int, splits: object, final: bool) -> dict[str, float]:
    """Factor per layer and second moment at every depth of the arm; depth 20 is one of every arm's."""
    found: dict[str, float] = {}
    with forked(seed):
        x = torch.randn(256 if arm["norm"] else 64, WIDTH)
        if arm["norm"] and not arm["skip"]:
            x *= arm["gain"] * math.sqrt(moments(arm["activation"], 1.0)[0])
        start = x.requires_grad_()
        for depth in range(1, max(arm["depths"]) + 1):
            x = layer(x, torch.randn(WIDTH, WIDTH) * arm["gain"] / math.sqrt(WIDTH), arm)
            if depth in arm["depths"]:
                factor, moment = predicted(arm, depth)
                sent = torch.randn(x.shape) * factor ** (-depth / 2)  # both ends within float32
                (back,) = torch.autograd.grad(x, start, sent, retain_graph=True)
                ratio = float(back.double().norm() / sent.double().norm())
                found |= {
                    f"factor_{depth}": ratio ** (1 / depth),
                    f"predicted_factor_{depth}": factor,
                    f"moment_{depth}": float(x.detach().double().square().mean()),
                    f"predicted_moment_{depth}": moment,
                }
    return found


def _arms() -> dict[str, dict]:
    """Five families of arms; one that belongs to several stands there once, with all its depths."""
    arms: dict[str, dict] = {}

    def add(name: str, gain: float, depths: tuple[int, ...], norm: bool = False, skip: bool = False) -> None:
        label = f"{name} {gain:.4g}" + " bn" * norm + " skip" * skip
        arm = arms.setdefault(
            label, {"activation": name, "gain": gain, "norm": norm, "skip": skip, "depths": []}
        )
        arm["depths"] = sorted({20, *arm["depths"], *depths})

    root = math.sqrt(2)
    for name in ("identity", "relu", "leaky_relu", "elu", "silu", "tanh", "sigmoid"):  # 1: the factorial
        for gain in (1.0, root, matching(name)):
            for norm in (False, True):
                for skip in (False, True):
                    add(name, gain, (30,), norm, skip)
    for name, gain in (("sigmoid", 1.0), ("tanh", 1.0), ("relu", 1.0), ("relu", root)):  # 2: depth
        add(name, gain, (5, 10, 20, 40))
    for name in ("sigmoid", "tanh", "relu"):  # 3: where the factor crosses 1
        for gain in (0.5, 1.0, root, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0, 12.0, 16.0, 20.0):
            add(name, gain, (20,))
    matched = ("relu", "leaky_relu", "elu", "silu", "gelu", "tanh")
    for name in matched:  # 4: every activation at the matching gain of every other
        for other in matched:
            add(name, matching(other), (20,))
    for name in ("sigmoid_centred", "sigmoid_steep", "sigmoid_steep_centred"):  # 5: slope and centring
        add(name, 1.0, (20,))
    for name in ("relu", "tanh", "sigmoid"):  # 6: batch normalization
        for gain in (0.3, 1.0, 3.0):
            for norm in (False, True):
                for skip in (False, True):
                    add(name, gain, (10, 30, 50), norm, skip)
    return arms


STUDY = Study(
    trains=False,
    arms=_arms(),
    rates=(),
    seeds=range(10),
    run=run,
    contrasts=(
        Contrast(
            "tanh 1", "sigmoid 1", measure="factor_20", claim="tanh-zero-centring-reduces-vanishing"
        ),
        Contrast(
            "sigmoid_centred 1", "sigmoid 1", measure="factor_20",
            claim="tanh-zero-centring-reduces-vanishing",
        ),
        Contrast(
            "relu 1.414", "relu 1", measure="factor_20", claim="relu-mitigates-vanishing-gradient"
        ),
        Contrast("relu 3 bn", "relu 0.3 bn", measure="factor_20", margin=0.01,
                 claim="bn-helps-gradient-propagation"),
    ),
    quick={"seeds": range(2)},
)
