"""Augmentation matrix: train with one transform, test under every other.

A small ConvNet on digits, 3,000 updates of 32 images (and, on purpose short, 600), augmentation on the batch.
The images of every seed are a subset of its own.

Varied, at 200 images: the transform in training. Then the number of images (100 to 1000) without
augmentation, and at 100 and 200 images: mild augmentation (rotation by up to 10 degrees, scale 0.9 to 1.1,
shift by up to half a pixel) drawn anew for every batch (online), or as k = 1 or 4 copies of every image,
drawn once and added to the images (copies), against k + 1 times as many real images.

Measured: test accuracy and loss on clean images; accuracy under each transform of the test images (drawn
once, the same for all arms): shift by up to one pixel, rotation by up to 10, 45 and 180 degrees, scale 0.8 to
1.2, horizontal and vertical flip, all values halved (dark), 0.2 added (bright), contrast halved, Gaussian
noise of 0.2, a square of 3 x 3 erased; train accuracy, accuracy of each class, the share of 2 and 5 that are
taken for the other, likewise 6 and 9; for the arms with a transform the accuracy with test-time augmentation
(mean probability of the image and 15 transformed ones).

Reduced: digits only; one strength a transform. Networks that train
with shifts or large rotations do not fit all of their images within the budget: see train_accuracy.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from convcraft import augmentation as a
from convcraft.lab import data
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.models import ConvNet
from convcraft.lab.randomness import forked
from convcraft.lab.training import evaluate

BATCH, LOOKS = 32, 15

TRAIN: dict[str, Callable[[], nn.Module]] = {
    "none": nn.Identity,
    "shift": lambda: a.RandomShift(1),
    "rotate10": lambda: a.RandomRotation(10),
    "rotate45": lambda: a.RandomRotation(45),
    "rotate180": lambda: a.RandomRotation(180),
    "scale": lambda: a.RandomScale((0.8, 1.2)),
    "hflip": a.RandomHorizontalFlip,
    "vflip": a.RandomVerticalFlip,
    "lighting": lambda: a.Compose(a.RandomContrast((0.4, 1.2)), a.RandomBrightness((-0.25, 0.25))),
    "noise": lambda: a.RandomNoise(0.2),
    "erase": lambda: a.RandomErasing(3),
    "mild": lambda: a.RandomAffine(10, scale=(0.9, 1.1), shift=0.5),
}
TEST: dict[str, Callable[[Tensor], Tensor]] = {
    "shift": lambda x: a.RandomShift(1)(x),
    "rotate10": lambda x: a.RandomRotation(10)(x),
    "rotate45": lambda x: a.RandomRotation(45)(x),
    "rotate180": lambda x: a.RandomRotation(180)(x),
    "scale": lambda x: a.RandomScale((0.8, 1.2))(x),
    "hflip": a.horizontal_flip,
    "vflip": a.vertical_flip,
    "dark": lambda x: x / 2,
    "bright": lambda x: a.brightness(x, 0.2),
    "contrast": lambda x: a.contrast(x, 0.5),
    "noise": lambda x: a.noise(x, 0.2),
    "erase": lambda x: a.RandomErasing(3)(x),
}


class Standardize(nn.Module):
    """Subtract the mean of the training images and divide by their deviation (digits: 0.305 and 0.376)."""

    def forward(self, x: Tensor) -> Tensor:
        return (x - 0.305) / 0.376


def model(arm: dict) -> nn.Sequential:
    return nn.Sequential(TRAIN[arm["train"]](), Standardize(), ConvNet((8, 16), hidden=32))


def splits(arm: dict, seed: int) -> data.Splits:
    """The digits with the subset of this seed, and with transformed copies where the arm asks for them."""
    whole = data.load("digits")
    train, copies = whole.train.subset(arm["n"], seed), arm.get("copies", 0)
    with forked(seed):
        more = [TRAIN["mild"]()(train.x) for _ in range(copies)]
    return replace(whole, train=data.Split(torch.cat([train.x, *more]), train.y.repeat(1 + copies)))


def fit(arm: dict) -> dict:
    step = arm["updates"] // 20
    return {
        "updates": arm["updates"],
        "evaluate_at": range(step, arm["updates"] + 1, step),
        "batch_size": BATCH,
    }


def measure(net: nn.Module, splits: data.Splits, arm: dict, seed: int) -> dict:
    """Under every transform of the test images, by class, and with test-time augmentation."""
    test, found = splits.test, {"train_accuracy": evaluate(net, splits.train).accuracy}
    if "kind" in arm:
        return found
    for number, (name, transform) in enumerate(TEST.items()):
        with forked(number):
            found[f"under_{name}"] = evaluate(net, data.Split(transform(test.x), test.y)).accuracy
    with torch.no_grad():
        predicted = net(test.x).argmax(1)
    found["of_class"] = [float((predicted[test.y == c] == c).float().mean()) for c in range(10)]
    for first, second in ((2, 5), (6, 9)):
        swapped = (predicted == first) & (test.y == second) | (predicted == second) & (test.y == first)
        found[f"confused_{first}{second}"] = float(
            swapped.sum() / ((test.y == first) | (test.y == second)).sum()
        )
    found["averaged_accuracy"] = averaged(net, test)
    return found


def averaged(net: nn.Module, test: data.Split) -> float:
    """Accuracy of the mean probability over the image and its transforms of training."""
    with forked(0), torch.no_grad():
        augment = net[0].train()
        looks = [test.x] + [augment(test.x) for _ in range(LOOKS)]
        net.eval()
        mean = torch.stack([net(x).softmax(1) for x in looks]).mean(0)
    return float((mean.argmax(1) == test.y).float().mean())


ARMS: dict[str, dict] = {name: {"train": name, "n": 200} for name in TRAIN}
ARMS |= {f"real{n}": {"train": "none", "n": n, "kind": "size"} for n in (100, 400, 500, 1000)}
for n in (100, 200):
    ARMS |= {f"copies{n}x{k}": {"train": "none", "n": n, "kind": "size", "copies": k} for k in (1, 4)}
ARMS |= {
    f"{name}{n}": {"train": name, "n": n, "kind": "size"}
    for name, n in (("mild", 100), ("shift", 1000), ("mild", 1000))
}
ARMS = {name: {**arm, "updates": 3000} for name, arm in ARMS.items()} | {
    f"{name} short": {**ARMS[name], "kind": "budget", "updates": 600} for name in TRAIN
}

GEOMETRIC = ("shift", "rotate10", "rotate45", "scale", "hflip", "mild")
INVARIANCE = "augmentation-gives-invariance-to-lighting-scale-pose"
NUMBER = "augmentation-increases-number-of-samples"
NUMBERS = (
    *(("mild100", b) for b in ("real100", "none", "real500")),
    *(("mild", b) for b in ("none", "real400", "real1000")),
    *(
        (f"copies{n}x{k}", "none" if n * (k + 1) == 200 else f"real{n * (k + 1)}")
        for n in (100, 200)
        for k in (1, 4)
    ),
    *((f"copies{n}x4", "real100" if n == 100 else "none") for n in (100, 200)),
)

STUDY = Study(
    arms=ARMS,
    rates=(0.003, 0.01, 0.03, 0.1),
    seeds=range(10),
    tuning_seeds=range(100, 110),
    short=tuple(name for name in ARMS if name.endswith("short")),
    splits=splits,
    model=model,
    fit=fit,
    measure=measure,
    contrasts=(
        *(
            Contrast(t, "none", claim="augmentation-improves-generalization", family="clean")
            for t in TRAIN
            if t != "none"
        ),
        *(
            Contrast(
                t,
                "none",
                measure=f"under_{u}",
                claim="augmentation-improves-generalization",
                family="own transform",
            )
            for t, u in (
                (t, "dark" if t == "lighting" else "shift" if t == "mild" else t)
                for t in TRAIN
                if t != "none"
            )
        ),
        *(
            Contrast(t, "none", measure=f"under_{u}", margin=0.01, claim=INVARIANCE, family="light")
            for u in ("dark", "bright", "contrast")
            for t in (*GEOMETRIC, "lighting")
        ),
        *(
            Contrast(t, "none", measure=f"under_{u}", margin=0.01, claim=INVARIANCE, family="scale and pose")
            for u in ("scale", "rotate45", "shift")
            for t in GEOMETRIC
            if t != u
        ),
        *(
            Contrast(
                t, "none", measure=measure, claim="flips-and-rotations-are-generally-valid", family=measure
            )
            for measure in ("confused_25", "confused_69")
            for t in ("hflip", "vflip", "rotate10", "rotate45", "rotate180", "shift")
        ),
        *(Contrast(a, b, claim=NUMBER, family="number") for a, b in NUMBERS),
        *(
            Contrast(t, "none", against=(f"{t} short", "none short"), family="budget")
            for t in TRAIN
            if t != "none"
        ),
        Contrast("shift1000", "real1000", claim="augmentation-improves-generalization", family="clean"),
        Contrast("mild1000", "real1000", claim="augmentation-improves-generalization", family="clean"),
    ),
    quick={"seeds": range(1), "tuning_seeds": range(100, 101), "rates": (0.05,)},
)
