"""Compile the Java sample against stubs: classes with the documented names and signatures and nothing else.

The library itself, deeplearning4j, is not needed to see whether the compiler accepts the sample. What the
sample cannot do is told by two repairs, made one after the other: an import, and a listener that can be made.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

LAYER = "public static class Builder{0} {{ {1} public Builder activation(Activation a) {{ return this; }}"
LAYER += " public Builder nIn(int n) {{ return this; }} public Builder nOut(int n) {{ return this; }}"
LAYER += " public {2} build() {{ return null; }} }}"
ACTIVATION = "org.nd4j.linalg.activations.Activation"
LOSSES = "org.nd4j.linalg.lossfunctions.LossFunctions"
CONF = "org.deeplearning4j.nn.conf"
# Name of the class -> (modifiers and kind, what it extends, imports, body).
STUBS: dict[str, tuple[str, str, tuple[str, ...], str]] = {
    ACTIVATION: ("enum", "", (), "TANH, SOFTMAX"),
    "org.nd4j.linalg.learning.config.IUpdater": ("interface", "", (), ""),
    "org.nd4j.linalg.learning.config.Adam": ("class", "implements IUpdater", (), "public Adam(double r) {}"),
    LOSSES: ("class", "", (), "public enum LossFunction { MCXENT }"),
    "org.deeplearning4j.nn.weights.WeightInit": ("enum", "", (), "XAVIER"),
    "org.deeplearning4j.optimize.api.TrainingListener": ("interface", "", (), ""),
    "org.deeplearning4j.optimize.api.BaseTrainingListener": (
        "abstract class",
        "implements TrainingListener",
        (),
        "",
    ),
    f"{CONF}.MultiLayerConfiguration": ("class", "", (), ""),
    f"{CONF}.layers.Layer": ("class", "", (), ""),
    f"{CONF}.layers.LSTM": ("class", "extends Layer", (ACTIVATION,), LAYER.format("", "", "LSTM")),
    f"{CONF}.layers.RnnOutputLayer": (
        "class",
        "extends Layer",
        (ACTIVATION, LOSSES),
        LAYER.format("", "public Builder(LossFunctions.LossFunction f) {}", "RnnOutputLayer"),
    ),
    f"{CONF}.NeuralNetConfiguration": (
        "class",
        "",
        (
            "org.deeplearning4j.nn.weights.WeightInit",
            "org.nd4j.linalg.learning.config.IUpdater",
            f"{CONF}.layers.Layer",
        ),
        "public static class Builder { public Builder weightInit(WeightInit w) { return this; }"
        " public Builder updater(IUpdater u) { return this; }"
        " public ListBuilder list() { return null; } }"
        " public static class ListBuilder { public ListBuilder layer(Layer l) { return this; }"
        " public MultiLayerConfiguration build() { return null; } }",
    ),
    "org.deeplearning4j.nn.multilayer.MultiLayerNetwork": (
        "class",
        "",
        ("org.deeplearning4j.optimize.api.TrainingListener", f"{CONF}.MultiLayerConfiguration"),
        "public MultiLayerNetwork(MultiLayerConfiguration c) {}"
        " public void setListeners(TrainingListener... l) {}",
    ),
}


def stub(name: str) -> str:
    """The text of one stub."""
    kind, parents, imports, body = STUBS[name]
    package, _, short = name.rpartition(".")
    lines = [f"package {package};", *(f"import {one};" for one in imports)]
    return "\n".join([*lines, f"public {kind} {short} {parents} {{ {body} }}"]) + "\n"


def wrapped(text: str) -> str:
    """The sample as the body of a method, its imports above the class."""
    imports = "\n".join(re.findall(r"^import .*$", text, re.MULTILINE))
    body = re.sub(r"^import .*$", "", text, flags=re.MULTILINE)
    return f"{imports}\npublic class Sample {{ void run() {{\n{body}\n}} }}\n"


def compiled(text: str, compiler: str) -> list[str]:
    """The errors of the compiler, in order, without the places."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in STUBS:
            path = root / f"{name.replace('.', '/')}.java"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(stub(name), encoding="utf-8")
        (root / "Sample.java").write_text(wrapped(text), encoding="utf-8")
        quick = ["-J-XX:TieredStopAtLevel=1", "-J-XX:+UseSerialGC"]  # half the time of a compiler that runs so briefly
        command = [compiler, *quick, "-J-Duser.language=en", "-encoding", "UTF-8", "-sourcepath", ".", "Sample.java"]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    return re.findall(r"^Sample\.java:\d+: error: (.*)$", done.stderr, re.MULTILINE)


def java(text: str) -> dict[str, Any]:
    """Record of the Java sample: what its names say, and what the compiler says where there is one."""
    imported = set(re.findall(r"^import [\w.]+\.(\w+);", text, re.MULTILINE))
    body = re.sub(r"//.*|^import .*$", "", text, flags=re.MULTILINE)
    used = set(re.findall(r"(?<![.\w])[A-Z]\w+", body))
    missing = sorted(used - imported)
    record: dict[str, Any] = {
        "outcome": "not run",
        "message": "there is no Java compiler here",
        "warnings": [],
        "versions": {},
        "checks": [
            {"name": "classes that it imports", "value": len(imported), "passed": len(imported) == 8},
            {
                "name": "classes that it uses and neither imports nor defines",
                "value": ", ".join(missing) or "none",
                "passed": missing == ["NeuralNetConfiguration"],
            },
        ],
    }
    compiler = shutil.which("javac")
    if compiler is None:
        return record
    errors = compiled(text, compiler)
    with_import = f"import {CONF}.NeuralNetConfiguration;\n{text}"
    whole = with_import.replace("new BaseTrainingListener()", "new BaseTrainingListener() {}")
    left = [compiled(repaired, compiler) for repaired in (with_import, whole)]
    version = subprocess.run(
        [compiler, "-version"], capture_output=True, text=True, check=True
    ).stdout.split()
    names = "errors against stubs", "errors with the import", "errors with a listener of its own as well"
    counts = [len(errors), *(len(one) for one in left)]
    checks = [
        {"name": name, "value": value, "passed": value == wanted}
        for name, value, wanted in zip(names, counts, (2, 1, 0), strict=True)
    ]
    outcome = "does not compile" if errors else "compiles"
    checks.insert(0, {"name": "it ends as", "value": outcome, "passed": bool(errors)})
    return record | {
        "outcome": outcome,
        "message": "; ".join(errors),
        "versions": {"javac": version[-1]},
        "checks": [*record["checks"], *checks],
    }
