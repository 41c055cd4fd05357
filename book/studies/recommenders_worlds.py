"""Three planted worlds of ratings: a network on [user, item] with ReLU.

Varied: the world (bilinear of rank 3; XOR of a bit of the user and a bit of the item; ring, where the rating
falls with the distance on a circle). The network is fully connected, on two concatenated vectors of 8 numbers
with one hidden layer of 32 ReLUs; 4,577 parameters. Adam with an L2 penalty of 0.0003 on all parameters, each
world at its own rate, until the validation loss is flat; the weights of its lowest value count. Measured:
root mean squared error on the test part, whose noise alone makes 0.3. Without an activation the network is a
sum of a number for the user and one for the item, and a dot product is solved by alternating least squares:
both stand in `recommenders_baselines`, on the same ratings.

Reduced, to finish in minutes on two cores: 300 users, 200 items, 12,000 ratings; one hidden layer, one
activation, one strength of the penalty.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import nn

from convcraft.lab import data, models
from convcraft.lab.data import Split
from convcraft.lab.experiments import Study
from convcraft.lab.experiments.score import last_quarter
from convcraft.lab.training import adam_together

USERS, ITEMS, RANK, HIDDEN = 300, 200, 8, 32
NOISE, L2 = 0.3, 3e-4
SEEDS, TUNING = tuple(range(10)), tuple(range(100, 110))


def splits(arm: dict) -> data.Splits:
    """12,000 of the 60,000 pairs, with noise: 9,600 for training, 1,200 each for validation and test."""
    rng = np.random.default_rng(1)
    truth = data.ratings(arm["world"], users=USERS, items=ITEMS)
    seen = rng.permutation(USERS * ITEMS)[:12_000]
    pairs = np.stack(np.divmod(seen, ITEMS), 1)
    rated = truth[pairs[:, 0], pairs[:, 1]] + NOISE * rng.standard_normal(len(seen))
    x, y = torch.from_numpy(pairs), torch.from_numpy(rated).float()
    parts = (Split(x[a:b], y[a:b]) for a, b in ((0, 9600), (9600, 10_800), (10_800, 12_000)))
    return data.Splits(*parts, arm["world"], ())


def model() -> nn.Module:
    """The network, the same in all worlds."""
    return models.PairNet(USERS, ITEMS, RANK, (HIDDEN,), activation="relu")


@cache
def trained(arm: str, rate: float, seeds: tuple[int, ...]) -> dict[int, Any]:
    """The networks of all seeds, trained in one loop; each is what it would be alone."""
    given = splits(json.loads(arm))
    copies = [{"seed": seed, "l2": L2} for seed in seeds]
    settings = {"updates": 1200, "look_every": 40, "batch_size": 480, "learning_rate": rate}
    found = adam_together(model, given.train, given.validation, copies, **settings)
    return {one.seed: one for one in found}


def run(arm: dict, rate: float, seed: int, splits: data.Splits, final: bool) -> dict[str, Any]:
    """Train with the other seeds of the phase; of final runs the test error."""
    one = trained(json.dumps(arm), rate, SEEDS if seed in SEEDS else TUNING)[seed]
    losses, updates = one.history.validation_loss, one.history.updates
    found: dict[str, Any] = {"validation_loss": min(losses)}
    if final:
        with torch.no_grad():
            error = one.model(splits.test.x) - splits.test.y
        found |= {"rmse": float(error.square().mean().sqrt())}
        found |= {"updates": updates[-1], "last_quarter": last_quarter(losses, updates)}
    return found


STUDY = Study(
    arms={world: {"world": world} for world in ("bilinear", "xor", "ring")},
    rates=(0.005, 0.015, 0.045),
    seeds=SEEDS,
    tuning_seeds=TUNING,
    splits=splits,
    run=run,
    select=("validation_loss", "min"),
    quick={"rates": (0.015,)},
)
