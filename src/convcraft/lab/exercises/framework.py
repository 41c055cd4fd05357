"""Finding checks, running them, and showing what came out."""

from __future__ import annotations

import functools
import html
import importlib
import linecache
import pkgutil
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from convcraft.errors import ConvcraftError, unknown

Check = Callable[[Any], str | None]
_OWN: dict[str, Check] = {}  # what `exercise` registered
_FOLDER = Path(__file__).parent
_UNANSWERED = "Not answered yet: replace the … with your answer."


@dataclass(frozen=True)
class Result:
    """Outcome of a check: true when the answer is right; shows itself as one line, and as HTML in a notebook.

    >>> Result("slope-at-zero", None)
    ✓ slope-at-zero: right.
    >>> bool(Result("slope-at-zero", "The slope is not 1."))
    False

    Chapter: Convolutional networks.
    """

    name: str
    message: str | None

    def __bool__(self) -> bool:
        return self.message is None

    def __repr__(self) -> str:
        mark = "…" if self.message == _UNANSWERED else "✓" if self else "✗"
        return f"{mark} {self.name}: {self.message or 'right.'}"

    def _repr_html_(self) -> str:
        state = "right" if self else "open" if self.message == _UNANSWERED else "wrong"
        return (
            f'<p class="convcraft-check convcraft-check-{state}" role="status">{html.escape(repr(self))}</p>'
        )


@functools.cache
def _of_chapters() -> dict[str, Check]:
    """The checks of the chapters' modules, each of which holds a dict of them."""
    found: dict[str, Check] = {}
    for module in pkgutil.iter_modules([str(_FOLDER)]):
        if module.name != "framework":
            found |= importlib.import_module(f"convcraft.lab.exercises.{module.name}").CHECKS
    return found


def exercise(name: str) -> Callable[[Check], Check]:
    """Register a check of one's own: a function of the answer that returns None, or says what is wrong.

    Raises ConvcraftError when another check has that name.

    >>> @exercise("the-answer")
    ... def the_answer(answer):
    ...     return None if answer == 42 else "Think again: 6 times 7."
    >>> check("the-answer", 41)
    ✗ the-answer: Think again: 6 times 7.

    Chapter: Convolutional networks.
    """

    def register(function: Check) -> Check:
        held = (_of_chapters() | _OWN).get(name)
        if held is not None and (held.__module__, held.__qualname__) != (
            function.__module__,
            function.__qualname__,
        ):
            raise ConvcraftError(
                f"exercise name {name!r} is taken by {held.__module__}.{held.__qualname__}; got it again for "
                f"{function.__module__}.{function.__qualname__}. Choose another name."
            )
        _OWN[name] = function
        return function

    return register


def names() -> list[str]:
    """Names of all exercises that have a check."""
    return sorted(_of_chapters() | _OWN)


def check(name: str, answer: Any) -> Result:
    """Check an answer to an exercise. The result is true when it is right, and shows what is wrong when not.

    An answer of `...`, or one that holds it in a tuple or list, counts as not given. An exception in the
    answer's own code becomes part of the message, with the line that raised it. Raises ConvcraftError for an
    unknown name, listing the near matches.

    >>> @exercise("doubling")
    ... def doubling(answer):
    ...     return compare(answer(3), 6, "your function at 3")
    >>> check("doubling", lambda x: 2 * x)
    ✓ doubling: right.
    >>> check("doubling", lambda x: x + 2)
    ✗ doubling: your function at 3 is 5, but should be 6.
    >>> check("doubling", ...)
    … doubling: Not answered yet: replace the … with your answer.

    Chapter: Convolutional networks.
    """
    known = _of_chapters() | _OWN
    if name not in known:
        raise unknown("exercise", name, known)
    parts = answer if isinstance(answer, tuple | list) else (answer,)
    if any(part is ... for part in parts):
        return Result(name, _UNANSWERED)
    try:
        return Result(name, known[name](answer))
    except Exception as error:
        return Result(name, _explain(error, known[name]))


def _explain(error: Exception, check: Check) -> str:
    """What the answer raised, and in which of its own lines: neither of the check nor of a library."""
    text = f"Your answer raised {type(error).__name__}" + (f": {error}" if str(error) else "")
    package = str(_FOLDER.parents[1])
    for frame, number in reversed(list(traceback.walk_tb(error.__traceback__))):
        file = frame.f_code.co_filename
        line = linecache.getline(file, number).strip()
        foreign = "site-packages" in file or file.startswith(package) or frame.f_code is check.__code__
        if line and not foreign:
            return f"{text}, in line {number} of your code: {line}"
    return f"{text}. Check that the answer is of the kind that is asked for."


def needs_function(answer: Any, takes: str) -> str | None:
    """None when an answer can be called, else a sentence saying of what it must be a function."""
    if callable(answer):
        return None
    return f"The answer must be a function of {takes}, without calling it; got {type(answer).__name__}."


def _show(value: Any) -> str:
    array = np.asarray(value)
    return (
        f"{array.item():.6g}"
        if array.ndim == 0 and array.dtype.kind in "fiu"
        else np.array2string(array, precision=4, threshold=8)
    )


def compare(answer: Any, expected: Any, what: str = "the answer", *, tolerance: float = 1e-6) -> str | None:
    """None when an answer equals what is expected, else a sentence: for numbers, arrays and tensors.

    `tolerance` is relative to the largest expected entry (absolute below 1). The sentence tells apart an
    answer that is missing, not numeric, of the wrong shape, not finite, of the wrong sign, and wrong in
    value.

    >>> compare(0.25, 0.25)
    >>> compare([1.0, 2.0], [1.0, 3.0], "the output")
    'the output is [1. 2.], but should be [1. 3.]: 1 of 2 entries differ, by up to 1.'

    Chapter: Convolutional networks.
    """
    if answer is None or answer is ...:
        return f"{what} is {answer!r}: nothing was returned. Did you forget a return?"
    wanted = np.asarray(_plain(expected), dtype=np.float64)
    try:
        got = np.asarray(_plain(answer), dtype=np.float64)
    except (TypeError, ValueError):
        return f"{what} is {answer!r}, which is not a number or an array of numbers."
    if got.shape != wanted.shape:
        return f"{what} has shape {got.shape}, but should have shape {wanted.shape}."
    return _compare_values(got, wanted, what, tolerance)


def _plain(value: Any) -> Any:
    return value.detach().cpu().numpy() if hasattr(value, "detach") else value


def _compare_values(got: np.ndarray, wanted: np.ndarray, what: str, tolerance: float) -> str | None:
    finite = np.isfinite(got)
    if bool((~finite & np.isfinite(wanted)).any()):
        return f"{what} holds {int((~finite).sum())} of {got.size} entries that are nan or infinite."
    with np.errstate(invalid="ignore"):
        gap = np.where(got == wanted, 0.0, np.abs(got - wanted))
    largest = np.abs(wanted[np.isfinite(wanted)]).max(initial=1.0)
    wrong = ~(gap <= tolerance * largest)
    if not wrong.any():
        return None
    verdict = f"{what} is {_show(got)}, but should be {_show(wanted)}"
    if bool((np.abs(got + wanted) <= tolerance * largest).all() if finite.all() else False):
        return f"{verdict}: the sign is wrong."
    if got.ndim == 0:
        return f"{verdict}."
    return f"{verdict}: {int(wrong.sum())} of {got.size} entries differ, by up to {gap[wrong].max():.4g}."
