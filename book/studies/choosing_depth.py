"""Choosing an activation: eight activations, three depths, plain, normalized and residual.

Varied: the activation, the number of hidden layers (2, 6, 12; 32 units each), what stands around the
activation (`plain` nothing, `bn` batch normalization in front of it, `skip` a residual sum around each layer
but the first), and the learning rate. Each layer starts at the weight scale that keeps the second moment.

Measured: validation accuracy at every rate, and of the final runs after each of the first ten epochs and every
fourth epoch from then on; after training at the rate that is best for the arm, test accuracy. Speed is the first
of these epochs after which the validation accuracy is 0.9 or more.

Budgets: 1,600 updates (80 epochs) and, on purpose short, 200 (10), each with rates of its own.

Reduced, to finish in minutes on two cores: digits alone, 32 units. Batch normalization uses the
statistics of the batch, and when it is evaluated those of the whole split. Written to be run vectorized: an
arm is trained in one go.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from convcraft.initialization import calculate_gain
from convcraft.lab import data, models
from convcraft.lab.experiments import Contrast, Study

WIDTH = 32
FUNCTIONS = ("relu", "leaky_relu", "elu", "gelu", "silu", "mish", "tanh", "sigmoid")
DEPTHS = (2, 6, 12)
EPOCH, BUDGETS = 20, {"": 1600, " short": 200}  # updates
LOOKS = [*range(1, 11), *range(12, 81, 4)]  # epochs
AROUND = ("plain", "bn", "skip")


class Net(nn.Module):
    """Hidden layers x' = f(W x + b), f(BN(W x + b)) or x + c f(W x + b); c is 1 / sqrt(layers that add)."""

    def __init__(self, arm: dict[str, Any]) -> None:
        super().__init__()
        depth = arm["depth"]
        self.linear = nn.ModuleList(nn.Linear(n, WIDTH) for n in [64] + [WIDTH] * (depth - 1))
        self.act = nn.ModuleList(models.activation_layer(arm["activation"]) for _ in range(depth))
        self.norm = nn.ModuleList(
            nn.BatchNorm1d(WIDTH, track_running_stats=False) for _ in range(depth * (arm["around"] == "bn"))
        )
        self.output = nn.Linear(WIDTH, 10)
        self.scale = (depth - 1) ** -0.5 if arm["around"] == "skip" else None

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for index, (linear, act) in enumerate(zip(self.linear, self.act, strict=True)):
            h = linear(x)
            h = act(self.norm[index](h) if len(self.norm) else h)
            x = h if self.scale is None or index == 0 else x + self.scale * h
        return self.output(x)


def splits(arm: dict[str, Any]) -> data.Splits:
    """The digits, standardized."""
    return data.load("digits").standardized()


def model(arm: dict[str, Any]) -> Net:
    """The network of an arm: normal weights at the gain of the activation, biases 0."""
    net = Net(arm)
    gain = 1.0
    for layer in (*net.linear, net.output):
        nn.init.normal_(layer.weight, std=gain * layer.in_features**-0.5)
        nn.init.zeros_(layer.bias)
        gain = calculate_gain(net.act[0])
    return net


def fit(arm: dict[str, Any]) -> dict[str, Any]:
    looks = [EPOCH * epoch for epoch in LOOKS if EPOCH * epoch <= arm["updates"]]
    return {"updates": arm["updates"], "evaluate_at": looks, "batch_size": 50}


ARMS = {
    f"{around}-{depth}-{name}{budget}": {
        "around": around, "depth": depth, "activation": name, "updates": updates,
    }
    for budget, updates in BUDGETS.items()
    for around in AROUND
    for depth in DEPTHS
    for name in FUNCTIONS
}  # fmt: skip

STUDY = Study(
    arms=ARMS,
    rates=(0.003, 0.01, 0.03, 0.1, 0.3),
    seeds=range(10),
    tuning_seeds=range(100, 110),
    splits=splits,
    model=model,
    fit=fit,
    curves=("validation_accuracy",),
    short=tuple(name for name in ARMS if name.endswith("short")),
    contrasts=tuple(
        Contrast(
            f"{around}-{depth}-{name}{budget}",
            f"{around}-{depth}-relu{budget}",
            claim="activation-choice-determines-performance",
            family=f"{around}, {depth} hidden layers{budget}",
        )
        for budget in BUDGETS
        for around in AROUND
        for depth in DEPTHS
        for name in FUNCTIONS
        if name != "relu"
    ),
    quick={"rates": (0.03,), "seeds": range(2), "fit": {"updates": 20, "evaluate_at": None}},
)
