"""Decay of weights that are followed by batch normalization is a learning rate that grows.

Plain SGD on weights that a normalization rescales: a step with weight_decay d is, up to the length of the
weights, a step without decay at the rate eta / (1 - eta d)^(2t + 1), t counted from 0. Varied: the treatment of
the hidden weights in a network with batch normalization after every hidden layer (no decay; decay; no decay and
the growing rate). The last layer, biases and normalizations are never decayed and keep eta. Each arm has its own
best rate; at one and the same rate and seed, decay and the growing rate should be the same function.
Measured beside accuracy and loss: the squared norm of the first layer and the rate over that norm along training,
and how often the predictions on the test part are those of the network that was decayed at the same rate and
seed, at the end and after a quarter of the updates: rounding errors grow along training.

Reduced, to finish in minutes on two cores: a network of two hidden layers of 64 units, all 1,000 digits, one
strength, no momentum (with momentum the factor is another one). 3,000 updates of 50 images.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from convcraft.lab import data
from convcraft.lab.experiments import Contrast, Study, train_and_score
from convcraft.lab.training import seeded

DECAY, UPDATES, POINTS = 0.03, 3000, 20
ARMS: dict[str, dict[str, Any]] = {
    f"norm, {treatment}": {"treatment": treatment} for treatment in ("none", "decay", "growing rate")
}


def splits(arm: dict[str, Any]) -> data.Splits:
    return data.load("digits").standardized()


def network() -> nn.Sequential:
    """Two hidden layers, without biases; eps is too small to matter."""
    layers: list[nn.Module] = [nn.Flatten()]
    for _ in range(2):
        layers += [nn.Linear(64, 64, bias=False), nn.BatchNorm1d(64, eps=1e-10), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(64, 10))


class Growing(torch.optim.SGD):
    """SGD whose group with `decay` has the rate eta / (1 - eta decay)^(2t + 1) at step t.

    At twenty steps it notes the squared norm of the first layer, and the rate over that norm.
    """

    def __init__(self, groups: list[dict[str, Any]], rate: float, decay: float) -> None:
        super().__init__(groups, lr=rate, fused=True)
        self.rate, self.decay, self.steps = rate, decay, 0
        self.norms: list[float] = []
        self.effective: list[float] = []

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        rate = self.rate / (1 - self.rate * self.decay) ** (2 * self.steps + 1)
        self.param_groups[0]["lr"] = rate
        self.steps += 1
        super().step(closure)
        if self.steps % max(UPDATES // POINTS, 1) == 0:
            self.norms.append(float(self.param_groups[0]["params"][0].detach().square().sum()))
            self.effective.append(rate / self.norms[-1])


def train(
    treatment: str, rate: float, seed: int, splits: data.Splits, final: bool, updates: int
) -> tuple[nn.Module, Growing, dict[str, Any]]:
    """One network with its optimizer and its scores."""
    model = seeded(network, seed)
    hidden = [m.weight for m in list(model.children())[:-1] if isinstance(m, nn.Linear)]
    names = {id(p) for p in hidden}
    groups = [{"params": hidden, "weight_decay": DECAY if treatment == "decay" else 0.0},
              {"params": [p for p in model.parameters() if id(p) not in names]}]  # fmt: skip
    optimizer = Growing(groups, rate, DECAY if treatment == "growing rate" else 0.0)
    step = max(updates // POINTS, 1)
    scores = train_and_score(
        model, splits, seed=seed, final=final, updates=updates, evaluate_at=range(step, updates + 1, step),
        batch_size=50, learning_rate=rate, optimizer=lambda _: optimizer,
    )  # fmt: skip
    return model, optimizer, scores


def run(arm: dict[str, Any], rate: float, seed: int, splits: data.Splits, final: bool) -> dict[str, Any]:
    """Train one network; in the final phase of the growing rate also its decayed twin."""
    model, optimizer, scores = train(arm["treatment"], rate, seed, splits, final, UPDATES)
    if not final:
        return scores
    scores |= {"squared_norm": optimizer.norms, "effective_rate": optimizer.effective}
    if arm["treatment"] != "growing rate":
        return scores
    for name, updates in (("early_agreement", UPDATES // 4), ("agreement", UPDATES)):
        pair = [
            predictions(train(treatment, rate, seed, splits, False, updates)[0], splits)
            for treatment in ("decay", "growing rate")
        ]
        scores[name] = float((pair[0] == pair[1]).float().mean())
    return scores


def predictions(model: nn.Module, splits: data.Splits) -> Tensor:
    with torch.no_grad():
        return model(splits.test.x).argmax(1)


CLAIM = "norm-penalties-control-complexity-also-with-bn"
STUDY = Study(
    arms=ARMS,
    rates=(0.03, 0.1, 0.3),
    splits=splits,
    run=run,
    contrasts=(
        Contrast("norm, growing rate", "norm, decay", claim=CLAIM),
        Contrast("norm, decay", "norm, none", claim=CLAIM),
    ),
    quick={"seeds": range(2), "tuning_seeds": range(100, 101), "rates": (0.1,)},
)  # fmt: skip
