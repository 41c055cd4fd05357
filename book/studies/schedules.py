"""Schedules of the learning rate: what falling, rising and waiting gain over a constant rate.

Varied: the schedule of torch.optim.lr_scheduler (constant, step, exponential, cosine, warm-up and cosine,
one cycle, plateau), its largest learning rate, and the budget: 1,920 updates or, on purpose short, 480. A
network of eight hidden layers of 32 ReLU units is trained by gradient descent with momentum 0.9: deep enough
for the first steps to be dangerous. All schedules but plateau advance with every step and end with the budget;
plateau looks at the validation loss after every epoch, and its networks alone are measured that often. Measured:
test accuracy and loss at the rate chosen on validation, validation accuracy at every rate.

Reduced, to finish in minutes on two cores: digits alone, 60 and 15 epochs of batches of 32.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.optim import lr_scheduler

from convcraft.lab import data, models
from convcraft.lab.experiments import Contrast, Study, train_and_score
from convcraft.lab.training import seeded

BATCH, WIDTH, DEPTH, EPOCH = 32, 32, 8, 32
BUDGETS = {"": 1920, " short": 480}
SCHEDULES = ("constant", "step", "exponential", "cosine", "warm-up and cosine", "one cycle", "plateau")
ARMS = {
    f"{name}{budget}": {"schedule": name, "updates": updates}
    for budget, updates in BUDGETS.items()
    for name in SCHEDULES
}


def splits(arm: dict) -> data.Splits:
    """Digits, 1000 for training and 297 for validation, standardized."""
    return data.load("digits").standardized()


def network() -> nn.Module:
    """He initialization, biases 0."""
    net, gain = models.MLP((64, *[WIDTH] * DEPTH, 10)), 1.0
    for layer in net.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=gain / layer.in_features**0.5)
            nn.init.zeros_(layer.bias)
            gain = 2**0.5
    return net


def by_step(arm: dict, optimizer: torch.optim.Optimizer, rate: float) -> lr_scheduler.LRScheduler | None:
    """The schedule that advances with every step, if the arm has one."""
    name, steps = arm["schedule"], arm["updates"]
    if name == "step":
        return lr_scheduler.StepLR(optimizer, step_size=steps // 3, gamma=0.1)
    if name == "exponential":
        return lr_scheduler.ExponentialLR(optimizer, gamma=0.01 ** (1 / steps))
    if name == "cosine":
        return lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    if name == "warm-up and cosine":
        warm = lr_scheduler.LinearLR(optimizer, start_factor=0.05, total_iters=steps // 10)
        fall = lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps - steps // 10)
        return lr_scheduler.SequentialLR(optimizer, [warm, fall], milestones=[steps // 10])
    if name == "one cycle":
        return lr_scheduler.OneCycleLR(optimizer, max_lr=rate, total_steps=steps + 1)
    return None


def run(arm: dict, rate: float, seed: int, splits: data.Splits, final: bool) -> dict:
    """Train one network with the schedule of its arm."""
    net = seeded(network, seed)

    def optimizer(parameters: object) -> torch.optim.Optimizer:
        sgd = torch.optim.SGD(parameters, lr=rate, momentum=0.9)
        schedule = by_step(arm, sgd, rate)
        if schedule is not None:
            sgd.register_step_post_hook(lambda *_: schedule.step())
        return sgd

    def plateau(sgd: torch.optim.Optimizer) -> lr_scheduler.ReduceLROnPlateau:
        return lr_scheduler.ReduceLROnPlateau(sgd, factor=0.3, patience=1)

    waits = arm["schedule"] == "plateau"
    often = EPOCH if waits else arm["updates"] // 20
    return train_and_score(
        net,
        splits,
        seed=seed,
        final=final,
        updates=arm["updates"],
        evaluate_at=range(often, arm["updates"] + 1, often),
        batch_size=BATCH,
        optimizer=optimizer,
        schedule=plateau if waits else None,
    )


STUDY = Study(
    arms=ARMS,
    rates=tuple(round(0.001 * 2**k, 6) for k in range(9)),
    seeds=range(10),
    tuning_seeds=range(100, 110),
    short=tuple(name for name in ARMS if name.endswith("short")),
    splits=splits,
    run=run,
    contrasts=(
        *(
            Contrast(f"{name}{budget}", f"constant{budget}", margin=0.01, family=f"schedules{budget}")
            for budget in BUDGETS
            for name in SCHEDULES[1:]
        ),
        # added when the twelve above were known, since their signs differ
        *(
            Contrast(name, "constant", against=(f"{name} short", "constant short"), family="budget")
            for name in SCHEDULES[1:]
        ),
    ),
    quick={"rates": (0.01,), "seeds": range(1), "tuning_seeds": range(100, 101)},
)
