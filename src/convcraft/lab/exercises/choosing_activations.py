"""Checks of the exercises of the chapter "Choosing and tuning activations"."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import nn

from convcraft.errors import ConvcraftError
from convcraft.initialization import initialize
from convcraft.lab import data, models
from convcraft.lab.exercises.framework import Check, compare, needs_function
from convcraft.lab.training import evaluate, fit, seeded

TASKS = ("one digit of ten", "odd or even", "any number of tags", "tomorrow's temperature")
_HEADS = {"softmax", "sigmoid", "sigmoids", "none"}


def best_rates(answer: Any) -> str | None:
    """From validation accuracies (arms, rates, seeds) the index of the best rate of each arm."""
    if wrong := needs_function(answer, "an array (arms, rates, seeds)"):
        return wrong
    accuracy = np.array([[[0.9, 0.9, 0.9], [0.99, 0.6, 0.9]], [[0.5, 0.7, 0.6], [0.8, 0.7, 0.9]]])
    got = np.asarray(answer(accuracy))
    if got.shape != (2,):
        return (
            f"One index an arm is asked for, shape (2,) here; got shape {got.shape}. Which axes are averaged?"
        )
    if got.tolist() == [1, 1]:
        return "For the first arm you took the rate with the best single seed. Average over the seeds first."
    return compare(got, np.array([0, 1]), "the best rates of the two arms of the test")


def output_layers(answer: Any) -> str | None:
    """The activation of the output for four tasks: softmax, sigmoid(s) or none."""
    if not isinstance(answer, Mapping) or set(answer) != set(TASKS):
        return f"Give a dictionary with the keys {', '.join(map(repr, TASKS))}; got {answer!r}."
    if unknown := [head for head in answer.values() if head not in _HEADS]:
        return f"{unknown[0]!r} is none of the choices: {', '.join(sorted(_HEADS))}."
    digit, odd, tags, temperature = (answer[task] for task in TASKS)
    if tags == "softmax":
        return "Any number of tags may be right, none or all. A softmax must share one unit among them."
    if temperature != "none":
        return "A temperature may be any number. What could an output in (0, 1) say about it?"
    if digit != "softmax":
        return "Exactly one of ten digits is right, so the ten probabilities should add up to 1."
    if odd not in ("sigmoid", "softmax"):
        return "Odd or even is one question with two answers: one probability will do."
    if tags not in ("sigmoids", "sigmoid"):
        return "A tag is there or not: each needs a probability of its own."
    return None


def nonlinearity_of_a_leak(answer: Any) -> str | None:
    """The index of nonlinearity of Leaky ReLU as a function of its slope."""
    if wrong := needs_function(answer, "the slope"):
        return wrong
    if abs(float(answer(1.0))) > 1e-9:
        return "At slope 1 the function is the identity, a straight line: the index must be 0."
    second = 1 - (0.5 * 1.0) ** 2 / 0.5
    if math.isclose(float(answer(0.0)), second, rel_tol=1e-6):
        return "You divided by the second moment. The line has an intercept: divide by the variance."
    for slope in (0.0, 0.01, 0.25, 0.5, -1.0):
        variance = (1 + slope**2) / 2 - (1 - slope) ** 2 / (2 * math.pi)
        right = 1 - ((1 + slope) / 2) ** 2 / variance
        if wrong := compare(answer(slope), right, f"the index for slope {slope:g}"):
            return wrong
    return None


def seeds_needed(answer: Any) -> str | None:
    """How many seeds make the 95 % interval of a paired difference no wider than plus or minus h."""
    if wrong := needs_function(answer, "the standard deviation of the differences and the half-width"):
        return wrong
    value = answer(0.01, 0.005)
    if value == 4:
        return "That is one standard error. A 95 % interval reaches 1.96 standard errors to each side."
    if value == 8:
        return "Close: the standard error falls with the root of n, so square the ratio."
    if isinstance(value, float) and not value.is_integer():
        return "Seeds come in whole numbers: round up."
    for deviation, half in ((0.01, 0.005), (0.02, 0.005), (0.01, 0.002), (0.004, 0.01)):
        right = math.ceil((1.96 * deviation / half) ** 2)
        if wrong := compare(
            float(answer(deviation, half)), float(right), f"the number for {deviation}, {half}"
        ):
            return wrong
    return None


def biased_choice(validation: Any, test: Any) -> tuple[int, float]:
    """The comparison of the exercise, with its mistake: what it returns is chosen on the test set.

    >>> biased_choice([0.9, 0.8], [0.7, 0.75])
    (1, 0.75)
    """
    best = int(np.argmax(test))
    return best, float(np.asarray(test)[best])


def mend_the_choice(answer: Any) -> str | None:
    """Choose on validation and report on test."""
    if wrong := needs_function(answer, "validation and test accuracies, one an arm"):
        return wrong
    validation, test = [0.90, 0.95, 0.93], [0.94, 0.91, 0.92]
    got = answer(validation, test)
    if not isinstance(got, tuple) or len(got) != 2:
        return f"Return two things, the number of the arm and its accuracy to report; got {got!r}."
    if int(got[0]) == 0:
        return (
            "The arm is still chosen by its test accuracy. The test set must not know that there is a choice."
        )
    if math.isclose(float(got[1]), 0.95):
        return "The choice is right. But you report the validation accuracy, the highest of three."
    if (int(got[0]), round(float(got[1]), 6)) != (1, 0.91):
        return f"Arm 1 has the best validation accuracy, and a test accuracy of 0.91; got {got!r}."
    return None


def expected_lead(answer: Any) -> str | None:
    """Mean lead of the best of K equal arms with normal noise, by simulation."""
    if wrong := needs_function(answer, "the number of arms and the standard deviation"):
        return wrong
    for arms, right in ((2, 0.5642), (8, 1.4236)):
        value = float(answer(arms, 1.0))
        if abs(value) < 0.02:
            return "The mean over arms is 0. What is wanted is the mean, over repetitions, of the largest."
        if abs(value - right) > 0.03:
            return (
                f"For {arms} arms the lead should be near {right:.2f} standard deviations; got {value:.3f}."
            )
    if abs(float(answer(8, 0.01)) - 0.014236) > 3e-4:
        return "The lead is proportional to the noise: multiply by the standard deviation."
    return None


def your_choice(answer: Any) -> str | None:
    """An activation and a learning rate with which a net of twelve layers learns the digits."""
    if not isinstance(answer, tuple) or len(answer) != 2:
        return f"Give a pair, an activation and a learning rate; got {answer!r}."
    activation, rate = answer
    splits, found = data.load("digits").standardized(), []
    for seed in range(3):
        try:
            net = seeded(lambda: _deep(activation), seed)
            fit(net, splits, epochs=15, learning_rate=rate, batch_size=50, seed=seed, progress=False)
        except ConvcraftError as error:
            return f"Seed {seed} failed: {error}"
        found.append(evaluate(net, splits.validation).accuracy)
    if min(found) < 0.9:
        return (
            f"Validation accuracies {', '.join(f'{value:.2f}' for value in found)}: at least 0.90 is asked "
            "of each seed. Is it the function, or its rate? See the deep plain networks of the chapter."
        )
    return None


def _deep(activation: Any) -> nn.Module:
    """Twelve hidden layers, initialized for their activation."""
    net = models.MLP((64, *[32] * 12, 10), activation=activation)
    initialize(net)
    return net


CHECKS: dict[str, Check] = {
    "best-rates": best_rates,
    "output-layers": output_layers,
    "nonlinearity-of-a-leak": nonlinearity_of_a_leak,
    "seeds-needed": seeds_needed,
    "mend-the-choice": mend_the_choice,
    "expected-lead": expected_lead,
    "your-choice": your_choice,
}
