"""What has to be tuned in batch normalization: epsilon, momentum and the size of the batch.

ReLU perceptrons with three hidden layers of 32 units on 300 digits, a subset of its own for every seed, with batch
normalization before every activation.

Varied: batch size (2, 8, 32, 128) and, at 32 and 128, epsilon (1e-8, 1e-5, 1e-3, 0.1). Momentum does not touch the
training, so every network keeps running statistics with momentum 0.01, 0.1, 0.5 and 0.9 side by side; the default,
0.1, is in use while a rate is chosen and for test_accuracy.

Measured besides, with the default epsilon: test accuracy with the other three momenta (accuracy_m0.01, ...) and with
the statistics of all training images (accuracy_all), and which test images are right then (correct_...).

1,200 updates, and 3,000 at batches of 2.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from convcraft.lab import data
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.experiments.score import which_right
from convcraft.lab.training import evaluate

WIDTH = 32
#: the default first; the last one stands for the statistics of a single pass over all training images
MOMENTA = {"m0.1": 0.1, "m0.01": 0.01, "m0.5": 0.5, "m0.9": 0.9, "all": 1.0}


class BatchNorm(nn.Module):
    """Batch normalization with running statistics for several momenta; the one at `used` counts in evaluation."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.eps, self.used = eps, 0
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.register_buffer("momenta", torch.tensor(list(MOMENTA.values()))[:, None])
        self.register_buffer("means", torch.zeros(len(MOMENTA), width))
        self.register_buffer("variances", torch.ones(len(MOMENTA), width))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            mean, variance, n = x.mean(0), x.var(0, correction=0), len(x)
            with torch.no_grad():
                self.means.add_(self.momenta * (mean - self.means))
                self.variances.add_(self.momenta * (variance * n / (n - 1) - self.variances))
        else:
            mean, variance = self.means[self.used], self.variances[self.used]
        return (x - mean) * torch.rsqrt(variance + self.eps) * self.weight + self.bias


def model(arm: dict[str, Any]) -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten()]
    for before in (64, WIDTH, WIDTH):
        layers += [nn.Linear(before, WIDTH), BatchNorm(WIDTH, arm["eps"]), nn.ReLU()]
    net = nn.Sequential(*layers, nn.Linear(WIDTH, 10))
    for layer in net:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    return net


def splits(arm: dict[str, Any], seed: int) -> data.Splits:
    """The digits with the 300 training images of this seed."""
    whole = data.load("digits").standardized()
    return replace(whole, train=whole.train.subset(300, seed))


def fit(arm: dict[str, Any]) -> dict[str, Any]:
    updates = 3000 if arm["batch"] == 2 else 1200
    return {"updates": updates, "evaluate_at": range(60, updates + 1, 60), "batch_size": arm["batch"]}


def measure(model: nn.Module, splits: data.Splits, arm: dict[str, Any], seed: int) -> dict[str, Any]:
    """The test images with every momentum but the default, which the score is of."""
    found: dict[str, Any] = {}
    for place, name in enumerate(MOMENTA if arm["eps"] == 1e-5 else ()):
        if name == "all":  # touches the others, so it comes last
            with torch.no_grad():
                model.train()(splits.train.x)
        if place:
            for layer in model:
                if isinstance(layer, BatchNorm):
                    layer.used = place
            found[f"accuracy_{name}"] = evaluate(model, splits.test).accuracy
            found[f"correct_{name}"] = which_right(model.eval(), splits.test)
    return found


ARMS = {
    f"eps{eps:g}_b{batch}": {"eps": eps, "batch": batch}
    for batch in (2, 8, 32, 128)
    for eps in (1e-5, 1e-8, 1e-3, 0.1)
    if eps == 1e-5 or batch >= 32
}
CLAIM = "bn-parameters-must-be-tuned"

STUDY = Study(
    arms=ARMS,
    rates=(0.003, 0.012, 0.05, 0.2),
    splits=splits,
    model=model,
    fit=fit,
    measure=measure,
    contrasts=(
        *(
            Contrast(f"eps{eps}_b{b}", f"eps1e-05_b{b}", claim=CLAIM, family="epsilon")
            for b in (32, 128)
            for eps in ("1e-08", "0.001", "0.1")
        ),
        Contrast("eps1e-05_b128", "eps1e-05_b2", claim=CLAIM, family="batch"),
    ),
    quick={
        "seeds": range(1), "tuning_seeds": range(100, 101), "rates": (0.05,),
        "fit": {"updates": 20, "evaluate_at": (10, 20)},
    },
)  # fmt: skip
