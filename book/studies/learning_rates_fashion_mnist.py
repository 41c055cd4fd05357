"""Schedules and optimizers on Fashion-MNIST: the record behind "At scale" of chapter 5.

Varied: gradient descent with momentum at a constant rate, with warm-up and cosine, and with one cycle; Adam
at a constant rate and with warm-up and cosine; the learning rate, the largest of the schedule. Schedules
advance with every step. Measured: test accuracy at the rate chosen on validation, validation accuracy at
every rate; and, for the constant rate, what a range test of 100 steps suggests from the same
initialization.

Reduced, to finish in minutes on two cores: 3,000 of the 55,000 training images, 1,000 of the 5,000
validation images, three epochs; two seeds for the choice of the rate and five for the result.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn
from torch.optim import lr_scheduler

from convcraft.lab import data, models
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.training import evaluate, fit, seeded
from convcraft.learning_rates import range_test

EPOCHS, BATCH, TRAIN, VALIDATION = 3, 64, 3_000, 1_000
STEPS = EPOCHS * -(-TRAIN // BATCH)
ARMS: dict[str, dict] = {
    "momentum": {"optimizer": "momentum", "schedule": "constant"},
    "momentum, warm-up and cosine": {"optimizer": "momentum", "schedule": "cosine"},
    "momentum, one cycle": {"optimizer": "momentum", "schedule": "one-cycle"},
    "adam": {"optimizer": "adam", "schedule": "constant"},
    "adam, warm-up and cosine": {"optimizer": "adam", "schedule": "cosine"},
}


def splits(arm: dict) -> data.Splits:
    """Fashion-MNIST, standardized; fewer images for training and validation, all 10,000 for the test."""
    whole = data.load("fashion-mnist").standardized()
    return replace(
        whole,
        train=whole.train.subset(TRAIN, seed=0),
        validation=whole.validation.subset(VALIDATION, seed=0),
    )


def optimizer(arm: dict, rate: float, parameters: object) -> torch.optim.Optimizer:
    """The optimizer of an arm; its schedule advances after every step by a hook."""
    if arm["optimizer"] == "adam":
        made: torch.optim.Optimizer = torch.optim.Adam(parameters, lr=rate)
    else:
        made = torch.optim.SGD(parameters, lr=rate, momentum=0.9)
    schedule = None
    if arm["schedule"] == "cosine":
        warm = lr_scheduler.LinearLR(made, start_factor=0.05, total_iters=STEPS // 10)
        fall = lr_scheduler.CosineAnnealingLR(made, T_max=STEPS - STEPS // 10)
        schedule = lr_scheduler.SequentialLR(made, [warm, fall], milestones=[STEPS // 10])
    elif arm["schedule"] == "one-cycle":
        schedule = lr_scheduler.OneCycleLR(made, max_lr=rate, total_steps=STEPS + 1)
    if schedule is not None:
        made.register_step_post_hook(lambda *_: schedule.step())
    return made


def suggested(net: nn.Module, splits: data.Splits) -> dict[str, float]:
    """What a range test says before training."""
    batches = list(zip(splits.train.x.split(BATCH), splits.train.y.split(BATCH), strict=True))
    sgd = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    found = range_test(net, batches, sgd, low=1e-5, high=10.0, steps=100)
    values = {"suggestion": found.suggestion, "lowest": found.lowest, "largest": found.largest}
    return {f"range_test_{name}": value for name, value in values.items() if value is not None}


def run(arm: dict, rate: float, seed: int, splits: data.Splits, final: bool) -> dict:
    """Train one network."""
    net = seeded(lambda: models.ConvNet((16, 32), size=28, hidden=64), seed)
    measures = suggested(net, splits) if final and arm == ARMS["momentum"] else {}
    history = fit(
        net,
        splits,
        epochs=EPOCHS,
        batch_size=BATCH,
        optimizer=lambda parameters: optimizer(arm, rate, parameters),
        seed=seed,
        progress=False,
    )
    for name in ("train_loss", "validation_loss", "validation_accuracy"):
        measures[name] = getattr(history, name)
    if final:
        tested = evaluate(net, splits.test)
        measures |= {"test_accuracy": tested.accuracy, "test_loss": tested.loss}
    return measures


STUDY = Study(
    arms=ARMS,
    rates=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3),
    seeds=range(5),
    tuning_seeds=range(100, 102),
    splits=splits,
    run=run,
    contrasts=tuple(
        Contrast(name, "momentum", measure="test_accuracy", margin=0.01, family="at scale")
        for name in ARMS
        if name != "momentum"
    ),
    quick={"rates": (0.03,), "seeds": range(1), "tuning_seeds": range(100, 101)},
)
