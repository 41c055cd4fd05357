"""Learning rate sweep: what each activation does at every learning rate, after 480 and after 1,920 updates.

Varied: the activation, the depth (number of hidden layers, 32 units each), the initialization, the budget and
the learning rate, from 0.003 to 12 in factors of 2. Steps are plain gradient descent on batches of 32, without
momentum, so that a rate is a rate. The initializations are

- "xavier": gain 1 for every activation, the one initialization that knows nothing of the activation;
- "usual": what each function is usually given: sqrt(2) for relu (He), 5/3 for tanh;
- "equal": the gain E[f'(z)^2]^(-1/2), which keeps the size of the gradient from layer to layer, and biases
  that cancel the mean of the activation: the arms then differ in their functions and no longer in the scale
  of their gradients.

Measured: validation accuracy at the end at every rate and seed: the curve against the rate is the result, so
all rates have all ten tuning seeds. Of the final runs, at the best rate, the training loss is kept as a curve.
"Faster" is judged by the epochs until the training loss is below 0.2; on this task a network at that loss has
a training accuracy of 94 to 97 %.

480 updates (15 epochs) on purpose, since what a small rate reaches depends on the budget, and four times as many,
1,920 (60 epochs), in the ten arms on which a claim rests; their names end in "long".

Reduced, to finish in minutes on two cores: digits alone; 32 units; depths 2, 4 and 8, where 4 also stands for
the depth 3 of one decisive test, and the gain 5/3 of tanh for its 1.59. Written to be run vectorized: an arm is
trained in one go.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from convcraft import activations
from convcraft.lab import data, models
from convcraft.lab.experiments import Contrast, Study

WIDTH = 32
RATES = tuple(round(0.003 * 2**k, 6) for k in range(13))
USUAL = {"relu": 2**0.5, "leaky_relu": 2**0.5, "tanh": 5 / 3}


def splits(arm: dict[str, Any]) -> data.Splits:
    """Digits, 1000 for training and 297 for validation, standardized."""
    return data.load("digits").standardized()


def model(arm: dict[str, Any]) -> nn.Module:
    """The network of an arm: normal weights of variance gain^2 / fan_in, biases 0 or centring."""
    name, scale = arm["activation"], arm["initialization"]
    net = models.MLP((64, *[WIDTH] * arm["depth"], 10), activation=name)
    moments = activations.moments(activations.catalog()[name].function)
    hidden = {"xavier": 1.0, "usual": USUAL.get(name, 1.0), "equal": moments.derivative_second**-0.5}[scale]
    gain, mean = 1.0, 0.0  # of what feeds the first layer: standardized pixels
    for layer in net.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=gain / layer.in_features**0.5)
            nn.init.zeros_(layer.bias)
            layer.bias.data -= mean * layer.weight.data.sum(1)
            gain, mean = hidden, moments.mean if scale == "equal" else 0.0
    return net


def fit(arm: dict[str, Any]) -> dict[str, Any]:
    """15 measurements of a run, whatever its budget: after every epoch, or after every fourth."""
    last = 32 * arm["epochs"]
    return {"updates": last, "evaluate_at": range(last // 15, last + 1, last // 15), "batch_size": 32, "momentum": 0.0}


NETWORKS = [
    *((f, 4, scale) for scale in ("xavier", "equal") for f in ("relu", "tanh", "elu", "silu", "sigmoid")),
    *((f, depth, "usual") for depth in (2, 4, 8) for f in ("relu", "tanh")),
    *(("leaky_relu", depth, "usual") for depth in (4, 8)),
    *(("sigmoid", depth, scale) for depth in (2, 8) for scale in ("xavier", "equal")),
    ("tanh", 8, "xavier"),
]
LONG = ("relu-4-xavier", "tanh-4-xavier", "relu-4-equal", "tanh-4-equal", "sigmoid-4-equal", "relu-4-usual",
        "tanh-4-usual", "relu-8-usual", "tanh-8-usual", "tanh-8-xavier")  # fmt: skip


def arm(activation: str, depth: int, initialization: str, epochs: int) -> dict[str, Any]:
    return {"activation": activation, "depth": depth, "initialization": initialization, "epochs": epochs}


CELLS = {f"{f}-{depth}-{scale}": (f, depth, scale) for f, depth, scale in NETWORKS}
ARMS: dict[str, dict[str, Any]] = {
    **{name: arm(*cell, 15) for name, cell in CELLS.items()},
    **{f"{name} long": arm(*CELLS[name], 60) for name in LONG},
}

STUDY = Study(
    arms=ARMS,
    rates=RATES,
    seeds=range(10),
    tuning_seeds=range(100, 110),
    first=10,
    splits=splits,
    model=model,
    fit=fit,
    curves=("train_loss",),
    short=tuple(name for name in ARMS if not name.endswith("long")),
    contrasts=tuple(
        Contrast(f"relu-4-usual{budget}", f"{other}{budget}", family=f"each at its best rate{budget}")
        for budget, others in (
            ("", ("tanh-4-usual", "leaky_relu-4-usual", "sigmoid-4-equal", "sigmoid-4-xavier")),
            (" long", ("tanh-4-usual", "sigmoid-4-equal")),
        )
        for other in others
    ),
    quick={"rates": (0.1,), "seeds": range(2), "tuning_seeds": range(100, 101),
           "fit": {"updates": 32, "evaluate_at": (16, 32)}},
)  # fmt: skip
