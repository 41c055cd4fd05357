"""Under Adam: a penalty in the loss against decay beside the gradient, on 200 digits.

Varied: the optimizer (Adam with the gradient of the penalty, `Adam(weight_decay=...)`; or AdamW, whose decay
does not pass through the division) and the strength; each arm has its own learning rate. Biases are spared.
Measured beside accuracy and loss: how the decay is shared out. The weights of the first layer are split in
halves by the size of their gradients (the root of Adam's second moment at the end of a run without decay),
and the norm of each half is divided by the norm of the same half in that run without decay, which has the
same learning rate and seed; the same also after the first quarter of the updates, since the answer may depend
on the budget.

Reduced, to finish in minutes on two cores: a network of two hidden layers of 64 units, three strengths of
each kind. 3,200 updates of 50 images; the short budget is 800. The seeds of an arm at one rate are trained
together.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam, AdamW

from convcraft.lab import data, models
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.experiments.score import last_quarter, score
from convcraft.lab.randomness import batch_orders
from convcraft.lab.training import seeded
from convcraft.lab.training.fit import DivergedError

UPDATES, BATCH, LOOKS = 3200, 50, 20
#: seeds that are trained together, of tuning and of the final runs
TOGETHER = (tuple(range(10)), tuple(range(100, 110)))
STRENGTHS = {"adam": (1e-4, 1e-3, 1e-2), "adamw": (1e-1, 1.0, 1e1)}
ARMS: dict[str, dict[str, Any]] = {
    f"{kind} {s:g}": {"kind": kind, "strength": s} for kind, some in STRENGTHS.items() for s in some
}


def splits(arm: dict[str, Any], seed: int) -> data.Splits:
    """The digits with the 200 training images of this seed, standardized."""
    whole = data.load("digits")
    return replace(whole, train=whole.train.subset(200, seed=seed)).standardized()


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
    """Copies, their validation losses and accuracies (looks, copies), and of the first layer the weights and Adam's
    second moments (copies, inputs, outputs) after a quarter of the updates and at the end."""

    copies: Copies
    losses: Tensor
    accuracies: Tensor
    early: tuple[Tensor, Tensor]
    end: tuple[Tensor, Tensor]


def batches(examples: int, seeds: tuple[int, ...]) -> Iterator[Tensor]:
    """Rows of the examples for each seed, (copies, batch)."""
    orders = [batch_orders(examples, seed) for seed in seeds]
    while True:
        yield from torch.stack([next(order) for order in orders]).split(BATCH, dim=1)


@lru_cache(maxsize=8)
def train(kind: str, strength: float, rate: float, seeds: tuple[int, ...]) -> Trained:
    """Copies for all seeds; each is on its own, as Adam treats every weight apart."""
    parts = [splits({}, seed) for seed in seeds]
    x, y = torch.stack([p.train.x.flatten(1) for p in parts]), torch.stack([p.train.y for p in parts])
    unseen, labels = torch.stack([p.validation.x.flatten(1) for p in parts]), parts[0].validation.y
    copies = Copies(seeds)
    groups = [{"params": list(copies.weights), "weight_decay": strength},
              {"params": list(copies.biases), "weight_decay": 0.0}]  # fmt: skip
    optimizer = (AdamW if kind == "adamw" else Adam)(groups, lr=rate, fused=True)
    index, step, first = torch.arange(len(seeds)).unsqueeze(1), max(UPDATES // LOOKS, 1), copies.weights[0]
    losses, accuracies, states = [], [], []
    for update, rows in zip(range(1, UPDATES + 1), batches(x.shape[1], seeds), strict=False):
        logits = copies(x[index, rows]).flatten(0, 1)
        loss = F.cross_entropy(logits, y[index, rows].flatten(), reduction="sum") / BATCH
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if update in (UPDATES // 4, UPDATES):
            states.append((first.detach().clone(), optimizer.state[first]["exp_avg_sq"].clone()))
        if update % step == 0:
            with torch.no_grad():
                found = copies(unseen)
            each = labels.expand(len(seeds), -1)
            losses.append(F.cross_entropy(found.transpose(1, 2), each, reduction="none").mean(1))
            accuracies.append((found.argmax(2) == each).float().mean(1))
    return Trained(copies, torch.stack(losses), torch.stack(accuracies), *states)


def run(arm: dict[str, Any], rate: float, seed: int, splits: data.Splits, final: bool) -> dict[str, Any]:
    """One of the copies that are trained together, in the final phase beside the same one without decay."""
    seeds = next(some for some in TOGETHER if seed in some)
    decayed, number = train(arm["kind"], arm["strength"], rate, seeds), seeds.index(seed)
    curve = decayed.losses[:, number].tolist()
    if not math.isfinite(curve[-1]):
        raise DivergedError(f"training stopped: the validation loss is {curve[-1]}")
    found = {"validation_loss": curve[-1], "validation_accuracy": float(decayed.accuracies[-1, number])}
    if not final:
        return found
    step = max(UPDATES // LOOKS, 1)
    quarter = last_quarter(curve, range(step, UPDATES + 1, step))
    found |= {"updates": UPDATES, "last_quarter": [float(f"{value:.4g}") for value in quarter]}
    free = train("adam", 0.0, rate, seeds)
    for name, (weight, _), (other, square) in (
        ("early", decayed.early, free.early), ("kept", decayed.end, free.end),
    ):  # fmt: skip
        small, large = kept(weight[number], other[number], square[number])
        found |= {f"{name}_small_gradients": small, f"{name}_large_gradients": large}
        found[f"{name}_difference"] = large - small
    return found | score(One(decayed.copies, number), splits)


def kept(decayed: Tensor, free: Tensor, square: Tensor) -> tuple[float, float]:
    """Norm with decay over norm without, of the weights with small and with large gradients.

    Weights of pixels that never change (no gradient but from the shift of the input) count like all others.
    """
    large = square > square.median()
    ratios = [float(decayed[part].norm() / free[part].norm()) for part in (~large, large)]
    return ratios[0], ratios[1]


CLAIM = "l2-loss-term-equals-weight-decay-for-any-optimizer"
STUDY = Study(
    arms=ARMS,
    rates=(0.0003, 0.001, 0.003),
    splits=splits,
    run=run,
    first=10,  # all rates from all tuning seeds, which are trained together
    contrasts=(
        *(Contrast(f"adam {s:g}", f"adamw {t:g}", measure=measure, margin=0.05, family=measure, claim=CLAIM)
          for measure in ("early_difference", "kept_difference")
          for s, t in zip(*STRENGTHS.values(), strict=True)),
        *(Contrast(f"adam {s:g}", f"adamw {t:g}", family="accuracy")
          for s, t in zip(*STRENGTHS.values(), strict=True)),
    ),
    quick={"seeds": range(2), "tuning_seeds": range(100, 101), "rates": (0.003,)},
)  # fmt: skip
