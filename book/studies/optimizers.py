"""Optimizers with and without a schedule: is Adagrad a decay of the learning rate?

Varied: the optimizer (gradient descent without and with momentum, Adagrad, RMSProp, Adam), each at a constant rate and
with a cosine schedule that lowers the rate towards 0, update by update; the budget; the learning rate, one grid for
all. If Adagrad were a schedule, a schedule would add nothing to it and it would do what gradient descent with a
schedule does. Measured: test accuracy and loss at the rate chosen on validation.

3,200 updates of 50 images (160 epochs), and 200 (10 epochs) in the arms whose name ends in "short".

Reduced, to finish in minutes on two cores: digits alone; a network of two hidden layers of 64 ReLU units with torch's
initialization. The seeds of an arm at one rate are trained together.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convcraft.lab import data, models
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.experiments.score import last_quarter, score
from convcraft.lab.randomness import batch_orders
from convcraft.lab.training import seeded
from convcraft.lab.training.fit import DivergedError

UPDATES, BATCH, LOOKS = 3200, 50, 20
#: seeds that are trained together, of the final runs and of tuning
TOGETHER = (tuple(range(20)), tuple(range(100, 110)))
OPTIMIZERS: dict[str, Any] = {
    "sgd": torch.optim.SGD,
    "momentum": lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.9),
    "adagrad": torch.optim.Adagrad,
    "rmsprop": torch.optim.RMSprop,
    "adam": torch.optim.Adam,
}
#: the budget is UPDATES divided by this
SHARES = {"": 1, " short": 16}
ARMS: dict[str, dict[str, Any]] = {
    f"{name}{'+cosine' if cosine else ''}{budget}": {"optimizer": name, "cosine": cosine, "share": share}
    for budget, share in SHARES.items()
    for name in OPTIMIZERS
    for cosine in (False, True)
}


def splits(arm: dict[str, Any]) -> data.Splits:
    """Digits, 1000 for training and 297 for validation, standardized."""
    return data.load("digits").standardized()


class Copies(nn.Module):
    """A network with two hidden layers of 64 units for each seed; weights (copies, inputs, outputs)."""

    def __init__(self, seeds: tuple[int, ...]) -> None:
        super().__init__()
        nets = [seeded(lambda: models.MLP((64, 64, 64, 10)), seed) for seed in seeds]
        layers = [[m for m in net.modules() if isinstance(m, nn.Linear)] for net in nets]
        of_a_layer = list(zip(*layers, strict=True))
        self.weights = nn.ParameterList([torch.stack([m.weight.detach().T for m in some]) for some in of_a_layer])
        self.biases = nn.ParameterList([torch.stack([m.bias.detach()[None] for m in some]) for some in of_a_layer])

    def forward(self, x: Tensor) -> Tensor:
        """(copies, n, 64) to (copies, n, 10)"""
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, torch.relu(x) if number else x, weight)
        return x


class One(nn.Module):
    """One of the copies, as a network of its own."""

    def __init__(self, copies: Copies, number: int) -> None:
        super().__init__()
        self.copies, self.number = copies, number

    def forward(self, x: Tensor) -> Tensor:
        return self.copies(x.flatten(1).expand(len(self.copies.weights[0]), -1, -1))[self.number]


@dataclass
class Trained:
    """Copies, and their validation losses and accuracies (looks, copies)."""

    copies: Copies
    losses: Tensor
    accuracies: Tensor


def batches(examples: int, seeds: tuple[int, ...]) -> Iterator[Tensor]:
    """Rows of the examples for each seed, (copies, batch)."""
    orders = [batch_orders(examples, seed) for seed in seeds]
    while True:
        yield from torch.stack([next(order) for order in orders]).split(BATCH, dim=1)


@lru_cache(maxsize=2)
def train(name: str, cosine: bool, updates: int, rate: float, seeds: tuple[int, ...]) -> Trained:
    """Copies for all seeds; each is on its own, as every one of the optimizers treats every weight apart."""
    digits = splits({}).flattened()
    (x, y), unseen = (digits.train.x, digits.train.y), digits.validation
    copies, step = Copies(seeds), max(updates // LOOKS, 1)
    optimizer = OPTIMIZERS[name](copies.parameters(), lr=rate)
    losses, accuracies = [], []
    for update, rows in zip(range(updates), batches(len(x), seeds), strict=False):
        if cosine:
            optimizer.param_groups[0]["lr"] = rate / 2 * (1 + math.cos(math.pi * update / updates))
        logits = copies(x[rows]).flatten(0, 1)
        loss = F.cross_entropy(logits, y[rows].flatten(), reduction="sum") / BATCH
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (update + 1) % step == 0:
            with torch.no_grad():
                found = copies(unseen.x.expand(len(seeds), -1, -1))
            each = unseen.y.expand(len(seeds), -1)
            losses.append(F.cross_entropy(found.transpose(1, 2), each, reduction="none").mean(1))
            accuracies.append((found.argmax(2) == each).float().mean(1))
    return Trained(copies, torch.stack(losses), torch.stack(accuracies))


def run(arm: dict[str, Any], rate: float, seed: int, splits: data.Splits, final: bool) -> dict[str, Any]:
    """One of the copies that are trained together."""
    seeds, updates = next(some for some in TOGETHER if seed in some), max(UPDATES // arm["share"], 1)
    trained, number = train(arm["optimizer"], arm["cosine"], updates, rate, seeds), seeds.index(seed)
    curve = trained.losses[:, number].tolist()
    if not math.isfinite(curve[-1]):
        raise DivergedError(f"training stopped: the validation loss is {curve[-1]}")
    found = {"validation_loss": curve[-1], "validation_accuracy": float(trained.accuracies[-1, number])}
    if not final:
        return found
    step = max(updates // LOOKS, 1)
    quarter = last_quarter(curve, range(step, updates + 1, step))
    found |= {"updates": updates, "last_quarter": [float(f"{value:.4g}") for value in quarter]}
    return found | score(One(trained.copies, number), splits)


CLAIM = "adagrad-is-a-learning-rate-decay-strategy"
STUDY = Study(
    arms=ARMS,
    rates=(0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0),
    seeds=TOGETHER[0],
    tuning_seeds=TOGETHER[1],
    first=10,  # all rates from all tuning seeds, which are trained together
    splits=splits,
    run=run,
    short=tuple(name for name in ARMS if name.endswith("short")),
    contrasts=(
        *(Contrast(f"{name}+cosine{budget}", f"{name}{budget}", family=f"cosine{budget}",
                   claim=CLAIM if name == "adagrad" else None)
          for budget in SHARES for name in OPTIMIZERS),
        *(Contrast(f"adagrad{budget}", f"{other}{budget}", family=f"adagrad{budget}")
          for budget in SHARES for other in ("sgd", "sgd+cosine", "adam")),
        # whether a schedule gains gradient descent more than it gains Adagrad
        *(Contrast(f"sgd+cosine{budget}", f"sgd{budget}", family=f"interaction{budget}", claim=CLAIM,
                   against=(f"adagrad+cosine{budget}", f"adagrad{budget}"))
          for budget in SHARES),
    ),
    quick={"rates": (0.1,), "seeds": range(1), "tuning_seeds": range(100, 101)},
)  # fmt: skip
