"""Dropout grid: when it helps, by width, number of images and budget.

Varied: number of training images (100, 300, 1000; a subset of its own for every seed), width of a ReLU
perceptron with two hidden layers (16, 64, 256), keep probability (1, 0.8, 0.5) after both hidden layers, and
the budget: 3,000 updates or, on purpose short, 600.

Measured, with dropout off: accuracy and loss on train, validation and test; gap, train accuracy - test
accuracy; noisy_accuracy, on test images with Gaussian noise of half a standard deviation of the input;
input_gradient, the mean length of the gradient of an example's loss by the image.

Reduced: widths to 256 instead of 512, two hidden layers.
"""

from dataclasses import replace

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from convcraft.dropout import Dropout
from convcraft.lab import data
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.randomness import forked
from convcraft.lab.training import evaluate

BATCH, NOISE = 32, 0.5


def model(arm: dict) -> nn.Sequential:
    width, p = arm["width"], 1 - arm["keep"]
    first, second = (
        (nn.Linear(64, width), nn.ReLU(), Dropout(p)),
        (nn.Linear(width, width), nn.ReLU(), Dropout(p)),
    )
    return nn.Sequential(nn.Flatten(), *first, *second, nn.Linear(width, 10))


def input_gradient(net: nn.Module, part: data.Split) -> float:
    """Mean length of the gradient of an example's loss by its image."""
    x = part.x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(cross_entropy(net(x), part.y, reduction="sum"), x)
    return float(gradient.flatten(1).norm(dim=1).mean())


def splits(arm: dict, seed: int) -> data.Splits:
    """The digits with the training images of this seed."""
    whole = data.load("digits").standardized()
    return replace(whole, train=whole.train.subset(arm["n"], seed))


def measure(net: nn.Module, splits: data.Splits, arm: dict, seed: int) -> dict:
    fitted, tested = evaluate(net, splits.train), evaluate(net, splits.test)
    with forked(seed):
        noisy = data.Split(splits.test.x + NOISE * torch.randn_like(splits.test.x), splits.test.y)
    return {
        "train_accuracy": fitted.accuracy,
        "final_train_loss": fitted.loss,
        "gap": fitted.accuracy - tested.accuracy,
        "noisy_accuracy": evaluate(net, noisy).accuracy,
        "input_gradient": input_gradient(net, splits.test),
    }


def budget(arm: dict) -> dict:
    step = arm["updates"] // 20
    return {
        "updates": arm["updates"], "evaluate_at": range(step, arm["updates"] + 1, step), "batch_size": BATCH,
    }  # fmt: skip


NS, WIDTHS, KEEPS, BUDGETS = (100, 300, 1000), (16, 64, 256), (1.0, 0.8, 0.5), {"long": 3000, "short": 600}
CELLS = [(b, n, w) for b in BUDGETS for n in NS for w in WIDTHS]
ARMS = {
    f"{budget}_n{n}_w{width}_k{keep:g}": {"n": n, "width": width, "keep": keep, "updates": BUDGETS[budget]}
    for budget, n, width in CELLS
    for keep in KEEPS
}

STUDY = Study(
    arms=ARMS,
    rates=(0.003, 0.012, 0.05, 0.2),
    seeds=range(10),
    tuning_seeds=range(100, 110),
    short=tuple(name for name in ARMS if name.startswith("short")),
    splits=splits,
    model=model,
    fit=budget,
    measure=measure,
    contrasts=tuple(
        Contrast(
            f"{b}_n{n}_w{w}_k{k}",
            f"{b}_n{n}_w{w}_k1",
            measure=measure,
            claim="dropout-prevents-overfitting",
            family=measure,
        )
        for measure in ("test_accuracy", "test_loss", "gap", "noisy_accuracy", "input_gradient")
        for b, n, w in CELLS
        for k in ("0.8", "0.5")
    )
    + tuple(
        Contrast(
            f"long_n{n}_w{w}_k{k}",
            f"long_n{n}_w{w}_k1",
            against=(f"short_n{n}_w{w}_k{k}", f"short_n{n}_w{w}_k1"),
            family="budget",
        )
        for n in NS
        for w in WIDTHS
        for k in ("0.8", "0.5")
    ),
    quick={
        "seeds": range(1),
        "tuning_seeds": range(100, 101),
        "rates": (0.05,),
        "fit": {"updates": 20, "evaluate_at": None},
    },
)
