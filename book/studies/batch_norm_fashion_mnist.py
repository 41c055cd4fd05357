"""Five normalizations at two batch sizes on 1,500 images of Fashion-MNIST.

A network of four convolutions (8, 8, 16 and 16 channels) and one hidden layer of 32 units, He initialization,
gradient descent with momentum 0.9.

Varied: what stands before every activation (nothing; batch, layer, group or instance normalization; behind
the dense layer, which has no places, the last two are layer normalization too), the batch size (4, 64), the
learning rate. Layer normalization of a convolution is taken over all channels and places of an image, group
normalization over four channels and all places.

Measured: validation accuracy after every epoch (accuracy_path), test accuracy and loss, train accuracy; where
there is batch normalization, test accuracy and loss after the running statistics were replaced by those of
all training images (recalibrated_...).

Reduced, to finish in minutes on two cores: 1,500 of the 55,000 training images (the same for all seeds),
1,000 of the 5,000 validation images, four epochs, so that batches of 64 make 96 updates and batches of 4
make 1,500; four rates, two tuning seeds, five seeds.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import nn

from convcraft.initialization import initialize
from convcraft.lab import data
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.training import evaluate, fit, seeded
from convcraft.normalization import (
    BatchNorm1d,
    BatchNorm2d,
    GroupNorm,
    InstanceNorm2d,
    LayerNorm,
    recalibrate_batch_norm,
)

EPOCHS = 4
NORMS = ("none", "batch", "layer", "group", "instance")
ARMS: dict[str, dict[str, Any]] = {
    f"{norm} {batch}": {"norm": norm, "batch": batch} for batch in (4, 64) for norm in NORMS
}


def splits(arm: dict[str, Any]) -> data.Splits:
    """Fashion-MNIST with 1,500 images to learn from and 1,000 to choose by, standardized."""
    found = data.load("fashion-mnist")
    train, validation = found.train.subset(1500, seed=0), found.validation.subset(1000, seed=0)
    return replace(found, train=train, validation=validation).standardized()


def normalized(norm: str, width: int, images: bool) -> list[nn.Module]:
    """The normalization that stands behind a layer of so many channels or units, or nothing."""
    if norm == "none":
        return []
    if norm == "batch":
        return [BatchNorm2d(width) if images else BatchNorm1d(width)]
    if not images:
        return [LayerNorm(width)]
    if norm == "instance":
        return [InstanceNorm2d(width, affine=True)]
    return [GroupNorm(1 if norm == "layer" else width // 4, width)]


def model(norm: str) -> nn.Sequential:
    """Four convolutions, three poolings, two dense layers."""
    layers: list[nn.Module] = []
    for before, after, pool in ((1, 8, True), (8, 8, True), (8, 16, False), (16, 16, True)):
        layers += [nn.Conv2d(before, after, 3, padding=1), *normalized(norm, after, True), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if pool else []
    layers += [nn.Flatten(), nn.Linear(144, 32), *normalized(norm, 32, False), nn.ReLU(), nn.Linear(32, 10)]
    net = nn.Sequential(*layers)
    initialize(net)
    return net


def run(arm: dict[str, Any], rate: float, seed: int, splits: data.Splits, final: bool) -> dict[str, Any]:
    """Train one network."""
    net = seeded(lambda: model(arm["norm"]), seed)
    history = fit(
        net, splits, epochs=EPOCHS, batch_size=arm["batch"], learning_rate=rate, seed=seed, progress=False
    )
    result: dict[str, Any] = {
        key: getattr(history, key)[-1:] for key in ("validation_loss", "validation_accuracy")
    }
    if not final:
        return result
    train, test = evaluate(net, splits.train), evaluate(net, splits.test)
    result |= {
        "accuracy_path": list(history.validation_accuracy),
        "train_accuracy": train.accuracy,
        "test_accuracy": test.accuracy,
        "test_loss": test.loss,
    }
    if arm["norm"] == "batch":
        recalibrate_batch_norm(net, splits.train.x.split(500))
        test = evaluate(net, splits.test)
        result |= {"recalibrated_accuracy": test.accuracy, "recalibrated_loss": test.loss}
    return result


STUDY = Study(
    arms=ARMS,
    rates=(0.003, 0.01, 0.04, 0.15),
    seeds=range(5),
    tuning_seeds=range(100, 102),
    splits=splits,
    run=run,
    contrasts=(
        *(
            Contrast(f"{norm} {batch}", f"none {batch}", family=f"batches of {batch}")
            for batch in (4, 64) for norm in NORMS if norm != "none"
        ),
        *(Contrast(f"{norm} {batch}", f"batch {batch}", family="against batch")
          for batch in (4, 64) for norm in ("layer", "group", "instance")),
        *(Contrast(f"{norm} 4", f"{norm} 64", family="size of the batch") for norm in NORMS),
    ),
    quick={"seeds": range(1), "tuning_seeds": range(100, 101), "rates": (0.01,)},
)  # fmt: skip
