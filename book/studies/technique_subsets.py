"""Techniques combined: every subset of L2, dropout, batch normalization and augmentation.

A ConvNet with two convolutions (8 and 16 channels) and 32 hidden units on digits, 1,200 updates of 32
images or, on purpose short, 300; the images of every seed are a subset of its own. Initialization by
activation (He for ReLU).

Varied: every subset of {L2 (weight decay 0.003 on the weights), dropout (keep 0.5 after the hidden layer),
batch normalization (BN, before every activation), augmentation (rotation by up to 10 degrees, scale 0.9 to
1.1, shift by up to half a pixel)} at 300 images, with ReLU, at both budgets; L2 + dropout is the recipe.
None, recipe, augmentation and all four at 100 and 1000 images. Without any activation, with average pooling
(a linear network) or max pooling: plain, recipe, augmentation, both. Dropout with keep 0.9, 0.8 and 0.5
before every next BN (after every activation), and with 0.9 and 0.8 behind the last one (after the hidden
layer), each with and without BN.

Measured: test accuracy and loss, gap (train accuracy - test accuracy), accuracy on test images with
Gaussian noise of 0.2 and shifted by up to one pixel. Where there is BN: for every BN layer the variance of
its input in evaluation mode over the training images, divided by its running variance (mean over channels;
below 1 is the variance shift), and accuracy, loss and shifted accuracy again after `recalibrate_batch_norm`
on the training images with dropout and augmentation off.

Reduced: digits only; one strength of each technique, the same in all subsets, chosen by hand before the
first of these runs.
"""

from copy import deepcopy
from dataclasses import replace
from itertools import combinations

import torch
from torch import nn

from convcraft import penalties
from convcraft.augmentation import RandomAffine, RandomShift, noise
from convcraft.dropout import Dropout
from convcraft.initialization import initialize
from convcraft.lab import data
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.randomness import forked
from convcraft.lab.training import evaluate
from convcraft.normalization import BatchNorm1d, BatchNorm2d, recalibrate_batch_norm

BATCH, DECAY, BUDGETS = 32, 0.003, {"": 1200, " short": 300}  # updates


class Standardize(nn.Module):
    """Subtract the mean of the training images and divide by their deviation (digits: 0.305 and 0.376)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - 0.305) / 0.376


def model(arm: dict) -> nn.Sequential:
    def after(norm: nn.Module, last: bool) -> list[nn.Module]:
        """What follows a convolution or a linear layer."""
        layers = [norm] if "bn" in arm["with"] else []
        layers += [nn.ReLU()] if arm["activation"] == "relu" else []
        dropped = "dropout" in arm["with"] and (last or arm.get("place") == "before")
        return [*layers, Dropout(1 - arm.get("keep", 0.5))] if dropped else layers

    pool = nn.AvgPool2d if arm["activation"] == "linear" else nn.MaxPool2d
    body = nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), *after(BatchNorm2d(8), last=False), pool(2)),
        *(nn.Conv2d(8, 16, 3, padding=1), *after(BatchNorm2d(16), last=False), pool(2)),
        *(nn.Flatten(), nn.Linear(64, 32), *after(BatchNorm1d(32), last=True), nn.Linear(32, 10)),
    )
    initialize(body)
    changes = [RandomAffine(10, scale=(0.9, 1.1), shift=0.5)] if "augmentation" in arm["with"] else []
    return nn.Sequential(*changes, Standardize(), *body)


def splits(arm: dict, seed: int) -> data.Splits:
    """The digits with the training images of this seed."""
    whole = data.load("digits")
    return replace(whole, train=whole.train.subset(arm["n"], seed))


def decayed(net: nn.Module) -> list[nn.Parameter]:
    """The weights, without biases and what belongs to BN."""
    return penalties.decay_groups(net, 1.0)[0]["params"]


def fit(arm: dict) -> dict:
    step = arm["updates"] // 20
    return {
        "updates": arm["updates"], "evaluate_at": range(step, arm["updates"] + 1, step), "batch_size": BATCH,
        "weight_decay": DECAY if "l2" in arm["with"] else 0.0, "decayed": decayed,
    }  # fmt: skip


def variance_ratios(net: nn.Module, part: data.Split) -> list[float]:
    """Variance of the input of every BN in evaluation mode over its running variance, mean over channels."""
    found, x = [], part.x
    with torch.no_grad():
        for layer in net.eval():
            if isinstance(layer, (BatchNorm1d, BatchNorm2d)):
                found.append(float((x.transpose(0, 1).flatten(1).var(1) / layer.running_var).mean()))
            x = layer(x)
    return found


def shifted(test: data.Split) -> data.Split:
    with forked(0):
        return data.Split(RandomShift(1)(test.x), test.y)


def measure(net: nn.Module, splits: data.Splits, arm: dict, seed: int) -> dict:
    fitted, tested, test = evaluate(net, splits.train), evaluate(net, splits.test), splits.test
    found: dict = {"train_accuracy": fitted.accuracy, "gap": fitted.accuracy - tested.accuracy}
    with forked(0):
        noisy = data.Split(noise(test.x, 0.2), test.y)
    found["under_noise"] = evaluate(net, noisy).accuracy
    found["under_shift"] = evaluate(net, shifted(test)).accuracy
    if "bn" in arm["with"]:
        found["variance_ratios"] = variance_ratios(net, splits.train)
        again = recalibrate_batch_norm(deepcopy(net), [splits.train.x])
        after = evaluate(again, test)
        found |= {"recalibrated_accuracy": after.accuracy, "recalibrated_loss": after.loss}
        found |= {"recalibrated_shift": evaluate(again, shifted(test)).accuracy}
        found["gain"] = after.accuracy - tested.accuracy
    return found


TECHNIQUES = ("l2", "bn", "dropout", "augmentation")
SUBSETS = [subset for k in range(5) for subset in combinations(TECHNIQUES, k)]
RECIPE = ("l2", "dropout")
PAIRS = ((), RECIPE, ("augmentation",), (*RECIPE, "augmentation"))


def arm(*techniques: str, **more: object) -> dict:
    return {"with": list(techniques), "n": 300, "activation": "relu", "updates": BUDGETS[""], **more}


def name(subset: tuple[str, ...]) -> str:
    return "+".join(subset) or "none"


ARMS = {f"{name(s)}{b}": arm(*s, updates=updates) for b, updates in BUDGETS.items() for s in SUBSETS}
ARMS |= {
    f"{name(subset)}_n{n}": arm(*subset, n=n)
    for n in (100, 1000)
    for subset in ((), RECIPE, ("augmentation",), TECHNIQUES)
}
ARMS |= {f"{kind}_{name(s)}": arm(*s, activation=kind) for kind in ("linear", "max_pool") for s in PAIRS}
PLACED = [("before", 0.9), ("before", 0.8), ("before", 0.5), ("last", 0.9), ("last", 0.8)]
for bn in ((), ("bn",)):
    ARMS |= {
        f"{name((*bn, 'dropout'))}_{place}{keep}": arm(*bn, "dropout", place=place, keep=keep)
        for place, keep in PLACED
    }

BEST, TOGETHER = (
    "relu-l2-dropout-recipe-is-best-and-most-stable",
    "dropout-and-bn-together-improve-generalization",
)
CRUCIAL = "activation-and-regularization-are-crucial"
ALL, WITH_BN = name(TECHNIQUES), [name(s) for s in SUBSETS if "bn" in s and s != ("bn",)]


def interaction(a: str, b: str, budget: str = "") -> Contrast:
    """How much more `a` is worth where `b` is on."""
    both = name(tuple(t for t in TECHNIQUES if t in (a, b)))
    return Contrast(
        f"{both}{budget}", f"{b}{budget}", against=(f"{a}{budget}", f"none{budget}"),
        family=f"interactions{budget}",
    )  # fmt: skip


STUDY = Study(
    arms=ARMS,
    rates=(0.006, 0.02, 0.06, 0.2),
    seeds=range(10),
    tuning_seeds=range(100, 110),
    short=tuple(name for name in ARMS if name.endswith("short")),
    splits=splits,
    model=model,
    fit=fit,
    measure=measure,
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
            Contrast(f"{drop}{where}", other, claim=TOGETHER, family=f"{other} with dropout")
            for drop, other in (("dropout", "none"), ("bn+dropout", "bn"))
            for where in ("", *(f"_{place}{keep}" for place, keep in PLACED))
        ),
        *(Contrast(a, "bn", "recalibrated_accuracy", TOGETHER, family="recalibrated") for a in WITH_BN),
        *(interaction(a, b, budget) for budget in BUDGETS for a, b in combinations(TECHNIQUES, 2)),
        *(
            Contrast(name(s), "none", against=(f"{name(s)} short", "none short"), family="budget")
            for s in SUBSETS
            if s
        ),
    ),
    quick={
        "seeds": range(1),
        "tuning_seeds": range(100, 101),
        "rates": (0.02,),
        "fit": {"updates": 20, "evaluate_at": None},
    },
)
