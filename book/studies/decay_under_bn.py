"""Decay of weights that are followed by batch normalization is a learning rate that grows.

Plain SGD on weights that a normalization rescales: a step with weight_decay d is, up to the length of the
weights, a step without decay at the rate eta / (1 - eta d)^(2t + 1), t counted from 0. Varied: the network
(batch normalization after every hidden layer, or none) and the treatment of the hidden weights (no decay;
decay; no decay and the growing rate). The last layer, biases and normalizations are never decayed and keep
eta.
Each arm has its own best rate; at one and the same rate and seed, decay and the growing rate should be the
same function where there is normalization, and only there.
Measured: accuracy and loss on the test part, the squared norm of the first layer and the rate over that norm
along training, and how often the predictions on the test part are those of the network that was decayed at
the same rate and seed.

Reduced, to finish in minutes on two cores: a network of two hidden layers of 64 units, 600 steps on all 1,000
digits, one strength, no momentum (with momentum the factor is another one).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from convcraft.lab import data
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.training import evaluate, fit, seeded

DECAY = 0.01
EPOCHS, BATCH = 30, 50
ARMS: dict[str, dict[str, Any]] = {
    f"{network}, {treatment}": {"network": network, "treatment": treatment}
    for network in ("norm", "plain")
    for treatment in ("none", "decay", "growing rate")
}


def splits(arm: dict[str, Any]) -> data.Splits:
    return data.load("digits").standardized()


def network(norm: bool) -> nn.Sequential:
    """Two hidden layers; with normalization they have no biases, and eps is too small to matter."""
    layers: list[nn.Module] = [nn.Flatten()]
    for _ in range(2):
        layers += [nn.Linear(64, 64, bias=not norm)]
        layers += [nn.BatchNorm1d(64, eps=1e-10)] if norm else []
        layers += [nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(64, 10))


class Growing(torch.optim.SGD):
    """SGD whose group with `decay` has the rate eta / (1 - eta decay)^(2t + 1) at step t."""

    def __init__(self, groups: list[dict[str, Any]], rate: float, decay: float) -> None:
        super().__init__(groups, lr=rate)
        self.rate, self.decay, self.steps = rate, decay, 0

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.param_groups[0]["lr"] = self.rate / (1 - self.rate * self.decay) ** (2 * self.steps + 1)
        self.steps += 1
        super().step(closure)


def train(
    arm: dict[str, Any], treatment: str, rate: float, seed: int, splits: data.Splits
) -> tuple[nn.Module, dict[str, Any], list[float]]:
    """One network; returns it, its curves, and the squared norm of its first layer after each epoch."""
    model = seeded(lambda: network(arm["network"] == "norm"), seed)
    hidden = [m.weight for m in list(model.children())[:-1] if isinstance(m, nn.Linear)]
    names = {id(p) for p in hidden}
    decay = DECAY if treatment == "decay" else 0.0
    groups = [{"params": hidden, "weight_decay": decay},
              {"params": [p for p in model.parameters() if id(p) not in names]}]  # fmt: skip
    optimizer = Growing(groups, rate, DECAY if treatment == "growing rate" else 0.0)
    norms: list[float] = []

    class Watch:
        def step(self) -> None:
            norms.append(float(hidden[0].detach().square().sum()))

    history = fit(
        model, splits, epochs=EPOCHS, batch_size=BATCH, learning_rate=rate, seed=seed, progress=False,
        optimizer=lambda _: optimizer, schedule=lambda _: Watch(),
    )  # fmt: skip
    curves = {key: getattr(history, key)[-1:] for key in ("validation_loss", "validation_accuracy")}
    return model, curves, norms


def run(arm: dict[str, Any], rate: float, seed: int, splits: data.Splits, final: bool) -> dict[str, Any]:
    """Train one network, and in the final phase its decayed counterpart beside it."""
    model, result, norms = train(arm, arm["treatment"], rate, seed, splits)
    if not final:
        return result
    other = model if arm["treatment"] == "decay" else train(arm, "decay", rate, seed, splits)[0]
    test = evaluate(model, splits.test)
    steps = [len(splits.train) // BATCH * (epoch + 1) for epoch in range(EPOCHS)]
    growth = [(1 - rate * DECAY) ** (-2 * t) if arm["treatment"] == "growing rate" else 1.0 for t in steps]
    return result | {
        "test_accuracy": test.accuracy,
        "test_loss": test.loss,
        "final_train_loss": evaluate(model, splits.train).loss,
        "squared_norm": norms,
        "effective_rate": [rate * g / n for g, n in zip(growth, norms, strict=True)],
        "agreement": float((predictions(model, splits) == predictions(other, splits)).float().mean()),
    }


def predictions(model: nn.Module, splits: data.Splits) -> Tensor:
    with torch.no_grad():
        return model(splits.test.x).argmax(1)


STUDY = Study(
    arms=ARMS,
    rates=(0.03, 0.1, 0.3, 1.0),
    seeds=range(10),
    tuning_seeds=range(100, 103),
    splits=splits,
    run=run,
    contrasts=tuple(
        Contrast(f"{network}, {a}", f"{network}, {b}", measure="test_accuracy", margin=0.01, family=network,
                 claim="norm-penalties-control-complexity-also-with-bn")
        for network in ("norm", "plain")
        for a, b in (("growing rate", "decay"), ("decay", "none"))
    ),
    quick={"seeds": range(2), "rates": (0.1,)},
)  # fmt: skip
