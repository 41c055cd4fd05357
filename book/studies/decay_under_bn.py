"""Decay of weights that are followed by batch normalization is a learning rate that grows.

Plain SGD on weights that a normalization rescales: a step with weight_decay d is, up to the length of the
weights, a step without decay at the rate eta / (1 - eta d)^(2t + 1), t counted from 0. Varied: the treatment of
the hidden weights in a network with batch normalization after every hidden layer (no decay; decay; no decay and
the growing rate). The last layer, biases and normalizations are never decayed and keep eta. Each arm has its own
best rate; at one and the same rate and seed, decay and the growing rate should be the same function.
Measured beside accuracy and loss: the squared norm of the first layer and the rate over that norm along
training, and how often the predictions on the test part are those of the network that was decayed at the same
rate and seed, at the end and after a quarter of the updates: rounding, and eps, set them apart.

Reduced, to finish in minutes on two cores: a network of two hidden layers of 64 units, all 1,000 digits, one
strength, no momentum (with momentum the factor is another one). 3,000 updates of 50 images. The seeds of an
arm at one rate are trained together.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convcraft.lab import data
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.experiments.score import last_quarter, score
from convcraft.lab.randomness import batch_orders
from convcraft.lab.training import seeded
from convcraft.lab.training.fit import DivergedError

DECAY, UPDATES, BATCH, LOOKS, UNITS = 0.03, 3000, 50, 20, 64
#: seeds that are trained together, of tuning and of the final runs
TOGETHER = (tuple(range(10)), tuple(range(100, 110)))
ARMS: dict[str, dict[str, Any]] = {
    f"norm, {treatment}": {"treatment": treatment} for treatment in ("none", "decay", "growing rate")
}


def splits(arm: dict[str, Any]) -> data.Splits:
    return data.load("digits").standardized()


def network() -> nn.Sequential:
    """The linear layers; hidden ones have no biases, since a normalization follows."""
    return nn.Sequential(*(nn.Linear(UNITS, UNITS, bias=False) for _ in range(2)), nn.Linear(UNITS, 10))


class Copies(nn.Module):
    """A network for each seed; weights (copies, inputs, outputs). The eps of a normalization is too small to matter."""

    def __init__(self, seeds: tuple[int, ...]) -> None:
        super().__init__()
        layers = list(zip(*(seeded(network, seed) for seed in seeds), strict=True))
        self.weights = nn.ParameterList([torch.stack([m.weight.detach().T for m in some]) for some in layers])
        self.bias = nn.Parameter(torch.stack([m.bias.detach()[None] for m in layers[-1]]))
        self.norms = nn.ModuleList([nn.BatchNorm1d(len(seeds) * UNITS, eps=1e-10) for _ in range(2)])

    def forward(self, x: Tensor) -> Tensor:
        """(copies, n, 64) to (copies, n, 10)"""
        for weight, norm in zip(self.weights, self.norms, strict=False):
            h = (x @ weight).transpose(0, 1)  # (n, copies, units)
            x = torch.relu(norm(h.flatten(1)).view(h.shape).transpose(0, 1))
        return torch.baddbmm(self.bias, x, self.weights[2])


class One(nn.Module):
    """One of the copies, as a network of its own."""

    def __init__(self, copies: Copies, number: int) -> None:
        super().__init__()
        self.copies, self.number = copies, number

    def forward(self, x: Tensor) -> Tensor:
        return self.copies(x.flatten(1).expand(len(self.copies.weights[0]), -1, -1))[self.number]


@dataclass
class Trained:
    """Copies after a quarter of the updates and at the end, and along training their validation losses and accuracies,
    the squared norms of their first layers, and the rates over these, (looks, copies) each."""

    early: Copies
    end: Copies
    losses: Tensor
    accuracies: Tensor
    norms: Tensor
    effective: Tensor


def batches(examples: int, seeds: tuple[int, ...]) -> Iterator[Tensor]:
    """Rows of the examples for each seed, (copies, batch)."""
    orders = [batch_orders(examples, seed) for seed in seeds]
    while True:
        yield from torch.stack([next(order) for order in orders]).split(BATCH, dim=1)


@lru_cache(maxsize=8)
def train(treatment: str, rate: float, seeds: tuple[int, ...]) -> Trained:
    """Copies for all seeds; with the growing rate the hidden weights have eta / (1 - eta d)^(2t + 1) at step t."""
    digits, copies = splits({}), Copies(seeds)
    x, y, unseen = digits.train.x.flatten(1), digits.train.y, digits.validation.x.flatten(1)
    unseen, labels = unseen.expand(len(seeds), -1, -1), digits.validation.y.expand(len(seeds), -1)
    hidden = list(copies.weights)[:2]
    others = [copies.weights[2], copies.bias, *copies.norms.parameters()]
    groups = [{"params": hidden, "weight_decay": DECAY if treatment == "decay" else 0.0}, {"params": others}]
    optimizer, growth = torch.optim.SGD(groups, lr=rate, fused=True), 1 - rate * DECAY
    found: list[list[Tensor]] = []
    early = copies
    for update, rows in zip(range(1, UPDATES + 1), batches(len(x), seeds), strict=False):
        if treatment == "growing rate":
            optimizer.param_groups[0]["lr"] = rate / growth ** (2 * update - 1)
        loss = F.cross_entropy(copies(x[rows]).flatten(0, 1), y[rows].flatten(), reduction="sum") / BATCH
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if update == UPDATES // 4:
            early = copy.deepcopy(copies).eval()
        if update % max(UPDATES // LOOKS, 1) == 0:
            with torch.no_grad():
                logits = copies.eval()(unseen)
                copies.train()
                each = F.cross_entropy(logits.transpose(1, 2), labels, reduction="none").mean(1)
                squares = hidden[0].square().sum((1, 2))
            accuracy = (logits.argmax(2) == labels).float().mean(1)
            found.append([each, accuracy, squares, optimizer.param_groups[0]["lr"] / squares])
    return Trained(early, copies.eval(), *(torch.stack(column) for column in zip(*found, strict=True)))


def run(arm: dict[str, Any], rate: float, seed: int, splits: data.Splits, final: bool) -> dict[str, Any]:
    """One of the copies that are trained together; that of the growing rate beside its decayed twin."""
    seeds = next(some for some in TOGETHER if seed in some)
    trained, number = train(arm["treatment"], rate, seeds), seeds.index(seed)
    curve = trained.losses[:, number].tolist()
    if not math.isfinite(curve[-1]):
        raise DivergedError(f"training stopped: the validation loss is {curve[-1]}")
    found = {"validation_loss": curve[-1], "validation_accuracy": float(trained.accuracies[-1, number])}
    if not final:
        return found
    step = max(UPDATES // LOOKS, 1)
    quarter = last_quarter(curve, range(step, UPDATES + 1, step))
    found |= {"updates": UPDATES, "last_quarter": [float(f"{value:.4g}") for value in quarter]}
    found |= score(One(trained.end, number), splits)
    found |= {"squared_norm": trained.norms[:, number], "effective_rate": trained.effective[:, number]}
    if arm["treatment"] == "growing rate":
        twin = train("decay", rate, seeds)
        for name, pair in (
            ("early_agreement", (trained.early, twin.early)), ("agreement", (trained.end, twin.end)),
        ):  # fmt: skip
            one, other = (predictions(One(copies, number), splits) for copies in pair)
            found[name] = float((one == other).float().mean())
    return found


def predictions(model: nn.Module, splits: data.Splits) -> Tensor:
    with torch.no_grad():
        return model(splits.test.x).argmax(1)


CLAIM = "norm-penalties-control-complexity-also-with-bn"
STUDY = Study(
    arms=ARMS,
    rates=(0.03, 0.1, 0.3),
    splits=splits,
    run=run,
    first=10,  # all rates from all tuning seeds, which are trained together
    contrasts=(
        Contrast("norm, growing rate", "norm, decay", claim=CLAIM),
        Contrast("norm, decay", "norm, none", claim=CLAIM),
    ),
    quick={"seeds": range(2), "tuning_seeds": range(100, 101), "rates": (0.1,)},
)  # fmt: skip
