"""Kinds of checks that several chapters use: a formula, a number, several numbers, trained networks."""

import functools
import inspect
import math
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import nn

from convcraft.lab import data
from convcraft.lab.exercises.framework import Check, Complaint, Hint, compare, plain
from convcraft.lab.training import Evaluation, evaluate, fit, seeded


def takes(arguments: str) -> Callable[[Check], Check]:
    """Decorate the check of a function of `arguments`: refuse an answer that cannot be called."""

    def decorate(test: Check) -> Check:
        @functools.wraps(test)
        def checked(answer: Any) -> Complaint | Iterator[Complaint]:
            if callable(answer):
                return test(answer)
            kind = type(answer).__name__
            return f"The answer must be a function of {arguments}, without calling it; got {kind}."

        return checked

    return decorate


def formula(
    right: Callable[..., Any],
    cases: Sequence[Sequence[Any]],
    what: str,
    *slips: tuple[Callable[..., Any], str],
    arguments: str = "",
    tolerance: float = 1e-6,
) -> Check:
    """Check of a function, case by case, against `right`; a slip is a formula that explains all wrong values.

    `what` names the value and is formatted with the arguments of the case; `arguments` names these, where they
    are not called as those of `right`.
    """
    *names, last = inspect.signature(right).parameters

    @takes(arguments or " and ".join([", ".join(names), last] if names else [last]))
    def test(answer: Any) -> str | None:
        wrong = []
        for case in cases:
            value = answer(*case)
            if hint := compare(value, right(*case), what.format(*case), tolerance=tolerance):
                wrong.append((hint, value, case))
        if not wrong:
            return None
        first = wrong[0][0]
        for slip, why in slips if len(first.stages) > 1 else ():
            if all(_close(value, slip(*case)) for _, value, case in wrong):
                return first.because(why)
        return first

    return test


def number(
    what: str, right: float, slips: Mapping[float | None, str] | None = None, *, tolerance: float = 1e-6
) -> Callable[[Any], Complaint]:
    """Check of a number; `slips` maps wrong ones to a diagnosis, and None to advice for all others."""

    def test(answer: Any) -> str | None:
        wrong = compare(answer, right, what, tolerance=tolerance)
        if wrong is None or len(wrong.stages) == 1:
            return wrong
        known, given = slips or {}, float(answer)
        near = [slip for slip in known if slip is not None and math.isclose(given, slip, rel_tol=2e-3)]
        if near:
            return wrong.because(known[min(near, key=lambda slip: abs(given - slip))])
        return Hint(*(f"{stage} {known[None]}" for stage in wrong.stages)) if None in known else wrong

    return test


def numbers(*parts: tuple[str, float] | tuple[str, float, Mapping[float | None, str]]) -> Check:
    """Check of several numbers: what each is, its value, and its slips as in `number`."""

    def test(answer: Any) -> str | None:
        given = tuple(answer) if isinstance(answer, Sequence) else (answer,)
        if len(given) != len(parts):
            return f"Give {len(parts)} numbers: {', '.join(part[0] for part in parts)}; got {answer!r}."
        checked = (number(*part)(value) for part, value in zip(parts, given, strict=True))
        return next((wrong for wrong in checked if wrong), None)

    return test


def choice(right: str, why_not: Mapping[str, str]) -> Check:
    """Check of one letter among several conclusions; `why_not` says for each other one what to look at."""

    def test(answer: Any) -> str | None:
        if answer == right:
            return None
        letters = ", ".join(sorted({right, *why_not}))
        return why_not.get(answer, f"Give one letter of {letters}; got {answer!r}.")

    return test


def _of_data() -> dict[str, Check]:
    """The exercises of all chapters that are data: a letter among several conclusions, or numbers."""
    found: dict[str, Check] = {}
    conclusions, asked = (
        tomllib.loads(Path(__file__).with_name(f"{name}.toml").read_text(encoding="utf-8"))
        for name in ("conclusions", "numbers")
    )
    for name, letters in conclusions.items():
        found[name] = choice(letters.pop("right"), letters)
    for name, entries in asked.items():
        parts = []
        for part in entries:
            slips = {None if k == "other" else float(k): why for k, why in part["slips"].items()}
            parts.append((part["what"], part["right"], slips))
        tolerance = entries[0].get("tolerance", 1e-6)
        found[name] = numbers(*parts) if len(parts) > 1 else number(*parts[0], tolerance=tolerance)
    return found


CHECKS = _of_data()


def trained_accuracy(net: nn.Module, splits: data.Splits) -> float:
    """Validation accuracy after five epochs."""
    fit(net, splits, epochs=5, learning_rate=0.1, progress=False)
    return evaluate(net, splits.validation).accuracy


def digits(count: int, seed: int, flat: bool = True) -> data.Splits:
    """Standardized digits, `count` of them to train on."""
    whole = data.load("digits")
    splits = replace(whole, train=whole.train.subset(count, seed=seed)).standardized()
    return splits.flattened() if flat else splits


@functools.cache
def _baseline(build: Any, count: int, seed: int, flat: bool, settings: tuple[Any, ...]) -> Evaluation:
    """How `build`'s network does on the test part; the same for every answer."""
    net, splits = seeded(build, seed), digits(count, seed, flat)
    fit(net, splits, seed=seed, progress=False, evaluate_at=(), **dict(settings))
    return evaluate(net, splits.test)


def gain_on_digits(
    answer: Callable[[data.Splits, int], nn.Module],
    count: int,
    build: Callable[[], nn.Module],
    measure: Literal["accuracy", "loss"],
    flat: bool = True,
    **settings: Any,
) -> float | str:
    """Mean gain in a test measure of the answer's networks over `build`'s, both trained on `count` digits.

    A lower loss is a gain. The answer gets the splits without their test part, and a seed. What is wrong with it
    comes as a sentence.
    """
    gains = []
    for seed in range(3):
        splits = digits(count, seed, flat)
        found = answer(replace(splits, test=data.Split(splits.test.x[:0], splits.test.y[:0])), seed)
        if not isinstance(found, nn.Module):
            return f"The function must return the trained network; got {type(found).__name__}."
        before = _baseline(build, count, seed, flat, (*settings.items(),))
        gain = getattr(evaluate(found.eval(), splits.test), measure) - getattr(before, measure)
        gains.append(gain if measure == "accuracy" else -gain)
    return sum(gains) / 3


def _close(value: Any, other: Any) -> bool:
    value, other = np.asarray(plain(value)), np.asarray(plain(other))
    return value.shape == other.shape and bool(np.allclose(value, other, rtol=1e-5, atol=1e-9))
