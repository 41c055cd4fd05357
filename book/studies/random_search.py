"""Random search: which hyperparameters matter, and what a search of 30 trials gains.

Varied: six hyperparameters of a fully connected network on digits, drawn at random: learning rate, weight
decay, epochs, batch size, depth, and the slope of the activation (of leaky ReLU for negative input; for
tanh, tanh(slope z)). Every seed is one search of 30 trials, ten searches for each of two activations; arm
and seed name the trial. Two further arms train with the three values that article a4 gives: rate 0.001,
decay 0.0001, 10 epochs.

Measured: accuracy on validation, and on test, which is also cut into a small part of 200 images and the
other 300, so that one can see what choosing by test would have done. Nothing is chosen here: who reads the
result chooses. A trial that diverges answers 0 to every image, and is marked "failed".

The budget is one of the things that are drawn: 2 to 20 epochs in batches of 16 to 128, 16 to 1,260 updates, so
that all arms are short on purpose.

Reduced, to finish in minutes on two cores: 300 trials an activation; 32 units a layer; gradient descent
with momentum 0.9.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from convcraft import activations
from convcraft.lab import data, models
from convcraft.lab.data.splits import Split
from convcraft.lab.experiments import Contrast, Study, train_and_score
from convcraft.lab.experiments.score import score
from convcraft.lab.training import DivergedError, evaluate, seeded

TRIALS = 30
WIDTH = 32
ACTIVATIONS = ("relu", "tanh")
FIXED = {"rate": 0.001, "decay": 0.0001, "epochs": 10, "batch": 64, "depth": 2}
SLOPE = {"relu": (0.0, 0.5), "tanh": (0.5, 2.0)}


def splits(arm: dict) -> data.Splits:
    """Digits, 1000 for training and 297 for validation, standardized."""
    return data.load("digits").standardized()


def configuration(arm: dict, seed: int) -> dict[str, Any]:
    """The hyperparameters of one trial: a function of the activation, the trial and the seed alone."""
    low, high = SLOPE[arm["activation"]]
    if arm["trial"] is None:
        return FIXED | {"slope": 0.01 if arm["activation"] == "relu" else 1.0}
    draw = np.random.default_rng([ACTIVATIONS.index(arm["activation"]), arm["trial"], seed])
    return {
        "rate": float(10 ** draw.uniform(-3.5, 0)),
        "decay": float(10 ** draw.uniform(-6, -1)),
        "epochs": round(math.exp(draw.uniform(math.log(2), math.log(20)))),
        "batch": int(draw.choice([16, 32, 64, 128])),
        "depth": int(draw.integers(1, 7)),
        "slope": float(draw.uniform(low, high)),
    }


def function(activation: str, slope: float) -> Any:
    """The activation of a trial, as a function of a tensor."""
    if activation == "relu":
        return partial(activations.leaky_relu, negative_slope=slope)
    return lambda z: torch.tanh(slope * z)


def model(activation: str, depth: int, slope: float) -> nn.Module:
    """The network of a trial, each layer at the scale that keeps the second moment of its activation."""
    f = function(activation, slope)
    net = models.MLP((64, *[WIDTH] * depth, 10), activation=f)
    gain = 1.0
    for layer in net.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=gain / layer.in_features**0.5)
            nn.init.zeros_(layer.bias)
            gain = activations.moments(f).second ** -0.5
    return net


class Zeros(nn.Module):
    """What a trial that diverged counts as: the answer 0 to every image."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.eye(10)[0].expand(len(x), -1)


def run(arm: dict, rate: float | None, seed: int, splits: data.Splits, final: bool) -> dict:
    """Train one trial; everything about it is drawn, the learning rate too."""
    chosen = configuration(arm, seed)
    net = seeded(lambda: model(arm["activation"], chosen["depth"], chosen["slope"]), seed)
    settings = {"epochs": chosen["epochs"], "batch_size": chosen["batch"], "weight_decay": chosen["decay"]}
    try:
        found = train_and_score(net, splits, seed=seed, final=True, learning_rate=chosen["rate"], **settings)
    except DivergedError:
        failed, net = True, Zeros()
        found = score(net, splits)
    else:
        failed = False
    test = splits.test
    parts = {
        "validation_accuracy": splits.validation,
        "small_test_accuracy": Split(test.x[:200], test.y[:200]),
        "fresh_accuracy": Split(test.x[200:], test.y[200:]),
    }
    kept = {name: found.get(name) for name in ("updates", "last_quarter", "test_accuracy", "test_correct")}
    accuracies = {name: evaluate(net, part).accuracy for name, part in parts.items()}
    return {f"chosen_{name}": value for name, value in chosen.items()} | {"failed": failed} | kept | accuracies


ARMS = {
    f"{name}-{trial:02}": {"activation": name, "trial": trial} for name in ACTIVATIONS for trial in range(TRIALS)
} | {f"{name}-fixed": {"activation": name, "trial": None} for name in ACTIVATIONS}

STUDY = Study(
    arms=ARMS,
    rates=(),
    seeds=range(10),
    splits=splits,
    run=run,
    short=tuple(ARMS),
    contrasts=(Contrast("relu-fixed", "tanh-fixed"),),
    quick={"seeds": range(1)},
)
