"""What the activations cost: time per image of the article's network with all 27 mixtures of ReLU, ELU, tanh.

The network of `images_sample` in float32, evaluated on batches of 64 images of Fashion-MNIST's size by one
thread. Every run alternates between the mixture and ReLU everywhere, a batch each, 12 times, and measures the
processor time of each; a pair of equal networks is among the mixtures. Measured: the ratio of the two
medians. Sixteen seeds: rounds over all mixtures, on other random images.

Decided before the runs: the fastest mixture other than ReLU everywhere is named by the first eight rounds;
the other eight say how fast it is.
"""

from __future__ import annotations

import time
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import nn

from convcraft.lab import models
from convcraft.lab.experiments import Study
from convcraft.lab.training import seeded

FUNCTIONS, BATCH, TIMES = ("relu", "elu", "tanh"), 64, 12


def network(functions: list[str]) -> nn.Module:
    """The network of the sample with a function for each hidden layer."""
    first, second, third = (models.activation_layer(name) for name in functions)
    return nn.Sequential(
        nn.Conv2d(1, 32, 3), first, nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), second, nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(1600, 64), third, nn.Linear(64, 10),
    )  # fmt: skip


def run(arm: dict, rate: None, seed: int, splits: None, final: bool) -> dict[str, Any]:
    """Alternate between two networks of equal weights; the ratio of their medians."""
    nets = [seeded(lambda f=f: network(f), seed).eval() for f in (arm["functions"], ["relu"] * 3)]
    x = torch.rand(BATCH, 1, 28, 28)
    spent: list[list[float]] = [[], []]
    with torch.no_grad():
        for i in range(TIMES + 3):
            for which in (0, 1) if i % 2 else (1, 0):
                start = time.process_time()
                nets[which](x)
                if i >= 3:
                    spent[which].append(time.process_time() - start)
    mixture, relu = (float(np.median(times)) for times in spent)
    return {"ratio": mixture / relu, "microseconds": 1e6 * relu / BATCH}


STUDY = Study(
    trains=False,
    arms={" ".join(mix): {"functions": list(mix)} for mix in product(FUNCTIONS, repeat=3)},
    rates=(),
    seeds=range(16),
    run=run,
    quick={"arms": ("relu relu relu", "relu relu tanh", "elu elu elu"), "seeds": range(4)},
)
