"""L1 in a network: which solvers set weights to zero, and which noise inputs are removed.

Three questions, each a set of arms on digits, with one network of 64 hidden units:

- solver: the same penalty, 1e-3 times the sum of absolute weights, through autograd (SGD, Adam), as the
  proximal step after SGD or Adam, and not at all; 1,000 images, 3,200 updates;
- noise: 64 columns of noise beside the 64 pixels, and on the first layer no penalty, an L1 penalty or a group
  lasso over the inputs, both by proximal steps, each at three strengths; the 300 images of each seed, 2,400
  updates;
- activation: a penalty on the hidden activations (mean over the images of the sum of their absolute values)
  in place of the weights; 1,000 images, 3,200 updates.

Measured: shares of weights that are exactly zero or below a list of thresholds, which inputs have no weight
left, and the share of hidden activations that are zero. Adam has a tenth of the rate of an arm. The seeds of an
arm at one rate are trained together.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

from convcraft import penalties
from convcraft.lab import data, models
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.experiments.score import last_quarter, score
from convcraft.lab.randomness import batch_orders
from convcraft.lab.training import seeded
from convcraft.lab.training.fit import DivergedError

UPDATES, BATCH, LOOKS = 3200, 50, 20
#: seeds that are trained together, of tuning and of the final runs
TOGETHER = (tuple(range(10)), tuple(range(100, 110)))
STRENGTH = 1e-3
THRESHOLDS = (0.0, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
STRENGTHS = (3e-4, 1e-3, 1e-2)
PENALTIES = {"no penalty": 0.0, "autograd": STRENGTH, "proximal": STRENGTH}

ARMS: dict[str, dict[str, Any]] = {
    f"{solver}, {how}": {"question": "solver", "solver": solver, "how": how, "strength": PENALTIES[how]}
    for solver, how in (
        ("sgd", "no penalty"), ("sgd", "autograd"), ("adam", "autograd"), ("sgd", "proximal"), ("adam", "proximal"),
    )
} | {
    "noise, none": {"question": "noise", "solver": "sgd", "how": "proximal", "strength": 0.0},
    **{
        f"noise, {name} {s:g}": {"question": "noise", "solver": "sgd", "how": how, "strength": s}
        for name, how in (("l1", "proximal"), ("group", "group"))
        for s in STRENGTHS
    },
    "activation 0.01": {"question": "activation", "solver": "sgd", "how": "activation", "strength": 0.01},
}  # fmt: skip


def splits(arm: dict[str, Any], seed: int) -> data.Splits:
    """All digits; or 300 training digits of this seed, and beside the pixels 64 columns of standard normal noise."""
    found = data.load("digits")
    if arm["question"] != "noise":
        return found.standardized()
    found = replace(found, train=found.train.subset(300, seed=seed)).standardized().flattened()
    parts = {}
    for name, its_seed in (("validation", 0), ("test", 1), ("train", 2 + seed)):
        part = getattr(found, name)
        noise = torch.randn(part.x.shape, generator=torch.Generator().manual_seed(its_seed))
        parts[name] = data.Split(torch.cat([part.x, noise], 1), part.y)
    return replace(found, **parts)


def looks_of(arm: dict[str, Any]) -> range:
    """The updates after which the networks of an arm are measured; the last one is the budget."""
    updates = UPDATES * 3 // 4 if arm["question"] == "noise" else UPDATES
    step = max(updates // LOOKS, 1)
    return range(step, updates + 1, step)


class Copies(nn.Module):
    """A network of 64 hidden units for each seed; weights (copies * inputs, outputs), so that a row is an input."""

    def __init__(self, inputs: int, seeds: tuple[int, ...]) -> None:
        super().__init__()
        nets = [seeded(lambda: models.MLP((inputs, 64, 10)), seed) for seed in seeds]
        layers = [[m for m in net.modules() if isinstance(m, nn.Linear)] for net in nets]
        of_a_layer = list(zip(*layers, strict=True))
        self.weights = nn.ParameterList([torch.cat([m.weight.detach().T for m in some]) for some in of_a_layer])
        self.biases = nn.ParameterList([torch.stack([m.bias.detach() for m in some]) for some in of_a_layer])

    def weight(self, layer: int) -> Tensor:
        """(copies, inputs, outputs)"""
        return self.weights[layer].view(len(self.biases[0]), -1, self.weights[layer].shape[1])

    def hidden(self, x: Tensor) -> Tensor:
        """(copies, n, inputs) to (copies, n, 64)"""
        return torch.relu(torch.baddbmm(self.biases[0].unsqueeze(1), x, self.weight(0)))

    def outputs(self, hidden: Tensor) -> Tensor:
        return torch.baddbmm(self.biases[1].unsqueeze(1), hidden, self.weight(1))


class One(nn.Module):
    """One of the copies, as a network of its own."""

    def __init__(self, copies: Copies, number: int) -> None:
        super().__init__()
        self.copies, self.number = copies, number

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1).expand(len(self.copies.biases[0]), -1, -1)
        return self.copies.outputs(self.copies.hidden(x))[self.number]


def optimizer(copies: Copies, arm: dict[str, Any], rate: float) -> Optimizer:
    """SGD or Adam, with proximal steps where the arm has them; each copy is on its own, as weights are."""
    how, noise = arm["how"], arm["question"] == "noise"
    penalized = list(copies.weights)[: 1 if noise else 2]
    others = [*copies.biases, *list(copies.weights)[len(penalized) :]]
    strengths = {key: arm["strength"] * (how == kind) for key, kind in (("l1", "proximal"), ("group", "group"))}
    groups = [{"params": penalized, **strengths}, {"params": others, "l1": 0.0, "group": 0.0}]
    chosen: Optimizer
    if arm["solver"] == "adam":
        chosen = Adam(groups, lr=rate / 10, fused=True)
    else:
        chosen = SGD(groups, lr=rate, momentum=0.9, fused=True)
    return penalties.proximal(chosen)


def batches(examples: int, seeds: tuple[int, ...]) -> Iterator[Tensor]:
    """Rows of the examples for each seed, (copies, batch)."""
    orders = [batch_orders(examples, seed) for seed in seeds]
    while True:
        yield from torch.stack([next(order) for order in orders]).split(BATCH, dim=1)


@lru_cache(maxsize=1)
def train(arm: tuple[tuple[str, Any], ...], rate: float, seeds: tuple[int, ...]) -> tuple[Copies, Tensor, Tensor]:
    """Copies for all seeds, and their validation losses and accuracies, (looks, copies)."""
    settings = dict(arm)
    parts = [splits(settings, seed) for seed in seeds]
    x, y = (
        torch.stack([getattr(part.train, name).flatten(1 if name == "x" else 0) for part in parts]) for name in "xy"
    )
    unseen, labels = torch.stack([p.validation.x.flatten(1) for p in parts]), parts[0].validation.y
    copies = Copies(x.shape[2], seeds)
    steps, index = optimizer(copies, settings, rate), torch.arange(len(seeds)).unsqueeze(1)
    looks, losses, accuracies = looks_of(settings), [], []
    for update, rows in zip(range(1, looks[-1] + 1), batches(x.shape[1], seeds), strict=False):
        hidden = copies.hidden(x[index, rows])
        logits = copies.outputs(hidden).flatten(0, 1)
        loss = F.cross_entropy(logits, y[index, rows].flatten(), reduction="sum") / BATCH
        if settings["how"] == "autograd":
            loss = loss + settings["strength"] * penalties.l1_penalty(list(copies.weights))
        if settings["how"] == "activation":
            loss = loss + settings["strength"] * hidden.abs().sum() / BATCH
        steps.zero_grad()
        loss.backward()
        steps.step()
        if update in looks:
            with torch.no_grad():
                found = copies.outputs(copies.hidden(unseen))
            each = labels.expand(len(seeds), -1)
            losses.append(F.cross_entropy(found.transpose(1, 2), each, reduction="none").mean(1))
            accuracies.append((found.argmax(2) == each).float().mean(1))
    return copies, torch.stack(losses), torch.stack(accuracies)


def run(arm: dict[str, Any], rate: float, seed: int, splits: data.Splits, final: bool) -> dict[str, Any]:
    """One of the copies that are trained together; alone it would be the same up to rounding."""
    seeds = next(some for some in TOGETHER if seed in some)
    copies, losses, accuracies = train(tuple(arm.items()), rate, seeds)
    number = seeds.index(seed)
    curve = losses[:, number].tolist()
    if not math.isfinite(curve[-1]):
        raise DivergedError(f"training stopped: the validation loss is {curve[-1]}")
    found = {"validation_loss": curve[-1], "validation_accuracy": float(accuracies[-1, number])}
    if not final:
        return found
    looks = looks_of(arm)
    found |= {"updates": looks[-1], "last_quarter": [float(f"{v:.4g}") for v in last_quarter(curve, looks)]}
    return found | score(One(copies, number), splits) | measure(copies, number, splits, arm)


def measure(copies: Copies, number: int, splits: data.Splits, arm: dict[str, Any]) -> dict[str, Any]:
    """Zeros of weights, of inputs and of activations."""
    layers = [copies.weight(layer)[number].detach() for layer in (0, 1)]
    if arm["question"] == "noise":
        gone = (layers[0] == 0).all(1)
        used = splits.train.x.std(0) > 0
        return {
            "first_layer_zeros": float((layers[0] == 0).float().mean()),
            "noise_removed": float(gone[64:].float().mean()),
            "pixels_removed": float(gone[:64][used[:64]].float().mean()),
        }
    flat = torch.cat([w.flatten() for w in layers]).abs()
    with torch.no_grad():
        hidden = copies.hidden(splits.test.x.flatten(1).expand(len(copies.biases[0]), -1, -1))[number]
    return {
        "zeros": float((flat == 0).float().mean()),
        "below": [float((flat <= t).float().mean()) for t in THRESHOLDS],
        "zero_activations": float((hidden == 0).float().mean()),
    }


SPARSE, SELECTS = "l1-makes-weights-sparse", "l1-does-feature-selection"
STUDY = Study(
    arms=ARMS,
    rates=(0.01, 0.03, 0.1, 0.3),
    splits=splits,
    run=run,
    first=10,  # all rates from all tuning seeds, which are trained together
    contrasts=(
        *(
            Contrast(f"{solver}, proximal", f"{solver}, autograd", measure=measure, family=f"solvers, {measure}",
                     claim=SPARSE)
            for solver in ("sgd", "adam") for measure in ("zeros", "test_accuracy")
        ),
        *(
            Contrast(f"noise, group {s:g}", f"noise, l1 {s:g}", measure=measure, family=f"inputs, {measure}",
                     claim=SELECTS)
            for s in STRENGTHS[1:] for measure in ("noise_removed", "test_accuracy")
        ),
        *(Contrast(f"noise, l1 {s:g}", "noise, none", family="noise", claim=SELECTS) for s in STRENGTHS),
        Contrast("activation 0.01", "sgd, proximal", measure="zero_activations",
                 claim="regularizers-act-on-activation-functions"),
    ),
    quick={"seeds": range(2), "tuning_seeds": range(100, 101), "rates": (0.03,)},
)  # fmt: skip
