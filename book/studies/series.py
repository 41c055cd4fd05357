"""Forecasts of three series: activation by architecture, over blocks of origins.

Varied: the series (linear and seasonal; Mackey-Glass with noise of a fifth of its standard deviation, without
which the loss never stops falling; taxi rides in New York by the hour), the architecture (dense 24-24-24-6,
temporal convolutional network of 12 channels, plain recurrent network and GRU of 16 units) and its
activation: ReLU and tanh in all (in the GRU that of the candidate), sigmoid and SiLU in the dense one. 24
values are read and 6 are forecast. Adam, each arm at its own rate, until the validation loss is flat; the
weights of its lowest value count. Training, validation and test part follow each other in time.

Measured: the mean absolute scaled error over all origins of the test part, and over ten blocks of consecutive
ones; the scale is the seasonal naive rule on the training part (a day; Mackey-Glass: the last value).

Reduced, to finish in minutes on two cores: one training part and no fit anew at later origins; five seeds.
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
SEEDS, TUNING = tuple(range(5)), tuple(range(100, 110))
PERIODS = {"linear": 24, "mackey-glass": 1, "taxi": 24}
NETWORKS = {
    "dense": ("relu", "tanh", "sigmoid", "silu"),
    "tcn": ("relu", "tanh"),
    "rnn": ("relu", "tanh"),
    "gru": ("relu", "tanh"),
}


@cache
def series(name: str) -> np.ndarray:
    """The values of a series: of taxi rides the sums of two half-hours."""
    if name == "taxi":
        return data.nab("nyc_taxi").values.reshape(-1, 2).sum(1)
    if name == "linear":
        return data.seasonal(3000)
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
def trained(arm: str, rate: float, seeds: tuple[int, ...]) -> dict[int, Any]:
    """The networks of all seeds, trained in one loop."""
    given = splits(json.loads(arm))
    settings = {"updates": 1800, "look_every": 50, "batch_size": 64, "learning_rate": rate}
    copies = [{"seed": seed} for seed in seeds]
    found = adam_together(lambda: model(json.loads(arm)), given.train, given.validation, copies, **settings)
    return {one.seed: one for one in found}


def run(arm: dict, rate: float, seed: int, splits: data.Splits, final: bool) -> dict[str, Any]:
    """Train with the other seeds of the phase; of final runs the scaled errors."""
    one = trained(json.dumps(arm), rate, SEEDS if seed in SEEDS else TUNING)[seed]
    losses, updates = one.history.validation_loss, one.history.updates
    found: dict[str, Any] = {"validation_loss": min(losses)}
    if final:
        with torch.no_grad():
            error = (one.model(splits.test.x) - splits.test.y).abs().mean(1).numpy() / scale(arm["series"])
        found |= {"mase": float(error.mean()), "blocks": blocks_of(error, BLOCKS).tolist()}
        found |= {"updates": updates[-1], "last_quarter": last_quarter(losses, updates)}
    return found


STUDY = Study(
    arms={
        f"{name}, {network}, {activation}": {"series": name, "network": network, "activation": activation}
        for name in PERIODS
        for network, activations in NETWORKS.items()
        for activation in activations
    },
    rates=(0.003, 0.01, 0.03),
    seeds=SEEDS,
    tuning_seeds=TUNING,
    first=len(TUNING),  # they train together, so that fewer would cost as much
    splits=splits,
    run=run,
    select=("validation_loss", "min"),
    contrasts=tuple(
        Contrast(
            f"{name}, {network}, tanh",
            f"{name}, {network}, relu",
            measure="mase",
            claim="tanh-better-for-time-series",
            family="tanh minus ReLU",
        )
        for name in PERIODS
        for network in NETWORKS
    ),
    quick={"rates": (0.01,)},
)
