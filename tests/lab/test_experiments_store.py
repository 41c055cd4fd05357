"""What is on disk: files that are not whole, changed, of another version, a disk that is full."""

from __future__ import annotations

import errno
import json
import os

import pytest

from convcraft import ConvcraftError
from convcraft.__main__ import main
from convcraft.lab.experiments import load, run_study, store

QUICK = '''"""A study without networks."""

from convcraft.lab.experiments import Contrast, Study


def run(arm, rate, seed, splits, final):
    return {"validation_accuracy": rate, "test_accuracy": arm["add"] + seed / 100}


STUDY = Study(
    arms={"a": {"add": 0.5}, "b": {"add": 0.6}}, rates=(0.1, 0.2), seeds=range(3), tuning_seeds=(100,),
    extensions=0, trains=False, run=run, contrasts=(Contrast("b", "a"),),
)
'''


@pytest.fixture
def result(folder):
    """The path of a finished result."""
    folder.write("quick", QUICK)
    run_study("quick")
    return folder.results / "quick.json"


def cut(text):
    return text[: len(text) // 2]


def edited(text):
    assert "0.51,0.52" in text
    return text.replace("0.51,0.52", "0.91,0.52")


def without_checksum(text):
    content = json.loads(text)
    del content["checksum"]
    return json.dumps(content)


def of_another_format(text):
    return json.dumps({**json.loads(text), "format": 99})


BROKEN = {
    "cut short": (cut, "is not whole: expected JSON"),
    "empty": (lambda text: "", "is not whole"),
    "edited by hand": (edited, "was changed after it was written: its checksum does not match"),
    "a run left out": (lambda text: text.replace(text.splitlines()[-8] + "\n", ""), "is not whole|checksum"),
    "something else": (lambda text: '{"a": 1}', "must be the result of a study"),
    "a list": (lambda text: "[1]", "must be the result of a study"),
    "without checksum": (without_checksum, "has no runs or no checksum"),
    "another format": (of_another_format, "has format 99, expected 3. Read it with the convcraft"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_result_that_is_broken_is_refused_and_left_as_it_is(name, result, folder, capsys):
    change, message = BROKEN[name]
    result.write_text(change(result.read_text()))
    before = folder.files()
    for call in (lambda: load("quick"), lambda: load(result), lambda: run_study("quick")):
        with pytest.raises(ConvcraftError, match=message):
            call()
    assert main(["study", "quick", "--jobs", "1"]) == 2
    assert capsys.readouterr().err.startswith(f"convcraft: {result}")
    assert folder.files() == before


def test_a_result_of_another_version_is_refused_and_left_as_it_is(result, folder, capsys):
    before = folder.files()
    folder.write("quick", QUICK.replace("/ 100", "/ 200"))
    for call in (lambda: load("quick"), lambda: run_study("quick")):
        with pytest.raises(
            ConvcraftError, match="another version.*expected version [0-9a-f]{12}, found .*Move or"
        ):
            call()
    assert main(["study", "quick", "--jobs", "1"]) == 2 and "another version" in capsys.readouterr().err
    assert folder.files() == before and len(load(result).runs) == 10


def test_runs_of_another_version_are_not_mixed_in(folder, monkeypatch):
    folder.write("quick", QUICK)
    fail_after(monkeypatch, 4)
    with pytest.raises(ConvcraftError):
        run_study("quick")
    monkeypatch.undo()
    before = folder.files()
    assert len(before) == 1 + 1 + 4  # what kind of run it is, the lock, the runs
    monkeypatch.chdir(folder.studies.parent.parent)
    folder.write("quick", QUICK.replace("/ 100", "/ 200"))
    with pytest.raises(ConvcraftError, match="another version of the study"):
        run_study("quick")
    folder.write("quick", QUICK)
    with pytest.raises(ConvcraftError, match="were begun with vectorized=False; got True"):
        run_study("quick", vectorized=True)
    assert folder.files() == before
    assert len(run_study("quick").runs) == 10


def test_a_file_of_a_run_that_is_not_whole_counts_as_not_run(folder, monkeypatch):
    folder.write("quick", QUICK)
    fail_after(monkeypatch, 4)
    with pytest.raises(ConvcraftError):
        run_study("quick")
    monkeypatch.undo()
    monkeypatch.chdir(folder.studies.parent.parent)
    for path in (folder.results / ".quick").glob("tuning*"):
        path.write_text(path.read_text()[:20])
    assert load_numbers(run_study("quick")) == [0.5, 0.51, 0.52, 0.6, 0.61, 0.62]


def load_numbers(results):
    return [run["test_accuracy"] for run in results.runs if run["phase"] == "final"]


def fail_after(monkeypatch, count, code=errno.ENOSPC):
    """The disk is full after so many runs."""
    real, done = os.replace, []

    def replace(source, target):
        if "tuning" in str(target) or "final" in str(target):
            if len(done) == count:
                raise OSError(code, os.strerror(code))
            done.append(target)
        return real(source, target)

    monkeypatch.setattr(store.os, "replace", replace)


def test_a_full_disk_loses_nothing_that_was_there(folder, monkeypatch, capsys):
    folder.write("other", QUICK)
    run_study("other")
    folder.write("quick", QUICK)
    before = folder.files()
    fail_after(monkeypatch, 5)
    assert main(["study", "quick", "--jobs", "1"]) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("convcraft: could not write") and "No space left on device" in message
    after = folder.files()
    assert before.items() <= after.items() and not [path for path in after if path.suffix == ".part"]
    assert len([path for path in after if path.name.startswith(("tuning", "final"))]) == 5
    monkeypatch.undo()
    monkeypatch.chdir(folder.studies.parent.parent)
    assert load_numbers(run_study("quick")) == load_numbers(load("other"))


@pytest.mark.parametrize("step", ["mkstemp", "fsync", "replace"])
def test_a_disk_that_fills_at_the_end_leaves_the_old_result(step, result, folder, monkeypatch):
    folder.write("quick", QUICK.replace('"b", "a"', '"a", "b"'))  # the result is to be written anew
    before = folder.files()

    def full(*args, **keywords):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(store.tempfile if step == "mkstemp" else store.os, step, full)
    with pytest.raises(ConvcraftError, match="No space left on device.*is unchanged"):
        run_study("quick")
    assert folder.files() == before


def test_a_folder_that_cannot_be_written_in(folder, monkeypatch):
    folder.write("quick", QUICK)
    folder.results.write_text("a file where a folder should be")
    with pytest.raises(ConvcraftError, match="could not write"):
        run_study("quick")


def test_a_file_that_cannot_be_read(folder):
    folder.results.mkdir()
    (folder.results / "x.json").mkdir()
    with pytest.raises(ConvcraftError, match="could not read"):
        load(folder.results / "x.json")


def test_two_processes_do_not_run_the_same_study(folder):
    folder.write("quick", QUICK)
    with store.locked(folder.results / ".quick" / "lock"):
        with pytest.raises(ConvcraftError, match="quick is being run by another process"):
            run_study("quick")
    assert len(run_study("quick").runs) == 10


def test_a_finished_study_is_not_run_again(result, folder):
    before = folder.files()
    assert load_numbers(run_study("quick")) == load_numbers(load("quick"))
    assert folder.files() == before


def test_quick_and_parts_touch_no_file(result, folder, capsys):
    folder.write("tiny")
    before = folder.files()
    assert main(["study", "quick", "--quick", "--jobs", "1"]) == 0
    assert "test_accuracy" in capsys.readouterr().out
    assert len(run_study("quick", changes={"seeds": range(2)}).seeds) == 2
    assert run_study("tiny", quick=True).runs[-1]["seed"] == 1
    folder.write("quick", QUICK.replace("/ 100", "/ 200"))  # another version does not matter then
    assert run_study("quick", quick=True).values("test_accuracy", "a").tolist() == [0.5, 0.505]
    assert folder.files() == before


@pytest.mark.parametrize(
    ("values", "form"),
    [
        ([1.5] * 40, "each"),
        ([""] * 39 + ["a loss was not finite"], "each"),
        ([0.1] * 13 + [None] * 13 + [0.3] * 14, "each"),
        ([*range(100, 103), *range(100, 110), 7, 7, *range(5)] * 2, "up_from"),
        ([[0.5], [None], [0.25], [0.5]] * 10, "lists"),
        (["/+3f" * 21, "7v/9" * 22 + "\n", None] * 10, "packed"),
        (["a loss was not finite", ""] * 20, None),
        ([[0.5], None, [0.25], [0.5]] * 10, None),
        ([True, False] * 20, None),
    ],
)
def test_a_column_comes_back_from_its_shortest_form(values, form):
    runs = [{"phase": "final", "arm": "b", "seed": seed, "value": v} for seed, v in enumerate(values)]
    columns = json.loads(json.dumps(store.to_columns(runs, ["a", "b"])))
    assert store.to_runs(columns, ["a", "b"]) == runs
    column = columns["final"]["value"]
    assert isinstance(column, list) if form is None else form in column


def test_provenance(result):
    content = json.loads(result.read_text())
    found = content["provenance"]
    assert found["command"] == "python -m convcraft study quick --jobs 1" and found["calls"] == 1
    assert {"python", "convcraft", "torch", "numpy"} <= found["packages"].keys()
    assert (
        found["wall_seconds"] >= 0 and found["cpu_seconds"] >= 0 and found["hardware"] and found["data"] == []
    )
    assert content["settings"]["rates"] == [0.1, 0.2] and content["settings"]["tuning_seeds"] == [100]
    assert content["title"] == "A study without networks." and content["checksum"].startswith("sha256:")
    assert '\n"test_accuracy":[0.5,0.51,0.52,0.6,0.61,0.62]' in result.read_text()  # a line for each column


def test_provenance_of_data_and_training(folder):
    folder.write(
        "tiny",
        folder.tiny.replace('fit={"epochs": 1}', 'fit=lambda arm: {"epochs": 1, "loss": "cross_entropy"}'),
    )
    results = run_study("tiny", changes={"rates": (0.1,), "seeds": (0,)})
    (data,) = results.provenance["data"]
    assert data["name"] == "digits" and data["sizes"] == [200, 297, 100] and data["arms"] is None
    assert len(data["sha256"]) == 64
    assert results.settings["fit"] == {
        arm: {"epochs": 1, "loss": "cross_entropy"} for arm in ("relu", "tanh")
    }
    source = folder.tiny.replace("subset(200)", 'subset(200 if arm["activation"] == "relu" else 150)')
    folder.write("two", source)
    two = run_study("two", changes={"rates": (0.1,), "seeds": (0,)}).provenance["data"]
    assert [entry["arms"] for entry in two] == [["relu"], ["tanh"]] and two[0]["sha256"] == data["sha256"]
