"""The checks of the exercises on penalties accept what is right and say what is wrong."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from convcraft import penalties
from convcraft.lab import models
from convcraft.lab.exercises import check, names
from convcraft.lab.training import fit, seeded

NAMES = {
    "half-life",
    "penalty-dialects",
    "elastic-prox",
    "early-stopping",
    "effective-rate",
    "sparse-optimizer",
    "who-is-decayed",
    "a-weight-that-grows",
    "which-conclusion-penalties",
    "your-regularizer",
}


def prox(u, a, b):
    return u.sign() * (u.abs() - a).clamp(min=0) / (1 + 2 * b)


def early(h, rate, steps):
    q = (1 - rate * h) ** steps
    return h / 2 * q / (1 - q)


def sparse(model, l1=3e-3):
    return penalties.proximal(torch.optim.Adam(penalties.decay_groups(model, 0.0, l1=l1), lr=0.01))


def by_shape(model):
    weights = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() < 2]
    return [{"params": weights, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}]


def trained(decay):
    def train(splits, seed):
        net = seeded(lambda: models.MLP((64, 64, 64, 10)), seed)
        sgd = torch.optim.SGD(penalties.decay_groups(net, decay), lr=0.1, momentum=0.9)
        how = {"epochs": 150, "batch_size": 50, "seed": seed, "evaluate_at": ()}
        fit(net, splits, progress=False, optimizer=lambda _: sgd, **how)
        return net

    return train


RIGHT = [
    ("half-life", 693),
    ("penalty-dialects", (0.006, 0.24)),
    ("elastic-prox", prox),
    ("early-stopping", early),
    ("effective-rate", lambda rate, decay, size: math.sqrt(2 * rate * decay) / size),
    ("sparse-optimizer", sparse),
    ("who-is-decayed", by_shape),
    ("who-is-decayed", lambda model: penalties.decay_groups(model, 0.01)),
    ("a-weight-that-grows", (torch.tensor([[1.0, 0.9], [0.9, 1.0]]), torch.tensor([1.0, 0.0]))),
    ("a-weight-that-grows", ([[1, -0.9], [-0.9, 1]], [0.1, 1.0])),
    ("which-conclusion-penalties", "b"),
    ("your-regularizer", trained(6e-3)),
]
WRONG = [
    ("half-life", 69, "not by 1 - weight_decay"),
    ("half-life", 692, "a little larger than half"),
    ("half-life", 347, "already is twice lambda"),
    ("half-life", 100, "the number of steps"),
    ("penalty-dialects", (0.006,), "Give 2 numbers"),
    ("penalty-dialects", (0.003, 0.24), "differentiate"),
    ("penalty-dialects", (0.01, 0.24), "weight_decay"),
    ("penalty-dialects", (0.006, 0.003), "not their mean"),
    ("penalty-dialects", (0.006, 1.0), "alpha"),
    ("elastic-prox", 3.0, "must be a function"),
    (
        "elastic-prox",
        lambda u, a, b: u.sign() * (u.abs() - a).clamp(min=0) / (1 + b),
        "the 2 is missing",
    ),
    (
        "elastic-prox",
        lambda u, a, b: u.sign() * (u.abs() / (1 + 2 * b) - a).clamp(min=0),
        "the order matters",
    ),
    ("elastic-prox", lambda u, a, b: u, "the minimizer"),
    ("early-stopping", 0.1, "must be a function"),
    ("early-stopping", lambda h, rate, steps: 2 * early(h, rate, steps), "twice too large"),
    ("early-stopping", lambda h, rate, steps: 1 / (2 * rate * steps), "lambda for h"),
    ("effective-rate", 0.1, "must be a function"),
    ("effective-rate", lambda rate, decay, size: size * math.sqrt(rate / 2 / decay), "squared norm"),
    ("effective-rate", lambda rate, decay, size: math.sqrt(rate * decay) / size, "a 2 is missing"),
    ("effective-rate", lambda rate, decay, size: rate, "the effective rate for"),
    ("sparse-optimizer", None, "must be a function"),
    ("sparse-optimizer", lambda m: torch.optim.Adam(m.parameters(), 0.01, weight_decay=0.01), "proximal"),
    ("sparse-optimizer", lambda m: sparse(m, 1e-4), "stronger"),
    (
        "sparse-optimizer",
        lambda m: penalties.proximal(torch.optim.SGD(m.parameters(), 0.1, momentum=0.9), l1=5e-3),
        "biases",
    ),
    ("sparse-optimizer", lambda m: sparse(m, 1e-1), "too strong"),
    ("who-is-decayed", [], "must be a function"),
    ("who-is-decayed", lambda m: by_shape(m)[:1], "once"),
    ("who-is-decayed", lambda m: [{"params": list(m.parameters()), "weight_decay": 0.01}], "should not be"),
    ("who-is-decayed", lambda m: [{"params": list(m.parameters()), "weight_decay": 0.0}], "should be"),
    ("a-weight-that-grows", 1.0, "Give 2 tensors"),
    ("a-weight-that-grows", (torch.eye(3), torch.ones(3)), "must have shape"),
    ("a-weight-that-grows", ([[1, 2], [2, 1]], [1, 0]), "positive eigenvalues"),
    ("a-weight-that-grows", ([[1, 0], [0, 1]], [1, 0]), "tilt the ellipse"),
    ("a-weight-that-grows", ([[1, 0.9], [0.9, 1]], [1, 1]), "no weight grows"),
    ("which-conclusion-penalties", "a", "within a row"),
    ("which-conclusion-penalties", "bc", "one letter of a, b, c, d"),
    ("your-regularizer", "l2", "must be a function"),
    ("your-regularizer", lambda splits, seed: None, "must return the trained network"),
    ("your-regularizer", trained(0.0), "above that without"),
]


def test_every_exercise_of_the_chapter_has_a_check():
    assert set(names()) >= NAMES


@pytest.mark.parametrize(("name", "answer"), RIGHT)
def test_right(name, answer):
    result = check(name, answer)
    assert result, repr(result)


@pytest.mark.parametrize(("name", "answer", "says"), WRONG)
def test_wrong(name, answer, says):
    result = check(name, answer)
    assert not result and says in result.message, repr(result)


def test_the_test_part_is_withheld_from_the_learner():
    seen = []

    def look(splits, seed):
        seen.append(len(splits.test))
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

    assert not check("your-regularizer", look) and seen == [0, 0, 0]
