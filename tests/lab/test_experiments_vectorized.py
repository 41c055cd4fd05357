"""The runs of an arm trained together: the numbers of one by one, and one by one where they have to be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from convcraft.lab import data, models
from convcraft.lab.experiments import Study, load, load_study, run_study
from convcraft.lab.experiments.run import Key
from convcraft.lab.experiments.vectorized import SEEDS, groups, reason_against


def splits(arm):
    return data.load("digits").standardized().flattened()


def network(arm):
    return models.MLP((64, 4, 10))


class Masked(nn.Module):
    """What torch.func cannot do: a branch on a value."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, x):
        y = self.layer(x)
        return y if bool(y.sum() > 0) else -y


def close(a, b):
    """Whether two values of records agree to rounding."""
    if isinstance(a, (str, bool)) or a is None or b is None:
        return a == b
    return np.allclose(a, b, rtol=1e-4, atol=1e-5)


def test_the_numbers_are_those_of_one_by_one(folder):
    source = folder.tiny.replace("rates=(0.01, 0.1)", "rates=(0.01, 0.1, 1e30)")
    folder.write("alone", source)
    folder.write("together", source)
    alone, together = run_study("alone"), run_study("together", vectorized=True)
    assert [run.keys() for run in alone.runs] == [run.keys() for run in together.runs]
    for a, b in zip(alone.runs, together.runs, strict=True):
        for name in a.keys() - {"cpu_seconds", "error"}:
            assert (
                all(map(close, a[name], b[name])) if isinstance(a[name], list) else close(a[name], b[name])
            ), name
        assert bool(a["error"]) == bool(b["error"]) == a["diverged"]
    assert sum(run["diverged"] for run in together.runs) > 0
    assert together.provenance["vectorized"] == ["relu", "tanh"] and alone.provenance["vectorized"] == []
    assert together.provenance["command"].endswith("--vectorized")


def test_without_rates_fit_names_the_rate():
    study = Study(
        arms={"a": {}}, seeds=range(2), splits=splits, model=network, fit={"epochs": 1, "learning_rate": 0.05}
    )
    alone, together = run_study(study), run_study(study, vectorized=True)
    assert np.allclose(alone.values("test_loss", "a"), together.values("test_loss", "a"), rtol=1e-4)
    assert together.best_rates == {"a": None}


TRAINED = {"splits": splits, "model": network, "fit": {"epochs": 1}}
REASONS = {
    "a run of its own": ({"run": lambda *_: {"score": 1.0}}, "the study has a run of its own"),
    "schedule": (
        {**TRAINED, "fit": {"epochs": 1, "schedule": torch.optim.lr_scheduler.ConstantLR}},
        "fit has schedule",
    ),
    "patience": ({**TRAINED, "fit": {"epochs": 1, "patience": 3}}, "fit has patience"),
    "fit by rate": (
        {
            **TRAINED,
            "rates": (0.1, 0.2),
            "fit": lambda arm, rate: {"epochs": 1, "batch_size": int(rate * 500)},
        },
        "fit differs from rate to rate",
    ),
    "a branch": ({**TRAINED, "model": lambda arm: Masked()}, "torch.func cannot handle its network"),
}


@pytest.mark.parametrize("name", REASONS)
def test_what_cannot_be_trained_together_goes_one_by_one_and_that_is_said(name):
    keywords, reason = REASONS[name]
    study = Study(arms={"one": {}, "two": {}}, seeds=(0,), tuning_seeds=(100,), **keywords)
    assert reason_against(study, "one").startswith(reason)
    said = []
    results = run_study(study, vectorized=True, say=said.append)
    assert (
        len(said) == 1 and said[0].startswith(f"one by one, for {reason}") and said[0].endswith(": one, two")
    )
    assert results.provenance["vectorized"] == [] and len(results.values(results.measures[0], "two")) == 1


def test_only_the_arms_that_need_it_go_one_by_one(folder):
    source = folder.tiny.replace('fit={"epochs": 1},', PATIENT)
    folder.write("tiny", source)
    said = []
    results = run_study("tiny", vectorized=True, say=said.append)
    assert (
        results.provenance["vectorized"] == ["relu"]
        and said[0].endswith(": tanh")
        and len(results.runs) == 14
    )


PATIENT = """fit=lambda arm: {"epochs": 1, **({"patience": 2} if arm["activation"] == "tanh" else {})},"""


def test_a_stop_within_a_unit_is_made_up_for(folder):
    folder.write("tiny")
    run_study("tiny", vectorized=True)
    path = folder.results / "tiny.json"
    whole = load("tiny").runs
    path.unlink()
    from convcraft.lab.experiments import store, version

    manifest = {"version": version(load_study("tiny").source), "device": "cpu", "vectorized": True}
    partial = store.Partial(folder.results / ".tiny", manifest)
    partial.open()
    for run in whole[1:5] + whole[-2:]:
        partial.save(run, "0", 1.0)
    again = run_study("tiny", vectorized=True).runs
    assert np.allclose(*([run["validation_loss"] for run in runs] for runs in (again, whole)), rtol=1e-4)
    assert again[1] == whole[1] and len(again) == len(whole)


def test_units_are_one_phase_of_one_arm_and_some_seeds():
    seeds = range(SEEDS + 3)
    keys = [Key("tuning", arm, rate, seed) for arm in "ab" for rate in (0.1, 0.2) for seed in seeds]
    found = groups(keys)
    assert [len(group) for group in found] == [2 * SEEDS, 6, 2 * SEEDS, 6]
    assert sorted(key for group in found for key in group) == sorted(keys)
    assert all(len({key[:2] for key in group}) == 1 for group in found) and groups([]) == []


def test_every_seed_can_have_training_images_of_its_own():
    def of_seed(arm, seed):
        whole = splits(arm)
        return replace(whole, train=whole.train.subset(100, seed=seed))

    study = Study(
        arms={"a": {}}, rates=(0.05, 0.1), seeds=range(3), tuning_seeds=(100, 101), extensions=0,
        splits=of_seed, model=network, fit={"updates": 12, "batch_size": 20},
        measure=lambda model, splits, arm, seed: {"first": float(splits.train.x[0].sum())},
    )  # fmt: skip
    alone, together = run_study(study), run_study(study, vectorized=True)
    assert together.provenance["vectorized"] == ["a"] and together.updates == {"a": 12}
    for measure in ("test_loss", "first"):
        assert np.allclose(alone.values(measure, "a"), together.values(measure, "a"), rtol=1e-4)
    assert len(set(alone.values("first", "a"))) == 3
    assert alone.provenance["data"][0]["sizes"] == [100, 297, 500]
