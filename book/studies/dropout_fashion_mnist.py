"""Dropout in a convolutional network on 1,000 images of Fashion-MNIST.

Varied: where dropout stands and what it drops. After the hidden layer: single units, 0.5. After each
of the two poolings: single values, whole channels, or squares of 3 x 3, each 0.2. With batch normalization
before every activation: none, single values after each pooling (thus before the next normalization), or
units after the hidden layer (behind the last one).

Measured: accuracy, loss and expected calibration error (ece) on the test part with dropout off; on 2,000 of
the 10,000 test images the same for one pass with dropout off and for the mean over 20 masks (masks20), and
how well the entropy of either tells errors from right answers (auroc, the share of pairs of an error and a
right answer in which the error has the higher entropy). Where there is batch normalization: for every one of
its layers the variance of its input in evaluation mode over the training images, divided by its running
variance (variance_ratios, mean over channels).

Reduced, to finish in minutes on two cores: 1,000 of the 55,000 training images (the same for all seeds),
1,000 of the 5,000 validation images, 8 and 16 channels, 20 epochs, two tuning seeds, five seeds.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from convcraft.dropout import DropBlock2d, Dropout, Dropout2d, mc_predict
from convcraft.lab import data
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.statistics import expected_calibration_error
from convcraft.lab.training import evaluate, fit, seeded
from convcraft.normalization import BatchNorm1d, BatchNorm2d

MASKS = 20
ARMS: dict[str, dict[str, Any]] = {
    "none": {},
    "units 0.5": {"last": 0.5},
    "values 0.2": {"kind": "values", "inside": 0.2},
    "channels 0.2": {"kind": "channels", "inside": 0.2},
    "squares 0.2": {"kind": "squares", "inside": 0.2},
    "bn": {"bn": True},
    "bn, values 0.2": {"bn": True, "kind": "values", "inside": 0.2},
    "bn, units 0.5": {"bn": True, "last": 0.5},
}
PLAIN = [name for name in ARMS if not name.startswith("bn") and name != "none"]
KINDS = {
    "values": Dropout,
    "channels": Dropout2d,
    "squares": lambda p: DropBlock2d(p, block_size=3),
}


def model(arm: dict[str, Any]) -> nn.Sequential:
    """Two convolutions, each with pooling, a hidden layer of 64 units, and the arm's dropout."""
    norm = arm.get("bn", False)

    def inside() -> list[nn.Module]:
        return [KINDS[arm["kind"]](arm["inside"])] if "inside" in arm else []

    def block(before: int, after: int) -> list[nn.Module]:
        layers = [nn.Conv2d(before, after, 3, padding=1), *([BatchNorm2d(after)] if norm else [])]
        return [*layers, nn.ReLU(), nn.MaxPool2d(2), *inside()]

    last = [Dropout(arm["last"])] if "last" in arm else []
    hidden = [nn.Linear(16 * 49, 64), *([BatchNorm1d(64)] if norm else []), nn.ReLU(), *last]
    return nn.Sequential(*block(1, 8), *block(8, 16), nn.Flatten(), *hidden, nn.Linear(64, 10))


class Probabilities(nn.Module):
    """The network with a softmax behind it, so that masks are averaged as probabilities."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x).softmax(1)


def scores(name: str, p: Tensor, y: Tensor) -> dict[str, float]:
    """Accuracy, loss, calibration error, and how well the entropy tells errors from right answers."""
    entropy = -(p * p.clamp_min(1e-12).log()).sum(1)
    wrong = p.argmax(1) != y
    pairs = entropy[wrong][:, None] - entropy[~wrong]
    return {
        f"{name}_accuracy": float((~wrong).float().mean()),
        f"{name}_loss": float(-p[torch.arange(len(y)), y].clamp_min(1e-12).log().mean()),
        f"{name}_ece": expected_calibration_error(p.numpy(), y.numpy()),
        f"{name}_auroc": float(((pairs > 0).float() + 0.5 * (pairs == 0).float()).mean()),
    }


def variance_ratios(net: nn.Module, part: data.Split) -> list[float]:
    """Variance of the input of every normalization in evaluation mode over its running variance."""
    found, x = [], part.x
    with torch.no_grad():
        for layer in net:
            if isinstance(layer, (BatchNorm1d, BatchNorm2d)):
                found.append(float((x.transpose(0, 1).flatten(1).var(1) / layer.running_var).mean()))
            x = layer(x)
    return found


def splits(arm: dict[str, Any]) -> data.Splits:
    """Fashion-MNIST with 1,000 images to learn from and 1,000 to choose by, standardized."""
    found = data.load("fashion-mnist")
    train, validation = found.train.subset(1000, seed=0), found.validation.subset(1000, seed=0)
    return replace(found, train=train, validation=validation).standardized()


def run(arm: dict[str, Any], rate: float, seed: int, splits: data.Splits, final: bool) -> dict[str, Any]:
    """Train one network."""
    net = seeded(lambda: model(arm), seed)
    history = fit(
        net, splits, epochs=20, batch_size=50, learning_rate=rate, momentum=0.9, seed=seed, progress=False
    )  # fmt: skip
    result = {key: getattr(history, key)[-1:] for key in ("validation_loss", "validation_accuracy")}
    if not final:
        return result
    train, test = evaluate(net, splits.train), evaluate(net, splits.test)
    result |= {
        "train_accuracy": train.accuracy,
        "final_train_loss": train.loss,
        "test_accuracy": test.accuracy,
        "test_loss": test.loss,
    }
    few, wrapped = splits.test.subset(2000, seed=0), Probabilities(net).eval()
    with torch.no_grad():
        result |= scores("single", wrapped(few.x), few.y)
    if "inside" in arm or "last" in arm:
        generator = torch.Generator().manual_seed(seed)
        result |= scores(f"masks{MASKS}", mc_predict(wrapped, few.x, MASKS, generator).mean, few.y)
    if arm.get("bn"):
        result["variance_ratios"] = variance_ratios(net, splits.train)
    return result


STUDY = Study(
    arms=ARMS,
    rates=(0.01, 0.03, 0.1),
    seeds=range(5),
    tuning_seeds=range(100, 102),
    splits=splits,
    run=run,
    contrasts=tuple(
        Contrast(name, other, measure=measure, family=measure)
        for measure in ("test_accuracy", "test_loss", "single_ece")
        for name, other in (
            *((name, "none") for name in PLAIN),
            ("bn, values 0.2", "bn"),
            ("bn, units 0.5", "bn"),
        )
    ),
    quick={"seeds": range(2), "tuning_seeds": range(100, 101), "rates": (0.03,)},
)  # fmt: skip
