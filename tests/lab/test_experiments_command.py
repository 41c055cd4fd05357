"""`python -m convcraft study`."""

from __future__ import annotations

import sys

import pytest

from convcraft import ConvcraftError, lab
from convcraft.__main__ import main
from convcraft.lab.experiments import command, run_study, store
from convcraft.lab.experiments.command import state

EASY = '''"""Easy."""

from convcraft.lab.experiments import Contrast, Study


def run(arm, rate, seed, splits, final):
    if arm["add"] and rate > 0.1:
        return {"validation_accuracy": float("nan"), "score": 0.0}
    return {"validation_accuracy": rate, "score": arm["add"] + seed / 100}


STUDY = Study(
    arms={"a": {"add": 0}, "b": {"add": 1}}, rates=(0.1, 0.2), seeds=range(3), tuning_seeds=range(100, 103),
    extensions=0, trains=False, run=run, contrasts=(Contrast("b", "a", measure="score"),),
)
'''


def call(*words):
    return main(["study", *words])


def test_a_study_is_run_and_its_table_printed(folder, capsys):
    folder.write("easy", EASY)
    assert call("easy", "--jobs", "1") == 0
    captured = capsys.readouterr()
    assert "1.010 [0.985, 1.035]" in captured.out and "higher" in captured.out
    assert "no verdict may rest on it, rate at the edge: a, b" in captured.out
    assert "3 tuning runs diverged and count as chance" in captured.out
    assert str(folder.results / "easy.json") in captured.out and (folder.results / "easy.json").exists()
    assert "18/18" in captured.err  # the bar


def test_the_list_says_how_far_each_study_is(folder, capsys):
    for name in ("done", "other", "some", "none", "begun", "broken"):
        folder.write(name, EASY.replace("Easy.", f"Title of {name}."))
    folder.write("wrong", EASY.replace("rates=(0.1, 0.2)", "rates=(0.0,)"))
    for name in ("done", "other", "broken"):
        run_study(name)
    path = folder.results / "broken.json"
    path.write_text(path.read_text()[:-40])
    partial(folder, "some", 5)
    partial(folder, "begun", 5)
    for name in ("other", "begun"):
        folder.write(name, EASY.replace("/ 100", "/ 200"))
    before = folder.files()
    assert call("--list") == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "18 runs  Title of done." in lines["done"] and " done " in lines["done"][5:]
    assert "not run" in lines["none"] and "5 of 18 runs" in lines["some"] and "broken " in lines["broken"][7:]
    assert "of another version" in lines["other"] and "of another version" in lines["begun"]
    assert "not usable" in lines["wrong"] and "rates must be" in lines["wrong"]
    assert folder.files() == before


def partial(folder, name, runs):
    """The runs of a study that was stopped."""
    study = run_study(name, changes={})
    from convcraft.lab.experiments import load_study, version

    some = store.Partial(folder.results / f".{name}", {"version": version(load_study(name).source)})
    some.open()
    for record in study.runs[:runs]:
        some.save(record, "0", 1.0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("eazy",), "unknown study 'eazy': did you mean 'easy'? Known: easy"),
        (("easy", "--jobs", "0"), "jobs must be 1 or more"),
        (("easy", "--device", "toaster"), 'device must be "cpu" or "cuda"'),
        (("easy", "--folder", "nowhere"), "there is none at nowhere"),
    ],
)
def test_misuse_is_one_line_and_touches_nothing(words, message, folder, capsys):
    folder.write("easy", EASY)
    run_study("easy")
    before = folder.files()
    assert call(*words) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("convcraft: ") and message in captured.err and captured.out == ""
    assert captured.err.count("\n") == 1 and folder.files() == before


def test_arms_that_are_no_plain_data_are_one_line(folder, capsys):
    folder.write("easy", EASY)
    run_study("easy")
    before = folder.files()
    folder.write("easy", EASY.replace('"b": {"add": 1}', '"b": {"add": print}'))
    assert call("easy") == 2
    message = capsys.readouterr().err
    assert (
        message.startswith("convcraft: study easy: arms['b']['add'] must be plain data")
        and message.count("\n") == 1
    )
    assert folder.files() == before


def test_a_name_is_needed(folder, capsys):
    with pytest.raises(SystemExit) as stop:
        call()
    assert stop.value.code == 2 and "--list shows the studies" in capsys.readouterr().err


def test_an_interrupt_says_that_the_runs_are_kept(folder, monkeypatch, capsys):
    def interrupted(*words, **keywords):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "run_study", interrupted)
    assert call("easy") == 130
    assert "finished runs are kept" in capsys.readouterr().err


def test_the_options_reach_the_engine(folder, monkeypatch):
    seen = []

    def note(name, **keywords):
        seen.append({"name": name, **keywords})
        raise ConvcraftError("stop")

    monkeypatch.setattr(command, "run_study", note)
    call("easy", "--device", "cuda", "--no-vectorized", "--quick")
    call("easy", "--scheduler", "tcp://h:1", "--vectorized", "--jobs", "7")
    call("easy")
    assert seen[0]["device"] == "cuda" and seen[0]["vectorized"] is False and seen[0]["jobs"] == 1
    assert seen[0]["quick"] and not seen[1]["quick"] and seen[1]["vectorized"] and seen[1]["jobs"] == 7
    assert seen[1]["scheduler"] == "tcp://h:1" and seen[2]["vectorized"] is None and seen[2]["jobs"] >= 1


def test_results_beside_a_folder_that_is_named(folder, tmp_path, monkeypatch, capsys):
    folder.write("easy", EASY)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert call("easy", "--jobs", "1", "--folder", str(folder.studies)) == 0
    assert (folder.results / "easy.json").exists() and state("easy", str(folder.studies))[2] == "done"


def test_help_and_list_work_without_scipy_and_a_run_says_what_to_install(folder, monkeypatch, capsys):
    folder.write("easy", EASY)
    for name in [name for name in sys.modules if name.split(".")[0] in ("scipy", "sklearn")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "scipy", None)
    for name in [
        name for name in sys.modules if name.startswith(("convcraft.lab.exp", "convcraft.lab.stat"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("experiments", "statistics"):  # which a new import replaces; afterwards the old ones are back
        monkeypatch.setattr(lab, name, getattr(lab, name))
    with pytest.raises(SystemExit) as stop:
        call("--help")
    assert stop.value.code == 0 and "path of a .py file" in capsys.readouterr().out
    assert call("--list") == 0 and "not run" in capsys.readouterr().out
    assert call("easy") == 2 and "needs scipy" in capsys.readouterr().err
    assert not (folder.results / "easy.json").exists()
