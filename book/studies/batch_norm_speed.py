"""Batch normalization and speed: epochs until 95 % of the training images are right.

Perceptrons of width 32 on 300 digits, a subset of its own for every seed; each layer initialized for its
activation (He, LeCun); gradient descent with momentum 0.9.

Varied: depth (3, 10 hidden layers), activation (ReLU, sigmoid), batch size (4, 16, 64, at depth 3 with
ReLU also 2), without batch normalization (BN) and with it before every activation.

Measured: epochs until 95 % of the training images are right in evaluation mode (interpolated; the budget where
that does not happen), updates likewise, whether it happened; train accuracy then, and recalibrated_accuracy
with the statistics of all training images. Training ends there, and the rate is the one that gets there first
on the tuning seeds; where none does, the one with the smallest training loss at the end. How many rates get there
is in the tuning runs.

Reduced: 300 images, no MNIST; budgets of 15 epochs with batches of 2 and 4 (1,125 updates of 4 images), else
100 (500 of 64). Time to the target is seconds x epochs_to_target / epochs of a run.
"""

import math

import torch
from torch import nn

from convcraft import activations
from convcraft.initialization import initialize
from convcraft.lab import data
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.experiments.score import last_quarter
from convcraft.lab.training import evaluate, fit, seeded
from convcraft.normalization import BatchNorm1d, recalibrate_batch_norm

N, WIDTH, TARGET = 300, 32, 0.95


def model(arm: dict) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Flatten()]
    for before in (64, *[WIDTH] * (arm["depth"] - 1)):
        layers.append(nn.Linear(before, WIDTH))
        layers += [BatchNorm1d(WIDTH)] if arm["bn"] == "before" else []
        layers.append(activations.catalog()[arm["activation"]].module())
    net = nn.Sequential(*layers, nn.Linear(WIDTH, 10))
    initialize(net)
    return net


def crossing(path: list[float]) -> float:
    """Epochs until the target, interpolated between the ends of two epochs."""
    last = path[-2] if len(path) > 1 else 0.1
    return len(path) - 1 + (TARGET - last) / (path[-1] - last)


def run(arm: dict, rate: float, seed: int, splits: data.Splits, final: bool) -> dict:
    """Train epoch by epoch, one optimizer throughout, until the target is reached."""
    train, validation = splits.train.subset(N, seed), splits.validation
    parts = data.Splits(train, validation, validation, splits.name, splits.classes)  # no test part to train
    net = seeded(lambda: model(arm), seed)
    optimizer = torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9)
    path: list[float] = []
    losses: list[float] = []
    while len(path) < arm["epochs"] and (not path or path[-1] < TARGET):
        history = fit(
            net,
            parts,
            epochs=1,
            learning_rate=rate,
            batch_size=arm["batch"],
            optimizer=lambda _: optimizer,
            seed=1000 * seed + len(path),
            progress=False,
        )
        losses += history.validation_loss
        fitted = evaluate(net, train)
        path.append(fitted.accuracy)
    reached, batches = path[-1] >= TARGET, math.ceil(N / arm["batch"])
    epochs = crossing(path) if reached else float(arm["epochs"])
    score = -epochs if reached else -epochs - min(fitted.loss, 100.0)
    found = {"score": score, "epochs_to_target": epochs, "updates_to_target": epochs * batches}
    found |= {"reached": float(reached), "epochs": len(path), "train_accuracy": path[-1]}
    if final:
        found |= {"updates": batches * len(path), "last_quarter": last_quarter(losses, range(1, len(losses) + 1))}
        if arm["bn"] == "before":
            recalibrate_batch_norm(net, [train.x])
            found["recalibrated_accuracy"] = evaluate(net, train).accuracy
    return found


def splits(arm: dict) -> data.Splits:
    return data.load("digits").standardized()


CELLS = [("relu", 3, 2)] + [(a, d, b) for a in ("relu", "sigmoid") for d in (3, 10) for b in (4, 16, 64)]
ARMS = {
    f"{a}_d{d}_b{b}_{bn}": {"activation": a, "depth": d, "batch": b, "bn": bn, "epochs": 15 if b <= 4 else 100}
    for a, d, b in CELLS
    for bn in ("none", "before")
}

STUDY = Study(
    arms=ARMS,
    rates=(0.001, 0.004, 0.016, 0.06, 0.25, 1.0),
    seeds=range(10),
    tuning_seeds=range(100, 110),
    short=tuple(ARMS),  # each run ends at the target
    splits=splits,
    run=run,
    select=("score", "max"),
    contrasts=tuple(
        Contrast(
            f"{a}_d{d}_b{b}_before",
            f"{a}_d{d}_b{b}_none",
            measure="epochs_to_target",
            claim="bn-speeds-up-convergence",
            family="speed",
        )
        for a, d, b in CELLS
    ),
    quick={"seeds": range(1), "tuning_seeds": range(100, 101), "rates": (0.03,)},
)
