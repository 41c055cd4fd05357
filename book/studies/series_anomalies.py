"""Anomalies among digits: hidden and output activation of an autoencoder, over held-out classes.

Varied: the hidden activation (ReLU, tanh, sigmoid, SiLU) of an autoencoder 64-32-8-32-64 with a linear
output, and, with ReLU, a sigmoid output. Nine classes are normal and train it; the digits of the tenth are
the anomalies of the test part. Seed s holds out class s mod 10. The pixels are standardized. Adam, each arm
at its own rate by the reconstruction of normal validation digits, until that is flat; the weights of its
lowest value count. Measured: the area under the ROC curve of the reconstruction error.

Reduced, to finish in minutes on two cores: digits alone; three seeds a class.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from convcraft.lab import data, models
from convcraft.lab.data import Split
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.experiments.score import last_quarter
from convcraft.lab.training import adam_together

WIDTHS, CLASSES = (64, 32, 8, 32, 64), 10
SEEDS, TUNING = tuple(range(30)), tuple(range(100, 110))


def splits(arm: dict) -> data.Splits:
    """Digits, standardized, as rows."""
    return data.load("digits").standardized().flattened()


def normal(part: Split, count: int, held_out: int) -> Split:
    """The first `count` digits of the other classes, to be reconstructed."""
    x = part.x[part.y != held_out][:count]
    return Split(x, x)


def model(arm: dict) -> nn.Module:
    """The autoencoder of an arm."""
    layers = models.MLP(WIDTHS, activation=arm["hidden"])
    return nn.Sequential(layers, nn.Sigmoid()) if arm["output"] == "sigmoid" else layers


@cache
def trained(arm: str, rate: float, seeds: tuple[int, ...]) -> dict[int, Any]:
    """The networks of all seeds of a phase, trained in one loop."""
    given = splits({})
    parts = []
    for part in (given.train, given.validation):
        count = len(part) - int(part.y.bincount().max())
        parts.append([normal(part, count, seed % CLASSES) for seed in seeds])
    settings = {"updates": 5000, "look_every": 100, "batch_size": 100, "learning_rate": rate}
    copies = [{"seed": seed} for seed in seeds]
    found = adam_together(lambda: model(json.loads(arm)), parts[0], parts[1], copies, **settings)
    return {one.seed: one for one in found}


def run(arm: dict, rate: float, seed: int, splits: data.Splits, final: bool) -> dict[str, Any]:
    """Train with the other seeds of the phase; of final runs how well the error tells the held-out class."""
    one = trained(json.dumps(arm), rate, SEEDS if seed in SEEDS else TUNING)[seed]
    losses, updates = one.history.validation_loss, one.history.updates
    found: dict[str, Any] = {"validation_loss": min(losses)}
    if final:
        test = splits.test
        with torch.no_grad():
            error = (one.model(test.x) - test.x).square().mean(1)
        found |= {"auroc": float(roc_auc_score(test.y == seed % CLASSES, error))}
        found |= {"updates": updates[-1], "last_quarter": last_quarter(losses, updates)}
    return found


STUDY = Study(
    arms={
        f"{name}, linear": {"hidden": name, "output": "linear"}
        for name in ("relu", "tanh", "sigmoid", "silu")
    }
    | {"relu, sigmoid": {"hidden": "relu", "output": "sigmoid"}},
    rates=(0.003, 0.01, 0.03),
    seeds=SEEDS,
    tuning_seeds=TUNING,
    first=len(TUNING),  # they train together, so that fewer would cost as much
    splits=splits,
    run=run,
    select=("validation_loss", "min"),
    contrasts=(
        Contrast(
            "relu, linear", "relu, sigmoid", measure="auroc", claim="activations-matter-in-anomaly-detection"
        ),
        Contrast("tanh, linear", "relu, linear", measure="auroc"),
    ),
    quick={"rates": (0.01,)},
)
