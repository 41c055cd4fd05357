"""Statistics of batch normalization that no test image has: what recalibration gives back.

Dropout and augmentation change what a batch normalization (BN) sees in training, and are off in prediction;
its running statistics are then those of other data. Here every network is measured twice: as it was trained,
and after `recalibrate_batch_norm` on its own training images, dropout and augmentation off. The weights are
the same, so that the difference is the effect of the statistics alone.

Varied: what stands beside BN in the ConvNet of `technique_subsets`: nothing; L2; dropout after the hidden
layer, behind the last BN (keep 0.5); dropout after every activation, thus before the next BN (keep 0.9, 0.8,
0.5); augmentation; L2 and augmentation; all of L2, dropout behind the last BN and augmentation. Images,
seeds, rates and updates are those of `technique_subsets`, 300 digits and 400 updates of 32.

Measured: test accuracy and loss as trained, and recalibrated_accuracy and recalibrated_loss; gain, the
difference of the accuracies; under_shift and recalibrated_shift, the accuracy on test images shifted by up
to one pixel.

Reduced: digits only; the rate of every arm is the best one as trained, on two seeds.
"""

import torch
from torch import nn

from convcraft.augmentation import RandomAffine, RandomShift
from convcraft.dropout import Dropout
from convcraft.initialization import initialize
from convcraft.lab import data
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.randomness import forked
from convcraft.lab.training import evaluate, fit, seeded
from convcraft.normalization import BatchNorm1d, BatchNorm2d, recalibrate_batch_norm

N, BATCH, EPOCHS, DECAY = 300, 32, 40, 0.003


class Standardize(nn.Module):
    """Subtract the mean of the training images and divide by their deviation (digits: 0.305 and 0.376)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - 0.305) / 0.376


def model(arm: dict) -> nn.Sequential:
    def dropped(last: bool) -> list[nn.Module]:
        here = arm["place"] == "before" or (last and arm["place"] == "last")
        return [Dropout(1 - arm["keep"])] if here else []

    body = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        *(BatchNorm2d(8), nn.ReLU(), *dropped(False), nn.MaxPool2d(2)),
        nn.Conv2d(8, 16, 3, padding=1),
        *(BatchNorm2d(16), nn.ReLU(), *dropped(False), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(64, 32)),
        *(BatchNorm1d(32), nn.ReLU(), *dropped(True)),
        nn.Linear(32, 10),
    )
    initialize(body)
    augment = RandomAffine(10, scale=(0.9, 1.1), shift=0.5) if arm["augmentation"] else nn.Identity()
    return nn.Sequential(augment, Standardize(), body)


def accuracies(net: nn.Module, splits: data.Splits) -> tuple[float, float, float]:
    """Accuracy and loss on the test images, and the accuracy on shifted ones."""
    test = splits.test
    with forked(0):
        shifted = data.Split(RandomShift(1)(test.x), test.y)
    found = evaluate(net, test)
    return found.accuracy, found.loss, evaluate(net, shifted).accuracy


def run(arm: dict, rate: float, seed: int, splits: data.Splits, final: bool) -> dict:
    """Train one network, measure, recalibrate, measure again."""
    train, few = splits.train.subset(N, seed), splits.validation.subset(10)
    parts = data.Splits(train, few, few, splits.name, splits.classes)
    net = seeded(lambda: model(arm), seed)
    settings = {"learning_rate": rate, "weight_decay": DECAY if arm["l2"] else 0.0, "batch_size": BATCH}
    fit(net, parts, epochs=EPOCHS, seed=seed, progress=False, **settings)
    found = {"validation_accuracy": evaluate(net, splits.validation).accuracy}
    if not final:
        return found
    found["test_accuracy"], found["test_loss"], found["under_shift"] = accuracies(net, splits)
    recalibrate_batch_norm(net, [train.x])
    after = accuracies(net, splits)
    found["recalibrated_accuracy"], found["recalibrated_loss"], found["recalibrated_shift"] = after
    found["gain"] = found["recalibrated_accuracy"] - found["test_accuracy"]
    return found


def splits(arm: dict) -> data.Splits:
    return data.load("digits")


def arm(*techniques: str, place: str = "", keep: float = 1.0) -> dict:
    return {"place": place, "keep": keep, "l2": "l2" in techniques, "augmentation": "aug" in techniques}


ARMS = {
    "bn": arm(),
    "l2+bn": arm("l2"),
    "bn+dropout": arm(place="last", keep=0.5),
    **{f"bn+dropout_before{keep}": arm(place="before", keep=keep) for keep in (0.9, 0.8, 0.5)},
    "bn+augmentation": arm("aug"),
    "l2+bn+augmentation": arm("l2", "aug"),
    "l2+bn+dropout+augmentation": arm("l2", "aug", place="last", keep=0.5),
}
CLAIM = "dropout-and-bn-together-improve-generalization"

STUDY = Study(
    arms=ARMS,
    rates=(0.006, 0.025, 0.1, 0.4),
    seeds=range(10),
    tuning_seeds=range(100, 102),
    splits=splits,
    run=run,
    contrasts=tuple(
        Contrast(name, "bn", measure, CLAIM, family=measure)
        for measure in ("test_accuracy", "recalibrated_accuracy")
        for name in ARMS
        if name != "bn"
    ),
    quick={"seeds": range(1), "tuning_seeds": range(100, 101), "rates": (0.025,)},
)
