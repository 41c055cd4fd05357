"""Checks of the exercises of the chapter "Techniques combined"."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import nn

from convcraft.diagnostics import diagnose
from convcraft.initialization import initialize
from convcraft.lab import data
from convcraft.lab.clinic.cases import CLASSES, Case, case, vectors
from convcraft.lab.exercises.framework import Check, Complaint, by_name, compare
from convcraft.lab.exercises.kinds import formula, gain_on_digits, takes
from convcraft.lab.randomness import forked

Cells = Mapping[frozenset[str], Any]


@takes("the accuracies by set of techniques")
def leave_one_out(answer: Callable[[Cells], Mapping[str, float]]) -> Iterator[Complaint]:
    """A function of {set of techniques: accuracies} -> {technique: all minus all but this one, mean}."""
    names, rng = ("l2", "dropout", "bn"), np.random.default_rng(0)
    subsets = [frozenset(c) for k in range(4) for c in combinations(names, k)]
    cells = {subset: rng.uniform(0.8, 1.0, 5) for subset in subsets}
    got, everything = answer(dict(cells)), frozenset(names)
    if not isinstance(got, Mapping) or set(got) != set(names):
        yield "the function must return a dict with one number for each technique, and no others."
    right = {name: float((cells[everything] - cells[everything - {name}]).mean()) for name in names}
    if all(math.isclose(float(np.mean(got[n])), -right[n]) for n in names):
        yield "the sign: a technique that helps must have an effect above 0, so all minus all but this one."
    alone = {name: float((cells[frozenset({name})] - cells[frozenset()]).mean()) for name in names}
    if all(math.isclose(float(np.mean(got[n])), alone[n]) for n in names):
        yield "that adds one technique to none; leave one out takes one from all."
    for name in names:
        yield compare(got[name], right[name], f"the effect of {name}")


def nothing_to_lose(answer: Sequence[float]) -> Iterator[Complaint]:
    """Accuracies with nothing, A, B, both: neither is missed when left out, both are worth 5 points."""
    if not isinstance(answer, Sequence) or len(answer) != 4:
        yield f"Give 4 numbers: the accuracy with nothing, with A, with B, with both; got {answer!r}."
    nothing, a, b, both = (float(value) for value in answer)
    if not 0 <= min(nothing, a, b, both) <= max(nothing, a, b, both) <= 100:
        yield "an accuracy in per cent lies between 0 and 100."
    for name, other in (("A", b), ("B", a)):
        if not math.isclose(both, other):
            yield f"leaving {name} out of both changes the accuracy by {other - both:g} points; it must not."
    if not math.isclose(both - nothing, 5):
        yield f"both together are worth {both - nothing:g} points here; 5 are asked for."


def patient() -> Case:
    """The sick network of the exercise `cure`: model, batch, loss and optimizer.

    >>> len(patient().model), patient().optimizer.param_groups[0]["lr"]
    (6, 30.0)

    Chapter: Combining.
    """
    with forked(0):
        layers = [nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, CLASSES)]
        model = nn.Sequential(*layers, nn.Softmax(1))
        initialize(model)
        nn.init.constant_(model.get_parameter("2.bias"), -9.0)
        return case(model, vectors(192), 30.0)


@takes("the case")
def cure(answer: Callable[[Case], Case]) -> Iterator[Complaint]:
    """A function of a sick case that returns it cured: nothing severe, no warning, and it trains."""
    given = patient()
    got = answer(patient())
    if not (isinstance(got, tuple) and len(got) == 4 and isinstance(got[0], nn.Module)):
        yield "the function must return a case: case._replace(model=..., optimizer=...)."
    got = Case(*got)
    if not all(torch.equal(a, b) for a, b in zip(got.batch, given.batch, strict=True)):
        yield "the data are not what is ill: leave the batch as it is."
    mine = {id(p) for group in got.optimizer.param_groups for p in group["params"]}
    if not {id(p) for p in got.model.parameters()} <= mine:
        yield "the optimizer must hold the parameters of the model that you return: make a new one."
    left = [f for f in diagnose(*got).findings if f.severity != "note"]
    if left:
        yield f"diagnose still finds {left[0].name}{' at ' * bool(left[0].layer)}{left[0].layer}."
    x, y = got.batch
    for _ in range(200):
        loss = got.loss(got.model(x), y)
        got.optimizer.zero_grad()
        loss.backward()
        got.optimizer.step()
    if not float(loss.detach()) < 0.3:
        yield f"nothing is found, but after 200 steps the loss is still {float(loss.detach()):.2f}."


def recipe_net() -> nn.Sequential:
    """The small ConvNet of the exercise `your-recipe` with ReLU and dropout, initialized for ReLU.

    >>> len(recipe_net())
    11

    Chapter: Combining.
    """
    net = nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 10)),
    )
    initialize(net)
    return net


@takes("splits and seed")
def your_recipe(answer: Callable[[data.Splits, int], nn.Module]) -> Iterator[Complaint]:
    """A function (splits, seed) -> a network trained on 300 digits, better by a point than the recipe."""
    settings: dict[str, Any] = {"epochs": 40, "learning_rate": 0.025, "weight_decay": 0.003, "batch_size": 32}
    gain = gain_on_digits(answer, 300, recipe_net, "accuracy", flat=False, **settings)
    if isinstance(gain, str):
        yield gain
    elif gain < 0.01:
        yield f"the test accuracy is {100 * gain:.1f} points above that of the recipe; 1 point is asked for."


CHECKS: dict[str, Check] = by_name(leave_one_out, nothing_to_lose, cure, your_recipe) | {
    "hidden-replication": formula(
        lambda k: (k + 1) / 2,
        [(1,), (3,), (6,)],
        "the ratio for k = {}",
        (lambda k: 2 / (k + 1), "upside down: the factorial is more precise, so the ratio is above 1."),
        (lambda k: k / 2, "one at a time has k + 1 arms, for the one without any technique needs runs too."),
    ),
    "share-of-the-range": formula(
        lambda m: m**2 / (1 + m**2),
        [(1,), (3,), (0.5,)],
        "the share for m = {}",
        (lambda m: m / (1 + m), "the variance of a factor grows with the square of its range."),
        (lambda m: 1 / (1 + m**2), "that is the share of the other factor, whose range is 1."),
    ),
}
