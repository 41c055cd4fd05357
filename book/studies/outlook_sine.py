"""A sine of rising frequency: how much of its variance is fitted after how many updates.

Varied: the activation of a network with one input, two hidden layers of 32 units and one output, and the
number of periods (1, 2, 4) between -1 and 1, of which 128 points are given. ReLU, tanh and SiLU are started
by `initialize`, the sine as a SIREN is. Adam on all points at once; the rate is chosen at four periods, the
fast sine, and used for all three. Measured: the share of the variance on the points that is fitted, after
several numbers of updates: the best until then.

Budget: 2,000 updates. A squared error may fall without end where nothing is left to learn. Reduced, to finish
in minutes on two cores: one size, and rates chosen at one frequency.
"""

from __future__ import annotations

import json
import math
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import nn

from convcraft.initialization import initialize
from convcraft.lab import data, models
from convcraft.lab.experiments import Study
from convcraft.lab.experiments.score import last_quarter
from convcraft.lab.training import adam_together

PERIODS, WIDTHS, LOOKS = (1, 2, 4), (1, 32, 32, 1), [100, 200, 500, 1000, 2000]
SEEDS, TUNING = tuple(range(10)), tuple(range(100, 110))


@cache
def parts(periods: int) -> data.Splits:
    """128 points of a sine with variance 1, which are all that is looked at."""
    x = torch.linspace(-1, 1, 129)[:-1, None]
    part = data.Split(x, math.sqrt(2) * torch.sin(math.pi * periods * x))
    return data.Splits(part, part, part, f"sine of {periods}", ())


def splits(arm: dict) -> data.Splits:
    """The fast sine, at which the rate is chosen."""
    return parts(PERIODS[-1])


def model(arm: dict) -> nn.Module:
    """The network of an arm, started as it says."""
    if arm["activation"] == "sine":
        return models.sine_mlp(WIDTHS)
    net = models.MLP(WIDTHS, activation=arm["activation"])
    initialize(net)
    return net


@cache
def histories(arm: str, rate: float, seeds: tuple[int, ...], periods: tuple[int, ...]) -> dict[Any, Any]:
    """The curve of each frequency and seed, trained in one loop."""
    keys, looks = [(n, seed) for n in periods for seed in seeds], json.loads(arm)["looks"]
    given = [parts(n).train for n, _ in keys]
    found = adam_together(
        lambda: model(json.loads(arm)),
        given,
        given,
        [{"seed": seed} for _, seed in keys],
        learning_rate=rate,
        updates=looks[-1],
        look_every=100,
        batch_size=128,
        flat=None,
    )
    return {key: one.history for key, one in zip(keys, found, strict=True)}


def run(arm: dict, rate: float, seed: int, splits: data.Splits, final: bool) -> dict[str, Any]:
    """Train with the other seeds of the phase; final runs at all frequencies."""
    seeds, periods = (SEEDS, PERIODS) if final else (TUNING, PERIODS[-1:])
    curves = histories(json.dumps(arm), rate, seeds, periods)
    fast = curves[PERIODS[-1], seed]
    found: dict[str, Any] = {"validation_loss": float(np.nanmin(fast.validation_loss))}
    if final:
        for n in PERIODS:
            one = curves[n, seed]
            best = dict(zip(one.updates, np.fmin.accumulate(one.validation_loss), strict=True))
            found[f"share_{n}"] = [round(float(1 - best[look]), 4) for look in arm["looks"]]
        found |= {"fitted": found[f"share_{PERIODS[-1]}"][-1], "updates": fast.updates[-1]}
        found["last_quarter"] = last_quarter(fast.validation_loss, fast.updates)
    return found


STUDY = Study(
    arms={name: {"activation": name, "looks": LOOKS} for name in ("relu", "tanh", "silu", "sine")},
    rates=(0.003, 0.01, 0.03),
    seeds=SEEDS,
    tuning_seeds=TUNING,
    splits=splits,
    run=run,
    select=("validation_loss", "min"),
    quick={"arms": {"sine": {"activation": "sine", "looks": [100]}}, "rates": (0.01,)},
)
