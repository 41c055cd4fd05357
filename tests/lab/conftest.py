"""For each test a folder of studies of its own, with a study that takes a second, and a new session."""

from __future__ import annotations

from collections import Counter

import pytest

TINY = '''"""Two activations on some digits.

Reduced: nearly everything.
"""

from dataclasses import replace

from convcraft.lab import data, models
from convcraft.lab.experiments import Contrast, Study


def splits(arm):
    whole = data.load("digits").standardized().flattened()
    return replace(whole, train=whole.train.subset(200), test=whole.test.subset(100))


def model(arm):
    """A network with one hidden layer."""
    return models.MLP((64, 8, 10), activation=arm["activation"])


def measure(model, splits, arm, seed):
    weights = [p.detach().norm() for p in model.parameters()]
    return {"norm": float(sum(weights)), "norms": weights}


STUDY = Study(
    arms={"relu": {"activation": "relu"}, "tanh": {"activation": "tanh"}},
    rates=(0.01, 0.1),
    seeds=range(3),
    tuning_seeds=(100, 101),
    extensions=0,
    splits=splits,
    model=model,
    measure=measure,
    fit={"epochs": 1},
    contrasts=(Contrast("tanh", "relu"), Contrast("tanh", "relu", measure="norm", margin=2.0)),
)
'''


class Folder:
    """Where a test keeps its studies and their results."""

    tiny = TINY

    def __init__(self, root):
        self.studies, self.results = root / "book" / "studies", root / "book" / "results"
        self.studies.mkdir(parents=True)

    def write(self, name, source=TINY):
        (self.studies / f"{name}.py").write_text(source, encoding="utf-8")
        return name

    def files(self):
        """Every file of the results, with its bytes."""
        return {path: path.read_bytes() for path in self.results.rglob("*") if path.is_file()}


@pytest.fixture(autouse=True)
def no_wrong_answers_yet(monkeypatch):
    """Each test begins a session of exercises of its own."""
    monkeypatch.setattr("convcraft.lab.exercises.framework._WRONG", Counter())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with book/studies, and the working directory in it."""
    monkeypatch.chdir(tmp_path)
    return Folder(tmp_path)
