"""python -m convcraft diagnose MODULE:FACTORY."""

import json
import subprocess
import sys

import pytest

from convcraft import ConvcraftError
from convcraft.__main__ import main as convcraft
from convcraft.diagnostics import Report
from convcraft.diagnostics.command import main

MODELS = """
import torch
from torch import nn

def build(last=None):
    torch.manual_seed(0)
    layers = [nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3)]
    return nn.Sequential(*layers, *([last] if last else []))

x, y = torch.randn(96, 6), torch.arange(96) % 3
module = build()

def well():
    model = build()
    return model, (x, y), nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), 0.1)

def ill():
    return build(nn.Softmax(1)), (x, y), nn.functional.cross_entropy

def loader():
    data = torch.utils.data.TensorDataset(x, y)
    return build(), torch.utils.data.DataLoader(data, 32), nn.CrossEntropyLoss()

def mapping():
    return build(), {"input": x, "target": y}, nn.CrossEntropyLoss()

def needs(argument): ...
def nothing(): ...
def fails(): raise OSError("no such weights")
"""


@pytest.fixture()
def file(tmp_path, monkeypatch):
    (tmp_path / "models_of_mine.py").write_text(MODELS)
    (tmp_path / "broken_of_mine.py").write_text("import a_module_that_is_not_there")
    (tmp_path / "faulty_of_mine.py").write_text("def f():\n    return 1 / 0\nf()")
    monkeypatch.chdir(tmp_path)
    yield str(tmp_path / "models_of_mine.py")
    sys.modules.pop("models_of_mine", None)


def test_exit_status_tells_whether_something_severe_was_found(file, capsys):
    assert convcraft(["diagnose", f"{file}:well"]) == 0
    assert "nothing found" in capsys.readouterr().out
    assert convcraft(["diagnose", "models_of_mine:ill"]) == 1
    out = capsys.readouterr().out
    assert "severe: softmax-before-cross-entropy" in out and "1 severe" in out
    assert main([f"{file}:ill", "--ignore", "softmax-before-cross-entropy"]) == 0


def test_json_is_a_report(file, capsys):
    assert main([f"{file}:ill", "--json"]) == 1
    out = capsys.readouterr().out
    assert json.loads(out)["model"] == "Sequential" and "softmax-before-cross-entropy" in Report.from_json(
        out
    )


@pytest.mark.parametrize(
    ("arguments", "examples"),
    [
        (["well"], "96 examples in 1 batch,"),
        (["well", "--batch-size", "16"], "16 examples in 1 batch,"),
        (["loader"], "96 examples in 3 batches,"),
        (["loader", "--batch-size", "8"], "24 examples in 3 batches,"),
        (["loader", "--batches", "2"], "64 examples in 2 batches,"),
        (["mapping", "--batch-size", "16"], "16 examples in 1 batch,"),
        (["build", "--input", "6"], "64 examples in 1 batch, no loss"),
        (["module", "--input", "6", "--batch-size", "9"], "9 examples in 1 batch, no loss"),
    ],
)
def test_what_is_looked_at(file, capsys, arguments, examples):
    assert main([f"{file}:{arguments[0]}", *arguments[1:]]) == 0
    assert examples in capsys.readouterr().out


ERRORS = [
    (["models_of_mine"], "must have the form MODULE:FACTORY"),
    (["nowhere_of_mine:build"], "MODULE must be importable, got 'nowhere_of_mine'"),
    (["broken_of_mine:build"], "a_module_that_is_not_there"),
    (["faulty_of_mine:f"], "faulty_of_mine raised ZeroDivisionError"),
    (["absent.py:build"], "must be a file that exists"),
    (["models_of_mine:biuld"], "did you mean 'build'"),
    (["models_of_mine:needs"], "must work without arguments"),
    (["models_of_mine:fails"], "raised OSError: no such weights"),
    (["models_of_mine:nothing"], "must return a model"),
    (["models_of_mine:x"], "must return a model"),
    (["models_of_mine:build"], "--input must give the shape"),
    (["models_of_mine:build", "--input", "6,a"], "--input must be whole numbers"),
    (["models_of_mine:build", "--input", "0"], "--input must be whole numbers"),
    (["models_of_mine:well", "--batch-size", "0"], "--batch-size must be 1 or more"),
    (["models_of_mine:well", "--batches", "0"], "batches must be a whole number of at least 1"),
    (["models_of_mine:well", "--ignore", "dead"], "unknown kind of finding"),
    (["models_of_mine:build", "--input", "6", "--loss", "mes"], "did you mean 'mse'"),
]


@pytest.mark.parametrize(("arguments", "message"), ERRORS, ids=[m for _, m in ERRORS])
def test_misuse_is_status_2_and_one_line(file, capsys, arguments, message):
    with pytest.raises(ConvcraftError, match=message.replace("(", r"\(")):
        main(arguments)
    sys.modules.pop("models_of_mine", None)
    assert convcraft(["diagnose", *arguments]) == 2
    captured = capsys.readouterr()
    *frames, last = captured.err.strip().split("\n")
    assert captured.out == "" and last.startswith("convcraft: ")
    # where the user's own code has failed, its traceback comes first, and nothing of ours
    own = "raised " in message
    assert bool(frames) == own and "command.py" not in captured.err
    assert not own or frames[0].startswith("Traceback") and "of_mine.py" in captured.err


def test_a_missing_argument_is_status_2(capsys):
    with pytest.raises(SystemExit) as left:
        main([])
    assert left.value.code == 2


def test_as_a_process(file, tmp_path):
    command = [sys.executable, "-m", "convcraft", "diagnose", "models_of_mine:ill"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 1 and done.stderr == "" and "softmax-before-cross-entropy" in done.stdout
