"""The tool that runs the articles' code samples, on samples made up here, and the record that it has made."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from convcraft.lab import claims

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ROOT / "tools"
RECORD = json.loads((ROOT / "book" / "results" / "article_samples.json").read_text(encoding="utf-8"))
SAMPLES = {sample["claim"]: sample for sample in RECORD["samples"]}
SOURCES = os.environ.get("CONVCRAFT_SOURCES")
needs_sources = pytest.mark.skipif(not SOURCES, reason="CONVCRAFT_SOURCES names no folder of articles")


def load(name: str):
    """A module of tools/, which is not a package."""
    spec = importlib.util.spec_from_file_location(name, TOOLS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def tool():
    load("sample_java")
    yield load("run_samples")
    sys.modules.pop("run_samples")


@pytest.fixture(scope="module")
def helpers():
    yield load("sample_helpers")
    sys.modules.pop("sample_helpers")


# Line breaks


@pytest.mark.parametrize(
    ("flat", "lines"),
    [
        ("import math x = 1", ["import math", "x = 1"]),
        ("from math import pi, e y = pi", ["from math import pi, e", "y = pi"]),
        (
            "import math as m def f(a): return m.sqrt(a)",
            ["import math as m", "def f(a):", "    return m.sqrt(a)"],
        ),
        ("def f(a): b = a + 1 return b c = f(2)", ["def f(a):", "    b = a + 1", "    return b", "c = f(2)"]),
        ("# 注释 x = 1 # 另一个 注释 y = (1, 2)", ["# 注释", "x = 1", "# 另一个 注释", "y = (1, 2)"]),
        ('print("a b: 好 c") print(1)', ['print("a b: 好 c")', "print(1)"]),
        ("x = [1 if y else 2 for y in z] w = not x", ["x = [1 if y else 2 for y in z]", "w = not x"]),
        ("x = a if b else c", ["x = a", "if b else c"]),  # a known limit: `if` begins a statement here
        ("x = a and b or not c is None", ["x = a and b or not c is None"]),
    ],
)
def test_rebreak_restores_lines(tool, flat, lines):
    assert tool.rebreak(flat) == "\n".join(lines) + "\n"


def test_rebreak_leaves_text_with_lines_alone(tool):
    text = "x = 1\ny = x  # 注释 z = 2\n"
    assert tool.rebreak(text) is text


def test_rebreak_changes_white_space_only(tool):
    for flat in ("def f(x): y = x['a b'] return y print(f(1))", "# 注 x = 1 if"):
        assert "".join(tool.rebreak(flat).split()) == "".join(flat.split())


def test_parses_tells_nothing_from_something(tool):
    assert tool.parses("# only a comment") == {"parses": True, "statements": 0}
    assert tool.parses("x = 1\ny = 2") == {"parses": True, "statements": 2}
    assert tool.parses("if x")["parses"] is False and "SyntaxError" in tool.parses("if x")["error"]


# Extraction


def articles(folder: Path, **texts: str) -> Path:
    for article, text in texts.items():
        (folder / f"{article}-made-up.txt").write_text(text, encoding="utf-8")
    return folder


def test_extract_finds_fenced_and_bare_samples_in_order(tool, tmp_path, monkeypatch):
    fenced = [("one", "1", "torch"), ("two", "2", "torch")]
    monkeypatch.setattr(tool, "SAMPLES", {"a1": fenced, "a3": [("three", "3", "tensorflow")]})
    bare = "代码示例:\nimport tensorflow as tf# 注释\nx = 1 # 注\n适用场景:\n- import x\n"
    folder = articles(
        tmp_path, a1="词 ```python x = 1 ``` 词 ```\nL = 1\n``` 词 ```python\ny = 2\nz = 3\n```", a3=bare
    )
    found = list(tool.extract(folder))
    assert [sample.text for sample in found] == [
        "x = 1",
        "y = 2\nz = 3",
        "import tensorflow as tf# 注释\nx = 1 # 注",
    ]
    assert [(sample.claim, sample.environment) for sample in found][2] == ("three", "tensorflow")


def test_extract_refuses_what_is_not_as_listed(tool, tmp_path, monkeypatch):
    monkeypatch.setattr(tool, "SAMPLES", {"a1": [("one", "1", "torch")]})
    with pytest.raises(SystemExit, match="expected one file a1-"):
        list(tool.extract(tmp_path))
    with pytest.raises(SystemExit, match="expected 1 samples, found 0"):
        list(tool.extract(articles(tmp_path, a1="nothing")))


# Running


def test_run_records_outcome_warnings_and_output(helpers):
    space, outcome, message, given, printed = helpers.run(
        "import warnings\nwarnings.warn('w  w')\nprint(3)\nx = 2"
    )
    assert (outcome, message, given, printed, space["x"]) == ("ran", "", ["UserWarning: w w"], "3\n", 2)
    assert helpers.run("nn.Linear")[1:3] == ("NameError", "name 'nn' is not defined")
    assert helpers.run("if n")[1] == "SyntaxError"
    assert helpers.run("y = x + 1", x=1)[0]["y"] == 2
    assert helpers.stopped("x") == "NameError: name 'x' is not defined" and helpers.stopped("1") == "ran"


def test_measurements(helpers):
    assert helpers.raises(lambda: 1 / 0) == "ZeroDivisionError" and helpers.raises(lambda: 1) == "nothing"
    assert helpers.gap([1.0, 2.0], [1.0, 4.0]) == 2.0
    assert helpers.gap_check("difference", [1.0], [1.5], 1.0) == ("difference, at most 1", 0.5, True)
    assert helpers.gap_check("difference", [1.0], [1.5])[2] is False
    assert helpers.gap_check("difference", [float("nan")], [1.0], 9.0)[2] is False


def test_a_sample_runs_in_a_process_of_its_own(tool):
    sample = tool.Extract(
        "made-up", "a1", "9", "torch", "import sys x = 1 assert 'pytest' not in sys.modules"
    )
    record = tool.run_one(sample, sys.executable)
    assert record["outcome"] == "ran" and record["as_printed"]["parses"] is False
    assert record["lines_restored"] == {
        "changed": True,
        "sha256": tool.digest("import sys\nx = 1\nassert 'pytest' not in sys.modules\n"),
        "parses": True,
        "statements": 3,
    }
    assert record["versions"]["python"] and record["checks"] == [
        {"name": "it ends as", "value": "ran", "passed": True}
    ]
    assert "text" not in record


def test_a_sample_without_its_environment_is_not_run(tool):
    record = tool.run_one(tool.Extract("made-up", "a3", "9", "tensorflow", "x = 1"), None)
    assert record["outcome"] == "not run" and "tensorflow" in record["message"] and record["checks"] == []


JAVA = "import a.b.Known;\n// Comment About Things\nKnown k = new Known(new Unknown.Inner());\n"
NETWORK = """import org.deeplearning4j.nn.conf.NeuralNetConfiguration;
import org.deeplearning4j.nn.conf.layers.LSTM;
import org.nd4j.linalg.activations.Activation;
Object o = new NeuralNetConfiguration.Builder().list()
  .layer(new LSTM.Builder().activation(Activation.TANH).nIn(3).nOut(2).build()).build();
"""
needs_java = pytest.mark.skipif(shutil.which("javac") is None, reason="no Java compiler (javac) is here")


def test_java_is_read_where_there_is_no_compiler(tool, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    record = tool.java(JAVA)
    assert record["outcome"] == "not run" and "compiler" in record["message"] and record["versions"] == {}
    assert [check["value"] for check in record["checks"]] == [1, "Unknown"]


@needs_java
def test_java_is_compiled_against_stubs(tool):
    record = tool.java(JAVA)
    assert record["outcome"] == "does not compile" and "a.b does not exist" in record["message"]
    assert record["versions"]["javac"] and len(record["checks"]) == 6
    assert sys.modules["sample_java"].compiled(NETWORK, "javac") == []


@needs_java
def test_every_stub_compiles(tool):
    java = sys.modules["sample_java"]
    imports = "".join(f"import {name};\n" for name in java.STUBS)
    assert java.compiled(imports + "int n = 0;\n", "javac") == []
    (error,) = java.compiled(imports + "new BaseTrainingListener();\n", "javac")
    assert "is abstract" in error


# The record


def test_every_code_claim_is_in_the_record():
    assert set(SAMPLES) == {claim.id for claim in claims.load().values() if claim.kind == "code"}
    for claim_id, sample in SAMPLES.items():
        sources = claims.load()[claim_id].sources
        assert f"{sample['article']} §{sample['section']}" in sources, claim_id
        assert len(sample["sha256"]) == 64


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_outcome_and_checks_agree(sample):
    checks = {check["name"]: check for check in sample["checks"]}
    assert len(checks) == len(sample["checks"]) > 0
    assert all(check["passed"] for check in sample["checks"])
    if sample["outcome"] == "not run":
        assert sample["message"] and not sample["versions"]
        return
    assert checks["it ends as"]["value"] == sample["outcome"]
    if "javac" in sample["versions"]:
        assert sample["message"] and sample["outcome"] == "does not compile"
        return
    assert bool(sample["message"]) == (sample["outcome"] != "ran")
    restored = sample["lines_restored"]
    assert restored["parses"] == (sample["outcome"] != "SyntaxError")
    assert restored["changed"] == (restored["sha256"] != sample["sha256"])
    assert restored["changed"] or restored["parses"] == sample["as_printed"]["parses"]
    for check in sample["checks"]:
        if ", at most " in check["name"]:
            assert 0 <= check["value"] <= float(check["name"].rsplit(" ", 1)[1]), check


def test_tensorflow_samples_ran_on_tensorflow():
    names = [claim_id for claim_id in SAMPLES if "-tf-" in claim_id or "keras" in claim_id]
    assert len(names) == 8
    assert all("tensorflow" in SAMPLES[name]["versions"] for name in names)


def test_the_record_holds_no_text_of_the_articles():
    text = json.dumps(RECORD, ensure_ascii=False)
    assert not any("\u3000" <= character <= "\u9fff" for character in text)
    assert "import numpy" not in text and "def " not in text


@needs_sources
def test_the_record_is_of_these_articles():
    load("sample_java")
    tool = load("run_samples")
    found = list(tool.extract(Path(SOURCES)))
    assert {sample.claim: tool.digest(sample.text) for sample in found} == {
        claim_id: sample["sha256"] for claim_id, sample in SAMPLES.items()
    }
    for sample in found:
        if sample.environment != "java":
            restored = tool.rebreak(sample.text)
            assert "".join(restored.split()) == "".join(sample.text.split())
            assert tool.digest(restored) == SAMPLES[sample.claim]["lines_restored"]["sha256"]
