"""Checks of the exercises of the chapter "Techniques combined"."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import nn

from convcraft.diagnostics import diagnose
from convcraft.initialization import initialize
from convcraft.lab import data
from convcraft.lab.clinic.cases import CLASSES, Case, case, vectors
from convcraft.lab.exercises.framework import Check, compare, needs_function
from convcraft.lab.randomness import forked
from convcraft.lab.training import evaluate, fit, seeded


def two_by_two(answer: Sequence[float]) -> str | None:
    """Main effects of A and B and their interaction, of accuracies 90 (none), 94 (A), 93 (B), 94 (both)."""
    if len(tuple(answer)) != 3:
        return "expected three numbers: the main effect of A, that of B, and the interaction."
    a, b, both = answer
    if math.isclose(a, 4) or math.isclose(b, 3):
        return "that is the effect where the other is off; a main effect is the mean of off and on."
    if wrong := compare(a, 2.5, "the main effect of A") or compare(b, 1.5, "the main effect of B"):
        return wrong
    if math.isclose(both, 3):
        return "the sign of the interaction: with B on, A gains less than with B off."
    if math.isclose(both, 4):
        return "that is both minus none; the interaction is a difference of two differences."
    return compare(both, -3, "the interaction")


def count_the_runs(answer: Sequence[int]) -> str | None:
    """Runs for six techniques, one at a time and in full factorial: 4 rates on 2 seeds, then 10 seeds."""
    if len(tuple(answer)) != 2:
        return "expected two numbers: the runs of one at a time, and those of the full factorial."
    one, full = answer
    if one == 6 * 18:
        return "one at a time needs an arm without any technique to compare with."
    if one in (7 * 10, 7 * 8) or full in (64 * 10, 64 * 8):
        return "every arm is tuned and then run: 4 rates on 2 seeds, and 10 seeds at the best rate."
    if wrong := compare(one, 7 * 18, "the number of runs, one at a time"):
        return wrong
    if full == 36 * 18:
        return "each of six techniques is on or off: how many combinations are that?"
    return compare(full, 64 * 18, "the number of runs of the full factorial")


def hidden_replication(answer: Callable[[int], float]) -> str | None:
    """A function k -> variance of an effect one at a time over that in a factorial with as many runs."""
    if wrong := needs_function(answer, "k"):
        return wrong
    for k in (1, 3, 6):
        got, right = answer(k), (k + 1) / 2
        if k > 1 and math.isclose(got, 1 / right):
            return "upside down: the factorial is the more precise one, so the ratio is above 1."
        if k > 1 and math.isclose(got, k / 2):
            return "one at a time has k + 1 arms, for the one without any technique needs runs too."
        if wrong := compare(got, right, f"the ratio for k = {k}"):
            return wrong
    return None


def variance_shift(answer: Callable[[float, float, float], float]) -> str | None:
    """A function (mean, variance, keep) -> variance in evaluation over that in training behind dropout."""
    if wrong := needs_function(answer, "mean, variance and keep"):
        return wrong
    for mean, variance, keep in ((0.0, 1.0, 0.5), (0.4, 0.34, 0.5), (2.0, 0.5, 0.9), (1.0, 3.0, 1.0)):
        got, right = answer(mean, variance, keep), variance / ((variance + mean**2) / keep - mean**2)
        if keep < 1 and math.isclose(got, 1 / right):
            return "upside down: in evaluation nothing is dropped, and the variance is the smaller one."
        if mean and keep < 1 and math.isclose(got, keep):
            return "right for a mean of 0 only: dropout scales the mean of the squares, not the variance."
        if keep < 1 and math.isclose(got, variance / (keep * (variance + mean**2) - (keep * mean) ** 2)):
            return "what is kept is divided by keep: E[z^2] / keep is the mean of the squares in training."
        what = f"the ratio for mean {mean}, variance {variance}, keep {keep}"
        if wrong := compare(got, right, what):
            return wrong
    return None


Cells = Mapping[frozenset[str], Any]


def leave_one_out(answer: Callable[[Cells], Mapping[str, float]]) -> str | None:
    """A function of {set of techniques: accuracies} -> {technique: all minus all but this one, mean}."""
    if wrong := needs_function(answer, "the accuracies by set of techniques"):
        return wrong
    names, rng = ("l2", "dropout", "bn"), np.random.default_rng(0)
    subsets = [frozenset(c) for k in range(4) for c in combinations(names, k)]
    cells = {subset: rng.uniform(0.8, 1.0, 5) for subset in subsets}
    got, everything = answer(dict(cells)), frozenset(names)
    if not isinstance(got, Mapping) or set(got) != set(names):
        return "the function must return a dict with one number for each technique, and no others."
    right = {name: float((cells[everything] - cells[everything - {name}]).mean()) for name in names}
    if all(math.isclose(float(np.mean(got[n])), -right[n]) for n in names):
        return "the sign: a technique that helps must have an effect above 0, so all minus all but this one."
    alone = {name: float((cells[frozenset({name})] - cells[frozenset()]).mean()) for name in names}
    if all(math.isclose(float(np.mean(got[n])), alone[n]) for n in names):
        return "that adds one technique to none; leave one out takes one from all."
    for name in names:
        if wrong := compare(got[name], right[name], f"the effect of {name}"):
            return wrong
    return None


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


def cure(answer: Callable[[Case], Case]) -> str | None:
    """A function of a sick case that returns it cured: nothing severe, no warning, and it trains."""
    if wrong := needs_function(answer, "the case"):
        return wrong
    given = patient()
    got = answer(patient())
    if not (isinstance(got, tuple) and len(got) == 4 and isinstance(got[0], nn.Module)):
        return "the function must return a case: case._replace(model=..., optimizer=...)."
    got = Case(*got)
    if not all(torch.equal(a, b) for a, b in zip(got.batch, given.batch, strict=True)):
        return "the data are not what is ill: leave the batch as it is."
    mine = {id(p) for group in got.optimizer.param_groups for p in group["params"]}
    if not {id(p) for p in got.model.parameters()} <= mine:
        return "the optimizer must hold the parameters of the model that you return: make a new one."
    left = [f for f in diagnose(*got).findings if f.severity != "note"]
    if left:
        return f"diagnose still finds {left[0].name}{' at ' * bool(left[0].layer)}{left[0].layer}."
    x, y = got.batch
    for _ in range(200):
        loss = got.loss(got.model(x), y)
        got.optimizer.zero_grad()
        loss.backward()
        got.optimizer.step()
    if not float(loss.detach()) < 0.3:
        return f"nothing is found, but after 200 steps the loss is still {float(loss.detach()):.2f}."
    return None


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


def your_recipe(answer: Callable[[data.Splits, int], nn.Module]) -> str | None:
    """A function (splits, seed) -> a network trained on 300 digits, better by a point than the recipe."""
    if wrong := needs_function(answer, "splits and seed"):
        return wrong
    digits, gains = data.load("digits"), []
    for seed in range(3):
        splits = replace(digits, train=digits.train.subset(300, seed=seed)).standardized()
        withheld = replace(splits, test=data.Split(splits.test.x[:0], splits.test.y[:0]))
        plain = seeded(recipe_net, seed)
        fit(
            plain,
            splits,
            epochs=40,
            learning_rate=0.025,
            weight_decay=0.003,
            batch_size=32,
            seed=seed,
            progress=False,
        )
        found = answer(withheld, seed)
        if not isinstance(found, nn.Module):
            return f"the function must return the trained network; got {type(found).__name__}."
        gains.append(evaluate(found.eval(), splits.test).accuracy - evaluate(plain, splits.test).accuracy)
    gain = 100 * sum(gains) / 3
    if not gain >= 1:
        return f"the test accuracy is {gain:.1f} points above that of the recipe; 1 point is asked for."
    return None


CHECKS: dict[str, Check] = {
    "two-by-two": two_by_two,
    "count-the-runs": count_the_runs,
    "hidden-replication": hidden_replication,
    "variance-shift": variance_shift,
    "leave-one-out": leave_one_out,
    "cure": cure,
    "your-recipe": your_recipe,
}
