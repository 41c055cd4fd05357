"""The checks of the exercises on combining accept what is right and say what is wrong."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from convcraft.diagnostics import diagnose
from convcraft.initialization import initialize
from convcraft.lab.exercises import check, names
from convcraft.lab.exercises.combining import patient, recipe_net
from convcraft.lab.training import fit, seeded

NAMES = {
    "two-by-two",
    "count-the-runs",
    "hidden-replication",
    "share-of-the-range",
    "leave-one-out",
    "nothing-to-lose",
    "which-conclusion-combining",
    "cure",
    "your-recipe",
}


def leave_out(cells):
    everything = max(cells, key=len)
    return {t: float((cells[everything] - cells[everything - {t}]).mean()) for t in everything}


def alone(cells):
    return {t: float((cells[frozenset({t})] - cells[frozenset()]).mean()) for t in max(cells, key=len)}


def cured(logits=True, start=True, rate=0.05, batch=True, optimizer=True):
    """A cure that may leave one of the illnesses, or do harm."""

    def cure(case):
        model = case.model[:-1] if logits else case.model
        if start:
            seeded(lambda: initialize(model), 0)
        mine = torch.optim.SGD(model.parameters(), lr=rate) if optimizer else case.optimizer
        x, y = case.batch
        return case._replace(model=model, optimizer=mine, batch=(x if batch else 2 * x, y))

    return cure


def other_optimizer(case):
    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 5))
    return case._replace(model=model)


def trained(norm, epochs):
    """The network of the recipe, or one with batch normalization instead of dropout."""

    def normalized():
        net = nn.Sequential(
            *(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10)),
        )
        initialize(net)
        return net

    def train(splits, seed):
        net = seeded(normalized if norm else recipe_net, seed)
        settings = {"learning_rate": 0.05 if norm else 0.025, "weight_decay": 0.003, "batch_size": 32}
        fit(net, splits, epochs=epochs, seed=seed, progress=False, evaluate_at=(), **settings)
        return net

    return train


RIGHT = [
    ("two-by-two", (2.5, 1.5, -3)),
    ("count-the-runs", (126, 1152)),
    ("hidden-replication", lambda k: (k + 1) / 2),
    ("share-of-the-range", lambda m: m**2 / (1 + m**2)),
    ("leave-one-out", leave_out),
    ("nothing-to-lose", (90, 95, 95, 95)),
    ("which-conclusion-combining", "b"),
    ("cure", cured()),
    ("your-recipe", trained(norm=True, epochs=25)),
]
WRONG = [
    ("two-by-two", (2.5, 1.5), "Give 3 numbers"),
    ("two-by-two", (4, 3, -3), "the other is off"),
    ("two-by-two", (2.0, 1.5, -3), "the main effect of A"),
    ("two-by-two", (2.5, 1.0, -3), "the main effect of B"),
    ("two-by-two", (2.5, 1.5, 3), "the sign"),
    ("two-by-two", (2.5, 1.5, 4), "difference of two differences"),
    ("two-by-two", (2.5, 1.5, 0), "the interaction is"),
    ("count-the-runs", (126,), "Give 2 numbers"),
    ("count-the-runs", (108, 1152), "without any technique"),
    ("count-the-runs", (70, 640), "tuned and then run"),
    ("count-the-runs", (100, 1152), "one at a time"),
    ("count-the-runs", (126, 648), "how many combinations"),
    ("count-the-runs", (126, 1000), "full factorial"),
    ("hidden-replication", 2.0, "must be a function"),
    ("hidden-replication", lambda k: 2 / (k + 1), "upside down"),
    ("hidden-replication", lambda k: k / 2 if k > 1 else 1.0, "k + 1 arms"),
    ("hidden-replication", lambda k: 1.0, "the ratio for k = 3"),
    ("share-of-the-range", 0.9, "must be a function"),
    ("share-of-the-range", lambda m: m / (1 + m), "the square of its range"),
    ("share-of-the-range", lambda m: 1 / (1 + m**2), "the other factor"),
    ("share-of-the-range", lambda m: 1.0, "the share for m"),
    ("nothing-to-lose", (90, 95, 95), "Give 4 numbers"),
    ("nothing-to-lose", (98, 103, 103, 103), "between 0 and 100"),
    ("nothing-to-lose", (90, 92, 95, 95), "leaving B out of both changes the accuracy by -3 points"),
    ("nothing-to-lose", (90, 95, 93, 95), "leaving A out of both"),
    ("nothing-to-lose", (90, 92, 92, 92), "both together are worth 2 points"),
    ("which-conclusion-combining", "a", "the interval of their difference"),
    ("which-conclusion-combining", "c", "difference of two effects"),
    ("which-conclusion-combining", "d", "elsewhere more"),
    ("leave-one-out", {}, "must be a function"),
    ("leave-one-out", lambda cells: {"l2": 0.0}, "one number for each"),
    ("leave-one-out", lambda cells: {t: -v for t, v in leave_out(cells).items()}, "the sign"),
    ("leave-one-out", alone, "takes one from all"),
    ("leave-one-out", lambda cells: dict.fromkeys(leave_out(cells), 0.0), "the effect of"),
    ("cure", None, "must be a function"),
    ("cure", lambda case: case.model, "must return a case"),
    ("cure", lambda case: case, "vanishing-gradient"),
    ("cure", cured(logits=False), "softmax-before-cross-entropy"),
    ("cure", cured(start=False), "vanishing-gradient"),
    ("cure", cured(rate=30.0), "update-too-large"),
    ("cure", cured(rate=5e-4), "after 200 steps"),
    ("cure", cured(batch=False), "leave the batch"),
    ("cure", other_optimizer, "make a new one"),
    ("your-recipe", "bn", "must be a function"),
    ("your-recipe", lambda splits, seed: None, "must return the trained network"),
    ("your-recipe", trained(norm=False, epochs=40), "1 point is asked for"),
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


def test_the_patient_hides_an_illness_behind_another():
    """The learning rate of 30 is seen only when the gradient arrives again."""
    assert "update-too-large" not in diagnose(*patient())
    assert "update-too-large" in diagnose(*cured(rate=30.0)(patient()))


def test_the_test_part_is_withheld_from_the_learner():
    seen = []

    def look(splits, seed):
        seen.append(len(splits.test))
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

    assert not check("your-recipe", look) and seen == [0, 0, 0]
