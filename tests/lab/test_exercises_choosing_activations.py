"""Exercises on choosing activations: right answers pass, and typical wrong answers are told what is wrong."""

import math

import numpy as np
import pytest

from convcraft.lab.exercises import check
from convcraft.lab.exercises.choosing_activations import TASKS, biased_choice

HEADS = dict(zip(TASKS, ("softmax", "sigmoid", "sigmoids", "none"), strict=True))


def leak_index(slope):
    variance = (1 + slope**2) / 2 - (1 - slope) ** 2 / (2 * math.pi)
    return 1 - ((1 + slope) / 2) ** 2 / variance


def fair_choice(validation, test):
    best = int(np.argmax(validation))
    return best, test[best]


def lead(arms, deviation):
    return deviation * np.random.default_rng(0).normal(size=(40_000, arms)).max(1).mean()


RIGHT = {
    "best-rates": lambda accuracy: accuracy.mean(2).argmax(1),
    "output-layers": HEADS,
    "nonlinearity-of-a-leak": leak_index,
    "seeds-needed": lambda deviation, half: math.ceil((1.96 * deviation / half) ** 2),
    "mend-the-choice": fair_choice,
    "expected-lead": lead,
    "re-encode": lambda w, b, scale, shift: (w / scale, b - shift * w.sum(1) / scale),
    "pooled-paradox": ([[0.95, 0.6], [0.94, 0.5]], [[1, 9], [9, 1]]),
    "which-conclusion-activations": "c",
    "your-choice": ("elu", 0.01),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_answer_passes(name):
    result = check(name, RIGHT[name])
    assert result, repr(result)


@pytest.mark.parametrize("name", RIGHT)
def test_no_answer_is_not_wrong_but_open(name):
    result = check(name, ...)
    assert not result and "Not answered yet" in repr(result)


WRONG = [
    ("best-rates", 3, "function"),
    ("best-rates", lambda a: a.mean(0).argmax(0), "shape"),
    ("best-rates", lambda a: a.max(2).argmax(1), "best single seed"),
    ("best-rates", lambda a: np.array([1, 0]), "best rates"),
    ("output-layers", ["softmax"], "dictionary"),
    ("output-layers", HEADS | {TASKS[0]: "relu"}, "none of the choices"),
    ("output-layers", HEADS | {TASKS[2]: "softmax"}, "share one unit"),
    ("output-layers", HEADS | {TASKS[3]: "sigmoid"}, "temperature"),
    ("output-layers", HEADS | {TASKS[0]: "sigmoids"}, "add up to 1"),
    ("output-layers", HEADS | {TASKS[1]: "none"}, "one probability"),
    ("output-layers", HEADS | {TASKS[2]: "none"}, "of its own"),
    ("nonlinearity-of-a-leak", 0.1, "function"),
    ("nonlinearity-of-a-leak", lambda a: 0.5, "the index for slope 1 is 0.5"),
    ("nonlinearity-of-a-leak", lambda a: 1 - ((1 + a) / 2) ** 2 / ((1 + a**2) / 2), "intercept"),
    ("nonlinearity-of-a-leak", lambda a: 1 - a, "slope 0"),
    ("seeds-needed", 16, "function"),
    ("seeds-needed", lambda s, h: math.ceil((s / h) ** 2), "1.96"),
    ("seeds-needed", lambda s, h: math.ceil(2 * 1.96 * s / h), "square"),
    ("seeds-needed", lambda s, h: (1.96 * s / h) ** 2, "round up"),
    ("seeds-needed", lambda s, h: 3, "the number for"),
    ("mend-the-choice", 1, "function"),
    ("mend-the-choice", lambda v, t: 1, "two things"),
    ("mend-the-choice", biased_choice, "still chosen"),
    ("mend-the-choice", lambda v, t: (1, max(v)), "highest of three"),
    ("mend-the-choice", lambda v, t: (2, t[2]), "report its test accuracy"),
    ("expected-lead", 1.42, "function"),
    ("expected-lead", lambda k, s: 0.0, "mean over arms"),
    ("expected-lead", lambda k, s: s * math.sqrt(2 * math.log(k)), "the bound"),
    ("expected-lead", lambda k, s: s * k, "standard deviations"),
    ("re-encode", 1, "function"),
    ("re-encode", lambda w, b, scale, shift: w, "two tensors"),
    ("re-encode", lambda w, b, scale, shift: (w.T, b), "shapes"),
    ("re-encode", lambda w, b, scale, shift: (w * scale, b - shift * w.sum(1)), "multiplied by the scale"),
    ("re-encode", lambda w, b, scale, shift: (w / scale, b - shift * w.sum(1)), "At scale 2 and shift -1"),
    ("re-encode", lambda w, b, scale, shift: (w / scale, b), "the bias is not"),
    ("pooled-paradox", 0.5, "two tables"),
    ("pooled-paradox", ([[2, 1], [0, 0]], [[1, 1], [1, 1]]), "between 0 and 1"),
    ("pooled-paradox", ([[0.5, 0.6], [0.4, 0.7]], [[1, 1], [1, 1]]), "at both rates"),
    ("pooled-paradox", ([[0.9, 0.6], [0.8, 0.5]], [[5, 5], [5, 5]]), "not behind"),
    ("which-conclusion-activations", "a", "own rate"),
    ("which-conclusion-activations", "b", "not the number zero"),
    ("which-conclusion-activations", "d", "interval of their difference"),
    ("which-conclusion-activations", "e", "one letter"),
    ("expected-lead", lambda k, s: lead(k, 1.0), "proportional"),
    ("your-choice", "relu", "pair"),
    ("your-choice", ("elu", 10.0), "failed"),
    ("your-choice", ("sigmoid", 0.1), "0.90"),
]


@pytest.mark.parametrize(("name", "answer", "hint"), WRONG)
def test_a_wrong_answer_is_told_what_is_wrong(name, answer, hint):
    result = check(name, answer)
    assert not result and hint in repr(result), repr(result)
