"""Does a more nonlinear activation fit better? Four curves and the digits.

Varied: the activation, from none at all (identity) over the usual ones to a parabola and a fast sine, and
what is to be learned: a step, a sine, |x| and a smooth bump on 50 noisy points, or the digits. The network
has one hidden layer of 32 units, wherever it is used. How nonlinear a function is, is stated beforehand:
1 - R^2 of the best straight line through f(z) for z ~ N(0, 1), a number between 0 (a line) and 1.

Measured at the rate that is best on validation: the test error, of the curves the mean squared distance to
the curve without noise as a share of the curve's variance, of the digits the share of wrong answers; and the
same error on the training points.

6,400 updates of 25 points (3,200 epochs) for the curves, 3,200 of 50 images (160 epochs) for the digits: after a
quarter of these 17 of the 45 arms were still falling. Reduced: one hidden layer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from convcraft import activations
from convcraft.initialization import calculate_gain
from convcraft.lab import data, models
from convcraft.lab.data import Split
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.training import evaluate

WIDTH, NOISE = 32, 0.2
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda z: z,
    **{name: activations.catalog()[name].function for name in ("relu", "tanh", "silu", "elu", "sigmoid")},
    "sin": torch.sin,
    "sin 3z": lambda z: torch.sin(3 * z),
    "square": lambda z: z**2,
}
CURVES: dict[str, Callable[[Tensor], Tensor]] = {
    "step": lambda x: (x > 0).to(x.dtype),
    "sine": lambda x: torch.sin(2 * x),
    "absolute value": torch.abs,
    "bump": lambda x: torch.exp(-(x**2)),
}


def splits(arm: dict[str, Any]) -> data.Splits:
    """Points of a curve on [-2, 2], the first two parts with noise; or the digits."""
    if arm["target"] == "digits":
        return data.load("digits").standardized()
    curve, generator = CURVES[arm["target"]], torch.Generator().manual_seed(0)
    scale = float(curve(torch.linspace(-2, 2, 4001)).std())

    def part(n: int, noise: float) -> Split:
        x = 4 * torch.rand(n, 1, generator=generator) - 2
        return Split(x, curve(x) / scale + noise * torch.randn(n, 1, generator=generator))

    return data.Splits(part(50, NOISE), part(200, NOISE), part(1000, 0.0), name=arm["target"], classes=())


def model(arm: dict[str, Any]) -> nn.Module:
    """One hidden layer; for the curves its biases are N(0, 1), so that the units bend at different places."""
    digits = arm["target"] == "digits"
    f = FUNCTIONS[arm["activation"]]
    net = models.MLP(
        (64 if digits else 1, WIDTH, 10 if digits else 1), activation=lambda: models.Elementwise(f)
    )
    first, last = net.layers.linear1, net.layers.linear2
    nn.init.normal_(first.weight, std=first.in_features**-0.5)
    nn.init.normal_(first.bias, std=0.0 if digits else 1.0)
    nn.init.normal_(last.weight, std=calculate_gain(f) * WIDTH**-0.5)
    nn.init.zeros_(last.bias)
    return net


def error(net: nn.Module, part: Split, arm: dict[str, Any]) -> float:
    """Share of wrong answers, or mean squared error as a share of the curve's variance (which is 1)."""
    if arm["target"] == "digits":
        return 1 - evaluate(net, part).accuracy
    return evaluate(net, part, loss="mse").loss


def measure(net: nn.Module, splits: data.Splits, arm: dict[str, Any], seed: int) -> dict[str, float]:
    """Errors on training and test points."""
    return {"test_error": error(net, splits.test, arm), "train_error": error(net, splits.train, arm)}


def fit(arm: dict[str, Any]) -> dict[str, Any]:
    """How long, and by which loss."""
    if arm["target"] == "digits":
        return {"updates": 3200, "evaluate_at": range(160, 3201, 160), "batch_size": 50}
    return {"updates": 6400, "evaluate_at": range(320, 6401, 320), "batch_size": 25, "loss": "mse"}


STUDY = Study(
    arms={
        f"{target}-{name}": {"target": target, "activation": name}
        for target in (*CURVES, "digits")
        for name in FUNCTIONS
    },
    rates=(0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3),
    seeds=range(10),
    splits=splits,
    model=model,
    measure=measure,
    fit=fit,
    select=("validation_loss", "min"),
    diverged={"test_error": 1.0, "train_error": 1.0},
    contrasts=tuple(
        Contrast(f"{target}-identity", f"{target}-relu", measure="test_error", family="a line",
                 claim="must-be-nonlinear-and-better-nonlinearity-fits-better")
        for target in (*CURVES, "digits")
    ),
    quick={"rates": (0.03,), "seeds": range(2), "tuning_seeds": range(100, 101),
           "fit": {"updates": 20, "evaluate_at": None}},
)  # fmt: skip
