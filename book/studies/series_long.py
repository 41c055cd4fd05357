"""Forecasts at a longer budget: the networks of `series` that had not finished learning, for 7,200 updates.

As `series`, where after 1,800 updates the loss of six networks was still falling: five of the taxi rides,
and on Mackey-Glass the convolutional network with tanh. Here the networks of the taxi rides and both
convolutional ones on Mackey-Glass, with the same data and seeds, each at the rate that was chosen there, for
four times as many updates or until the validation loss is flat; the weights of its lowest value count. The
rates were not tuned again, and the longer budget was taken after the first result had been seen.

Reduced, to finish in minutes on two cores: one training part and no fit anew at later origins; five seeds;
the GRUs, the slowest, were planned and left out.
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
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.experiments.score import last_quarter
from convcraft.lab.statistics import blocks_of
from convcraft.lab.training import adam_together

LAGS, HORIZON, BLOCKS, NOISE = 24, 6, 10, 0.2
SEEDS = tuple(range(5))
PERIODS = {"mackey-glass": 1, "taxi": 24}
#: the networks, and the rate that `series` chose for each
CHOSEN = {
    ("mackey-glass", "tcn", "relu"): 0.01,
    ("mackey-glass", "tcn", "tanh"): 0.003,
    ("taxi", "dense", "relu"): 0.01,
    ("taxi", "dense", "tanh"): 0.01,
    ("taxi", "dense", "sigmoid"): 0.03,
    ("taxi", "dense", "silu"): 0.01,
    ("taxi", "tcn", "relu"): 0.01,
    ("taxi", "tcn", "tanh"): 0.01,
    ("taxi", "rnn", "relu"): 0.01,
    ("taxi", "rnn", "tanh"): 0.01,
}


@cache
def series(name: str) -> np.ndarray:
    """The values of a series: of taxi rides the sums of two half-hours."""
    if name == "taxi":
        return data.nab("nyc_taxi").values.reshape(-1, 2).sum(1)
    clean = data.mackey_glass(3000)
    return clean + NOISE * clean.std() * np.random.default_rng(0).standard_normal(3000)


def splits(arm: dict) -> data.Splits:
    """Windows of a series, standardized by its first 60 %; 15 % are validation, the rest is the test."""
    values = series(arm["series"])
    ends = [0, int(0.6 * len(values)), int(0.75 * len(values)), len(values)]
    known = values[: ends[1]]
    values = (values - known.mean()) / known.std()
    parts = []
    for start, end in zip(ends, ends[1:], strict=False):
        windows = np.lib.stride_tricks.sliding_window_view(values[start:end], LAGS + HORIZON)
        both = torch.tensor(windows, dtype=torch.float32)
        parts.append(Split(both[:, :LAGS], both[:, LAGS:]))
    return data.Splits(*parts, arm["series"], ())


def scale(name: str) -> float:
    """Mean absolute error of the seasonal naive rule on the standardized training part."""
    values = series(name)
    known = values[: int(0.6 * len(values))]
    period = PERIODS[name]
    return float(np.abs(known[period:] - known[:-period]).mean() / known.std())


def model(arm: dict) -> nn.Module:
    """The network of an arm."""
    if arm["network"] == "dense":
        return models.MLP((LAGS, 24, 24, HORIZON), activation=arm["activation"])
    if arm["network"] == "tcn":
        return models.TCN(12, HORIZON, activation=arm["activation"])
    return models.Recurrent(arm["network"], 16, HORIZON, activation=arm["activation"])


@cache
def trained(arm: str) -> dict[int, Any]:
    """The networks of all seeds, trained in one loop."""
    own = json.loads(arm)
    given = splits(own)
    settings = {"updates": 7200, "look_every": 100, "batch_size": 64, "learning_rate": own["rate"]}
    copies = [{"seed": seed} for seed in SEEDS]
    found = adam_together(lambda: model(own), given.train, given.validation, copies, **settings)
    return {one.seed: one for one in found}


def run(arm: dict, rate: None, seed: int, splits: data.Splits, final: bool) -> dict[str, Any]:
    """Train with the other seeds; the scaled errors."""
    one = trained(json.dumps(arm))[seed]
    losses, updates = one.history.validation_loss, one.history.updates
    with torch.no_grad():
        error = (one.model(splits.test.x) - splits.test.y).abs().mean(1).numpy() / scale(arm["series"])
    return {
        "validation_loss": min(losses),
        "mase": float(error.mean()),
        "blocks": blocks_of(error, BLOCKS).tolist(),
        "updates": updates[-1],
        "last_quarter": last_quarter(losses, updates),
    }


STUDY = Study(
    arms={
        ", ".join(key): dict(zip(("series", "network", "activation"), key, strict=True)) | {"rate": rate}
        for key, rate in CHOSEN.items()
    },
    rates=(),
    seeds=SEEDS,
    splits=splits,
    run=run,
    contrasts=tuple(
        Contrast(
            f"{name}, {network}, tanh",
            f"{name}, {network}, relu",
            measure="mase",
            claim="tanh-better-for-time-series",
            family="tanh minus ReLU",
        )
        for name, network, activation in CHOSEN
        if activation == "tanh"
    ),
)
