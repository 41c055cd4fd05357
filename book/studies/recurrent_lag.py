"""Recall over a lag: what a recurrent network can keep, by activation, start and gates.

The first step shows one of four classes, the following `lag` steps hold noise, and the network names the
class at the end: chance is 25 %. Varied: a plain network with tanh or ReLU, whose recurrent matrix starts
uniform within 1 / sqrt(units) (torch's default), orthogonal, or as the identity; an LSTM whose candidate is
tanh or ReLU, and a GRU with tanh, each started by `initialize` with forget biases of 1 (the GRU: update
biases of 0), or by `initialize(memory=100)`; the lag (20, 50, 100).

16 units. Adam on 1,000 sequences in batches of 20, for at most 400 updates, the rate chosen at a lag of 100
and used at all three; the weights of the lowest validation loss count. A run has solved a lag where it names
90 % of 500 test sequences. Measured: the share that is solved, and the accuracy, by lag. Learning ends when
the validation losses of all runs are flat.

Reduced, to finish in minutes on two cores: recall in place of the adding problem, which takes thousands of
updates; one size; two candidates for the LSTM. The noise and the number of updates come from a pilot that
looked at validation accuracies of four arms.
"""

from __future__ import annotations

import json
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

LAGS, UNITS, SOLVED = (20, 50, 100), 16, 0.9
SEEDS, TUNING = tuple(range(20)), tuple(range(100, 110))


@cache
def parts(lag: int) -> data.Splits:
    """Sequences of a lag: 1,000 for training, 500 each for validation and test."""
    three = (data.recall(n, lag, seed=seed) for seed, n in enumerate((1000, 500, 500)))
    return data.Splits(*three, f"recall over {lag}", tuple("abcd"))


def splits(arm: dict) -> data.Splits:
    """The longest lag, at which the rate is chosen."""
    return parts(max(LAGS))


def model(arm: dict) -> nn.Module:
    """The network of an arm, started as it says."""
    kind, start = arm["kind"], arm["start"]
    net = models.Gated(kind, 4, UNITS, 4, candidate=arm["activation"])
    if kind == "rnn":
        with torch.no_grad():
            for bias in (net.cell.bias_ih_l0, net.cell.bias_hh_l0):
                bias.zero_()
            if start == "orthogonal":
                nn.init.orthogonal_(net.cell.weight_hh_l0)
            elif start == "identity":
                nn.init.eye_(net.cell.weight_hh_l0)
    else:
        initialize(net.cell, **({"memory": 100} if start == "memory" else {}))
    return net


@cache
def trained(arm: str, rate: float, seeds: tuple[int, ...], lag: int) -> dict[int, Any]:
    """The networks of all seeds, trained in one loop."""
    given = parts(lag)
    settings = {"updates": 400, "look_every": 25, "batch_size": 20, "learning_rate": rate}
    copies = [{"seed": seed} for seed in seeds]
    found = adam_together(
        lambda: model(json.loads(arm)),
        given.train,
        given.validation,
        copies,
        loss="cross_entropy",
        **settings,
    )
    return {one.seed: one for one in found}


def accuracy(net: nn.Module, part: data.Split) -> float:
    """Share of the sequences whose class is named."""
    with torch.no_grad():
        return float((net(part.x).argmax(-1) == part.y).float().mean())


def run(arm: dict, rate: float, seed: int, splits: data.Splits, final: bool) -> dict[str, Any]:
    """Train with the other seeds of the phase; final runs at all lags."""
    seeds, text = SEEDS if seed in SEEDS else TUNING, json.dumps(arm)
    one = trained(text, rate, seeds, max(LAGS))[seed]
    losses, updates = one.history.validation_loss, one.history.updates
    found: dict[str, Any] = {"validation_loss": float(np.nanmin(losses))}
    if final:
        for lag in LAGS:
            share = accuracy(trained(text, rate, seeds, lag)[seed].model, parts(lag).test)
            found |= {f"accuracy_{lag}": share, f"solved_{lag}": float(share > SOLVED)}
        found |= {"updates": updates[-1], "last_quarter": last_quarter(losses, updates)}
    return found


def arms() -> dict[str, dict[str, Any]]:
    """Name -> kind, activation, start."""
    rows = [("rnn", a, s) for s in ("default", "orthogonal", "identity") for a in ("tanh", "relu")]
    rows += [("lstm", a, s) for s in ("bias 1", "memory") for a in ("tanh", "relu")]
    rows += [("gru", "tanh", s) for s in ("bias 0", "memory")]
    names = ("kind", "activation", "start")
    return {f"{k}, {a}, {s}": dict(zip(names, (k, a, s), strict=True)) for k, a, s in rows}


STUDY = Study(
    arms=arms(),
    rates=(0.001, 0.003, 0.01),
    seeds=SEEDS,
    tuning_seeds=TUNING,
    splits=splits,
    run=run,
    select=("validation_loss", "min"),
    quick={"arms": ("rnn, relu, identity", "rnn, tanh, orthogonal"), "rates": (0.003,)},
)
