"""Batch normalization grid: how much faster, and on which side of which activation.

Perceptrons of width 32 on 300 digits, a subset of its own for every seed; each layer initialized for its
activation (He, Xavier or LeCun); gradient descent with momentum 0.9.

Varied: speed: depth (3, 10 hidden layers), activation (ReLU, sigmoid), batch size (4, 16, 64, at depth 3 with
ReLU also 2), without batch normalization (BN) and with it before every activation; placement: ReLU, tanh,
sigmoid, ELU and SELU at depths 4 and 10, batches of 32, without BN, with it before and after every
activation.

Measured: for speed, epochs until 95 % of the training images are right in evaluation mode (interpolated; the
budget where that does not happen), updates likewise, whether it happened; train accuracy then, and
recalibrated_accuracy with the statistics of all training images; training ends there, and the rate is the one
that gets there first on the tuning seeds. How many rates get there is in the tuning runs. For placement,
after 100 epochs (1,000 updates) at the rate with the best validation accuracy: test accuracy and loss, train
accuracy, and the share of saturated hidden units on the training images (derivative below a tenth of its
largest value).

Reduced: 300 images, no MNIST or CIFAR-10; budgets of 15 epochs with batches of 2 and 4, else 40. Time to the
target is seconds x epochs_to_target / epochs of a run.
"""

import math

import torch
from torch import nn

from convcraft import activations
from convcraft.initialization import initialize
from convcraft.lab import data
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.experiments.score import last_quarter, score
from convcraft.lab.training import evaluate, fit, seeded
from convcraft.normalization import BatchNorm1d, recalibrate_batch_norm

N, WIDTH, TARGET = 300, 32, 0.95


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


def saturated(net: nn.Module, part: data.Split, name: str) -> float:
    """Share of hidden units, over the images, whose derivative is below a tenth of its largest value."""
    grid = torch.linspace(-4, 4, 801)
    limit = 0.1 * float(activations.derivative(name, grid).max())
    kind, shares, x = type(activations.catalog()[name].module()), [], part.x
    with torch.no_grad():
        for layer in net:
            if isinstance(layer, kind):
                shares.append(float((activations.derivative(name, x) < limit).float().mean()))
            x = layer(x)
    return sum(shares) / len(shares)


def crossing(path: list[float]) -> float:
    """Epochs until the target, interpolated between the ends of two epochs."""
    last = path[-2] if len(path) > 1 else 0.1
    return len(path) - 1 + (TARGET - last) / (path[-1] - last)


def run(arm: dict, rate: float, seed: int, splits: data.Splits, final: bool) -> dict:
    """Train epoch by epoch, one optimizer throughout; a speed arm stops at the target."""
    train, validation = splits.train.subset(N, seed), splits.validation
    parts = data.Splits(train, validation, validation, splits.name, splits.classes)  # no test part to train
    net = seeded(lambda: model(arm), seed)
    optimizer = torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9)
    path, losses, speed = [], [], arm["part"] == "speed"
    for epoch in range(arm["epochs"]):
        history = fit(
            net,
            parts,
            epochs=1,
            learning_rate=rate,
            batch_size=arm["batch"],
            optimizer=lambda _: optimizer,
            seed=1000 * seed + epoch,
            progress=False,
        )
        losses += history.validation_loss
        if speed:
            path.append(evaluate(net, train).accuracy)
            if path[-1] >= TARGET:
                break
    chosen = evaluate(net, validation)
    found = {"validation_accuracy": chosen.accuracy, "validation_loss": chosen.loss, "score": chosen.accuracy}
    if final:
        per_epoch = math.ceil(N / arm["batch"])
        found["updates"] = per_epoch * len(losses)
        found["last_quarter"] = last_quarter(losses, range(1, len(losses) + 1))
    if speed:
        reached = path[-1] >= TARGET
        epochs = crossing(path) if reached else float(arm["epochs"])
        updates = epochs * math.ceil(N / arm["batch"])
        found |= {"score": -epochs, "epochs_to_target": epochs, "updates_to_target": updates}
        found |= {"reached": float(reached), "epochs": len(path), "train_accuracy": path[-1]}
        if final and arm["bn"] != "none":
            recalibrate_batch_norm(net, [train.x])
            found["recalibrated_accuracy"] = evaluate(net, train).accuracy
    elif final:
        found |= score(net, splits)
        found["train_accuracy"] = evaluate(net, train).accuracy
        found["saturated"] = saturated(net, train, arm["activation"])
    return found


def splits(arm: dict) -> data.Splits:
    return data.load("digits").standardized()


BN = ("none", "before")
CELLS = [("relu", 3, 2)] + [(a, d, b) for a in ("relu", "sigmoid") for d in (3, 10) for b in (4, 16, 64)]
PLACED = [(a, d) for a in ("relu", "tanh", "sigmoid", "elu", "selu") for d in (4, 10)]
ARMS = {
    f"speed_{a}_d{d}_b{b}_{bn}": {
        "part": "speed",
        "activation": a,
        "depth": d,
        "batch": b,
        "bn": bn,
        "epochs": 15 if b <= 4 else 40,
    }
    for a, d, b in CELLS
    for bn in BN
} | {
    f"{a}_d{d}_{bn}": {"part": "place", "activation": a, "depth": d, "batch": 32, "bn": bn, "epochs": 100}
    for a, d in PLACED
    for bn in (*BN, "after")
}
PLACEMENT = "bn-optimizes-activations-and-placement-depends-on-them"

STUDY = Study(
    arms=ARMS,
    rates=(0.001, 0.004, 0.016, 0.06, 0.25, 1.0),
    seeds=range(10),
    tuning_seeds=range(100, 110),
    short=tuple(name for name in ARMS if name.startswith("speed")),  # they stop at the target
    splits=splits,
    run=run,
    select=("score", "max"),
    contrasts=(
        *(
            Contrast(
                f"speed_{a}_d{d}_b{b}_before",
                f"speed_{a}_d{d}_b{b}_none",
                measure="epochs_to_target",
                claim="bn-speeds-up-convergence",
                family="speed",
            )
            for a, d, b in CELLS
        ),
        *(
            Contrast(f"{a}_d{d}_{one}", f"{a}_d{d}_{other}", claim=PLACEMENT, family="placement")
            for a, d in PLACED
            for one, other in (("before", "none"), ("after", "none"), ("after", "before"))
        ),
    ),
    quick={"seeds": range(1), "tuning_seeds": range(100, 101), "rates": (0.03,)},
)
