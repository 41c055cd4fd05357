"""Run one code sample of an article in this process, in an empty namespace, and measure its result.

`run_samples.py` starts this file in the environment that the sample needs: it reads {"claim", "text",
"context"} as JSON from the standard input and prints one line of JSON: outcome, message, warnings,
versions, checks.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import inspect
import io
import json
import os
import platform
import sys
from collections.abc import Callable
from typing import Any

from sample_helpers import Check, run

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

EXPECTED = {
    "code-a2-random-init": "NameError",
    "code-a2-zero-init": "NameError",
    "code-a4-l2loss-and-dropout": "AttributeError",
    "code-a4-batchnorm": "TypeError",
    "code-a4-adaptive-activation-and-adagrad": "NameError",
    "code-a4-keras-cnn": "NameError",
    "code-a5-opencv-augmentation": "SyntaxError",
}


def checks_for(claim: str) -> dict[str, Callable[..., list[Check]]]:
    """The table of checks to which a claim belongs; only the libraries of its environment are imported."""
    if not claim.startswith("code-"):
        return {}
    if "-tf-" in claim or "keras" in claim:
        from sample_checks_tensorflow import CHECKS
    else:
        from sample_checks import CHECKS
    return CHECKS


def versions() -> dict[str, str]:
    """Interpreter and libraries of this environment that a sample may use."""
    found = {"python": platform.python_version()}
    for name in ("numpy", "torch", "scipy", "tensorflow", "keras"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def examine(claim: str, text: str, context: str = "") -> dict[str, Any]:
    """Run one sample and make its checks; what its record holds beyond the text."""
    space, outcome, message, given, printed = run(text)
    expected = EXPECTED.get(claim, "ran")
    checks: list[Check] = [("it ends as", outcome, outcome == expected)]
    functions = checks_for(claim)
    if outcome == expected and claim in functions:
        offered = {"text": text, "context": context, "printed": printed}
        function = functions[claim]
        wanted = inspect.signature(function).parameters
        with contextlib.redirect_stdout(io.StringIO()):
            checks += function(space, **{name: value for name, value in offered.items() if name in wanted})
    return {
        "outcome": outcome,
        "message": message,
        "warnings": given,
        "versions": versions(),
        "checks": [{"name": name, "value": value, "passed": bool(passed)} for name, value, passed in checks],
    }


if __name__ == "__main__":
    print(json.dumps(examine(**json.load(sys.stdin)), ensure_ascii=False))
