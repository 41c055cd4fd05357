"""Checks of the exercises of the chapter "Choosing and tuning activations"."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from convcraft.errors import ConvcraftError
from convcraft.initialization import initialize
from convcraft.lab import data, models
from convcraft.lab.exercises.framework import Check, Complaint, by_name, compare
from convcraft.lab.exercises.kinds import formula, takes
from convcraft.lab.training import evaluate, fit, seeded

TASKS = ("one digit of ten", "odd or even", "any number of tags", "tomorrow's temperature")
_SQUARE = "The standard error falls with the root of n, so square the ratio."
_HEADS = {"softmax", "sigmoid", "sigmoids", "none"}


@takes("an array (arms, rates, seeds)")
def best_rates(answer: Any) -> str | None:
    """From validation accuracies (arms, rates, seeds) the index of the best rate of each arm."""
    accuracy = np.array([[[0.9, 0.9, 0.9], [0.99, 0.6, 0.9]], [[0.5, 0.7, 0.6], [0.8, 0.7, 0.9]]])
    got = np.asarray(answer(accuracy))
    if got.shape != (2,):
        return f"One index for each arm is asked for, shape (2,) here; got {got.shape}. Which axes are averaged?"
    if got.tolist() == [1, 1]:
        return "For the first arm you took the rate with the best single seed. Average over the seeds first."
    return compare(got, np.array([0, 1]), "the best rates of the two arms of the test")


def output_layers(answer: Any) -> Iterator[Complaint]:
    """The activation of the output for four tasks: softmax, sigmoid(s) or none."""
    if not isinstance(answer, Mapping) or set(answer) != set(TASKS):
        yield f"Give a dictionary with the keys {', '.join(map(repr, TASKS))}; got {answer!r}."
    if unknown := [head for head in answer.values() if head not in _HEADS]:
        yield f"{unknown[0]!r} is none of the choices: {', '.join(sorted(_HEADS))}."
    digit, odd, tags, temperature = (answer[task] for task in TASKS)
    if tags == "softmax":
        yield "Any number of tags may be right, none or all. A softmax must share one unit among them."
    if temperature != "none":
        yield "A temperature may be any number. What could an output in (0, 1) say about it?"
    if digit != "softmax":
        yield "Exactly one of ten digits is right, so the ten probabilities should add up to 1."
    if odd not in ("sigmoid", "softmax"):
        yield "Odd or even is one question with two answers: one probability will do."
    if tags not in ("sigmoids", "sigmoid"):
        yield "A tag is there or not: each needs a probability of its own."


def biased_choice(validation: Any, test: Any) -> tuple[int, float]:
    """The comparison of the exercise, with its mistake: what it returns is chosen on the test set.

    >>> biased_choice([0.9, 0.8], [0.7, 0.75])
    (1, 0.75)
    """
    best = int(np.argmax(test))
    return best, float(np.asarray(test)[best])


@takes("the validation and the test accuracies of the arms")
def mend_the_choice(answer: Any) -> Iterator[Complaint]:
    """Choose on validation and report on test."""
    validation, test = [0.90, 0.95, 0.93], [0.94, 0.91, 0.92]
    got = answer(validation, test)
    if not isinstance(got, tuple) or len(got) != 2:
        yield f"Return two things, the number of the arm and its accuracy to report; got {got!r}."
    if int(got[0]) == 0:
        yield "The arm is still chosen by its test accuracy. The test set must not know that there is a choice."
    if math.isclose(float(got[1]), 0.95):
        yield "The choice is right. But you report the validation accuracy, the highest of three."
    if wrong := compare(got, (1, 0.91), "the answer"):
        yield wrong.because("Take the arm with the best validation accuracy, and report its test accuracy.")


@takes("the number of arms and the standard deviation")
def expected_lead(answer: Any) -> Iterator[Complaint]:
    """Mean lead of the best of K equal arms with normal noise, by simulation."""
    for arms, right in ((2, 0.5642), (8, 1.4236)):
        value = float(answer(arms, 1.0))
        if abs(value) < 0.02:
            yield "The mean over arms is 0. What is wanted is the mean, over repetitions, of the largest."
        if wrong := compare(value, right, f"the lead of {arms} arms in standard deviations", tolerance=0.02):
            bound = math.sqrt(2 * math.log(arms))
            if math.isclose(value, bound, rel_tol=1e-3):
                yield wrong.because("That is the bound, which no noise reaches. Draw the noise and average.")
            yield wrong
    if abs(float(answer(8, 0.01)) - 0.014236) > 3e-4:
        yield "The lead is proportional to the noise: multiply by the standard deviation."


@takes("the weight (units, pixels) and the bias (units,) of a layer, the scale and the shift")
def re_encode(answer: Any) -> Iterator[Complaint]:
    """Weight and bias that do to scale * x + shift what the given ones do to x."""
    g = torch.Generator().manual_seed(0)
    x, weight = torch.randn(5, 7, generator=g).double(), torch.randn(3, 7, generator=g).double()
    bias = torch.arange(3.0, dtype=torch.float64)
    for scale, shift in ((1.0, -1.0), (2.0, 0.0), (2.0, -1.0), (-1.0, 0.5)):
        got = answer(weight.clone(), bias.clone(), scale, shift)
        if not isinstance(got, tuple) or len(got) != 2:
            yield f"Return two tensors, a weight and a bias; got {type(got).__name__}."
        new_weight, new_bias = got
        if tuple(new_weight.shape) != (3, 7) or tuple(new_bias.shape) != (3,):
            got = f"{(*new_weight.shape,)} and {(*new_bias.shape,)}"
            yield f"The shapes must stay (3, 7) and (3,); got {got}."
        if not torch.allclose(new_weight, weight / scale):
            yield f"At scale {scale:g} the weight is not yet right: x comes in multiplied by the scale."
        if not torch.allclose((scale * x + shift) @ new_weight.T + new_bias, x @ weight.T + bias):
            hint = f"At scale {scale:g} and shift {shift:g} the weight is right, the bias is not."
            yield f"{hint} The shift goes through the new weight, summed over the pixels."


def pooled_paradox(answer: Any) -> Iterator[Complaint]:
    """Accuracies and numbers of runs, functions by rates: ahead at both rates, behind in the pooled mean."""
    if not isinstance(answer, tuple) or len(answer) != 2 or {np.shape(part) for part in answer} != {(2, 2)}:
        yield "Give two tables of 2 x 2, functions by rates: the mean accuracies and the numbers of runs."
    accuracy, runs = (np.asarray(part, dtype=float) for part in answer)
    if not ((accuracy >= 0) & (accuracy <= 1)).all() or (runs < 1).any() or (runs % 1).any():
        yield "Accuracies lie between 0 and 1, and each cell has a whole number of runs, one or more."
    if not (accuracy[0] > accuracy[1]).all():
        yield "The first function must be ahead at both rates."
    pooled = (accuracy * runs).sum(1) / runs.sum(1)
    if pooled[0] >= pooled[1]:
        yield f"Pooled, {pooled[0]:.3f} is not behind {pooled[1]:.3f}. Which of the two was mostly run at the bad rate?"


def your_choice(answer: Any) -> Iterator[Complaint]:
    """An activation and a learning rate with which a net of twelve layers learns the digits."""
    if not isinstance(answer, tuple) or len(answer) != 2:
        yield f"Give a pair, an activation and a learning rate; got {answer!r}."
    activation, rate = answer
    splits, found = data.load("digits").standardized(), []
    for seed in range(3):
        try:
            net = seeded(lambda: _deep(activation), seed)
            fit(net, splits, epochs=15, learning_rate=rate, batch_size=50, seed=seed, progress=False)
        except ConvcraftError as error:
            yield f"Seed {seed} failed: {error}"
        found.append(evaluate(net, splits.validation).accuracy)
    if min(found) < 0.9:
        yield f"Validation accuracies {[round(a, 2) for a in found]}; each must reach 0.90. Function or rate?"


def _deep(activation: Any) -> nn.Module:
    """Twelve hidden layers, initialized for their activation."""
    net = models.MLP((64, *[32] * 12, 10), activation=activation)
    initialize(net)
    return net


def _nonlinearity(slope: float, moment: float) -> float:
    return 1 - ((1 + slope) / 2) ** 2 / moment


CHECKS: dict[str, Check] = by_name(
    best_rates, output_layers, mend_the_choice, expected_lead, re_encode, pooled_paradox, your_choice
) | {
    "nonlinearity-of-a-leak": formula(
        lambda a: _nonlinearity(a, (1 + a**2) / 2 - (1 - a) ** 2 / (2 * math.pi)),
        [(1.0,), (0.0,), (0.01,), (0.25,), (0.5,), (-1.0,)],
        "the index for slope {:g}",
        (lambda a: _nonlinearity(a, (1 + a**2) / 2), "The line has an intercept: divide by the variance."),
        arguments="the slope",
    ),
    "seeds-needed": formula(
        lambda deviation, half: math.ceil((1.96 * deviation / half) ** 2),
        [(0.01, 0.005), (0.02, 0.005), (0.01, 0.002), (0.004, 0.01)],
        "the number for {}, {}",
        (lambda s, h: math.ceil((s / h) ** 2), "A 95 % interval reaches 1.96 standard errors to each side."),
        (lambda s, h: math.ceil(1.96 * s / h), _SQUARE),
        (lambda s, h: math.ceil(2 * 1.96 * s / h), _SQUARE),
        (lambda s, h: (1.96 * s / h) ** 2, "Seeds come in whole numbers: round up."),
        arguments="the standard deviation of the differences and the half-width",
    ),
}
