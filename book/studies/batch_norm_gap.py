"""Batch normalization at equal training loss: does it regularize, and what about changed images.

ReLU perceptrons with three hidden layers of 64 units on 300 digits, a subset of its own for every seed, trained until
the training loss in evaluation mode is at most 0.05 (the protocol's equal training loss in place of a long budget);
looked at every five updates, for at most 3,000. A network that does not get there counts as chance when a rate is
chosen.

Varied: batch size (8, 32, 128, all 300 images), without batch normalization and with it before every activation;
at batches of 32 also with the normalization frozen, before the first update, at the statistics of the training
images.

Measured: at the tuned rate, and again at 0.01 (fixed_...), accuracy on the training and on the test images, the gap
between them, the updates, and which test images are right. At batches of 32 also the accuracy on changed test images,
in evaluation mode and, with batch normalization, with the statistics taken anew from them (..._anew): input doubled,
one deviation added, Gaussian noise of half a deviation, brightness halved.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from convcraft.lab import data
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.experiments.score import last_quarter, score, which_right
from convcraft.lab.randomness import batch_orders, forked
from convcraft.lab.training import evaluate, seeded
from convcraft.normalization import BatchNorm1d, freeze_batch_norm, recalibrate_batch_norm

N, WIDTH, GOAL, FIXED, CHANCE, UPDATES, EVERY = 300, 64, 0.05, 0.01, 0.1, 3000, 5

CHANGED: dict[str, Callable[[Tensor], Tensor]] = {
    "doubled": lambda x: 2 * x,
    "offset": lambda x: x + 1,
    "noise": lambda x: x + 0.5 * torch.randn_like(x),
    "dark": lambda x: x / 2 - 0.406,  # half of the pixel value, on the standardized scale
}


def model(arm: dict[str, Any]) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Flatten()]
    for before in (64, WIDTH, WIDTH):
        norm = [] if arm["bn"] == "none" else [BatchNorm1d(WIDTH)]
        layers += [nn.Linear(before, WIDTH), *norm, nn.ReLU()]
    net = nn.Sequential(*layers, nn.Linear(WIDTH, 10))
    for layer in net:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    return net


def trained(
    arm: dict[str, Any], rate: float, seed: int, train: data.Split, validation: data.Split
) -> tuple[nn.Module, bool, list[float]]:
    """The network, whether it reached the loss, and the validation loss at every look."""
    net = seeded(lambda: model(arm), seed)
    if arm["bn"] == "frozen":
        freeze_batch_norm(recalibrate_batch_norm(net, [train.x]), affine=False)
    optimizer, losses = torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9), []
    batches = (rows for order in batch_orders(N, seed) for rows in order.split(arm["batch"]))
    for update, rows in zip(range(1, UPDATES + 1), batches, strict=False):
        optimizer.zero_grad()
        cross_entropy(net.train()(train.x[rows]), train.y[rows]).backward()
        optimizer.step()
        if update % EVERY == 0:
            loss = evaluate(net, train).loss
            losses.append(evaluate(net, validation).loss)
            if loss <= GOAL or not math.isfinite(loss):
                break
    return net.eval(), loss <= GOAL, losses


def run(arm: dict[str, Any], rate: float, seed: int, splits: data.Splits, final: bool) -> dict[str, Any]:
    """Train one network; in the final phase another one at the fixed rate."""
    train = splits.train.subset(N, seed)
    net, reached, losses = trained(arm, rate, seed, train, splits.validation)
    chosen = evaluate(net, splits.validation)
    found = {"validation_loss": float(f"{chosen.loss:.4g}"), "score": chosen.accuracy if reached else CHANCE}
    if not final:
        return found
    found |= {"reached": reached, "updates": EVERY * len(losses), "last_quarter": quarter(losses)}
    found |= score(net, splits) | gap(net, train, splits.test, "")
    if arm["batch"] == 32:
        found |= changed(net, splits.test, arm["bn"] == "bn", seed)
    net, reached, losses = trained(arm, FIXED, seed, train, splits.validation)
    found |= {"fixed_updates": EVERY * len(losses), "fixed_reached": reached}
    found |= {"fixed_correct": which_right(net, splits.test)}
    return found | gap(net, train, splits.test, "fixed_")


def quarter(losses: list[float]) -> list[float]:
    return [float(f"{loss:.4g}") for loss in last_quarter(losses, range(1, len(losses) + 1))]


def gap(net: nn.Module, train: data.Split, test: data.Split, name: str) -> dict[str, float]:
    fitted, tested = evaluate(net, train).accuracy, evaluate(net, test).accuracy
    return {f"{name}train_accuracy": fitted, f"{name}gap": fitted - tested}


def changed(net: nn.Module, test: data.Split, normalized: bool, seed: int) -> dict[str, Any]:
    """Accuracy on changed test images, as it is and with statistics of these images."""
    found: dict[str, Any] = {}
    for name, change in CHANGED.items():
        with forked(seed):
            part = data.Split(change(test.x), test.y)
        found[f"{name}_accuracy"] = evaluate(net, part).accuracy
        found[f"{name}_correct"] = which_right(net, part)
        if normalized:
            state = {key: value.clone() for key, value in net.state_dict().items()}
            recalibrate_batch_norm(net, [part.x])
            found[f"{name}_anew_accuracy"] = evaluate(net, part).accuracy
            found[f"{name}_anew_correct"] = which_right(net.eval(), part)
            net.load_state_dict(state)
    return found


def splits(arm: dict[str, Any]) -> data.Splits:
    return data.load("digits").standardized()


BATCHES = (8, 32, 128, 300)
ARMS = {f"{bn}_b{b}": {"bn": bn, "batch": b} for bn in ("none", "bn") for b in BATCHES}
ARMS |= {"frozen_b32": {"bn": "frozen", "batch": 32}}

STUDY = Study(
    arms=ARMS,
    rates=(0.003, 0.012, 0.05, 0.2),
    short=tuple(ARMS),  # they stop at the training loss
    splits=splits,
    run=run,
    select=("score", "max"),
    contrasts=(
        *(
            Contrast(f"bn_b{b}", f"none_b{b}", measure, "bn-regularizes", family=measure)
            for measure in ("gap", "fixed_gap", "test_accuracy")
            for b in BATCHES
        ),
        *(
            Contrast("bn_b32", "frozen_b32", measure, "bn-regularizes", family=f"frozen {measure}")
            for measure in ("gap", "fixed_gap")
        ),
        *(
            Contrast("bn_b32", "none_b32", f"{c}_accuracy", "bn-makes-model-stable-to-input-changes", family="changed")
            for c in CHANGED
        ),
    ),
    quick={"seeds": range(1), "tuning_seeds": range(100, 101), "rates": (0.05,)},
)
