"""Activation league: thirteen activations in one convolutional and one recurrent network.

Varied: the activation, each at the weight scale that keeps its own second moment, in two networks on the
digits: `cnn`, two convolutions with max pooling and a hidden layer, and `rnn`, a recurrent layer that reads
the image row by row. Three activations learn: PReLU with one slope for all channels or one a channel, and
Swish, whose beta is learned; the convolutional network with ReLU is also there with a few more channels, to
compare the learners with a network of more parameters.

Measured, after training at the rate that is best for the arm: test accuracy and loss; on the test images the
share of activations that are exactly 0 and their mean; the slopes or betas that were learned; the number of
parameters. Twenty seeds, so that the question how well one chooses by few runs can be answered by drawing
from them.

Budgets: 60 epochs (1,200 updates) and, on purpose short, 12 (240), each with rates of its own.

Reduced, to finish in minutes on two cores: digits alone (the tests of the claims ask for MNIST and CIFAR-10
too; Fashion-MNIST has a study of its own). That ReLU is the most widely used is a count of other
people's programs, which no training can settle: only its rank is measured.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from convcraft.initialization import calculate_gain
from convcraft.lab import data, models
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.training import evaluate

FIXED = ("relu", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "tanh", "sigmoid")
FUNCTIONS: dict[str, dict[str, Any]] = {name: {"activation": name} for name in FIXED} | {
    "leaky_relu_0.25": {"activation": "leaky_relu", "slope": 0.25},
    "prelu": {"activation": "prelu"},
    "prelu_channel": {"activation": "prelu", "channels": True},
    "swish": {"activation": "swish"},
}
CHANNELS, WIDER, HIDDEN, UNITS = (8, 16), (9, 18), 32, 32
ROW = 8  # pixels in a row of an image


def activation(arm: dict[str, Any], channels: int = 1) -> nn.Module:
    """A fresh activation layer of the arm."""
    if "slope" in arm:
        return nn.LeakyReLU(arm["slope"])
    if "channels" in arm:
        return nn.PReLU(channels)
    return models.activation_layer(arm["activation"])


class Recurrent(nn.Module):
    """Reads an image row by row, h = f(W x + U h + b), and classifies by the last h."""

    def __init__(self, arm: dict[str, Any]) -> None:
        super().__init__()
        self.act = activation(arm, UNITS)
        self.input = nn.Linear(ROW, UNITS)
        self.state = nn.Linear(UNITS, UNITS, bias=False)
        self.output = nn.Linear(UNITS, 10)
        # Half of the second moment of what enters f comes from the row, half from the state.
        gain = calculate_gain(activation(arm, 1))
        for layer, scale in ((self.input, 0.5**0.5), (self.state, gain * 0.5**0.5), (self.output, 1.0)):
            nn.init.normal_(layer.weight, std=scale * layer.in_features**-0.5)
        nn.init.zeros_(self.input.bias)
        nn.init.zeros_(self.output.bias)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(1).unflatten(1, (-1, ROW))
        h = self.act(self.input(rows[:, 0]))
        for step in range(1, rows.shape[1]):
            h = self.act(self.input(rows[:, step]) + self.state(h))
        return self.output(h)


def splits(arm: dict[str, Any]) -> data.Splits:
    """The digits, standardized."""
    return data.load("digits").standardized()


def model(arm: dict[str, Any]) -> nn.Module:
    """The network of the arm, each layer at the weight scale that keeps the second moment before it."""
    if arm["net"] == "rnn":
        return Recurrent(arm)
    channels = WIDER if arm.get("wider") else CHANNELS
    net = models.ConvNet(channels, hidden=HIDDEN, activation=lambda channels: activation(arm, channels))
    gain = 1.0
    for layer in (module for module in net.modules() if isinstance(module, (nn.Conv2d, nn.Linear))):
        nn.init.normal_(layer.weight, std=gain * layer.weight[0].numel() ** -0.5)
        nn.init.zeros_(layer.bias)
        gain = calculate_gain(activation(arm))
    return net


def _is_activation(name: str) -> bool:
    """Whether a module of this name is an activation layer: act, act1, act2, ..."""
    return name.split(".")[-1].startswith("act")


def activations_of(net: nn.Module, x: Tensor) -> Tensor:
    """All outputs of all activation layers, in one row."""
    seen: list[Tensor] = []
    layers = [layer for name, layer in net.named_modules() if _is_activation(name)]
    hooks = [layer.register_forward_hook(lambda *call: seen.append(call[2].flatten())) for layer in layers]
    try:
        with torch.no_grad():
            net(x)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.cat(seen)


def measure(net: nn.Module, splits: data.Splits, arm: dict[str, Any], seed: int) -> dict[str, Any]:
    """What the trained network's activations are like, and what its learned activations have learned."""
    values = activations_of(net, splits.test.x)
    learned = [p for name, layer in net.named_modules() if _is_activation(name) for p in layer.parameters()]
    return {
        "zero_share": float((values == 0).float().mean()),
        "mean_activation": float(values.mean()),
        "learned": torch.cat([p.detach().flatten() for p in learned]).tolist() if learned else [],
        "train_loss_end": evaluate(net, splits.train).loss,
        "parameters": sum(p.numel() for p in net.parameters()),
    }


def _contrasts() -> tuple[Contrast, ...]:
    found = [
        Contrast(f"cnn-{name}", "cnn-relu", claim="relu-as-hidden-default-in-convnets", family="cnn")
        for name in FUNCTIONS
        if name != "relu"
    ]
    smooth, adaptive = (
        ("silu", "mish", "gelu"),
        ("leaky_relu", "leaky_relu_0.25", "prelu", "prelu_channel", "swish"),
    )
    for net in ("cnn", "rnn"):
        for claim, names in (
            ("swish-mish-outperform-relu-on-some-tasks", smooth),
            ("adaptive-activations-exist-and-should-be-considered", adaptive),
            ("leaky-relu-nonzero-negative-output-is-a-drawback", ("leaky_relu", "leaky_relu_0.25")),
        ):
            found += [Contrast(f"{net}-{name}", f"{net}-relu", claim=claim, family=claim) for name in names]
        claim = "elu-trains-better-than-leaky-and-reduces-bias"
        for measure in ("test_accuracy", "test_loss", "train_loss_end", "mean_activation"):
            family = f"{claim}: {measure}"
            found.append(Contrast(f"{net}-elu", f"{net}-leaky_relu", measure, claim, family=family))
    found += [
        Contrast(f"{net}-{name} short", f"{net}-relu short", family=f"{net}, short")
        for net in ("cnn", "rnn")
        for name in FUNCTIONS
        if name != "relu"
    ]
    found += [
        Contrast(f"{net}-{name}", f"{net}-relu", against=(f"{net}-{name} short", f"{net}-relu short"),
                 family=f"{net}, budget")
        for net in ("cnn", "rnn")
        for name in FUNCTIONS
        if name != "relu"
    ]  # fmt: skip
    return (
        *found,
        Contrast(
            "cnn-prelu_channel",
            "cnn-relu_wider",
            claim="adaptive-activations-exist-and-should-be-considered",
            family="wider",
        ),
    )


LONG: dict[str, dict[str, Any]] = {
    f"{net}-{name}": {"net": net, **arm} for net in ("cnn", "rnn") for name, arm in FUNCTIONS.items()
} | {"cnn-relu_wider": {"net": "cnn", "activation": "relu", "wider": True}}
BUDGETS = {"": 60, " short": 12}  # epochs
ARMS = {
    f"{name}{budget}": {**arm, "epochs": epochs}
    for budget, epochs in BUDGETS.items()
    for name, arm in LONG.items()
}

STUDY = Study(
    arms=ARMS,
    rates=(0.003, 0.01, 0.03, 0.1, 0.3),
    seeds=range(20),
    tuning_seeds=range(100, 110),
    short=tuple(name for name in ARMS if name.endswith("short")),
    splits=splits,
    model=model,
    measure=measure,
    fit=lambda arm: {
        "epochs": arm["epochs"],
        "batch_size": 50,
        "evaluate_at": range(arm["epochs"], arm["epochs"] * 20 + 1, arm["epochs"]),
    },
    contrasts=_contrasts(),
    quick={
        "seeds": range(2), "tuning_seeds": range(100, 101), "rates": (0.01, 0.03),
        "fit": {"epochs": 1, "evaluate_at": None},
    },  # fmt: skip
)
