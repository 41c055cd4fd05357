"""Optimizers with and without a schedule: is Adagrad a decay of the learning rate?

Varied: the optimizer (gradient descent without and with momentum, Adagrad, RMSProp, Adam), each at a
constant rate and with a cosine schedule that lowers the rate towards 0, epoch by epoch; the learning rate,
one grid for all. If Adagrad were a schedule, a schedule would add nothing to it and it would do what
gradient descent with a schedule does. Measured: test accuracy and loss of a small convolutional network at
the rate chosen on validation; the losses of every epoch.

Reduced, to finish in minutes on two cores: digits alone; ConvNet((8, 16), hidden=32) with torch's
initialization; 12 epochs of batches of 64; two seeds for the choice of the rate.
"""

from __future__ import annotations

import torch

from convcraft.lab import data, models
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.training import evaluate, fit, seeded

EPOCHS = 12
OPTIMIZERS = {
    "sgd": torch.optim.SGD,
    "momentum": lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.9),
    "adagrad": torch.optim.Adagrad,
    "rmsprop": torch.optim.RMSprop,
    "adam": torch.optim.Adam,
}
ARMS = {
    f"{name}{'+cosine' if cosine else ''}": {"optimizer": name, "cosine": cosine}
    for name in OPTIMIZERS
    for cosine in (False, True)
}


def splits(arm: dict) -> data.Splits:
    """Digits, 1000 for training and 297 for validation, standardized."""
    return data.load("digits").standardized()


def cosine(optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
    """From the full rate in the first epoch along half a cosine towards 0 after the last."""
    return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=EPOCHS)


def run(arm: dict, rate: float, seed: int, splits: data.Splits, final: bool) -> dict:
    """Train one network with the optimizer and the schedule of its arm."""
    model = seeded(lambda: models.ConvNet((8, 16), hidden=32), seed)
    history = fit(
        model,
        splits,
        epochs=EPOCHS,
        batch_size=64,
        optimizer=lambda parameters: OPTIMIZERS[arm["optimizer"]](parameters, lr=rate),
        schedule=cosine if arm["cosine"] else None,
        seed=seed,
        progress=False,
    )
    names = ("train_loss", "validation_loss", "validation_accuracy")
    measures = {name: getattr(history, name) for name in names}
    if final:
        tested = evaluate(model, splits.test)
        measures |= {"test_accuracy": tested.accuracy, "test_loss": tested.loss}
    return measures


STUDY = Study(
    arms=ARMS,
    rates=(0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0),
    seeds=range(10),
    tuning_seeds=range(100, 102),
    splits=splits,
    run=run,
    contrasts=(
        *(
            Contrast(f"{name}+cosine", name, measure="test_accuracy", margin=0.01, family="cosine")
            for name in OPTIMIZERS
        ),
        *(
            Contrast("adagrad", other, measure="test_accuracy", margin=0.01, family="adagrad")
            for other in ("sgd", "sgd+cosine", "adam")
        ),
    ),
    quick={"rates": (0.1,), "seeds": range(1), "tuning_seeds": range(100, 101)},
)
