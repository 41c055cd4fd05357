"""Finding checks, running them, and showing what came out."""

import functools
import html
import importlib
import linecache
import pkgutil
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from convcraft._checks import check_known
from convcraft.errors import ConvcraftError

Complaint = str | None  # what is wrong; None where nothing is
Check = Callable[[Any], Complaint | Iterator[Complaint]]
_OWN: dict[str, Check] = {}  # what `exercise` registered
_WRONG: Counter[str] = Counter()  # wrong answers in a row, by exercise, in this session
_FOLDER = Path(__file__).parent
_UNANSWERED = "Not answered yet: replace the … with your answer."


class Hint(str):
    """What is wrong with an answer: the whole sentence as a string, and `stages` that lead up to it.

    `check` shows the first stage (the direction) for the first wrong answer in a row, the second (about how
    far off) for the second, and the last, with the right value, from the third on.
    """

    stages: tuple[str, ...]

    def __new__(cls, *stages: str) -> Self:
        hint = super().__new__(cls, stages[-1])
        hint.stages = stages
        return hint

    def because(self, why: str) -> Self:
        """The same with a diagnosis, which alone is the first stage."""
        return type(self)(why, *(f"{why} {stage}" for stage in self.stages[1:] or self.stages))


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
        text = html.escape(repr(self))
        return f'<p class="convcraft-check convcraft-check-{state}" role="status">{text}</p>'


def by_name(*checks: Check) -> dict[str, Check]:
    """Checks of exercises that are named as the functions are: "dead-share" for `dead_share`."""
    return {check.__name__.replace("_", "-"): check for check in checks}


@functools.cache
def _of_chapters() -> dict[str, Check]:
    """The checks of the chapters' modules, each of which holds a dict of them."""
    found: dict[str, Check] = {}
    for module in pkgutil.iter_modules([str(_FOLDER)]):
        chapter = importlib.import_module(f"convcraft.lab.exercises.{module.name}")
        found |= getattr(chapter, "CHECKS", {})
    return found


def exercise(name: str) -> Callable[[Check], Check]:
    """Register your own check: a function of the answer that returns None, or says what is wrong.

    Raises ConvcraftError when another check has that name. Chapter: Convolutional networks.

    >>> @exercise("the-answer")
    ... def the_answer(answer):
    ...     return None if answer == 42 else "Think again: 6 times 7."
    >>> check("the-answer", 41)
    ✗ the-answer: Think again: 6 times 7.
    """

    def register(function: Check) -> Check:
        held = (_of_chapters() | _OWN).get(name)
        if held is not None and (name not in _OWN or held.__qualname__ != function.__qualname__):
            raise ConvcraftError(f"exercise name {name!r} is taken; choose another name.")
        _OWN[name] = function
        return function

    return register


def names() -> list[str]:
    """Names of all exercises that have a check."""
    return sorted(_of_chapters() | _OWN)


def check(name: str, answer: Any) -> Result:
    """Check an answer to an exercise. The result is true when it is right, and shows what is wrong when not.

    The first wrong answer in a row is told the direction or the slip, the second about how far off it is, the
    third the right value. An answer of `...`, alone or in a tuple or list, counts as not given. An exception
    in the answer's own code becomes part of the message, with the line that raised it. Raises ConvcraftError
    for an unknown name, listing the near matches. Chapter: Convolutional networks.

    >>> @exercise("doubling")
    ... def doubling(answer):
    ...     return compare(answer(3), 6, "your function at 3")
    >>> check("doubling", lambda x: 2 * x)
    ✓ doubling: right.
    >>> check("doubling", lambda x: x + 2)
    ✗ doubling: your function at 3 is 5: too small.
    >>> check("doubling", ...)
    … doubling: Not answered yet: replace the … with your answer.
    """
    known = _of_chapters() | _OWN
    check_known("exercise", name, known)
    parts = answer if isinstance(answer, tuple | list) else (answer,)
    if any(part is ... for part in parts):
        return Result(name, _UNANSWERED)
    try:
        wrong = known[name](answer)
        if isinstance(wrong, Iterator):
            wrong = next((one for one in wrong if one), None)
    except Exception as error:
        return Result(name, _explain(error, known[name]))
    if wrong is None:
        del _WRONG[name]
        return Result(name, None)
    _WRONG[name] += 1
    stages = wrong.stages if isinstance(wrong, Hint) else (wrong,)
    return Result(name, stages[min(_WRONG[name], len(stages)) - 1])


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


def plain(value: Any) -> Any:
    """A tensor as an array, anything else as it is."""
    return value.detach().cpu().numpy() if hasattr(value, "detach") else value


def _show(value: Any) -> str:
    array = np.asarray(value)
    if array.ndim == 0 and array.dtype.kind in "fiu":
        return f"{array.item():.6g}"
    return np.array2string(array, precision=4, threshold=8)


def compare(answer: Any, expected: Any, what: str = "the answer", *, tolerance: float = 1e-6) -> Hint | None:
    """None when an answer equals what is expected, else a sentence: for numbers, arrays and tensors.

    `tolerance` is relative to the largest expected entry (absolute below 1). `check` shows the sentence in
    stages, the expected value last. Chapter: Convolutional networks.

    >>> compare(0.25, 0.25)
    >>> compare([1.0, 2.0], [1.0, 3.0], "the output")
    'the output is [1. 2.], but should be [1. 3.]: 1 of 2 entries differ, by up to 1.'
    """
    if answer is None or answer is ...:
        return Hint(f"{what} is {answer!r}: nothing was returned. Did you forget a return?")
    wanted = np.asarray(plain(expected), dtype=np.float64)
    try:
        got = np.asarray(plain(answer), dtype=np.float64)
    except (TypeError, ValueError):
        return Hint(f"{what} is {answer!r}, which is not a number or an array of numbers.")
    if got.shape != wanted.shape:
        return Hint(f"{what} has shape {got.shape}, but should have shape {wanted.shape}.")
    finite = np.isfinite(got)
    if bool((~finite & np.isfinite(wanted)).any()):
        return Hint(f"{what} holds {int((~finite).sum())} of {got.size} entries that are nan or infinite.")
    with np.errstate(invalid="ignore"):
        gap = np.where(got == wanted, 0.0, np.abs(got - wanted))
    largest = np.abs(wanted[np.isfinite(wanted)]).max(initial=1.0)
    wrong = ~(gap <= tolerance * largest)
    if not wrong.any():
        return None
    shown, full = f"{what} is {_show(got)}", f"{what} is {_show(got)}, but should be {_show(wanted)}"
    if bool((np.abs(got + wanted) <= tolerance * largest).all() if finite.all() else False):
        return Hint(f"{shown}: the sign is wrong.", f"{full}: the sign is wrong.")
    if got.ndim == 0:
        direction = f"{shown}: too {'large' if got > wanted else 'small'}"
        return Hint(f"{direction}.", f"{direction}, by about {gap:.1g}.", f"{full}.")
    count = f"{int(wrong.sum())} of {got.size} entries differ"
    far, first = f"by up to {gap[wrong].max():.4g}", tuple(int(i) for i in np.argwhere(wrong)[0])
    return Hint(f"{shown}: {count}.", f"{shown}: {count}, {far}, the first at {first}.", f"{full}: {count}, {far}.")
