"""Scaled errors of forecasts, and intervals over blocks."""

import numpy as np
import pytest

from convcraft import ConvcraftError
from convcraft.lab.statistics import blocked_interval, blocks_of, mase, t_interval


def test_mase_of_the_rule_that_scales_it_is_one():
    history = np.random.default_rng(0).standard_normal(500).cumsum()
    assert mase(history[:-7], history[7:], history, period=7) == pytest.approx(1)
    assert mase(2 * history[7:] - history[:-7], history[7:], history, period=7) == pytest.approx(1)
    scaled = [mase(c * history[:-1], c * history[1:], c * history) for c in (1.0, 1000.0)]
    assert scaled[0] == pytest.approx(scaled[1])


def test_blocks_are_means_of_neighbours():
    assert blocks_of([[1, 2, 3, 4, 5]], 2).tolist() == [[2.0, 4.5]]
    assert blocks_of(range(6), 6).tolist() == list(range(6))


def test_a_blocked_interval_is_over_blocks_however_many_seeds():
    blocks = np.array([1.0, 2.0, 4.0])
    seeds = blocks + np.array([[-0.5], [0.0], [0.5]])
    assert blocked_interval(seeds) == blocked_interval(blocks) == t_interval(blocks)
    assert blocked_interval(blocks, 0.9).high < blocked_interval(blocks).high


def test_blocks_cover_where_single_errors_do_not():
    """Series of errors with memory: the interval over single errors covers 0 too rarely, that over blocks
    about as often as it says."""
    rng, hits = np.random.default_rng(1), np.zeros(2)
    for _ in range(300):
        shocks, e = rng.standard_normal(400), np.zeros(400)
        for k in range(1, 400):
            e[k] = 0.9 * e[k - 1] + shocks[k]
        hits += [t_interval(e).contains(0), blocked_interval(blocks_of(e, 5)).contains(0)]
    assert hits[0] < 0.5 * 300 and hits[1] > 0.87 * 300


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: mase([1.0], [1.0, 2.0], [1.0, 2.0]), r"got \(1,\) and \(2,\)"),
        (lambda: mase([np.nan], [1.0], [1.0, 2.0]), "finite"),
        (lambda: mase([1.0], [1.0], [1.0, 2.0], period=2), "longer than the period 2"),
        (lambda: mase([1.0], [1.0], [1.0, 2.0, 1.0], period=2), "repeat itself exactly"),
        (lambda: blocks_of([1.0], 2), "1 to the number of values; got 2"),
        (lambda: blocked_interval(np.zeros((2, 2, 2))), r"got shape \(2, 2, 2\)"),
        (lambda: blocked_interval([1.0]), "at least 2"),
    ],
)
def test_misuse_is_named(call, said):
    with pytest.raises(ConvcraftError, match=said):
        call()
