"""What a network ends in: one sigmoid or two logits, a softmax or ten sigmoids, a softmax twice, several labels.

Networks of one hidden layer with 32 units on digits. Odd or even: two logits, and one, which is compared with 0 (the
cross-entropy of (0, z) is the binary one of z). One digit: softmax, ten sigmoids, and a softmax in front of a loss
that applies one itself. Two places: two images side by side, each a digit with probability 0.7 or empty; the answer
is the set of digits, by ten sigmoids above 1/2, or by a softmax that is trained on the target spread evenly over the
set and answers with every class above a threshold, the best of four on the validation part.

Measured: test accuracy; of one digit the negative log-likelihood of the right class (nats); of two places the share
of test scenes whose set is wholly right, at the threshold that was chosen and at each.

One digit: 1,600 updates of 64 images (100 epochs). Odd or even, and two places: 3,200, since after 1,600 their losses
were still falling in a first run, which also tried the rate 0.003.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convcraft.lab import data, models
from convcraft.lab.experiments import Contrast, Study

ARMS: dict[str, dict[str, Any]] = {
    "odd or even, two logits": {"task": "odd", "head": "softmax"},
    "odd or even, one sigmoid": {"task": "odd", "head": "sigmoid"},
    "one digit, softmax": {"task": "digit", "head": "softmax"},
    "one digit, ten sigmoids": {"task": "digit", "head": "sigmoid"},
    "one digit, softmax twice": {"task": "digit", "head": "twice"},
    "two places, softmax": {"task": "places", "head": "softmax"},
    "two places, ten sigmoids": {"task": "places", "head": "sigmoid"},
}
OUTPUTS = {"odd, softmax": 2, "odd, sigmoid": 1}
THRESHOLDS = {"softmax": (0.1, 0.2, 0.3, 0.4), "sigmoid": (0.5,)}


def one_hot(y: Tensor) -> Tensor:
    return F.one_hot(y, 10).float()


def scenes(part: data.Split, seed: int) -> data.Split:
    """Two places with a digit or none, twice as many as there are images; targets of ten zeros and ones."""
    g = torch.Generator().manual_seed(seed)
    picks = torch.randint(len(part), (2 * len(part), 2), generator=g)
    there = torch.rand(picks.shape, generator=g) < 0.7
    flat = part.x.flatten(1)
    x = torch.where(there[..., None], flat[picks], flat.min(0).values)
    return data.Split(x, (one_hot(part.y[picks]) * there[..., None]).amax(1))


def splits(arm: dict[str, Any]) -> data.Splits:
    digits = data.load("digits").standardized()
    parts = {name: getattr(digits, name) for name in ("train", "validation", "test")}
    if arm["task"] == "odd":
        return replace(digits, **{n: data.Split(p.x, p.y % 2) for n, p in parts.items()}, classes=("even", "odd"))
    if arm["task"] == "places":
        return replace(digits, **{n: scenes(p, seed) for seed, (n, p) in enumerate(parts.items())})
    return digits


class AgainstZero(nn.Module):
    """One logit z as the two logits (0, z)."""

    def forward(self, z: Tensor) -> Tensor:
        return torch.cat([torch.zeros_like(z), z], -1)


def model(arm: dict[str, Any]) -> nn.Module:
    inputs = 128 if arm["task"] == "places" else 64
    outputs = OUTPUTS.get(f"{arm['task']}, {arm['head']}", 10)
    net = models.MLP((inputs, 32, outputs))
    return nn.Sequential(net, AgainstZero()) if outputs == 1 else net


def ten_sigmoids(z: Tensor, y: Tensor) -> Tensor:
    return 10 * F.binary_cross_entropy_with_logits(z, y if y.is_floating_point() else one_hot(y))


def softmax_twice(z: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(z.softmax(-1), y)


def spread(z: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(z, y / y.sum(-1, keepdim=True).clamp(min=1))


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "digit, sigmoid": ten_sigmoids, "digit, twice": softmax_twice, "places, sigmoid": ten_sigmoids,
    "places, softmax": spread,
}  # fmt: skip


def fit(arm: dict[str, Any]) -> dict[str, Any]:
    loss = LOSSES.get(f"{arm['task']}, {arm['head']}", "cross_entropy")
    last = 1600 if arm["task"] == "digit" else 3200
    return {"updates": last, "evaluate_at": range(last // 20, last + 1, last // 20), "batch_size": 64, "loss": loss}


def whole_sets(answers: Tensor, y: Tensor) -> float:
    """Share of the scenes in which every class is answered rightly."""
    return float((answers == (y > 0.5)).all(-1).float().mean())


@torch.no_grad()
def measure(model: nn.Module, splits: data.Splits, arm: dict[str, Any], seed: int) -> dict[str, float]:
    z, y = model(splits.test.x), splits.test.y
    squash = torch.sigmoid if arm["head"] == "sigmoid" else partial(torch.softmax, dim=-1)
    if arm["task"] == "odd":
        return {}
    if arm["task"] == "places":
        p, known = squash(z), squash(model(splits.validation.x))
        chosen = max(THRESHOLDS[arm["head"]], key=lambda t: whole_sets(known > t, splits.validation.y))
        at = {f"sets_above_{t}": whole_sets(p > t, y) for t in THRESHOLDS[arm["head"]]}
        return {"sets_right": at[f"sets_above_{chosen}"], **at}
    p = squash(z).softmax(-1) if arm["head"] == "twice" else squash(z) / squash(z).sum(-1, keepdim=True)
    return {"nll": float(F.nll_loss(p.log(), y))}


SIGMOID, SOFTMAX = "sigmoid-for-binary-output", "softmax-for-multiclass-output"
STUDY = Study(
    arms=ARMS,
    rates=(0.01, 0.03, 0.1, 0.3),
    splits=splits,
    model=model,
    measure=measure,
    fit=fit,
    contrasts=(
        Contrast("odd or even, one sigmoid", "odd or even, two logits", family="binary", claim=SIGMOID),
        Contrast("one digit, softmax", "one digit, ten sigmoids", family="one digit", claim=SOFTMAX),
        Contrast("one digit, softmax twice", "one digit, softmax", family="one digit", claim=SOFTMAX),
        Contrast("two places, softmax", "two places, ten sigmoids", measure="sets_right", margin=0.01, claim=SOFTMAX),
    ),
    quick={"seeds": range(2), "tuning_seeds": range(100, 101), "rates": (0.03,),
           "fit": {"updates": 16, "evaluate_at": (8, 16)}},
)  # fmt: skip
