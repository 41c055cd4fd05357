"""Techniques combined: every subset of L2, dropout, batch normalization and augmentation.

A ConvNet with two convolutions (8 and 16 channels) and 32 hidden units on digits, 400 updates of 32 images;
the images of every seed are a subset of its own. Initialization by activation (He for ReLU).

Varied: every subset of {L2 (weight decay 0.003), dropout (keep 0.5 after the hidden layer), batch
normalization (BN, before every activation), augmentation (rotation by up to 10 degrees, scale 0.9 to 1.1,
shift by up to half a pixel)} at 300 images, with ReLU; L2 + dropout is the recipe. None, recipe, augmentation
and all four at 100 and 1000 images. Without any activation, with average pooling (a linear network) or max
pooling: plain, recipe, augmentation, both. Dropout with keep 0.9, 0.8 and 0.5 in two places: before (after
every activation, thus before the next BN) and last (after the hidden layer, behind the last BN), each with
and without BN.

Measured: test accuracy and loss, gap (train accuracy - test accuracy), accuracy on test images with Gaussian
noise of 0.2 and shifted by up to one pixel; where there is BN, for every BN layer the variance of its input
in evaluation mode over the training images, divided by its running variance (mean over channels): below 1 is
the variance shift. What it costs is the seconds of a run.

Reduced: digits only; one strength of each technique, chosen by hand before any of these runs, not tuned; four
rates, tuned on two seeds, the same number of trials for every arm.
"""

from itertools import combinations

import torch
from torch import nn

from convcraft.augmentation import RandomAffine, RandomShift, noise
from convcraft.dropout import Dropout
from convcraft.initialization import initialize
from convcraft.lab import data
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.randomness import forked
from convcraft.lab.training import evaluate, fit, seeded
from convcraft.normalization import BatchNorm1d, BatchNorm2d

BATCH, UPDATES, DECAY = 32, 400, 0.003


class Standardize(nn.Module):
    """Subtract the mean of the training images and divide by their deviation (digits: 0.305 and 0.376)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - 0.305) / 0.376


def model(arm: dict) -> nn.Sequential:
    def after(norm: nn.Module, last: bool) -> list[nn.Module]:
        """What stands behind a convolution or a linear layer."""
        layers = [norm] if "bn" in arm["with"] else []
        layers += [nn.ReLU()] if arm["activation"] == "relu" else []
        place = arm.get("place", "last")
        dropped = "dropout" in arm["with"] and (last or place == "before")
        return [*layers, Dropout(1 - arm.get("keep", 0.5))] if dropped else layers

    pool = nn.AvgPool2d if arm["activation"] == "linear" else nn.MaxPool2d
    body = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        *after(BatchNorm2d(8), last=False),
        pool(2),
        nn.Conv2d(8, 16, 3, padding=1),
        *after(BatchNorm2d(16), last=False),
        pool(2),
        nn.Flatten(),
        nn.Linear(64, 32),
        *after(BatchNorm1d(32), last=True),
        nn.Linear(32, 10),
    )
    initialize(body)
    augment = (
        RandomAffine(10, scale=(0.9, 1.1), shift=0.5) if "augmentation" in arm["with"] else nn.Identity()
    )
    return nn.Sequential(augment, Standardize(), body)


def variance_ratios(net: nn.Module, part: data.Split) -> list[float]:
    """Variance of the input of every BN in evaluation mode over its running variance, mean over channels."""
    found, hooks = [], []

    def note(layer: nn.Module, inputs: tuple) -> None:
        found.append(float((inputs[0].transpose(0, 1).flatten(1).var(1) / layer.running_var).mean()))

    for layer in net.modules():
        if isinstance(layer, (BatchNorm1d, BatchNorm2d)):
            hooks.append(layer.register_forward_pre_hook(note))
    with torch.no_grad():
        net(part.x)
    for hook in hooks:
        hook.remove()
    return found


def run(arm: dict, rate: float, seed: int, splits: data.Splits, final: bool) -> dict:
    """Train one network with the techniques of the arm."""
    train, validation = splits.train.subset(arm["n"], seed), splits.validation
    few = validation.subset(10)  # fit looks at it after every epoch; what counts is measured at the end
    parts = data.Splits(train, few, few, splits.name, splits.classes)
    net = seeded(lambda: model(arm), seed)
    fit(
        net,
        parts,
        epochs=round(UPDATES / -(-arm["n"] // BATCH)),
        learning_rate=rate,
        weight_decay=DECAY if "l2" in arm["with"] else 0.0,
        batch_size=BATCH,
        seed=seed,
        progress=False,
    )
    chosen = evaluate(net, validation)
    found = {"validation_accuracy": chosen.accuracy, "validation_loss": chosen.loss}
    if not final:
        return found
    fitted, tested, test = evaluate(net, train), evaluate(net, splits.test), splits.test
    found |= {"test_accuracy": tested.accuracy, "test_loss": tested.loss, "train_accuracy": fitted.accuracy}
    found["gap"] = fitted.accuracy - tested.accuracy
    for name, transform in (("noise", lambda x: noise(x, 0.2)), ("shift", RandomShift(1))):
        with forked(0):
            found[f"under_{name}"] = evaluate(net, data.Split(transform(test.x), test.y)).accuracy
    if "bn" in arm["with"]:
        found["variance_ratios"] = variance_ratios(net, train)
    return found


def splits(arm: dict) -> data.Splits:
    return data.load("digits")


TECHNIQUES = ("l2", "bn", "dropout", "augmentation")
SUBSETS = [subset for k in range(5) for subset in combinations(TECHNIQUES, k)]
RECIPE = ("l2", "dropout")


def arm(*techniques: str, n: int = 300, activation: str = "relu", **more: object) -> dict:
    return {"with": list(techniques), "n": n, "activation": activation, **more}


def name(subset: tuple[str, ...]) -> str:
    return "+".join(subset) or "none"


ARMS = {name(subset): arm(*subset) for subset in SUBSETS}
ARMS |= {
    f"{name(subset)}_n{n}": arm(*subset, n=n)
    for n in (100, 1000)
    for subset in ((), RECIPE, ("augmentation",), TECHNIQUES)
}
PAIRS = ((), RECIPE, ("augmentation",), (*RECIPE, "augmentation"))
ARMS |= {f"{kind}_{name(s)}": arm(*s, activation=kind) for kind in ("linear", "max_pool") for s in PAIRS}
PLACED = [(place, keep) for place in ("before", "last") for keep in (0.9, 0.8, 0.5)]
for bn in ((), ("bn",)):
    ARMS |= {
        f"{name((*bn, 'dropout'))}_{place}{keep}": arm(*bn, "dropout", place=place, keep=keep)
        for place, keep in PLACED
        if (place, keep) != ("last", 0.5)  # that is among the subsets
    }

BEST, TOGETHER = (
    "relu-l2-dropout-recipe-is-best-and-most-stable",
    "dropout-and-bn-together-improve-generalization",
)
CRUCIAL = "activation-and-regularization-are-crucial"
ALL = name(TECHNIQUES)

STUDY = Study(
    arms=ARMS,
    rates=(0.006, 0.025, 0.1, 0.4),
    seeds=range(10),
    tuning_seeds=range(100, 102),
    splits=splits,
    run=run,
    contrasts=(
        *(Contrast(name(s), "none", claim=BEST, family="subsets") for s in SUBSETS if s),
        *(Contrast(name(RECIPE), other, claim=BEST, family="recipe") for other in ("none", *TECHNIQUES)),
        *(Contrast(ALL, name(s), claim=BEST, family="leave one out") for s in SUBSETS if len(s) == 3),
        *(
            Contrast(name(RECIPE), other, f"under_{change}", BEST, 0.01, "changed")
            for change in ("noise", "shift")
            for other in ("none", *TECHNIQUES)
        ),
        *(
            Contrast(f"{name(s)}_n{n}", f"none_n{n}", claim=BEST, family="number of images")
            for n in (100, 1000)
            for s in (RECIPE, ("augmentation",), TECHNIQUES)
        ),
        *(
            Contrast(name(s), f"{kind}_{name(s)}", claim=CRUCIAL, family=CRUCIAL)
            for kind in ("linear", "max_pool")
            for s in PAIRS
        ),
        *(
            Contrast(f"{kind}_{name(s)}", f"{kind}_none", claim=CRUCIAL, family=CRUCIAL)
            for kind in ("linear", "max_pool")
            for s in PAIRS[1:]
        ),
        *(Contrast(name(s), "none", claim=CRUCIAL, family=CRUCIAL) for s in PAIRS[1:]),
        *(
            Contrast(
                f"{name((*bn, 'dropout'))}" + ("" if (place, keep) == ("last", 0.5) else f"_{place}{keep}"),
                other,
                claim=TOGETHER,
                family=f"{name(bn)} with dropout",
            )
            for bn, other in (((), "none"), (("bn",), "bn"))
            for place, keep in PLACED
        ),
    ),
    quick={"seeds": range(1), "tuning_seeds": range(100, 101), "rates": (0.025,)},
)
