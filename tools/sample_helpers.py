"""Helpers that measure a result: a check is its name, the value found, and whether that is as expected."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

Namespace = dict[str, Any]
Check = tuple[str, Any, bool]


def run(text: str, **names: Any) -> tuple[Namespace, str, str, list[str], str]:
    """Execute `text` with `names` defined; return namespace, outcome, message, warnings and output."""
    space: Namespace = {"__name__": "__main__", **names}
    outcome, message, printed = "ran", "", io.StringIO()
    with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(printed):
        warnings.simplefilter("always")
        try:
            exec(compile(text, "<sample>", "exec"), space)
        except Exception as error:  # whatever stops a sample is the result
            outcome, message = (
                type(error).__name__,
                error.msg if isinstance(error, SyntaxError) else str(error),
            )
    given = [f"{item.category.__name__}: {' '.join(str(item.message).split())}" for item in caught]
    return space, outcome, message, given, printed.getvalue()


def stopped(text: str, **names: Any) -> str:
    """How `text` ends: "ran" or "NameError: model"-like, the exception and its message."""
    _, outcome, message, _, _ = run(text, **names)
    return f"{outcome}: {message}" if message else outcome


def raises(function: Callable[[], Any]) -> str:
    """Name of the exception that a call raises, or "nothing"."""
    try:
        function()
    except Exception as error:
        return type(error).__name__
    return "nothing"


def warned(function: Callable[[], Any]) -> int:
    """Number of warnings that a call gives."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function()
    return len(caught)


def gap(left: Any, right: Any) -> float:
    """Largest absolute difference."""
    return float(np.max(np.abs(np.asarray(left, dtype=np.float64) - np.asarray(right, dtype=np.float64))))


def gap_check(name: str, left: Any, right: Any, limit: float = 0.0) -> Check:
    """A check that two results differ by at most `limit`."""
    value = gap(left, right)
    return (f"{name}, at most {limit:g}", value, value <= limit)
