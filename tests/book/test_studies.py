"""Every study of the book: it loads, a small part of it runs, and its result is the one that it wrote."""

from __future__ import annotations

import ast
import json
import pickle
import re
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from convcraft import ConvcraftError
from convcraft.lab import claims, data
from convcraft.lab.data import Split, Splits
from convcraft.lab.experiments import load, load_study, names, run_study
from convcraft.lab.experiments.engine import quick_changes
from convcraft.lab.experiments.executors import perform
from convcraft.lab.experiments.provenance import stated
from convcraft.lab.experiments.run import Key, Task
from convcraft.lab.experiments.tuning import choose_rates, count
from convcraft.lab.randomness import batch_orders
from convcraft.lab.training import adam_together
from convcraft.lab.training.budget import Budget

BOOK = Path(__file__).resolve().parents[2] / "book"
STUDIES = BOOK / "studies"
NAMES = names(STUDIES)
#: studies whose result breaks a rule of the protocol: they are to be run again, and then taken out of here
NOT_YET_RERUN = set(
    """
    activation_league_fashion activations_fashion_mnist augmentation_fashion_mnist batch_norm_fashion_mnist
    combining_fashion_mnist
    decay_groups dropout_fashion_mnist
    fashion_neighbourhood generation_fashion_mnist initialization_fashion_mnist
    learning_rates_fashion_mnist
    penalties_fashion_mnist usable_rates
    """.split()
)
#: arms whose loss was still falling at the long budget; they are named here, and no verdict rests on them but
#: that random labels are learned by heart, which all of them were long before, and that
#: a sine is fitted, of which nothing is left to learn, and that deep tanh is right in over 90 %, which is no
#: less after more training
STILL_FALLING = {
    "activation_league": ["cnn-tanh"],
    "deep_stacks": ["relu 1, 20 layers"],
    "choosing_depth": ["plain-6-sigmoid"],
    "dropout_mechanism": ["n1000_k0.1"],
    "sigmoid_slopes": ["σ(z)"],
    "depth_grid": [
        "relu xavier 20", "leaky_relu_0.2 xavier 20", "sigmoid_steep_centred xavier 1", "sigmoid xavier 3 bn",
        "sigmoid xavier 10 bn", "sigmoid own 10 skip-scale", "relu own 10 x0.5", "relu own 10 x2",
        "tanh own 10 x0.25", "tanh own 10 x4", "relu he 50", "relu he 50 bn", "tanh orthogonal 50",
    ],
    "batch_norm_placement": ["sigmoid_d10_before", "sigmoid_d10_after"],
    "choosing_data": ["cnn-standardized-tanh", "mlp-as it is-tanh"],
    "images_mixtures": ["tanh tanh tanh"],
    "l1_sparsity": ["noise, group 0.01"],
    "learning_rate_sweep": ["tanh-4-equal long"],
    "lambda_path": ["l2 0.0001", "l1 0.001", "l1 0.003"],
    "regularized_networks": ["cnn l2 0.0003", "cnn element 0.3", "gru input and output 0.3"],
    "learning_curves": ["random none", "random l2", "random dropout", "random batch norm"],
    "nonlinearity_index": [
        "step-elu", "step-sigmoid", "sine-tanh", "absolute value-sin", "bump-relu", "digits-identity",
        "digits-relu", "digits-tanh", "digits-silu", "digits-elu", "digits-sigmoid", "digits-sin 3z",
    ],
    "orthogonal_depth": ["tanh normal", "relu normal", "relu orthogonal"],
    "orthogonal_depth_again": ["tanh normal", "relu normal", "relu orthogonal"],
    "series": [
        "mackey-glass, tcn, tanh", "taxi, dense, relu", "taxi, dense, sigmoid", "taxi, tcn, relu",
        "taxi, rnn, tanh", "taxi, gru, relu",
    ],
    "series_anomalies": ["relu, linear", "sigmoid, linear"],
    "series_anomalies_long": ["relu, linear"],
    "recurrent_lag": [
        "rnn, tanh, orthogonal", "rnn, relu, identity", "lstm, tanh, bias 1", "gru, tanh, bias 0",
        "gru, tanh, memory",
    ],
    "recurrent_lag_long": ["lstm, tanh, memory"],
    "recurrent_messages": ["cnn, relu"],
    "technique_subsets": [
        "l2", "l2+dropout+augmentation", "l2+dropout_n1000", "dropout_before0.5", "bn+dropout_before0.5",
    ],
    "recommenders_visits": ["none, nothing dropped, 10 others"],
    "outlook_random_labels": ["relu", "tanh", "silu", "sine"],
    "outlook_sine": ["tanh", "silu", "sine"],
    "outlook_depth": ["selu", "orthogonal tanh"],
    "outlook_depth_again": ["he", "selu", "orthogonal tanh"],
    "outlook_dynamic_again": ["frelu"],
    "outlook_depth_long": ["he", "selu", "orthogonal tanh"],
}  # fmt: skip
#: arms whose best rate was at the end of a grid that had been extended three times; no verdict rests on them
AT_EDGE = {
    "recurrent_lag": ["gru, tanh, bias 0"],
    "nonlinearity_index": ["bump-square"],
    "depth_grid": ["relu own 10 x4", "relu own 10 x16", "relu he 30 skip-none", "relu xavier 30 short"],
}
IMPORTS = {"__future__", "convcraft", "torch", "numpy", "sklearn", "scipy"}


@pytest.fixture(params=NAMES, scope="module")
def name(request):
    """Of this scope, so that what is asked of a study is asked at a time: its module is kept for a while."""
    return request.param


@cache
def result_of(name):
    """The committed result of a study, which every study has."""
    return load(name, STUDIES)


def test_there_are_studies():
    assert len(NAMES) >= 12


def test_it_loads_and_names_claims_that_exist(name):
    study = load_study(name, STUDIES)
    assert json.loads(json.dumps(study.arms)) == study.arms and count(study) > 0
    assert 10 < len(study.title) < 120 and "\n" not in study.title
    assert {c.claim for c in study.contrasts if c.claim} <= claims.load().keys()


def test_it_needs_only_what_a_worker_has(name):
    tree = ast.parse((STUDIES / f"{name}.py").read_text(encoding="utf-8"))
    found = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    found |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    relative = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level]
    known = IMPORTS | set(sys.stdlib_module_names)
    assert not relative and {module.split(".")[0] for module in found} <= known


def smallest(study):
    """One arm at one rate from one seed, which tunes nothing."""
    changes = quick_changes(study)
    part = study.reduced(changes)
    name = next(iter(part.arms))
    few = {"arms": {name: part.arms[name]}, "rates": part.rates[:1], "seeds": part.seeds[:1]}
    return {**changes, **few}


def tune(study):
    """One run of the tuning, as a worker gets it."""
    changes = quick_changes(study)
    key = Key("tuning", *smallest(study)["arms"], study.rates[0], study.tuning_seeds[0])
    (record,) = perform(pickle.loads(pickle.dumps(Task(study.name, study.source, (key,), changes=changes))))
    return record


def no_download(address, path):
    raise OSError("no downloads in tests")


@cache
def few_images(name, **settings):
    """A data set, read once; of Fashion-MNIST the first images of each part."""
    splits = WHOLE(name, **settings)
    parts = zip((splits.train, splits.validation, splits.test), (1_000, 500, 500), strict=True)
    return Splits(*(Split(part.x[:n], part.y[:n]) for part, n in parts), splits.name, splits.classes)


def few_of_them(part, n, seed=0):
    return SUBSET(part, min(n, len(part)), seed)


def few_updates_together(*data, updates, look_every, **settings):
    """Ten updates; a budget with a single look as it is."""
    if updates > look_every:
        updates, look_every = 10, 5
    return adam_together(*data, updates=updates, look_every=look_every, **settings)


def few_updates(examples, batch_size, epochs, updates, evaluate_at):
    """Epochs of one update; of a budget in updates the first twenty."""
    if updates is None:
        return BUDGET(batch_size, batch_size, epochs, None, evaluate_at)
    budget = BUDGET(examples, batch_size, epochs, updates, evaluate_at)
    last = min(budget.updates, 20)
    return replace(budget, updates=last, looks=frozenset({n for n in budget.looks if n < last} | {last}))


def few_orders(examples, seed):
    return (order[:200] for order in batch_orders(examples, seed))


WHOLE, SUBSET, BUDGET = data.load, Split.subset, Budget.of
#: what becomes of names in the module of a study
SHORT = {
    "adam_together": lambda whole: few_updates_together,
    "batch_orders": lambda whole: few_orders,
    "UPDATES": lambda updates: 20,
    "DRAWS": lambda draws: 2,
    "SEEDS": lambda seeds: seeds[:1],
    "TUNING": lambda seeds: seeds[:1],
}


@pytest.fixture
def brief(name, monkeypatch):
    """A study that makes few updates, from one seed, on few images: its code is tested, not its numbers."""
    study = load_study(name, STUDIES)
    module = sys.modules[f"convcraft_study_{name}"]
    for known, shortened in SHORT.items():
        if hasattr(module, known):
            monkeypatch.setattr(module, known, shortened(getattr(module, known)))
    monkeypatch.setattr(Budget, "of", few_updates)
    monkeypatch.setattr(data, "load", few_images)
    monkeypatch.setattr(Split, "subset", few_of_them)
    monkeypatch.setattr("convcraft.lab.data.files.download", no_download)
    return study


def test_a_small_part_of_it_runs(name, brief):
    study = brief
    try:
        results = run_study(name, changes=smallest(study), folder=STUDIES)
        assert not study.tuned or tune(study)[study.select[0]] is not None
    except ConvcraftError as error:
        if "CONVCRAFT_DATA" in str(error):
            pytest.skip(f"the study {name} needs data that are not here; CONVCRAFT_DATA names their folder")
        raise
    (arm,) = results.arms
    assert len(results.values(results.measures[0], arm)) == 1
    wanted = {contrast.measure for contrast in study.contrasts if arm in (contrast.a, contrast.b)}
    assert results.diverged[arm] or wanted <= set(results.measures)


def test_its_result_is_of_this_version_and_whole(name):
    results, study = result_of(name), load_study(name, STUDIES)
    assert results.settings["arms"] == study.arms
    if not results.first_edition:
        assert len(results.runs) >= count(study) and results.best_rates == choose_rates(study, results.runs)
    for arm in study.arms:
        seeds = [run["seed"] for run in results.runs if run["phase"] == "final" and run["arm"] == arm]
        assert seeds == list(study.seeds)


def test_every_study_keeps_the_protocol_or_is_still_to_be_run_again():
    broken = {name: result_of(name).shortcomings for name in NAMES}
    # At scale a rate is chosen by one run, and the last update is the stated maximum: the rate has fallen to zero.
    assert set(broken.pop("at_scale")) == {"fewer than ten tuning seeds", "still falling"}
    # The rate is a factor of the factorial, and a small one still learns at the end. The shares are over all of its
    # cells; the evidence settles them a second time, with the best accuracy of any cell for each that still fell.
    assert set(broken.pop("technique_factorial")) == {"still falling"}
    for name in {*STILL_FALLING, *AT_EDGE}:
        named = {"still falling": STILL_FALLING.get(name), "rate at the edge": AT_EDGE.get(name)}
        assert broken.pop(name) == {rule: arms for rule, arms in named.items() if arms}
    assert {name for name, rules in broken.items() if rules} == NOT_YET_RERUN, broken


def test_no_verdict_rests_on_a_study_still_to_be_run_again():
    named = {study for claim in claims.load().values() for study in claim.studies}
    assert len(named) > 30 and named <= set(NAMES) and not named & NOT_YET_RERUN


def test_a_second_run_repeats_the_first_with_other_seeds():
    again = [name for name in NAMES if name.endswith("_again")]
    assert len(again) == 5
    for name in again:
        second, first = load_study(name, STUDIES), load_study(name.removesuffix("_again"), STUDIES)
        for what in ("arms", "rates", "model", "fit", "measure", "select", "contrasts"):
            assert getattr(second, what) == getattr(first, what), what
        assert not {*first.seeds, *first.tuning_seeds} & {*second.seeds, *second.tuning_seeds}


def test_planned_studies_load_and_await_their_run():
    """Designed under the protocol before any of their runs; each is new or to replace an old one."""
    for path in sorted((STUDIES / "planned").glob("*.py")):
        study = load_study(path)
        waits = path.stem in NOT_YET_RERUN or path.stem not in NAMES
        assert waits, f"{path.stem} has been run: delete its plan"
        assert study.extensions and study.contrasts, path.stem
        assert len(study.tuning_seeds) >= 10, path.stem


def test_its_contrasts_can_be_judged(name):
    results, study = result_of(name), load_study(name, STUDIES)
    assert results.content["contrasts"] == stated(study)["contrasts"]
    for row in results.contrasts():
        assert row.p <= row.adjusted <= 1 and np.isfinite([row.interval.low, row.interval.high]).all()


def test_its_result_says_where_it_comes_from_and_names_no_folder(name):
    results = result_of(name)
    assert results.provenance["cpu_seconds"] > 0 and results.provenance["packages"]["torch"]
    text = (BOOK / "results" / f"{name}.json").read_text(encoding="utf-8")
    assert not re.search(r"(/home|/root|/tmp|/Users|[A-Z]:\\\\)", text)


def test_all_results_together_are_small():
    assert sum(path.stat().st_size for path in (BOOK / "results").glob("*.json")) <= 6_000_000


def test_every_result_of_a_study_has_its_study():
    for path in (BOOK / "results").glob("*.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict) and "checksum" in content:
            assert content["study"] == path.stem and path.stem in NAMES
