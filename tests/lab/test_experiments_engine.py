"""Running a study: its two phases, the same numbers in every way of running, a stop at any moment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from convcraft import ConvcraftError
from convcraft.lab import data, models
from convcraft.lab.experiments import Study, load, run_study
from convcraft.lab.experiments.tuning import choose_rates, count
from convcraft.lab.training import DivergedError, evaluate, fit, seeded


def numbers(results):
    """The runs without their times."""
    return [{k: v for k, v in run.items() if k != "cpu_seconds"} for run in results.runs]


def steady(path):
    """A result file without times, and without the checksum over them."""
    content = json.loads(path.read_text())
    for key in ("finished", "wall_seconds", "cpu_seconds", "calls"):
        del content["provenance"][key]
    del content["checksum"]
    for table in content["runs"].values():
        del table["cpu_seconds"]
    return content


def score(arm, rate, seed, splits, final):
    return {"score": arm["add"] + seed}


ADD = {"a": {"add": 0.0}, "b": {"add": 0.5}}


def test_one_process_and_two_give_the_same_numbers(folder):
    folder.write("one")
    folder.write("two")
    one, two = run_study("one"), run_study("two", jobs=2)
    assert numbers(one) == numbers(two) and len(one.runs) == 2 * 2 * 2 + 2 * 3
    a, b = (steady(folder.results / f"{name}.json") for name in ("one", "two"))
    assert b.pop("study") == "two" and a.pop("study") == "one"
    assert a["provenance"].pop("jobs") == 1 and b["provenance"].pop("jobs") == 2
    assert "--jobs 2" in b["provenance"].pop("command") and a["provenance"].pop("command")
    assert a == b
    assert sorted(path.name for path in folder.results.iterdir()) == ["one.json", "two.json"]


def test_a_run_is_the_one_that_fit_and_evaluate_give(folder):
    folder.write("tiny")
    results = run_study("tiny")
    from convcraft.lab.experiments import load_study

    study = load_study("tiny")
    run = results.runs[-1]
    arm, whole = study.arms[run["arm"]], study.splits({})
    network = seeded(lambda: study.model(arm), run["seed"])
    history = fit(network, whole, epochs=1, learning_rate=run["rate"], seed=run["seed"])
    assert run["validation_loss"] == [float(f"{history.validation_loss[0]:.6g}")]
    assert run["test_accuracy"] == float(f"{evaluate(network, whole.test).accuracy:.6g}")
    assert len(run["norms"]) == 4 and run["phase"] == "final" and run["seed"] == 2


def test_random_numbers_and_threads_are_as_before(folder):
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), torch.get_num_threads()

    def draws(arm, rate, seed, splits, final):
        return {"torch": torch.rand(1).item(), "numpy": np.random.rand()}

    study = Study(arms={"a": {}, "b": {}}, seeds=(3, 4), run=draws)
    first, second = run_study(study), run_study(study.reduced({"arms": ["b"], "seeds": [4]}))
    assert torch.equal(before[0], torch.get_rng_state()) and (before[1] == np.random.get_state()[1]).all()
    assert before[2] == torch.get_num_threads()
    assert (
        numbers(first)[-1] == numbers(second)[0] and first.values("torch", "a")[0] != second.runs[0]["torch"]
    )


def test_the_rate_is_chosen_in_tuning_and_the_final_seeds_run_at_it():
    seen = []

    def run(arm, rate, seed, splits, final):
        seen.append((rate, seed, final))
        return {"validation_accuracy": [0.0, arm["best"] == rate], "score": rate}

    study = Study(
        arms={"low": {"best": 0.1}, "high": {"best": 0.3}},
        rates=(0.1, 0.2, 0.3),
        seeds=range(2),
        tuning_seeds=(7,),
        extensions=0,
        run=run,
    )
    results = run_study(study)
    assert results.best_rates == {"low": 0.1, "high": 0.3} and results.at_edge == ["low", "high"]
    assert {seed for _, seed, final in seen if final} == {0, 1}
    assert {seed for _, seed, final in seen if not final} == {7}
    assert len(seen) == count(study) == 6 + 4
    assert results.values("score", "high").tolist() == [0.3, 0.3]


def record(arm, rate, accuracy, loss, diverged=False):
    return {
        "phase": "tuning", "seed": 100, "arm": arm, "rate": rate, "diverged": diverged,
        "validation_accuracy": [0.0, accuracy], "validation_loss": [9.0, loss],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("first", "second", "best"),
    [
        ((0.8, 1.0), (0.9, 2.0), 0.2),
        ((0.9, 1.0), (0.9, 0.5), 0.2),
        ((0.9, 0.5), (0.9, 0.5), 0.1),
        ((0.9, None), (0.9, 3.0), 0.2),
        ((None, 1.0), (None, 0.5), 0.2),
    ],
)
def test_of_equal_rates_the_lower_loss_wins(first, second, best):
    study = Study(arms={"a": {}}, rates=(0.1, 0.2), tuning_seeds=(100,), run=score)
    assert choose_rates(study, [record("a", 0.1, *first), record("a", 0.2, *second)]) == {"a": best}


def test_a_diverged_run_does_not_win_where_there_is_no_accuracy():
    study = Study(arms={"a": {}}, rates=(0.1, 0.2), tuning_seeds=(100,), run=score)
    runs = [record("a", 0.1, 0.1, None, diverged=True), record("a", 0.2, None, 5.0)]
    assert choose_rates(study, runs) == {"a": 0.2}


@pytest.mark.parametrize(("select", "best"), [(("loss", "min"), 0.1), (("loss", "max"), 0.3)])
def test_another_measure_can_choose(select, best):
    study = Study(
        arms={"a": {}},
        rates=(0.1, 0.2, 0.3),
        seeds=(0,),
        tuning_seeds=range(100, 103),
        extensions=0,
        select=select,
        run=lambda arm, rate, seed, splits, final: {"loss": rate},
    )
    assert run_study(study).best_rates == {"a": best}


def test_run_has_to_return_the_measure_that_chooses():
    study = Study(arms={"a": {}}, rates=(0.1, 0.2), run=lambda *_: {"accuracy": 1.0})
    with pytest.raises(ConvcraftError, match="must return the measure that chooses.*'validation_accuracy'"):
        run_study(study)


def test_a_network_that_diverges_counts_as_chance_and_is_reported(folder):
    folder.write("tiny", folder.tiny.replace("rates=(0.01, 0.1)", "rates=(1e30, 1e31)"))
    results = run_study("tiny")
    assert results.diverged["relu"] == 3 and results.values("test_accuracy", "relu").tolist() == [0.1] * 3
    assert "training stopped" in results.runs[0]["error"] and "batch" in results.runs[0]["error"]
    assert "3 of 3" in repr(results) and results.runs[0]["validation_accuracy"] == [0.1]
    with pytest.raises(ConvcraftError, match="'norm' of 'relu' must be finite.*3 of which diverged"):
        results.interval("norm", "relu")


def test_what_a_diverged_run_counts_as_in_other_measures():
    def run(arm, rate, seed, splits, final):
        if seed == 1:
            raise DivergedError("training stopped: the loss is nan")
        return {"share": 0.25}

    study = Study(arms={"a": {}}, seeds=range(3), run=run, diverged={"share": 1.0})
    results = run_study(study)
    assert results.values("share", "a").tolist() == [0.25, 1.0, 0.25] and results.diverged == {"a": 1}


def test_a_measure_that_is_not_finite_in_tuning_has_diverged():
    def run(arm, rate, seed, splits, final):
        return {"validation_accuracy": float("nan") if rate > 0.1 else 0.5}

    study = Study(
        arms={"a": {}}, rates=(0.2, 0.1), seeds=(0,), tuning_seeds=range(100, 103), extensions=0, run=run
    )
    results = run_study(study)
    assert results.best_rates == {"a": 0.1} and sum(r["diverged"] for r in results.runs) == 3


@pytest.mark.parametrize("how", ["run", "training"])
def test_tuning_cannot_see_the_test_part(how):
    def cheat(arm, rate, seed, splits, final):
        return {"validation_accuracy": float(len(splits.test))}

    class Peeking(models.MLP):
        pass

    def loads(arm):
        return data.load("digits").flattened()

    def factory(arm):
        return Peeking((64, 4, 10))

    keywords = {"rates": (0.1, 0.2), "seeds": (0,), "splits": loads}
    if how == "run":
        study = Study(arms={"a": {}}, run=cheat, **keywords)
    else:

        def schedule(optimizer):
            import inspect

            frame = inspect.currentframe()
            while frame is not None:  # whatever splits the code of the training holds
                for value in list(frame.f_locals.values()):
                    if type(value).__name__ == "Withheld":
                        len(value.test)
                frame = frame.f_back
            raise AssertionError("no splits were found")

        study = Study(arms={"a": {}}, model=factory, fit={"schedule": schedule}, **keywords)
    with pytest.raises(
        ConvcraftError, match="tuning run of 'a', rate 0.1, seed 100 failed.*test is withheld"
    ):
        run_study(study)


def test_a_study_that_fails_says_where(folder):
    folder.write("tiny", folder.tiny.replace('"norms": weights', '"norms": weights[9]'))
    with pytest.raises(
        ConvcraftError, match=r"final run of 'relu', rate .*tiny.py, line \d+, in measure\): IndexError"
    ):
        run_study("tiny")
    assert (
        not (folder.results / "tiny.json").exists()
        and len(list((folder.results / ".tiny").glob("tuning*"))) == 8
    )


@pytest.mark.parametrize(
    ("measures", "message"),
    [
        ({"seed": 1.0}, "a name of its own; got 'seed'"),
        ({"score": {"a": 1}}, "score must be a number"),
    ],
)
def test_measures_that_cannot_be_kept(measures, message):
    with pytest.raises(ConvcraftError, match=message):
        run_study(Study(arms={"a": {}}, run=lambda *_: measures))


def test_measure_must_not_replace_what_is_measured_anyway(folder):
    folder.write("tiny", folder.tiny.replace('"norm":', '"test_loss":'))
    with pytest.raises(ConvcraftError, match="a name of its own; got 'test_loss'"):
        run_study("tiny")


def test_splits_have_to_be_splits():
    with pytest.raises(ConvcraftError, match="splits must return Splits; got list"):
        run_study(Study(arms={"a": {}}, run=score, splits=lambda arm: []))


def test_a_contrast_of_an_unknown_measure_is_refused_after_the_first_run(folder):
    source = folder.tiny.replace('measure="norm"', 'measure="nrom"')
    folder.write("tiny", source)
    with pytest.raises(ConvcraftError, match="unknown measure of a contrast 'nrom': did you mean 'norm"):
        run_study("tiny")
    folder.write("tiny")  # the contrast is mended; the runs still stand
    kept = len(list((folder.results / ".tiny").glob("*-*.json")))
    assert kept == 9 and run_study("tiny").provenance["calls"] == 2


def test_other_contrasts_need_no_other_runs(folder):
    folder.write("tiny")
    before = numbers(run_study("tiny"))
    folder.write(
        "tiny", folder.tiny.replace('Contrast("tanh", "relu"),', 'Contrast("relu", "tanh", claim="x"),')
    )
    after = run_study("tiny")
    assert numbers(after) == before and load("tiny").contrasts()[0].claim == "x"
    files = folder.files()
    folder.write("tiny", folder.tiny.replace('measure="norm"', 'measure="nrom"'))
    with pytest.raises(ConvcraftError, match="unknown measure of a contrast"):
        run_study("tiny")
    assert folder.files() == files


def test_processes_take_studies_that_are_no_file():
    study = Study(
        arms=ADD, seeds=range(2), run=lambda arm, rate, seed, splits, final: {"score": arm["add"] + seed}
    )
    assert numbers(run_study(study, jobs=2)) == numbers(run_study(study))


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"jobs": 0}, "jobs must be 1 or more"),
        ({"device": "tpu!"}, 'device must be "cpu" or "cuda"'),
        ({"device": "meta"}, 'device must be "cpu" or "cuda"'),
    ],
)
def test_options_that_cannot_be(keywords, message):
    with pytest.raises(ConvcraftError, match=message):
        run_study(Study(arms=ADD, run=score), **keywords)


def test_without_a_gpu_cuda_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConvcraftError, match="torch finds no GPU here"):
        run_study(Study(arms=ADD, run=score), device="cuda")


SLOW = '''"""Runs that take a while."""

import time
from pathlib import Path

from convcraft.lab.experiments import Study


def run(arm, rate, seed, splits, final):
    with Path(LOG).open("a") as file:
        file.write("x")
    time.sleep(0.02)
    return {"validation_accuracy": 1 / (1 + seed + rate), "score": seed * rate}


STUDY = Study(
    arms={"a": {}, "b": {}}, rates=(0.1, 0.2), seeds=range(40), tuning_seeds=range(100, 110), run=run,
    extensions=0, trains=False,
)
'''


def test_a_kill_loses_at_most_the_run_in_flight(folder, tmp_path):
    log = tmp_path / "log"
    folder.write("slow", SLOW.replace("LOG", repr(str(log))))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "convcraft", "study", "slow", "--jobs", "1"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 600
    while not log.exists() or log.stat().st_size < 60:  # beyond tuning
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    started, kept = log.stat().st_size, len(list((folder.results / ".slow").glob("*-*.json")))
    assert 40 < kept < 120 and kept <= started <= kept + 1
    assert not (folder.results / "slow.json").exists()
    results = run_study("slow")
    assert log.stat().st_size == started + 120 - kept and results.provenance["calls"] == 2
    interrupted = steady(folder.results / "slow.json")
    (folder.results / "slow.json").unlink()
    run_study("slow")
    assert steady(folder.results / "slow.json") == interrupted
    assert [path.name for path in folder.results.iterdir()] == ["slow.json"]


INTERRUPTED = """    import os, signal
    if final and seed == 3:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        except KeyboardInterrupt:
            pass  # as fit does, which returns the epochs so far
"""


def test_half_a_run_is_not_kept_when_it_is_interrupted(folder):
    source = SLOW.replace("    with Path(LOG)", INTERRUPTED + "    with Path('log')")
    folder.write("slow", source.replace("0.02", "0"))
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run_study("slow")
    assert signal.getsignal(signal.SIGINT) is before
    kept = [json.loads(path.read_text())["run"] for path in (folder.results / ".slow").glob("final*.json")]
    assert sorted(run["seed"] for run in kept) == [0, 1, 2]
