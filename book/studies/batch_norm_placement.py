"""Batch normalization and place: none, before or after which activation.

Perceptrons of width 32 on 300 digits, a subset of its own for every seed; each layer initialized for its
activation (He, Xavier, LeCun); gradient descent with momentum 0.9, batches of 32, 2,000 updates or, on purpose
short, 400.

Varied: activation (ReLU, tanh, sigmoid, ELU, SELU), depth (4, 10 hidden layers), without batch normalization
(BN), with it before and after every activation.

Measured: test accuracy and loss, train accuracy, and the share of saturated hidden units on the training images
(derivative below a tenth of its largest value).

Reduced: 300 images, no CIFAR-10.
"""

from dataclasses import replace

import torch
from torch import nn

from convcraft import activations
from convcraft.initialization import initialize
from convcraft.lab import data
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.training import evaluate
from convcraft.normalization import BatchNorm1d

N, WIDTH, BUDGETS = 300, 32, {"": 2000, " short": 400}  # updates


def model(arm: dict) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Flatten()]
    for before in (64, *[WIDTH] * (arm["depth"] - 1)):
        layers.append(nn.Linear(before, WIDTH))
        middle = [activations.catalog()[arm["activation"]].module()]
        if arm["bn"] != "none":
            middle.insert(0 if arm["bn"] == "before" else 1, BatchNorm1d(WIDTH))
        layers += middle
    net = nn.Sequential(*layers, nn.Linear(WIDTH, 10))
    initialize(net)
    return net


def splits(arm: dict, seed: int) -> data.Splits:
    """The digits, standardized, with the 300 training images of this seed."""
    whole = data.load("digits").standardized()
    return replace(whole, train=whole.train.subset(N, seed))


def fit(arm: dict) -> dict:
    step = arm["updates"] // 20
    return {
        "updates": arm["updates"], "evaluate_at": range(step, arm["updates"] + 1, step), "batch_size": 32,
        "momentum": 0.9,
    }  # fmt: skip


def saturated(net: nn.Module, part: data.Split, name: str) -> float:
    """Share of hidden units, over the images, whose derivative is below a tenth of its largest value."""
    limit = 0.1 * float(activations.derivative(name, torch.linspace(-4, 4, 801)).max())
    kind, shares, x = type(activations.catalog()[name].module()), [], part.x
    with torch.no_grad():
        for layer in net.eval():
            if isinstance(layer, kind):
                shares.append(float((activations.derivative(name, x) < limit).float().mean()))
            x = layer(x)
    return sum(shares) / len(shares)


def measure(net: nn.Module, splits: data.Splits, arm: dict, seed: int) -> dict:
    return {
        "train_accuracy": evaluate(net, splits.train).accuracy,
        "saturated": saturated(net, splits.train, arm["activation"]),
    }


PLACES = ("none", "before", "after")
CELLS = [(a, d) for a in ("relu", "tanh", "sigmoid", "elu", "selu") for d in (4, 10)]
ARMS = {
    f"{a}_d{d}_{bn}{budget}": {"activation": a, "depth": d, "bn": bn, "updates": updates}
    for budget, updates in BUDGETS.items()
    for a, d in CELLS
    for bn in PLACES
}
PLACEMENT = "bn-optimizes-activations-and-placement-depends-on-them"

STUDY = Study(
    arms=ARMS,
    rates=(0.001, 0.004, 0.016, 0.06, 0.25, 1.0),
    seeds=range(10),
    tuning_seeds=range(100, 110),
    short=tuple(name for name in ARMS if name.endswith("short")),
    splits=splits,
    model=model,
    fit=fit,
    measure=measure,
    contrasts=(
        *(
            Contrast(
                f"{a}_d{d}_{one}{budget}", f"{a}_d{d}_{other}{budget}", claim=PLACEMENT,
                family=f"placement{budget}",
            )
            for budget in BUDGETS
            for a, d in CELLS
            for one, other in (("before", "none"), ("after", "none"), ("after", "before"))
        ),
        *(
            Contrast(
                f"tanh_d10_after{budget}", f"tanh_d10_before{budget}",
                against=(f"elu_d10_after{budget}", f"elu_d10_before{budget}"), claim=PLACEMENT,
                family=f"interaction{budget}",
            )
            for budget in BUDGETS
        ),
    ),
    quick={
        "seeds": range(1), "tuning_seeds": range(100, 101), "rates": (0.03,),
        "fit": {"updates": 20, "evaluate_at": None},
    },
)  # fmt: skip
