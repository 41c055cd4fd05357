"""Visits to a web site: does an autoencoder that recommends need an activation, and what else moves it?

Crossed: the hidden activation of an autoencoder (none or ReLU), its hidden units (32 or 128), the rate at
which inputs are dropped (0.5 or 0), and the areas that the softmax of the loss compares (all, or the visited
ones and about ten others, drawn anew for each update). It is trained on the visits of 3,000 people to
predict all of them; the inputs are divided by their norm. Others are tested: of each of 8,000 people one
visited area is held out, and all areas are ranked that are not among the rest. Adam, each arm at its own
rate, until the validation loss (over all areas, of 1,000 further people's held-out ones) is flat, at most
600 updates. With 32 units, dropping and all areas, both activations are also trained for 640 updates, four
times as long as they take to become flat. The weights of the lowest validation loss count. Measured: NDCG
and hit rate at 10; for that network the rank of each held-out area as one character ("0" is the top, "-" is
below the first ten).

Reduced, to finish in minutes on two cores: people with two visits or more, 3,000 of them for training; one
hidden layer.
"""

from __future__ import annotations

import itertools
import json
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from convcraft.lab import data, models
from convcraft.lab.data import Split
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.experiments.score import last_quarter
from convcraft.lab.training import adam_together

TRAIN, VALIDATION, TEST, AREAS = 3000, 1000, 8000, 285
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
    layers = models.MLP((AREAS, arm["units"], AREAS), activation=arm["activation"])
    return nn.Sequential(Norm(), nn.Dropout(arm["dropped"]), layers)


def loss(scores: Tensor, target: Tensor, others: int | None) -> Tensor:
    """Cross-entropy of the softmax over areas: with all visits, or with the one that is held out."""
    if not target.is_floating_point():
        return -scores.log_softmax(-1).gather(-1, target[..., None]).mean()
    if others is not None:
        left_out = (target == 0) & (torch.rand_like(target) > others / AREAS)
        scores = scores.masked_fill(left_out, -1e9)
    return -(target * scores.log_softmax(-1)).sum(-1).div(target.sum(-1)).mean()


@cache
def trained(arm: str, rate: float, seeds: tuple[int, ...]) -> dict[int, Any]:
    """The networks of all seeds, trained in one loop."""
    chosen = json.loads(arm)
    given, copies = splits(chosen), [{"seed": seed} for seed in seeds]
    settings = {"learning_rate": rate, "batch_size": 200, "look_every": 20}
    settings |= {"updates": chosen["updates"], "flat": chosen["flat"]}
    compare = partial(loss, others=chosen["others"])
    found = adam_together(
        lambda: model(chosen), given.train, given.validation, copies, loss=compare, **settings
    )
    return {one.seed: one for one in found}


def measures(scores: Tensor, part: Split, keep: bool) -> dict[str, Any]:
    """NDCG and hit rate at 10 of the held-out area among those not seen, with `keep` the ranks."""
    scores = scores.masked_fill(part.x > 0, -torch.inf)
    rank = (scores > scores.gather(1, part.y[:, None])).sum(1)
    gain = torch.where(rank < 10, 1 / torch.log2(rank + 2.0), torch.zeros(()))
    found: dict[str, Any] = {"ndcg": float(gain.mean()), "hit_rate": float((rank < 10).float().mean())}
    return found | ({"ranks": "".join(str(r) if r < 10 else "-" for r in rank.tolist())} if keep else {})


def run(arm: dict, rate: float, seed: int, splits: data.Splits, final: bool) -> dict[str, Any]:
    """Train with the other seeds of the phase; of final runs the ranks."""
    one = trained(json.dumps(arm), rate, SEEDS if seed in SEEDS else TUNING)[seed]
    losses, updates = one.history.validation_loss, one.history.updates
    found: dict[str, Any] = {"validation_loss": min(losses)}
    if final:
        keep = {**arm, "activation": None} in (FIRST, FIRST | LONG)
        with torch.no_grad():
            found |= measures(one.model(splits.test.x), splits.test, keep)
        found |= {"updates": updates[-1], "last_quarter": last_quarter(losses, updates)}
    return found


FIRST = {"activation": None, "units": 32, "dropped": 0.5, "others": None, "updates": 600, "flat": 0.01}
LONG = {"updates": 640, "flat": None}
FACTORS = {"activation": (None, "relu"), "units": (32, 128), "dropped": (0.5, 0.0), "others": (None, 10)}


def name(activation: str | None, units: int, dropped: float, others: int | None) -> str:
    """An activation, then what differs from the first network."""
    changes = {f"{units} units": units != 32, "nothing dropped": not dropped, f"{others} others": others}
    return ", ".join([activation or "none", *(text for text, differs in changes.items() if differs)])


ARMS = {
    name(*levels): FIRST | dict(zip(FACTORS, levels, strict=True))
    for levels in itertools.product(*FACTORS.values())
}
STUDY = Study(
    arms=ARMS | {f"{arm}, long": ARMS[arm] | LONG for arm in ("none", "relu")},
    rates=(0.003, 0.01, 0.03),
    seeds=SEEDS,
    tuning_seeds=TUNING,
    splits=splits,
    run=run,
    select=("validation_loss", "min"),
    contrasts=tuple(
        Contrast(
            f"relu{end}",
            f"none{end}",
            measure="ndcg",
            margin=0.01,
            claim="nonlinear-activations-are-crucial-for-recommenders",
        )
        for end in ("", ", long")
    ),
    quick={"rates": (0.01,), "arms": {"relu": ARMS["relu, 10 others"] | {"updates": 20}}},
)
