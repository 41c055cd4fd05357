"""Baselines against their definitions, and their refusals."""

import numpy as np
import pytest

from convcraft import ConvcraftError
from convcraft.lab import baselines

RNG = np.random.default_rng(0)
VISITS = (RNG.random((60, 12)) < 0.3).astype(float)
VISITS[0] = 1  # every item has a visit


def test_popularity_counts():
    assert baselines.popularity(VISITS).tolist() == VISITS.sum(0).tolist()


def test_item_knn_keeps_the_k_most_similar_others():
    weights = baselines.item_knn(VISITS, k=3)
    unit = VISITS / np.linalg.norm(VISITS, axis=0)
    cosine = unit.T @ unit - np.eye(12)
    assert ((weights != 0).sum(0) == 3).all() and (np.diag(weights) == 0).all()
    for item in range(12):
        best = np.sort(cosine[:, item])[-3:]
        np.testing.assert_allclose(np.sort(weights[:, item])[-3:], best)


def test_ease_is_the_ridge_regression_of_each_item_on_the_others():
    weights = baselines.ease(VISITS, strength=5.0)
    for item in range(12):
        others = np.delete(np.arange(12), item)
        x, y = VISITS[:, others], VISITS[:, item]
        exact = np.linalg.solve(x.T @ x + 5.0 * np.eye(11), x.T @ y)
        np.testing.assert_allclose(weights[others, item], exact, atol=1e-10)
        assert weights[item, item] == 0


def test_als_completes_a_table_of_low_rank_from_a_part_of_it():
    table = RNG.standard_normal((30, 2)) @ RNG.standard_normal((2, 20))
    held = np.where(RNG.random((30, 20)) < 0.3, np.nan, table)
    errors = [np.abs(baselines.als(held, rank, 1e-3, rounds=60) - table).mean() for rank in (1, 2)]
    assert errors[1] < 0.05 < errors[0]
    shrunk = baselines.als(held, 2, 30.0)
    assert np.abs(shrunk).mean() < np.abs(table).mean()


def test_seasonal_naive_repeats_the_last_period():
    windows = np.arange(12.0).reshape(2, 6)
    assert baselines.seasonal_naive(windows, 5, period=3).tolist() == [[3, 4, 5, 3, 4], [9, 10, 11, 9, 10]]
    assert baselines.seasonal_naive(windows, 2).tolist() == [[5, 5], [11, 11]]


def test_ridge_on_lags_finds_a_linear_rule():
    x = RNG.standard_normal((200, 4))
    y = x @ np.array([[1.0, 0], [0, 2], [0.5, 0], [0, -1]])
    np.testing.assert_allclose(baselines.ridge_lags(x, y).predict(x), y, atol=1e-3)


def test_knn_distance_is_the_mean_distance_of_the_nearest():
    train, test = RNG.standard_normal((30, 3)), RNG.standard_normal((5, 3))
    every = np.sort(np.linalg.norm(test[:, None] - train, axis=2), axis=1)
    np.testing.assert_allclose(baselines.knn_distance(train, test, k=4), every[:, :4].mean(1))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: baselines.popularity([1, 2]), r"visits must be a table .* shape \(2,\)"),
        (lambda: baselines.ease([[np.nan]]), "finite"),
        (lambda: baselines.ease(VISITS, 0.0), "strength must be a finite number above 0, got 0.0"),
        (lambda: baselines.item_knn(VISITS, 0), "k must be a whole number of at least 1, got 0"),
        (lambda: baselines.seasonal_naive([[1.0, 2.0]], 1, period=3), "between 1 and the 2 values"),
        (lambda: baselines.als(VISITS, 0), "rank must be a whole number of at least 1, got 0"),
        (lambda: baselines.als(VISITS, 1, 0.0), "als: strength must be a finite number above 0"),
        (lambda: baselines.seasonal_naive([[1.0, 2.0]], 0), "horizon be 1 or more"),
        (lambda: baselines.knn_distance([[1.0]], [[1.0]], k=2), "between 1 and 1; got 2"),
    ],
)
def test_misuse_is_named(call, said):
    with pytest.raises(ConvcraftError, match=said):
        call()
