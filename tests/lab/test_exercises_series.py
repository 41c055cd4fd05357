"""The checks of the chapter "Series": right answers pass, and slips are named."""

import numpy as np
import pytest

from convcraft.lab import baselines
from convcraft.lab.exercises import check


def mase(forecast, actual, history, period):
    return np.abs(forecast - actual).mean() / np.abs(history[period:] - history[:-period]).mean()


def split(values, train, width):
    return np.arange(train - width + 1), np.arange(train, values - width + 1)


def nearest(train, test):
    return baselines.knn_distance(train, test, 1)


def test_right_answers_pass():
    assert check("the-highest-forecast", lambda w, b: b + abs(w).sum())
    assert check("mase-by-hand", mase)
    assert check("split-without-leak", split)
    assert check("the-size-of-a-bottleneck", "c")
    assert check("one-line-detector", nearest)


@pytest.mark.parametrize(
    ("name", "answer", "said"),
    [
        ("the-highest-forecast", lambda w, b: b + w.sum(), "contributes most at −1"),
        ("the-highest-forecast", lambda w, b: abs(w).sum(), "the bias is missing"),
        ("the-highest-forecast", lambda w, b: b + w[w > 0].sum(), "tanh reaches −1"),
        ("mase-by-hand", lambda f, y, h, p: abs(f - y).mean(), "divide by that of the rule"),
        ("mase-by-hand", lambda f, y, h, p: abs(f - y).mean() / abs(np.diff(h)).mean(), "one period before"),
        (
            "mase-by-hand",
            lambda f, y, h, p: ((f - y) ** 2).mean() / ((h[p:] - h[:-p]) ** 2).mean(),
            "not squared",
        ),
        ("split-without-leak", lambda n, m, w: np.arange(n), "return two arrays"),
        ("split-without-leak", lambda n, m, w: ([], [1]), "at least one window"),
        ("split-without-leak", lambda n, m, w: (np.arange(m), np.arange(m, n)), "ends beyond"),
        ("split-without-leak", lambda n, m, w: (np.arange(m), np.arange(m, n - w + 1)), "into the test part"),
        ("split-without-leak", lambda n, m, w: (np.arange(m - w), np.arange(m - 1, n - w)), "begins among"),
        ("split-without-leak", lambda n, m, w: (np.arange(m - w), np.arange(m, n - w)), "left out"),
        ("the-size-of-a-bottleneck", "a", "Does the area rise"),
        ("one-line-detector", lambda train, test: np.zeros(3), "one finite score for each"),
        ("one-line-detector", lambda train, test: -nearest(train, test), "below one half"),
        ("one-line-detector", lambda train, test: ((test - train.mean(0)) ** 2).mean(1), "it takes more"),
    ],
)
def test_slips_are_named(name, answer, said):
    result = check(name, answer)
    assert not result and said in repr(result)
