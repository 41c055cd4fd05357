"""Regularizing a convolutional and a recurrent network: where dropout goes, and what L2 does.

Varied: the network (two convolutions; or a gated recurrent unit of 32 units that reads a digit row by row,
8 steps of 8 pixels) and its regularizer: none; L2 on the weights; dropout at two rates. In the convolutional
network dropout takes single values of the feature maps or whole channels. In the recurrent network it takes
input and output values only, or the state with a new mask at every step, or the state with one mask for the
whole sequence. Measured after training on 300 digits: accuracy and loss on the training and test part.

Reduced, to finish in minutes on two cores: digits alone (no spoken digits), 300 images, 360 steps, two
tuning seeds.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convcraft import dropout, penalties
from convcraft.lab import data
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.training import evaluate, fit, seeded

PLACES = {"cnn": ("element", "channel"), "gru": ("input and output", "state, each step", "state, one mask")}
DROPS, L2 = (0.1, 0.3), (3e-4, 3e-3)


def arms() -> dict[str, dict[str, Any]]:
    """Names such as "gru none", "cnn l2 0.003", "gru state, one mask 0.1"."""
    found: dict[str, dict[str, Any]] = {}
    for network, places in PLACES.items():
        found[f"{network} none"] = {"network": network, "place": "none", "p": 0.0, "l2": 0.0}
        for s in L2:
            found[f"{network} l2 {s:g}"] = {"network": network, "place": "none", "p": 0.0, "l2": s}
        for place in places:
            for p in DROPS:
                found[f"{network} {place} {p:g}"] = {"network": network, "place": place, "p": p, "l2": 0.0}
    return found


def splits(arm: dict[str, Any]) -> data.Splits:
    return data.load("digits")


class Rows(nn.Module):
    """A gated recurrent unit that reads the rows of an image, with dropout at one place."""

    def __init__(self, place: str, p: float, units: int = 32) -> None:
        super().__init__()
        self.place, self.p = place, p
        self.cell, self.output = nn.GRUCell(8, units), nn.Linear(units, 10)

    def drop(self, x: Tensor, place: str) -> Tensor:
        return F.dropout(x, self.p, self.training and self.place == place)

    def forward(self, x: Tensor) -> Tensor:
        rows = self.drop(x.squeeze(1), "input and output").unbind(1)
        state = rows[0].new_zeros(len(x), self.cell.hidden_size)
        mask = self.drop(torch.ones_like(state), "state, one mask")
        for row in rows:
            state = self.cell(row, self.drop(state * mask, "state, each step"))
        return self.output(self.drop(state, "input and output"))


def network(arm: dict[str, Any]) -> nn.Module:
    """The network of an arm; dropout in the convolutional one stands after each pooling."""
    if arm["network"] == "gru":
        return Rows(arm["place"], arm["p"])
    drop = {"element": dropout.Dropout, "channel": dropout.Dropout2d}.get(arm["place"])
    after = [drop(arm["p"])] if drop else []
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), *after,
        nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), *after,
        nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10),
    )  # fmt: skip


def run(arm: dict[str, Any], rate: float, seed: int, splits: data.Splits, final: bool) -> dict[str, Any]:
    """Train one network on the 300 digits of this seed."""
    splits = replace(splits, train=splits.train.subset(300, seed=seed)).standardized()
    model = seeded(lambda: network(arm), seed)
    sgd = torch.optim.SGD(penalties.decay_groups(model, 2 * arm["l2"]), lr=rate, momentum=0.9)
    history = fit(
        model, splits, epochs=60, batch_size=50, learning_rate=rate, seed=seed, progress=False,
        optimizer=lambda _: sgd,
    )  # fmt: skip
    result = {key: getattr(history, key)[-1:] for key in ("validation_loss", "validation_accuracy")}
    if not final:
        return result
    train, test = evaluate(model, splits.train), evaluate(model, splits.test)
    return result | {
        "train_accuracy": train.accuracy,
        "final_train_loss": train.loss,
        "test_accuracy": test.accuracy,
        "test_loss": test.loss,
    }


STUDY = Study(
    arms=arms(),
    rates=(0.01, 0.03, 0.1, 0.3),
    seeds=range(10),
    tuning_seeds=range(100, 102),
    splits=splits,
    run=run,
    contrasts=tuple(
        Contrast(name, f"{arm['network']} none", measure=measure, family=f"{arm['network']}, {measure}",
                 claim="regularization-suits-cnns-and-rnns-alike")
        for name, arm in arms().items() if not name.endswith("none")
        for measure in ("test_accuracy", "test_loss")
    ),
    quick={"seeds": range(2), "rates": (0.1,)},
)  # fmt: skip
