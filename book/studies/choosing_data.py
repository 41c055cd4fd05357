"""Properties of the data: does the activation have to fit their sign, sparsity, tails and noise?

Varied: the activation and the data. `cnn`: a small convolutional network with ReLU or tanh on digits in four
encodings, pixels in [0, 1], in [-1, 0], in [-1, 1] and standardized. `mlp`: a network of two hidden layers
with ReLU, tanh, ELU or SiLU on standardized digits as they are, with 50 or 90 % of the inputs of each image
set to 0, with every input cubed (heavy tails, then scaled), and with Gaussian noise of standard deviation 1
or 2. What is done to the data is done to training, validation and test alike.

Measured after training at the rate that is best for the cell: test accuracy. Whether data and activation
interact is a difference of differences over the same seeds, which a chapter computes from the values; it has
twice the noise of a difference, hence thirty seeds.

Budgets: 60 epochs (1,200 updates) and, on purpose short, 10 (200), each with rates of its own.

Reduced, to finish in minutes on two cores: digits alone. The noise is larger than the 0.3 and 0.6
of the test, because the inputs have variance 1.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from convcraft.initialization import calculate_gain
from convcraft.lab import data, models
from convcraft.lab.experiments import Contrast, Study

ENCODINGS = ("0 to 1", "-1 to 0", "-1 to 1", "standardized")
CONDITIONS = ("as it is", "half zero", "nine tenths zero", "heavy tails", "noise 1", "noise 2")


def splits(arm: dict[str, Any]) -> data.Splits:
    """The digits in the encoding, or with the property, of the arm."""
    digits = data.load("digits")
    changes = {
        "0 to 1": lambda x: x,
        "-1 to 0": lambda x: x - 1,
        "-1 to 1": lambda x: 2 * x - 1,
    }
    if arm["data"] in changes:
        return _each(digits, changes[arm["data"]])
    digits = digits.standardized()
    generator = torch.Generator().manual_seed(0)
    if "zero" in arm["data"]:
        keep = {"half zero": 0.5, "nine tenths zero": 0.1}[arm["data"]]
        return _each(digits, lambda x: x * (torch.rand(x.shape, generator=generator) < keep))
    if arm["data"] == "heavy tails":
        scale = float((digits.train.x**3).std())
        return _each(digits, lambda x: x**3 / scale)
    if "noise" in arm["data"]:
        size = float(arm["data"].split()[1])
        return _each(digits, lambda x: x + size * torch.randn(x.shape, generator=generator))
    return digits


def _each(splits: data.Splits, change: Any) -> data.Splits:
    """The same change made to the images of every part."""
    parts = {name: getattr(splits, name) for name in ("train", "validation", "test")}
    return replace(splits, **{name: replace(part, x=change(part.x)) for name, part in parts.items()})


def model(arm: dict[str, Any]) -> nn.Module:
    """The network of the arm, each layer at the weight scale that keeps the second moment before it."""
    if arm["net"] == "cnn":
        net: nn.Module = models.ConvNet((8, 16), hidden=32, activation=arm["activation"])
    else:
        net = models.MLP((64, 64, 64, 10), activation=arm["activation"])
    gain = 1.0
    for layer in (module for module in net.modules() if isinstance(module, (nn.Conv2d, nn.Linear))):
        nn.init.normal_(layer.weight, std=gain * layer.weight[0].numel() ** -0.5)
        nn.init.zeros_(layer.bias)
        gain = calculate_gain(models.activation_layer(arm["activation"]))
    return net


BUDGETS = {"": 60, " short": 10}  # epochs
CELLS = [("cnn", kind, f) for kind in ENCODINGS for f in ("relu", "tanh")]
CELLS += [("mlp", kind, f) for kind in CONDITIONS for f in ("relu", "tanh", "elu", "silu")]
ARMS = {
    f"{net}-{kind}-{f}{budget}": {"net": net, "data": kind, "activation": f, "epochs": epochs}
    for budget, epochs in BUDGETS.items()
    for net, kind, f in CELLS
}

STUDY = Study(
    arms=ARMS,
    rates=(0.003, 0.01, 0.03, 0.1, 0.3),
    seeds=range(30),
    tuning_seeds=range(100, 110),
    splits=splits,
    model=model,
    fit=lambda arm: {"epochs": arm["epochs"], "batch_size": 50},
    short=tuple(name for name in ARMS if name.endswith("short")),
    contrasts=tuple(
        Contrast(
            f"{net}-{kind}-{f}{budget}",
            f"{net}-{kind}-relu{budget}",
            against=(f"{net}-{base}-{f}{budget}", f"{net}-{base}-relu{budget}"),
            family=f"interaction, {net}{budget}",
        )
        for budget in BUDGETS
        for net, kind, f in CELLS
        if f != "relu" and kind != (base := "standardized" if net == "cnn" else "as it is")
    ),
    quick={"rates": (0.03,), "seeds": range(2), "fit": {"epochs": 1}},
)
