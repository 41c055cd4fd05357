"""Gains by rank against scikit-learn's, and what is refused."""

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from convcraft.errors import ConvcraftError
from convcraft.lab.statistics import ndcg


def test_ndcg_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    scores, relevant = rng.standard_normal((20, 30)), rng.random((20, 30)) < 0.1
    for k in (1, 10, 30):
        kept = relevant.any(1)
        assert np.isclose(ndcg(scores, relevant, k)[kept].mean(), ndcg_score(relevant[kept], scores[kept], k=k))


def test_a_row_without_a_relevant_item_has_no_ndcg():
    assert np.isnan(ndcg([[1.0, 2.0]], [[0, 0]], k=1)).all()


def test_items_that_are_left_out_come_last():
    assert ndcg([[-np.inf, 1.0, 2.0]], [[1, 0, 0]], k=2).item() == 0


@pytest.mark.parametrize("relevant, k", [([[1, 0, 0]], 1), ([[1, 0]], 0), ([[1, 0]], 3)])
def test_shapes_and_k_are_checked(relevant, k):
    with pytest.raises(ConvcraftError, match="scores and relevant"):
        ndcg([[1.0, 2.0]], relevant, k=k)
