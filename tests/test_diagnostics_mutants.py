"""Known mistakes of recorders and diagnoses, put into ours: the tests beside this file must notice each."""

import contextlib
import importlib.util
from pathlib import Path

import pytest
import torch

from convcraft.diagnostics import _gather, _tally, _watch, diagnose, findings, record, thresholds
from convcraft.diagnostics.findings import ALWAYS, CHECKS
from convcraft.lab import clinic


def load(name):
    spec = importlib.util.spec_from_file_location(f"mutants_{name}", Path(__file__).parent / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RECORD, DIAGNOSE = load("test_diagnostics_record"), load("test_diagnostics")
JUDGEMENT = load("test_diagnostics_judgement")


def part(name):
    """A module of the package whose name a function of the package has taken."""
    return importlib.import_module(f"convcraft.diagnostics.{name}")


def dead_by_a_histogram(value, dim, dtype):
    """Counts what is not in the lowest bins, and so takes small values for dead units."""
    return (value.abs() >= 0.25).sum([d for d in range(value.dim()) if d != dim]).float()


def dead_on_the_last_batch(self):
    self.alive = None
    FOLD_OF_TALLY(self)


FOLD_OF_TALLY = _tally.Tally.fold


def unscaled(self, value, step):
    return value * 1.001


def leaves_its_hooks(self):
    self.hooks.clear()


def own_model(model, optimizer):
    return model, optimizer


@contextlib.contextmanager
def no_random_states(model, data, seed):
    torch.manual_seed(seed)
    yield


def draws(self, value, step):
    torch.rand(1)
    ADD_OF_TALLY(self, value, step)


ADD_OF_TALLY = _tally.Tally.add


def zeros_by_a_threshold(self, value, step):
    ADD_OF_TALLY(self, torch.where(value.abs() < 0.1, torch.zeros_like(value), value), step)


def stays_in_training_mode(model, modes):
    model.train()


MUTANTS = {
    "dead by a histogram": (
        (_tally, "unit_sums", dead_by_a_histogram),
        lambda: RECORD.test_dead_units_are_dead_on_all_data_and_not_on_one_batch(),
    ),
    "dead on the last batch": (
        (_tally.Tally, "fold", dead_on_the_last_batch),
        lambda: RECORD.test_dead_units_are_dead_on_all_data_and_not_on_one_batch(),
    ),
    "zeros by a threshold": (
        (_tally.Tally, "add", zeros_by_a_threshold),
        lambda: RECORD.test_numbers_are_those_of_the_values(),
    ),
    "hooks stay after an exception": (
        (_watch.Watcher, "detach", leaves_its_hooks),
        lambda: RECORD.test_hooks_and_mode_go_when_the_model_fails(KeyboardInterrupt()),
    ),
    "recording draws random numbers": (
        (_tally.Tally, "add", draws),
        lambda: RECORD.test_a_recorded_run_is_the_same_run(True),
    ),
    "a hook changes the gradient": (
        (_tally.Tally, "gradient", unscaled),
        lambda: RECORD.test_a_recorded_run_is_the_same_run(True),
    ),
    "diagnosis on the user's own model": (
        (part("diagnose"), "copies", own_model),
        lambda: DIAGNOSE.test_everything_is_as_it_was(lambda: DIAGNOSE.small(), 2),
    ),
    "nothing is restored": (
        (part("diagnose"), "restored", lambda model: contextlib.nullcontext()),
        lambda: DIAGNOSE.test_everything_is_as_it_was(DIAGNOSE.Locked, 2),
    ),
    "random states are not given back": (
        (part("diagnose"), "random_states", no_random_states),
        lambda: DIAGNOSE.test_everything_is_as_it_was(lambda: DIAGNOSE.small(), 0),
    ),
    "gates are taken for activations": (
        (_gather.Examiner, "function", lambda self, name, path, inputs, output: None),
        lambda: JUDGEMENT.test_zeros_that_are_meant_and_closed_gates_are_not_accused(),
    ),
    "a quiet unit is dead": (
        (thresholds, "DEAD_SEEN", 0),
        lambda: JUDGEMENT.test_too_little_data_makes_dead_units_a_note(),
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_the_mutant_is_noticed(name, monkeypatch):
    (where, attribute, mutant), check = MUTANTS[name]
    check()
    with monkeypatch.context() as patch:
        patch.setattr(where, attribute, mutant)
        # a mutant may leave hooks on the models of the test, never on anything else
        with pytest.raises((AssertionError, RuntimeError, pytest.fail.Exception)):
            check()
    while torch.overrides._get_current_function_mode_stack():
        torch.overrides._pop_mode()
    check()


#: The finding that is lost when a check is.
LOST = {
    "not_finite": "not-finite",
    "drift": "activation-drift",
    "gradient": "vanishing-gradient",
    "dead": "dead-units",
    "saturated": "saturated-units",
    "constant": "constant-weights",
    "mismatch": "initialization-mismatch",
    "initial": "initial-loss",
    "softmax": "softmax-before-cross-entropy",
    "inputs": "inputs-not-standardized",
    "bias": "bias-before-normalization",
    "dropout": "dropout-before-batch-norm",
    "small_batch": "batch-norm-small-batch",
    "eval_mode": "batch-norm-eval-mode",
    "running": "batch-norm-running-statistics",
    "no_gradient": "no-gradient",
    "not_optimized": "not-optimized",
    "decay": "decayed-biases-and-norms",
    "updates": "update-too-large",
    "unexplained": "train-eval-mismatch",
}


@pytest.mark.parametrize("check", [*ALWAYS, *CHECKS], ids=lambda check: check.__name__)
def test_no_other_check_makes_up_for_a_lost_one(check, monkeypatch):
    name = LOST[check.__name__]
    monkeypatch.setattr(findings, "ALWAYS", tuple(c for c in ALWAYS if c is not check))
    monkeypatch.setattr(findings, "CHECKS", tuple(c for c in CHECKS if c is not check))
    assert name not in diagnose(*clinic.sick(name))


@pytest.mark.parametrize(
    ("limit", "value", "name"),
    [
        ("DEAD_WARNING", 0.0, "dead-units"),
        ("SATURATED_WARNING", 0.0, "saturated-units"),
        ("DRIFT_WARNING", 1.0, "activation-drift"),
        ("MISMATCH_WARNING", 1.0, "initialization-mismatch"),
        ("VANISHING_WARNING", 1e3, "vanishing-gradient"),
        ("INITIAL_LOSS_EXCESS", -1.0, "initial-loss"),
        ("UPDATE_LARGE", 0.0, "update-too-large"),
        ("BATCH_SMALL", 1000, "batch-norm-running-statistics"),
        ("OUTPUT_TOLERANCE", -1.0, "train-eval-mismatch"),
    ],
)
def test_a_limit_that_accuses_everyone_is_noticed_on_the_healthy_twins(limit, value, name, monkeypatch):
    assert diagnose(*clinic.healthy(name)).healthy
    monkeypatch.setattr(thresholds, limit, value)
    assert not diagnose(*clinic.healthy(name)).healthy


def test_a_recorder_that_waits_for_the_device_is_told_by_its_calls(monkeypatch):
    """No hook asks a tensor for its value: `item`, `tolist`, `bool` and `float` are not called while "
    "recording."""
    calls = []
    for name in ("item", "tolist", "__bool__", "__float__", "cpu", "numpy"):
        original = getattr(torch.Tensor, name)
        monkeypatch.setattr(
            torch.Tensor,
            name,
            lambda self, *a, _n=name, _o=original, **k: calls.append(_n) or _o(self, *a, **k),
        )
    model = RECORD.network()
    x = torch.randn(4, 1, 8, 8)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with record(model) as trace:
        for _ in range(5):
            model(x).sum().backward()
            optimizer.step()
        assert calls == []
        assert trace["2"].zeros > 0 and "tolist" in calls
