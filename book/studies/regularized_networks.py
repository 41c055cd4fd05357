"""Regularizing a convolutional and a recurrent network: where dropout goes, and what L2 does.

Varied: the network (two convolutions; or a gated recurrent unit of 32 units that reads a digit row by row,
8 steps of 8 pixels) and its regularizer: none; L2 on the weights; dropout at two rates. In the convolutional
network dropout takes single values of the feature maps or whole channels. In the recurrent network it takes
input and output values only, or the state with a new mask at every step, or the state with one mask for the
whole sequence. Measured after training on 300 digits: accuracy and loss on the training and test part.

Reduced, to finish in minutes on two cores: digits alone (no spoken digits), 300 images. Budgets: 1,800
updates and, on purpose short, 360.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from convcraft import dropout, penalties
from convcraft.lab import data
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.training import evaluate

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


def splits(arm: dict[str, Any], seed: int) -> data.Splits:
    """The digits with the 300 training images of this seed, standardized."""
    whole = data.load("digits")
    return replace(whole, train=whole.train.subset(300, seed=seed)).standardized()


class Rows(nn.Module):
    """A gated recurrent unit that reads the rows of an image, with dropout at one place."""

    def __init__(self, place: str, p: float, units: int = 32) -> None:
        super().__init__()
        self.units = units
        self.of_input, self.of_state = nn.Linear(8, 3 * units), nn.Linear(units, 3 * units)
        self.output = nn.Linear(units, 10)
        self.around, self.each, self.one = (dropout.Dropout(p * (name == place)) for name in PLACES["gru"])
        for value in (*self.of_input.parameters(), *self.of_state.parameters()):
            nn.init.uniform_(value, -(units**-0.5), units**-0.5)

    def step(self, row: Tensor, state: Tensor) -> Tensor:
        """The next state: (n, 8) and (n, units) to (n, units)."""
        of_input, of_state = self.of_input(row).chunk(3, -1), self.of_state(state).chunk(3, -1)
        reset, keep = (torch.sigmoid(a + b) for a, b in zip(of_input[:2], of_state[:2], strict=True))
        candidate = torch.tanh(of_input[2] + reset * of_state[2])
        return candidate + keep * (state - candidate)

    def forward(self, x: Tensor) -> Tensor:
        rows = self.around(x.squeeze(1)).unbind(1)
        state = x.new_zeros(len(x), self.units)
        mask = self.one(torch.ones_like(state))
        for row in rows:
            state = self.step(row, self.each(state * mask))
        return self.output(self.around(state))


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


def decayed(model: nn.Module) -> list[nn.Parameter]:
    """The weights, without biases."""
    return penalties.decay_groups(model, 1.0)[0]["params"]


def fit(arm: dict[str, Any]) -> dict[str, Any]:
    return {
        "updates": arm["updates"], "evaluate_at": range(arm["updates"] // 20, arm["updates"] + 1,
        arm["updates"] // 20), "batch_size": 50, "weight_decay": 2 * arm["l2"], "decayed": decayed,
    }  # fmt: skip


def measure(model: nn.Module, splits: data.Splits, arm: dict[str, Any], seed: int) -> dict[str, float]:
    train = evaluate(model, splits.train)
    return {"train_accuracy": train.accuracy, "final_train_loss": train.loss}


BUDGETS = {"": 1800, " short": 360}  # updates
ARMS = {f"{name}{b}": {**arm, "updates": n} for b, n in BUDGETS.items() for name, arm in arms().items()}

STUDY = Study(
    arms=ARMS,
    rates=(0.01, 0.03, 0.1, 0.3),
    seeds=range(10),
    tuning_seeds=range(100, 110),
    short=tuple(name for name in ARMS if name.endswith("short")),
    splits=splits,
    model=network,
    fit=fit,
    measure=measure,
    contrasts=tuple(
        Contrast(name, f"{arm['network']} none", measure=measure, family=f"{arm['network']}, {measure}",
                 claim="regularization-suits-cnns-and-rnns-alike")
        for name, arm in arms().items() if not name.endswith("none")
        for measure in ("test_accuracy", "test_loss")
    ) + tuple(
        Contrast(name, f"{arm['network']} none", family=f"{arm['network']}, budget",
                 against=(f"{name} short", f"{arm['network']} none short"))
        for name, arm in arms().items() if not name.endswith("none")
    ),
    quick={"seeds": range(2), "rates": (0.1,), "fit": {"updates": 20, "evaluate_at": None}},
)  # fmt: skip
