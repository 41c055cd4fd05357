"""A network of two convolutions from an article, repaired, on Fashion-MNIST: five epochs, five seeds.

The sample is in Keras and was never given data. Here it is in torch with the defaults of Keras: 32 and 64
filters of 3x3 without padding, maximum over 2x2, 64 units, 10 outputs, ReLU; weights by Glorot's uniform
rule, biases zero; Adam at 0.001, batches of 32, five epochs. What had to be added: pixels between 0 and 1,
and a validation part of 5,000 of the 60,000 training images. Its test part is looked at after each epoch, as
the sample does, but nothing is chosen by it here: that is left to the page.

Measured: validation accuracy and which test images are right after each epoch; after the last one how many
test images of each class are given which class, loss, and expected calibration error with its value for the
same confidences under perfect calibration, before and after one temperature fitted on the validation part.

Nothing is reduced but arithmetic: the layers compute in bfloat16, with weights and updates in float32.
"""

from __future__ import annotations

from typing import Any

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor, nn

from convcraft.initialization import xavier_uniform_
from convcraft.lab import data
from convcraft.lab.experiments import Study
from convcraft.lab.experiments.score import which_right
from convcraft.lab.randomness import batch_orders
from convcraft.lab.statistics import expected_calibration_error, perfect_calibration_error
from convcraft.lab.training import seeded

EPOCHS, BATCH = 5, 32


def splits(arm: dict) -> data.Splits:
    """55,000 images to train on, 5,000 to validate, 10,000 to test."""
    return data.load("fashion-mnist")


class Net(nn.Module):
    """The network of the sample: 121,930 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(1600, 64), nn.ReLU(), nn.Linear(64, 10),
        )  # fmt: skip
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d | nn.Linear):
                xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16):
            return self.layers(x.contiguous(memory_format=torch.channels_last)).float()


def logits(net: nn.Module, part: data.Split) -> Tensor:
    """The outputs for a part."""
    with torch.no_grad():
        return torch.cat([net(x) for x in part.x.split(500)])


def temperature(outputs: Tensor, labels: Tensor) -> float:
    """The number that the outputs have to be divided by for the lowest cross-entropy."""

    def loss(log: float) -> float:
        return float(nn.functional.cross_entropy(outputs / 2.0**log, labels))

    return float(2.0 ** minimize_scalar(loss, bounds=(-2, 3), method="bounded").x)


def calibration(outputs: Tensor, labels: Tensor) -> dict[str, float]:
    """Cross-entropy, expected calibration error, and its value under perfect calibration."""
    p = outputs.double().softmax(1).numpy()
    return {
        "test_loss": float(nn.functional.cross_entropy(outputs, labels)),
        "ece": expected_calibration_error(p, labels.numpy()),
        "perfect_ece": perfect_calibration_error(p, draws=200).mean,
    }


def tested(net: nn.Module, splits: data.Splits) -> dict[str, Any]:
    """What is measured after the last epoch."""
    outputs, labels = logits(net, splits.test).cpu(), splits.test.y.cpu()
    t = temperature(logits(net, splits.validation).cpu(), splits.validation.y.cpu())
    given = outputs.argmax(1)
    confusion = torch.bincount(10 * labels + given, minlength=100).tolist()  # row: the true class
    found = {"test_accuracy": float((given == labels).float().mean()), "confusion": confusion}
    scaled = {f"scaled_{name}": value for name, value in calibration(outputs / t, labels).items()}
    return found | {"temperature": t} | calibration(outputs, labels) | scaled


def run(arm: dict, rate: float, seed: int, splits: data.Splits, final: bool) -> dict[str, Any]:
    """Train one network; look at validation and test after each epoch."""
    train, validation = splits.train, splits.validation
    net = seeded(Net, seed).to(train.x.device)
    optimizer = torch.optim.Adam(net.parameters(), lr=arm["rate"], eps=1e-7, fused=True)
    orders = batch_orders(len(train), seed)
    losses, accuracies, right = [], [], []
    for _ in range(arm["epochs"]):
        for rows in next(orders).split(BATCH):
            loss = nn.functional.cross_entropy(net(train.x[rows]), train.y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        outputs = logits(net, validation)
        losses.append(float(nn.functional.cross_entropy(outputs, validation.y)))
        accuracies.append(float((outputs.argmax(1) == validation.y).float().mean()))
        right.append(which_right(net, splits.test))
    curves = {"epoch_validation_loss": losses, "epoch_validation_accuracy": accuracies, "epoch_right": right}
    return {"updates": arm["epochs"] * -(-len(train) // BATCH)} | curves | tested(net, splits)


STUDY = Study(
    arms={"sample": {"epochs": EPOCHS, "rate": 0.001}},
    seeds=range(5),
    splits=splits,
    run=run,
    trains=False,
    quick={"arms": {"sample": {"epochs": 1, "rate": 0.001}}, "seeds": range(1)},
)
