"""Does a good initialization generalize better, or only train faster? At equal training loss.

Varied: the gain of all weights (standard deviation times the root of the fan-in) of a ReLU network with two
hidden layers of 128, on 300 digits, a different 300 for each seed. Every run is trained until its loss on
them is 0.01 (the protocol's equal training loss in place of a long budget), at most for 300 epochs of 10 updates.
Measured: the epochs and updates that took, the test accuracy at that point, and, for the comparison that is usually
made, the test accuracy after 3 epochs; how far the weights have moved relative to their start, which is little where a
network is trained "lazily". The rate of each arm is chosen by the validation accuracy at the end; a run that does not
get down to the loss counts as chance there.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from convcraft.lab import data, models
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.experiments.score import last_quarter, score
from convcraft.lab.randomness import batch_orders
from convcraft.lab.training import evaluate, seeded

TARGET, MOST, EARLY, IMAGES, BATCH = 0.01, 300, 3, 300, 30


def splits(arm: dict) -> data.Splits:
    return data.load("digits").standardized()


def network(gain: float) -> models.MLP:
    net = models.MLP((64, 128, 128, 10))
    for layer in net.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=gain / math.sqrt(layer.in_features))
            nn.init.zeros_(layer.bias)
    return net


def run(arm: dict, rate: float, seed: int, splits: data.Splits, final: bool) -> dict[str, Any]:
    """Train to the target loss, and measure there."""
    few = splits.train.subset(IMAGES, seed=seed)
    net = seeded(lambda: network(arm["gain"]), seed)
    start = [p.detach().clone() for p in net.parameters()]
    optimizer = torch.optim.SGD(net.parameters(), rate, momentum=0.9)
    orders = batch_orders(IMAGES, seed)
    found: dict[str, Any] = {}
    loss, epoch, losses = math.inf, 0, list[float]()
    while loss > TARGET and epoch < MOST:
        epoch += 1
        for rows in next(orders).split(BATCH):
            optimizer.zero_grad()
            F.cross_entropy(net(few.x[rows]), few.y[rows]).backward()
            optimizer.step()
        loss = evaluate(net, few).loss
        if not math.isfinite(loss):
            break
        if final:
            losses.append(evaluate(net, splits.validation).loss)
        if final and epoch == EARLY:
            found["early_test_accuracy"] = evaluate(net, splits.test).accuracy
    reached = loss <= TARGET
    with torch.no_grad():
        moved = sum(float((p - q).square().sum()) for p, q in zip(net.parameters(), start, strict=True))
        size = sum(float(q.square().sum()) for q in start)
    found |= {
        "reached": reached,
        "epochs": epoch,
        "train_loss": loss,
        "moved": math.sqrt(moved / size),
        "validation_accuracy": evaluate(net, splits.validation).accuracy if reached else splits.chance,
    }
    if final:
        found["updates"] = epoch * IMAGES // BATCH
        found["last_quarter"] = last_quarter(losses, range(1, epoch + 1))
        found.setdefault("early_test_accuracy", evaluate(net, splits.test).accuracy)
        found |= score(net, splits) if reached else {"test_accuracy": splits.chance}
    return found


GAINS = (0.25, 1.0, math.sqrt(2), 4.0, 8.0)
STUDY = Study(
    arms={f"gain {gain:.4g}": {"gain": gain} for gain in GAINS},
    short=tuple(f"gain {gain:.4g}" for gain in GAINS),  # each stops at the training loss, wherever the other is
    rates=(0.001, 0.003, 0.01, 0.03, 0.1),
    seeds=range(10),
    splits=splits,
    run=run,
    contrasts=tuple(
        Contrast(f"gain {gain:.4g}", "gain 1.414", measure=measure,
                 claim="good-initialization-improves-generalization")
        for measure in ("test_accuracy", "early_test_accuracy") for gain in (0.25, 1.0, 4.0, 8.0)
    ),
    quick={"seeds": range(2), "tuning_seeds": range(100, 101), "rates": (0.01, 0.03)},
)
