"""Functions that depend on their input, at equal parameters and at equal time.

Varied: the function of a small convolutional network on digits, with as many parameters for each function as
nearest to those of ReLU with 8 and 17 channels. ReLU, PReLU, SiLU, Swish and ACON-C with parameters of each
channel, FReLU (which brings a batch normalization), dynamic ReLU, a gated linear unit, and bumps that make
each weight behind them a learned function, as in a KAN. Every layer starts with outputs of variance 1
(`lsuv_`), whatever function follows. Every seed has 300 training images of its own.

Measured: test accuracy after 300 updates of 50 images; the validation accuracy on the way; the milliseconds
of a processor that a training step takes, the median of 15. Equal time, decided before the runs: each
function is read after as many updates as take it as long as 150 take ReLU, by its validation accuracy there,
between two measurements by a straight line.

Reduced, to finish in minutes on two cores: one size, one data set; and the rate of the long run is used for
the short one.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cache

import numpy as np
from torch import nn

from convcraft.initialization import lsuv_
from convcraft.lab import data, models
from convcraft.lab.experiments import Contrast, Study

LIKE = (8, 17)


@cache
def digits() -> data.Splits:
    return data.load("digits").standardized()


def splits(arm: dict, seed: int) -> data.Splits:
    """300 of the 1,000 training images, drawn anew for each seed."""
    return replace(digits(), train=digits().train.subset(300, seed))


def model(arm: dict) -> nn.Module:
    net = models.adaptive_net(arm["function"], arm["widths"])
    lsuv_(net, digits().train.x[:200], orthonormal=False)
    return net


def measure(net: nn.Module, splits: data.Splits, arm: dict, seed: int) -> dict[str, float]:
    """Time of a step, on a network of its own."""
    one, spent = models.adaptive_net(arm["function"], arm["widths"]), []
    x, y = splits.train.x[:50], splits.train.y[:50]
    for _ in range(15):
        start = time.process_time()
        nn.functional.cross_entropy(one(x), y).backward()
        spent.append(1000 * (time.process_time() - start))
    size = sum(p.numel() for p in net.parameters())
    return {"milliseconds": round(float(np.median(spent)), 3), "parameters": size}


STUDY = Study(
    arms={
        name: {"function": name, "widths": list(models.adaptive_widths(name, LIKE))}
        for name in models.ADAPTIVE
    },
    rates=(0.01, 0.03, 0.1),
    splits=splits,
    model=model,
    measure=measure,
    fit={"updates": 300, "batch_size": 50, "evaluate_at": range(15, 301, 15)},
    curves=("validation_accuracy",),
    contrasts=tuple(Contrast(name, "relu") for name in models.ADAPTIVE if name != "relu"),
    quick={"seeds": range(2), "tuning_seeds": range(100, 101), "fit": {"updates": 30, "evaluate_at": None}},
)
