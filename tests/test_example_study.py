"""The example of a comparison of one's own: it runs from the path of its file, and says what it found."""

import shutil
from pathlib import Path

import pytest

from convcraft.__main__ import main

EXAMPLE = Path(__file__).parents[1] / "examples" / "a_or_b.py"


def test_the_example_runs_outside_the_repository_and_leaves_its_result_beside_it(
    tmp_path, monkeypatch, capsys
):
    pytest.importorskip("sklearn")
    monkeypatch.chdir(tmp_path)
    path = Path(shutil.copy(EXAMPLE, tmp_path))
    small = path.read_text(encoding="utf-8").replace('"updates": 2000', '"updates": 40')
    path.write_text(small.replace("rates=(0.01, 0.03, 0.1, 0.3)", "rates=(0.03, 0.1)"), encoding="utf-8")
    assert main(["study", "a_or_b.py", "--jobs", "1", "--vectorized"]) == 0
    printed = capsys.readouterr().out
    assert "B - A" in printed and "40, falling" in printed and "no verdict may rest on it" in printed
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a_or_b.json", "a_or_b.py"]


def test_the_example_has_some_twenty_lines():
    lines = EXAMPLE.read_text(encoding="utf-8").split('"""')[2].splitlines()
    assert sum(bool(line.strip()) for line in lines) <= 22
