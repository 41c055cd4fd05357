"""Learning curves: overfitting by the number of digits, and what each regularizer does about it.

Varied: the number of training digits, 50 to 1,000, without regularizer; and at 100, 300 and 1,000 digits the
regularizer with its strength: L2 and L1 on the weights (L1 by the proximal step), dropout after the hidden
layers, batch normalization before them, random shifts of the images by a pixel. And 300 digits with random
labels, which a network can only learn by heart: how many of them it learns without and with a regularizer.
Every seed has its own digits. Budgets: 4,000 updates and, on purpose short at 300 digits, 800. Measured:
accuracy and loss on training and test part and the gaps between them. The rate of each arm has the best
validation accuracy, for random labels the best training accuracy; the chapter then takes the strength with
the best validation accuracy of the tuning runs.

Reduced, to finish in minutes on two cores: a network of two hidden layers of 64 units, at most 1,000
digits (1,000 of the 1,797 are for training).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from convcraft import augmentation, dropout, penalties
from convcraft.lab import data
from convcraft.lab.experiments import Contrast, Study, train_and_score
from convcraft.lab.training import evaluate, seeded

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
    short = {f"{name} short": {**arm, "updates": 800} for name, arm in found.items() if name.startswith("300")}
    return found | short


def splits(arm: dict[str, Any]) -> data.Splits:
    return data.load("digits")


def training_part(splits: data.Splits, arm: dict[str, Any], seed: int) -> data.Splits:
    """The digits of this seed, standardized; with random labels where the arm says so."""
    train = splits.train.subset(arm["n"], seed=seed)
    if arm["random"]:
        labels = torch.randint(10, train.y.shape, generator=torch.Generator().manual_seed(seed))
        train = data.Split(train.x, labels)
    return replace(splits, train=train).standardized()


def network(arm: dict[str, Any], background: float) -> nn.Sequential:
    """Two hidden layers of 64 units with what the arm adds to them."""
    kind, strength = arm["kind"], arm["strength"]
    layers: list[nn.Module] = [nn.Flatten()]
    if kind == "shift":
        layers.insert(0, augmentation.RandomShift(strength, fill=background))
    for _ in range(2):
        layers += [nn.Linear(64, 64), *([nn.BatchNorm1d(64)] if kind == "batch norm" else []), nn.ReLU()]
        layers += [dropout.Dropout(strength)] if kind == "dropout" else []
    return nn.Sequential(*layers, nn.Linear(64, 10))


def optimizer(model: nn.Module, arm: dict[str, Any], rate: float) -> torch.optim.Optimizer:
    l1, l2 = (arm["strength"] if arm["kind"] == kind else 0.0 for kind in ("l1", "l2"))
    sgd = torch.optim.SGD(penalties.decay_groups(model, 2 * l2, l1=l1), lr=rate, momentum=0.9)
    return penalties.proximal(sgd) if l1 else sgd


def run(arm: dict[str, Any], rate: float, seed: int, splits: data.Splits, final: bool) -> dict[str, Any]:
    """Train one network for the updates of the arm."""
    splits = training_part(splits, arm, seed)
    model = seeded(lambda: network(arm, float(splits.train.x.min())), seed)
    found = train_and_score(
        model, splits, seed=seed, final=final, updates=arm["updates"], batch_size=50,
        evaluate_at=range(arm["updates"] // 20, arm["updates"] + 1, arm["updates"] // 20),
        optimizer=lambda _: optimizer(model, arm, rate),
    )  # fmt: skip
    train = evaluate(model, splits.train)
    found["selected_by"] = train.accuracy if arm["random"] else found["validation_accuracy"]
    if final:
        found["final_train_loss"] = train.loss
        found["accuracy_gap"] = train.accuracy - found["test_accuracy"]
        found["loss_gap"] = found["test_loss"] - train.loss
    return found


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
    run=run,
    contrasts=CONTRASTS,
    select=("selected_by", "max"),
    quick={"seeds": range(2), "rates": (0.1,)},
)
