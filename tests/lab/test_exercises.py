"""Checks for the learner: each way of being wrong has its own sentence."""

import importlib
import pkgutil

import numpy as np
import pytest
import torch

from convcraft import ConvcraftError
from convcraft.lab import exercises
from convcraft.lab.exercises import Result, check, compare, exercise, framework, kinds, names


@pytest.fixture(autouse=True)
def slope_exercise(monkeypatch):
    """One exercise of the test's own."""
    monkeypatch.setattr(framework, "_OWN", {})

    @exercise("slope")
    def slope(answer):
        return compare(answer(0.0), 0.25, "your slope at 0")


def test_a_right_answer_is_true_and_says_so():
    result = check("slope", lambda x: 0.25)
    assert result and result.message is None
    assert repr(result) == "✓ slope: right."
    assert "convcraft-check-right" in result._repr_html_() and "✓ slope" in result._repr_html_()


def test_a_wrong_answer_is_false_and_says_what_is_wrong():
    result = check("slope", lambda x: 1.0)
    assert not result
    assert repr(result) == "✗ slope: your slope at 0 is 1: too large."
    assert "convcraft-check-wrong" in result._repr_html_()


def test_the_right_value_comes_with_the_third_wrong_answer_in_a_row():
    said = [check("slope", lambda x: 1.0).message for _ in range(4)]
    assert said[0] == "your slope at 0 is 1: too large."
    assert said[1] == "your slope at 0 is 1: too large, by about 0.8."
    assert said[2] == said[3] == "your slope at 0 is 1, but should be 0.25."
    assert not check("slope", ...) and "0.25" in check("slope", lambda x: 1.0).message, (
        "no answer is not wrong"
    )
    assert check("slope", lambda x: 0.25)
    assert check("slope", lambda x: -1.0).message == "your slope at 0 is -1: too small.", "a right one resets"


def test_stages_of_arrays_and_of_a_diagnosis():
    @exercise("pair")
    def pair(answer):
        wrong = compare(answer, [1.0, 2.0], "it")
        return wrong and wrong.because("Order!")

    said = [check("pair", [2.0, 1.0]).message for _ in range(3)]
    assert said[0] == "Order!"
    assert said[1] == "Order! it is [2. 1.]: 2 of 2 entries differ, by up to 1, the first at (0,)."
    assert said[2].startswith("Order! it is [2. 1.], but should be [1. 2.]: 2 of 2")
    signs = compare([-1.0, -2.0], [1.0, 2.0], "it").stages
    assert signs[0] == "it is [-1. -2.]: the sign is wrong." and "should be [1. 2.]" in signs[-1]


def test_a_slip_is_the_formula_that_explains_all_wrong_values():
    test = kinds.formula(lambda x: x**2, [(0,), (2,), (3,)], "f({})", (lambda x: 2 * x, "derivative"))
    assert test(lambda x: x * x) is None
    assert test(lambda x: 2 * x).stages[0] == "derivative", "right at 0 and at 2"
    assert test(lambda x: x + 2).stages[0] == "f(0) is 2: too large."
    assert test(lambda x: None) == "f(0) is None: nothing was returned. Did you forget a return?"


def test_a_number_is_told_the_nearest_slip_or_general_advice():
    test = kinds.number("n", 693, {692: "not yet", 691.5: "near", None: "count"})
    assert (
        test(693) is None
        and test(692).stages[0] == "not yet"
        and test(5).stages[0] == "n is 5: too small. count"
    )
    several = kinds.numbers(("a", 1.0), ("b", 2.0, {3.0: "b!"}))
    assert several((1, 2)) is None and several((1, 3)) == "b! b is 3, but should be 2."
    assert several(1) == "Give 2 numbers: a, b; got 1." and several((2, 2)) == "a is 2, but should be 1."


def test_no_answer_yet():
    result = check("slope", ...)
    assert not result and repr(result) == "… slope: Not answered yet: replace the … with your answer."
    assert "convcraft-check-open" in result._repr_html_()


def test_an_answer_of_several_parts_is_not_given_while_one_is_open():
    assert (
        check("slope", (1.0, ...)).message
        == check("slope", [..., ...]).message
        == check("slope", ...).message
    )


def test_html_is_escaped():
    assert "&lt;b&gt;" in Result("x", "<b> & co")._repr_html_()


def test_an_exception_in_the_answer_becomes_its_message_with_the_line():
    def broken(x):
        return 1 / x

    result = check("slope", broken)
    assert not result
    assert "Your answer raised ZeroDivisionError: float division by zero" in result.message
    assert "return 1 / x" in result.message and "line " in result.message


def test_an_exception_without_text_or_line():
    def silent(x):
        raise KeyError

    assert "Your answer raised KeyError" in check("slope", silent).message
    result = check("slope", 0.25)  # the check calls it, the learner has no line
    assert "raised TypeError" in result.message and "kind that is asked for" in result.message


def test_an_interrupt_is_not_swallowed():
    def interrupted(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check("slope", interrupted)


def test_an_unknown_name_lists_the_near_matches():
    with pytest.raises(ConvcraftError, match="unknown exercise 'slpoe': did you mean 'slope'"):
        check("slpoe", 1)


def test_a_name_is_taken_once_but_a_module_may_be_reloaded():
    def again(answer):
        return None

    exercise("again")(again)
    exercise("again")(again)
    with pytest.raises(ConvcraftError, match="'again' is taken"):
        exercise("again")(lambda answer: None)


def test_the_checks_of_the_chapters_are_found_by_name_and_no_two_share_one():
    chapters = [
        importlib.import_module(f"{exercises.__name__}.{module.name}")
        for module in pkgutil.iter_modules(exercises.__path__)
        if module.name != "framework"
    ]
    held = [name for chapter in chapters for name in chapter.CHECKS]
    assert len(chapters) >= 10 and all(len(chapter.CHECKS) >= 4 for chapter in chapters)
    assert sorted([*held, "slope"]) == names()
    assert check("stable-rate", 0.5)


def test_a_name_of_a_chapter_is_taken():
    with pytest.raises(ConvcraftError, match="'stable-rate' is taken; choose another"):
        exercise("stable-rate")(lambda answer: None)


@pytest.mark.parametrize(
    ("answer", "expected", "says"),
    [
        (None, 1.0, "nothing was returned. Did you forget a return"),
        (..., 1.0, "nothing was returned"),
        ("one", 1.0, "not a number"),
        ([1.0, 2.0, 3.0], [1.0, 2.0], r"has shape \(3,\), but should have shape \(2,\)"),
        ([1.0, np.nan], [1.0, 2.0], "1 of 2 entries that are nan or infinite"),
        ([-1.0, -2.0], [1.0, 2.0], "the sign is wrong"),
        (-0.5, 0.5, "the sign is wrong"),
        (0.3, 0.25, r"is 0\.3, but should be 0\.25\.$"),
        ([1.0, 2.5], [1.0, 2.0], r"1 of 2 entries differ, by up to 0\.5"),
        (np.inf, -np.inf, "but should be"),
    ],
)
def test_compare_says_how_an_answer_is_wrong(answer, expected, says):
    import re

    message = compare(answer, expected, "it")
    assert message is not None and message.startswith("it ") and re.search(says, message)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (0.25, 0.25),
        (1, 1.0),
        (True, 1),
        (torch.tensor([1.0, 2.0], requires_grad=True), [1.0, 2.0]),
        (np.float32(0.1), 0.1),
        (np.inf, np.inf),
        ([], []),
        (1e6 + 0.5, 1e6),
    ],
)
def test_compare_accepts_what_is_right(answer, expected):
    assert compare(answer, expected) is None


def test_the_tolerance_can_be_set():
    assert compare(1.05, 1.0) is not None and compare(1.05, 1.0, tolerance=0.1) is None
