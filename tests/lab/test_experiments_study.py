"""What a study may be: its checks, its version, where its file lies."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from convcraft import ConvcraftError
from convcraft.lab import data
from convcraft.lab.experiments import Contrast, Study, load_study, names, version
from convcraft.lab.experiments.score import withhold
from convcraft.lab.experiments.to_json import plain, rounded
from convcraft.lab.experiments.version import studies_folder
from convcraft.lab.training import evaluate

ARMS = {"a": {"width": 4}, "b": {"width": 8}}


def run(arm, rate, seed, splits, final):
    return {"score": 1.0}


def model(arm):
    return torch.nn.Linear(64, 10)


def splits(arm):
    return data.load("digits").flattened()


def fit_without_rate(arm):
    return {"optimizer": torch.optim.Adam}


TRAINED = {"model": model, "splits": splits}
WRONG = {
    "no arms": ({"arms": {}}, "one arm or more"),
    "arms as a list": ({"arms": ["a"]}, "arms must be a dict"),
    "an arm with a function": ({"arms": {"a": {"f": torch.relu}}}, r"arms\['a'\]\['f'\] must be plain data"),
    "an arm with an array": ({"arms": {"a": {"x": np.zeros(2)}}}, r"arms\['a'\]\['x'\] must be plain data"),
    "an arm with a number as key": ({"arms": {"a": {1: 2}}}, "keys are not all strings"),
    "an arm that is not finite": ({"arms": {"a": [1.0, float("inf")]}}, r"arms\['a'\]\[1\]"),
    "a rate of 0": ({"rates": (0.1, 0.0)}, "rates must be finite numbers above 0"),
    "a rate twice": ({"rates": (0.1, 0.1)}, "none twice"),
    "no seeds": ({"seeds": ()}, "seeds must hold one seed or more"),
    "a seed twice": ({"seeds": (1, 1)}, "seeds must hold one seed or more, none twice"),
    "a tuning seed twice": ({"tuning_seeds": (1, 1)}, "tuning_seeds must hold"),
    "a seed below 0": ({"seeds": (-1,)}, "seed must be a whole number"),
    "seeds in both": ({"rates": (0.1, 0.2), "seeds": range(5), "tuning_seeds": (4, 5)}, r"\[4\] in both"),
    "run and model": ({"model": model, "splits": splits}, "got both"),
    "neither run nor model": ({"run": None}, "got neither"),
    "run and measure": ({"measure": run}, "measure or fit as well"),
    "run and fit": ({"fit": {"epochs": 1}}, "measure or fit as well"),
    "a model without splits": ({"run": None, "model": model}, "splits is needed"),
    "a model that is none": ({"run": None, "splits": splits, "model": 3}, "model must be a function"),
    "an unknown arm in a contrast": ({"contrasts": (Contrast("a", "c"),)}, "unknown arm of a contrast 'c'"),
    "an unknown measure in a contrast": (
        {"run": None, **TRAINED, "contrasts": (Contrast("a", "b", "test_acuracy"),)},
        "did you mean 'test_accuracy'",
    ),
    "an unknown entry of quick": ({"quick": {"epochs": 1}}, "unknown entry of quick 'epochs'"),
    "a select without direction": ({"select": ("validation_loss",)}, "select must be a measure and"),
    "a select that training does not measure": (
        {"run": None, **TRAINED, "select": ("validation_acc", "max")},
        "unknown measure to select by 'validation_acc': did you mean 'validation_accuracy'",
    ),
    "an unknown keyword of fit": ({"run": None, **TRAINED, "fit": {"epoch": 1}}, "did you mean 'epochs'"),
    "a seed in fit": ({"run": None, **TRAINED, "fit": {"seed": 1}}, "unknown entry of fit 'seed'"),
    "two learning rates": (
        {"run": None, **TRAINED, "rates": (0.1,), "fit": {"learning_rate": 0.1}},
        "must not hold learning_rate",
    ),
    "an optimizer that knows no rate": (
        {"run": None, **TRAINED, "rates": (0.1,), "fit": {"optimizer": torch.optim.Adam}},
        "will not know the rate",
    ),
    "measures of a diverged run that are no data": ({"diverged": {"x": torch.relu}}, r"diverged\['x'\]"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_study_that_cannot_be_is_refused(name):
    keywords, message = WRONG[name]
    with pytest.raises(ConvcraftError, match=message):
        Study(**{"arms": ARMS, "run": run, **keywords})


def test_an_optimizer_from_a_function_has_to_take_the_rate():
    study = Study(arms=ARMS, **TRAINED, rates=(0.1, 0.2), fit=fit_without_rate)
    with pytest.raises(ConvcraftError, match="will not know the rate"):
        study.settings_of_fit("a", 0.1)
    study = Study(
        arms=ARMS,
        **TRAINED,
        rates=(0.1, 0.2),
        fit=lambda arm, rate: {"optimizer": lambda p: torch.optim.Adam(p, rate), "epochs": arm["width"]},
    )
    settings = study.settings_of_fit("b", 0.2)
    assert settings["epochs"] == 8 and settings["learning_rate"] == 0.2
    assert settings["optimizer"](model({}).parameters()).param_groups[0]["lr"] == 0.2


def test_a_contrast_is_between_two_arms_and_has_a_margin_above_0():
    with pytest.raises(ConvcraftError, match="got 'a' twice"):
        Contrast("a", "a")
    with pytest.raises(ConvcraftError, match="margin of a contrast must be above 0"):
        Contrast("a", "b", margin=0.0)
    assert Contrast("a", "b", "loss").margin is None and Contrast("a", "b", "loss").family == "loss"


def test_arms_are_handed_on_as_json_holds_them():
    study = Study(arms={"a": {"widths": (64, 10)}}, run=run)
    assert study.arms == {"a": {"widths": [64, 10]}}
    assert plain({"a": [None, True, 1, 0.5, "x"]}, "here") == {"a": [None, True, 1, 0.5, "x"]}


def test_a_part_of_a_study():
    study = Study(arms=ARMS, run=run, contrasts=(Contrast("a", "b", "score"),))
    assert study.reduced({"arms": ["b"], "seeds": [7]}).seeds == (7,)
    assert study.reduced({"arms": "b"}).arms == {"b": {"width": 8}} and len(study.arms) == 2
    assert study.reduced({"arms": "b"}).contrasts == () and len(study.contrasts) == 1
    with pytest.raises(ConvcraftError, match="unknown arm 'c'"):
        study.reduced({"arms": ["c"]})
    with pytest.raises(ConvcraftError, match="unknown entry of changes 'epochs'"):
        study.reduced({"epochs": 1})


@pytest.mark.parametrize("fit", [{"epochs": 9}, lambda arm: {"epochs": 9}, lambda arm, rate: {"epochs": 9}])
def test_entries_of_fit_are_replaced_in_a_part(fit):
    study = Study(arms=ARMS, **TRAINED, fit=fit).reduced({"fit": {"batch_size": 5}})
    assert study.settings_of_fit("a", 0.5) == {"epochs": 9, "batch_size": 5, "learning_rate": 0.5}


def test_measures_are_kept_to_six_digits():
    assert rounded(1 / 3, "x") == 0.333333 and rounded(123456789.0, "x") == 123457000.0
    assert rounded(torch.tensor([[1 / 3, float("inf")]]), "x") == [[0.333333, None]]
    assert rounded(np.float32(0.1), "x") == 0.1 and rounded(np.int64(3), "x") == 3
    with pytest.raises(ConvcraftError, match=r"x\[1\] must be a number"):
        rounded([1.0, {}], "x")


def changed(source, old, new):
    assert old in source
    return source.replace(old, new)


SAME = [
    ("Two activations on some digits.", "Another title."),
    ('    """A network with one hidden layer."""\n', ""),
    ("    fit={", "    # a comment\n    fit={"),
    ('Contrast("tanh", "relu"),', 'Contrast("relu", "tanh"),'),
    ("    contrasts=(", '    quick={"seeds": range(2)},\n    contrasts=('),
    ('    contrasts=(Contrast("tanh", "relu"), Contrast("tanh", "relu", measure="norm", margin=2.0)),\n', ""),
    ("import Contrast, Study", "import Study"),
]
OTHER = [
    ("(64, 8, 10)", "(64, 9, 10)"),
    ("subset(200)", "subset(201)"),
    ("range(3)", "range(4)"),
    ('"epochs": 1', '"epochs": 2'),
    ('{"norm": float(sum(weights))', '{"norm": float(max(weights))'),
]


@pytest.mark.parametrize(("old", "new"), SAME, ids=[old[:20].strip() for old, _ in SAME])
def test_what_decides_no_number_is_not_in_the_version(old, new, folder):
    assert version(changed(folder.tiny, old, new)) == version(folder.tiny)


@pytest.mark.parametrize(("old", "new"), OTHER, ids=[new for _, new in OTHER])
def test_what_decides_a_number_is_in_the_version(old, new, folder):
    assert version(changed(folder.tiny, old, new)) != version(folder.tiny)


def test_names_that_only_the_contrasts_use_are_not_in_the_version():
    source = "from x import Study\n{}STUDY = Study(arms=ARMS, contrasts={})\n"
    base = version(source.format("", "()"))
    helper = "BASE = 'relu'\nPAIRS: tuple = (BASE,)\ndef pairs():\n    return PAIRS\n"
    assert version(source.format(helper, "pairs()")) == base
    assert version(source.format("def pairs():\n    return 1\nX = pairs()\n", "pairs()")) != base


def test_the_version_does_not_depend_on_python():
    source = 'def f(a, *, b=1.5):\n    return f"{a!r:>{b}}" if a else [x async for x in b]\n'
    assert version(source) == "8f0b99c96a5330a3834e5589705067e8f3967c022f35a93d6877eccadeaef789"
    assert version("x = ['', 'a']") != version("x = ['a']")


def test_studies_are_found_from_the_folders_below_the_book(folder, monkeypatch):
    folder.write("tiny")
    folder.write("script", "print('a program of its own')\n")
    folder.write("typed", "from convcraft.lab.experiments import Study\nSTUDY: Study = None\n")
    (folder.studies / "notes").mkdir()
    for place in (folder.studies.parent.parent, folder.studies.parent, folder.studies / "notes"):
        monkeypatch.chdir(place)
        assert studies_folder().resolve() == folder.studies.resolve() and names() == ["tiny", "typed"]
    assert load_study("tiny").title == "Two activations on some digits."
    assert load_study("tiny").source == folder.tiny and load_study("tiny") is load_study("tiny")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tinny", "unknown study 'tinny': did you mean 'tiny'"),
        ("script", "must define STUDY"),
        ("broken", "must be importable.*SyntaxError"),
        ("raises", "must be importable, without training anything; got ZeroDivisionError"),
        ("none", "must define STUDY = Study"),
        ("wrong", "study wrong: arms must be a dict"),
    ],
)
def test_a_study_that_cannot_be_loaded(name, message, folder):
    folder.write("tiny")
    folder.write("script", "x = 1\n")
    folder.write("broken", "STUDY = (\n")
    folder.write("raises", "STUDY = 1 / 0\n")
    folder.write("none", "STUDY = None\n")
    folder.write("wrong", "from convcraft.lab.experiments import Study\nSTUDY = Study(arms={})\n")
    with pytest.raises(ConvcraftError, match=message):
        load_study(name)


def test_without_a_folder_of_studies(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConvcraftError, match="no folder of studies"):
        names()
    with pytest.raises(ConvcraftError, match="there is none at"):
        names(tmp_path / "elsewhere")


ROUTES = {
    "attribute": lambda s: s.test.x,
    "labels": lambda s: s.test.y,
    "length": lambda s: len(s.test),
    "truth": lambda s: bool(s.test),
    "iteration": lambda s: list(s.test),
    "index": lambda s: s.test[0],
    "subset": lambda s: s.test.subset(3),
    "evaluate": lambda s: evaluate(torch.nn.Identity(), s.test),
    "standardized": lambda s: s.standardized().test.x,
    "flattened": lambda s: s.flattened().test.x,
    "to": lambda s: s.to("cpu").test.x,
    "replaced": lambda s: replace(s, train=s.train.subset(9)).test.x,
    "put back": lambda s: replace(s, test=s.train).test.x,
    "again": lambda s: withhold(s).test.x,
    "pickled": lambda s: pickle.loads(pickle.dumps(s)).test.x,
    "copied": lambda s: copy.deepcopy(s).test.x,
    "set": lambda s: setattr(s.test, "x", s.train.x),
}


@pytest.mark.parametrize("route", ROUTES)
def test_the_test_part_is_withheld_on_every_route(route):
    given = withhold(data.load("digits"))
    with pytest.raises(ConvcraftError, match="test is withheld"):
        ROUTES[route](given)


def held(value, seen):
    """The identities of all that hangs on an object."""
    if id(value) not in seen:
        seen.add(id(value))
        for part in vars(value).values() if hasattr(value, "__dict__") else ():
            held(part, seen)
    return seen


def test_the_test_part_is_not_there_at_all():
    whole = data.load("digits")
    given = withhold(whole)
    assert not {id(whole.test), id(whole.test.x), id(whole.test.y)} & held(given, set())
    assert id(whole.train.x) in held(given, set())
    assert given.train is whole.train and given.chance == whole.chance and "test withheld" in repr(given)
    assert torch.equal(given.flattened().validation.x, whole.flattened().validation.x)
    assert (
        len(replace(given, train=given.train.subset(9)).standardized().train) == 9
        and repr(given.test) == "withheld"
    )
