"""The command line: help, version, near matches, and where each command goes."""

import subprocess
import sys

import pytest

import convcraft
import convcraft.__main__ as cli
from convcraft import ConvcraftError
from convcraft.__main__ import COMMANDS, main


def test_help_lists_every_command(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(name in text and purpose in text for name, (_, purpose) in COMMANDS.items())


def test_without_a_command_it_shows_the_help_and_fails(capsys):
    assert main([]) == 2
    assert "usage: python -m convcraft" in capsys.readouterr().out


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == convcraft.__version__


def test_unknown_command_lists_the_near_matches(capsys):
    assert main(["clams"]) == 2
    captured = capsys.readouterr()
    assert "unknown command 'clams': did you mean 'claims'" in captured.err and captured.out == ""


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_go_to_their_module_with_the_rest_of_the_arguments(name, monkeypatch):
    seen = []
    monkeypatch.setattr(f"{COMMANDS[name][0]}.main", lambda arguments: seen.append(arguments) or 3)
    assert main([name, "a", "--b"]) == 3
    assert seen == [["a", "--b"]]


def test_misuse_in_a_command_is_one_line_on_stderr(monkeypatch, capsys):
    def fail(arguments):
        raise ConvcraftError("bench: rounds must be at least 1, got 0")

    monkeypatch.setattr("benchmarks.main", fail)
    assert main(["bench"]) == 2
    assert capsys.readouterr().err == "convcraft: bench: rounds must be at least 1, got 0\n"


def test_a_library_that_is_missing_is_named_with_its_extra(monkeypatch, capsys):
    monkeypatch.setitem(COMMANDS, "claims", ("yaml_that_is_not_there", "show the ledger"))
    assert main(["claims"]) == 2
    message = capsys.readouterr().err
    assert "needs yaml_that_is_not_there" in message and "pip install 'convcraft[plot,data]'" in message


def test_the_benchmarks_are_those_of_the_checkout(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(cli, "__file__", str(tmp_path / "site-packages" / "convcraft" / "__main__.py"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    assert main(["bench"]) == 2
    assert "bench needs the folder benchmarks/ of the repository" in capsys.readouterr().err
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "__main__.py").touch()
    monkeypatch.setattr("benchmarks.main", lambda arguments: 3)
    assert main(["bench"]) == 3 and sys.path[-1] == str(tmp_path)


def test_runs_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "convcraft", "bench", "--help"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0 and "--json" in done.stdout and done.stderr == ""


@pytest.mark.parametrize("command", ["--version", "claims"])
def test_it_ends_without_a_word_when_its_reader_has_left(command):
    process = subprocess.Popen(
        [sys.executable, "-m", "convcraft", command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.close()  # before it can have printed anything
    said = process.stderr.read()
    assert process.wait() == 141 and said == ""
