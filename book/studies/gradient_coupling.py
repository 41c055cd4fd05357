"""Do two units learn independently under dropout? Their gradients, in one network and in two trained apart.

For every seed two perceptrons with two hidden layers of 64 ReLU units are trained on the same 1,000 digits from
starts, orders and masks of their own, without dropout and with a keep rate of 0.5 behind both hidden layers: 3,000
updates of 32 images, as in the study dropout_mechanism, at the rates that its ten tuning seeds chose. Nothing is
tuned here.

Measured, with masks on, over the training images: the mean absolute correlation of the gradients of the loss by the
sums of two units of the first hidden layer, of one network (within) and of the two networks (apart).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from convcraft.lab import data
from convcraft.lab.experiments import Study, train_and_score
from convcraft.lab.randomness import forked
from convcraft.lab.training import seeded

UPDATES = 3000


def model(keep: float) -> nn.Sequential:
    def hidden() -> list[nn.Module]:
        return [nn.Linear(64, 64), nn.ReLU(), nn.Dropout(1 - keep)]

    return nn.Sequential(nn.Flatten(), *hidden(), *hidden(), nn.Linear(64, 10))


def unit_gradients(net: nn.Sequential, part: data.Split) -> Tensor:
    """Gradients by the sums of the first layer: (examples, units); units without one are left out."""
    z = net[:2](part.x).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(cross_entropy(net[2:](z), part.y, reduction="sum"), z)
    return gradient[:, gradient.std(0) > 1e-12].double()


def run(arm: dict[str, Any], rate: float | None, seed: int, splits: data.Splits, final: bool) -> dict[str, Any]:
    """Train two networks; the scores are those of the first."""
    found, gradients = list[dict[str, Any]](), list[Tensor]()
    for each in (2 * seed, 2 * seed + 1):
        net = seeded(lambda: model(arm["keep"]), each)
        found.append(
            train_and_score(
                net, splits, seed=each, final=True, learning_rate=arm["rate"], updates=UPDATES, batch_size=32,
                evaluate_at=range(UPDATES // 20, UPDATES + 1, UPDATES // 20),
            )
        )  # fmt: skip
        with forked(each):
            gradients.append(unit_gradients(net.train(), splits.train))
    table, units = torch.corrcoef(torch.cat(gradients, 1).T).abs(), gradients[0].shape[1]
    within = float((table[:units, :units].sum() - units) / (units * (units - 1)))
    return found[0] | {"within": within, "apart": float(table[:units, units:].mean())}


def splits(arm: dict[str, Any]) -> data.Splits:
    return data.load("digits").standardized()


STUDY = Study(
    arms={"no dropout": {"keep": 1.0, "rate": 0.05}, "keep 0.5": {"keep": 0.5, "rate": 0.05}},
    rates=(),
    seeds=range(10),
    splits=splits,
    run=run,
    quick={"seeds": range(2)},
)
