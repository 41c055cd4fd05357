"""Visits to a web site: does an autoencoder that recommends need an activation?

Varied: the hidden activation of an autoencoder 285-32-285 (none or ReLU), trained on the visits of 3,000
people to predict all of them (softmax over the areas, inputs divided by their norm and dropped at rate 0.5).
Others are tested: of each of 8,000 people one visited area is held out, and all areas are ranked that are not
among the rest. Adam, each arm at its own rate, until the validation loss (of 1,000 further people's held-out
areas) is flat; the weights of its lowest value count. Measured: NDCG at 10 and hit rate at 10, and the rank
of each held-out area as one character ("0" is the top, "-" is below the first ten).

Reduced, to finish in minutes on two cores: people with two visits or more, 3,000 of them for training; 32
hidden units.
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
SEEDS, TUNING = tuple(range(5)), tuple(range(100, 110))


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
def trained(arm: str, rate: float, seeds: tuple[int, ...]) -> dict[int, Any]:
    """The networks of all seeds, trained in one loop."""
    given = splits(json.loads(arm))
    settings = {"updates": 600, "look_every": 20, "batch_size": 200, "learning_rate": rate, "loss": loss}
    copies = [{"seed": seed} for seed in seeds]
    found = adam_together(lambda: model(json.loads(arm)), given.train, given.validation, copies, **settings)
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


def run(arm: dict, rate: float, seed: int, splits: data.Splits, final: bool) -> dict[str, Any]:
    """Train with the other seeds of the phase; of final runs the ranks."""
    one = trained(json.dumps(arm), rate, SEEDS if seed in SEEDS else TUNING)[seed]
    losses, updates = one.history.validation_loss, one.history.updates
    found: dict[str, Any] = {"validation_loss": min(losses)}
    if final:
        with torch.no_grad():
            found |= measures(ranks(one.model(splits.test.x), splits.test))
        found |= {"updates": updates[-1], "last_quarter": last_quarter(losses, updates)}
    return found


STUDY = Study(
    arms={name: {"activation": None if name == "none" else name} for name in ("none", "relu")},
    rates=(0.003, 0.01, 0.03),
    seeds=SEEDS,
    tuning_seeds=TUNING,
    splits=splits,
    run=run,
    select=("validation_loss", "min"),
    contrasts=(
        Contrast(
            "relu",
            "none",
            measure="ndcg",
            margin=0.01,
            claim="nonlinear-activations-are-crucial-for-recommenders",
        ),
    ),
    quick={"rates": (0.01,)},
)
