"""python -m convcraft enter MODULE:FACTORY."""

import pytest
import torch

from convcraft.__main__ import main
from convcraft.lab import enter, models

MINE = """
import torch
from torch import nn


def bent(x):
    return x + torch.sin(x) ** 2


class Scaled(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.a = nn.Parameter(torch.ones(channels))

    def forward(self, x):
        return torch.relu(x) * self.a.view(-1, *[1] * (x.ndim - 2))


def halved(x):
    return x[..., ::2]


def broken():
    raise RuntimeError("no luck")


relu = torch.nn.functional.relu6
"""


@pytest.fixture()
def mine(tmp_path):
    path = tmp_path / "mine_to_enter.py"
    path.write_text(MINE)
    return str(path)


@pytest.fixture()
def one_small_task(monkeypatch):
    """One perceptron for 20 updates."""
    small = {"dense": ("digits, a small network", lambda f: models.MLP((64, 16, 10), activation=f), 20)}
    monkeypatch.setattr(enter, "TASKS", small)


def test_the_report_compares_with_relu(mine, one_small_task, capsys):
    assert main(["enter", f"{mine}:bent", "--quick", "--jobs", "1"]) == 0
    out = capsys.readouterr().out
    properties, result = out.split("\n\n", 1)
    assert "gain" in properties and "bent" in properties and mine not in out
    assert "digits, a small network" in result and "p (Holm)" in result and "of 1 tasks ahead" in result


def test_a_learned_activation_is_trained_with_the_network(mine, one_small_task, capsys):
    model = enter._model({"task": "dense", "activation": f"{mine}:Scaled"})
    assert model.layers.act1.a.shape == (16,) and model.layers.act1.a.requires_grad
    assert " 64 " in enter._properties(f"{mine}:Scaled")


def test_the_study_keeps_the_protocol():
    study = enter.entry("silu")
    assert set(study.seeds).isdisjoint(study.tuning_seeds) and len(study.tuning_seeds) >= 10
    assert len(study.contrasts) == len(enter.TASKS) == 4 and study.extensions == 3
    assert {c.margin for c in study.contrasts} == {0.01} and len({c.family for c in study.contrasts}) == 1


def test_windows_follow_each_other_in_time():
    parts = enter._windows()
    joined = torch.cat([torch.cat([p.x[:, 0], p.x[-1, 1:], p.y[-1]]) for p in
                        (parts.train, parts.validation, parts.test)])  # fmt: skip
    expected = torch.tensor(enter._series(), dtype=torch.float32)
    torch.testing.assert_close(joined, expected)  # each value once: no window reaches into another part


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("halved", "must keep the shape (4, 64, 8, 8), got (4, 64, 8, 4)"),
        ("broken", "raised RuntimeError: no luck"),
        ("nothing", "unknown name in"),
    ],
)
def test_misuse_is_status_2(mine, capsys, name, message):
    assert main(["enter", f"{mine}:{name}"]) == 2
    assert message in capsys.readouterr().err


def test_relu_is_entered_only_under_that_name_if_it_is_another_function(mine, capsys):
    assert main(["enter", "relu"]) == 2
    assert main(["enter", "no_such_function"]) == 2
    assert "must be another one than relu" in capsys.readouterr().err
    assert "dense, relu (entered)" in enter.entry(f"{mine}:relu").arms
