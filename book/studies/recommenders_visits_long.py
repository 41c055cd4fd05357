"""Visits to a web site: the autoencoders of `recommenders_visits`, trained four times as long.

Varied: the hidden activation (none or ReLU), at the rate that both have there, 0.01. There training ends
after 160 updates, when the validation loss falls by less than 1 % in the last quarter; here it has 640, and
the weights of the lowest validation loss count. Everything else is the same.

Reduced, to finish in minutes on two cores: 3,000 people for training, 32 hidden units, one rate.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from convcraft.lab import data, models
from convcraft.lab.data import Split
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.experiments.score import last_quarter
from convcraft.lab.training import adam_together

TRAIN, VALIDATION, TEST, WIDTH = 3000, 1000, 8000, 32
SEEDS, RATE = tuple(range(5)), 0.01


def splits(arm: dict) -> data.Splits:
    """Whole visits to train on; of other people the visits but one area."""
    return data.leave_one_out(data.msweb().matrix, (TRAIN, VALIDATION, TEST))


class Norm(nn.Module):
    """Each row divided by its norm."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.normalize(x, dim=-1)


def model(arm: dict) -> nn.Module:
    """The autoencoder of an arm."""
    layers = models.MLP((285, WIDTH, 285), activation=arm["activation"])
    return nn.Sequential(Norm(), nn.Dropout(0.5), layers)


def loss(scores: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of the softmax over areas: with all visits, or with the one that is held out."""
    log = scores.log_softmax(-1)
    if target.is_floating_point():
        return -(target * log).sum(-1).div(target.sum(-1)).mean()
    return -log.gather(-1, target[..., None]).mean()


@cache
def trained(arm: str) -> dict[int, Any]:
    """The networks of all seeds, trained in one loop."""
    given = splits(json.loads(arm))
    settings = {"updates": 640, "look_every": 20, "batch_size": 200, "learning_rate": RATE, "loss": loss}
    copies = [{"seed": seed} for seed in SEEDS]
    found = adam_together(
        lambda: model(json.loads(arm)), given.train, given.validation, copies, flat=None, **settings
    )
    return {one.seed: one for one in found}


def ranks(scores: Tensor, part: Split) -> Tensor:
    """The rank of the held-out area among those not seen, from 0."""
    scores = scores.masked_fill(part.x > 0, -torch.inf)
    own = scores.gather(1, part.y[:, None])
    return (scores > own).sum(1)


def measures(rank: Tensor) -> dict[str, Any]:
    """NDCG and hit rate at 10, and the ranks as text."""
    gain = torch.where(rank < 10, 1 / torch.log2(rank + 2.0), torch.zeros(()))
    text = "".join(str(r) if r < 10 else "-" for r in rank.tolist())
    return {"ndcg": float(gain.mean()), "hit_rate": float((rank < 10).float().mean()), "ranks": text}


def run(arm: dict, rate: None, seed: int, splits: data.Splits, final: bool) -> dict[str, Any]:
    """Train with the other seeds, and rank."""
    one = trained(json.dumps(arm))[seed]
    losses, updates = one.history.validation_loss, one.history.updates
    with torch.no_grad():
        found = measures(ranks(one.model(splits.test.x), splits.test))
    budget = {"updates": updates[-1], "last_quarter": last_quarter(losses, updates)}
    return found | {"validation_loss": min(losses)} | budget


STUDY = Study(
    arms={name: {"activation": None if name == "none" else name} for name in ("none", "relu")},
    rates=(),
    seeds=SEEDS,
    splits=splits,
    run=run,
    contrasts=(
        Contrast(
            "relu",
            "none",
            measure="ndcg",
            margin=0.01,
            claim="nonlinear-activations-are-crucial-for-recommenders",
        ),
    ),
)
