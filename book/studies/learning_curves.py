"""Learning curves: overfitting by the number of digits, and what each regularizer does about it.

Varied: the number of training digits, 50 to 1,000, without regularizer; and at 100, 300 and 1,000 digits the
regularizer with its strength: L2 and L1 on the weights (L1 by the proximal step), dropout after the hidden
layers, batch normalization before them, random shifts of the images by a pixel. And 300 digits with random
labels, which a network can only learn by heart: how many of them it learns without and with a regularizer.
Every seed has its own digits. Budgets: 4,000 updates and, on purpose short at 300 digits, 800. Measured:
accuracy and loss on training and test part and the gaps between them. The rate of each arm has the best
validation accuracy, for random labels (whose validation part is the training part) the best training
accuracy; the chapter then takes the strength with the best validation accuracy of the tuning runs.

Reduced, to finish in minutes on two cores: a network of two hidden layers of 64 units, at most 1,000
digits (1,000 of the 1,797 are for training).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from convcraft import augmentation, dropout, penalties
from convcraft.lab import data
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.training import evaluate

SIZES, COMPARED, RANDOM = (50, 100, 200, 300, 400, 800, 1000), (100, 300, 1000), 300
STRENGTHS: dict[str, tuple[float, ...]] = {
    "l2": (1e-3, 3e-3, 1e-2),
    "l1": (3e-4, 1e-3),
    "dropout": (0.2, 0.5),
    "batch norm": (1,),
    "shift": (1,),
}
RANDOM_ARMS = {"none": 0, "l2": 1e-3, "l1": 3e-4, "dropout": 0.2, "batch norm": 1}


def arms() -> dict[str, dict[str, Any]]:
    """Names such as "300 none", "300 l2 0.003", "random l2 0.001"."""
    found = {f"{n} none": {"n": n, "kind": "none", "strength": 0, "random": False} for n in SIZES}
    found |= {
        f"{n} {kind} {s:g}": {"n": n, "kind": kind, "strength": s, "random": False}
        for n in COMPARED
        for kind, strengths in STRENGTHS.items()
        for s in strengths
    }
    for kind, s in RANDOM_ARMS.items():
        found[f"random {kind}"] = {"n": RANDOM, "kind": kind, "strength": s, "random": True}
    found = {name: {**arm, "updates": 4000} for name, arm in found.items()}
    at_300 = {name: arm for name, arm in found.items() if arm["n"] == 300 and not arm["random"]}
    return found | {f"{name} short": {**arm, "updates": 800} for name, arm in at_300.items()}


def splits(arm: dict[str, Any], seed: int) -> data.Splits:
    """The digits of this seed; random labels are scored on the training part, for none are right."""
    whole = data.load("digits")
    train = whole.train.subset(arm["n"], seed=seed)
    if arm["random"]:
        labels = torch.randint(10, train.y.shape, generator=torch.Generator().manual_seed(seed))
        train = data.Split(train.x, labels)
    return replace(whole, train=train, validation=train if arm["random"] else whole.validation)


class Standardize(nn.Module):
    """Subtract the mean of the digits and divide by their deviation."""

    def forward(self, x: Tensor) -> Tensor:
        return (x - 0.305) / 0.376


def network(arm: dict[str, Any]) -> nn.Sequential:
    """Two hidden layers of 64 units with what the arm adds to them."""
    kind, strength = arm["kind"], arm["strength"]
    layers: list[nn.Module] = [augmentation.RandomShift(strength)] if kind == "shift" else []
    layers += [Standardize(), nn.Flatten()]
    for _ in range(2):
        layers += [nn.Linear(64, 64), *([nn.BatchNorm1d(64)] if kind == "batch norm" else []), nn.ReLU()]
        layers += [dropout.Dropout(strength)] if kind == "dropout" else []
    return nn.Sequential(*layers, nn.Linear(64, 10))


def decayed(model: nn.Module) -> list[nn.Parameter]:
    """The weights, without biases and the scales of batch normalization."""
    return penalties.decay_groups(model, 1.0)[0]["params"]


def fit(arm: dict[str, Any]) -> dict[str, Any]:
    l1, l2 = (arm["strength"] if arm["kind"] == kind else 0.0 for kind in ("l1", "l2"))
    step = arm["updates"] // 20
    return {
        "updates": arm["updates"], "evaluate_at": range(step, arm["updates"] + 1, step), "batch_size": 50,
        "weight_decay": 2 * l2, "l1": l1, "decayed": decayed,
    }  # fmt: skip


def measure(model: nn.Module, splits: data.Splits, arm: dict[str, Any], seed: int) -> dict[str, float]:
    train, test = evaluate(model, splits.train), evaluate(model, splits.test)
    return {
        "train_accuracy": train.accuracy, "final_train_loss": train.loss,
        "accuracy_gap": train.accuracy - test.accuracy, "loss_gap": test.loss - train.loss,
    }  # fmt: skip


CONTRASTS = tuple(
    Contrast(f"{n} {kind} {s:g}", f"{n} none", measure=measure, family=f"{measure} at {n}",
             claim="regularization-adds-constraints-against-overfitting")
    for n in COMPARED
    for kind, strengths in STRENGTHS.items()
    for s in strengths
    for measure in ("test_accuracy", "test_loss", "loss_gap")
) + tuple(
    Contrast(f"300 {kind} {s:g}", "300 none", measure=measure, family=f"{measure}, budget",
             against=(f"300 {kind} {s:g} short", "300 none short"))
    for kind, strengths in STRENGTHS.items()
    for s in strengths
    for measure in ("test_accuracy", "test_loss")
)  # fmt: skip

STUDY = Study(
    arms=arms(),
    rates=(0.03, 0.1, 0.3),
    seeds=range(10),
    tuning_seeds=range(100, 110),
    short=tuple(name for name in arms() if name.endswith("short")),
    splits=splits,
    model=network,
    fit=fit,
    measure=measure,
    contrasts=CONTRASTS,
    quick={"seeds": range(2), "rates": (0.1,), "fit": {"updates": 40, "evaluate_at": None}},
)
