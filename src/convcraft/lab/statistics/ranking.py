"""How good a list is: gains by rank."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convcraft.errors import ConvcraftError


def ndcg(scores: ArrayLike, relevant: ArrayLike, k: int = 10) -> NDArray[np.float64]:
    r"""Normalized discounted cumulative gain of each row's `k` highest scores, (rows,).

    :math:`\sum_{r<k} \frac{[\text{item of rank } r \text{ is relevant}]}{\log_2(r + 2)}`, ranks from 0,
    divided by its highest possible value; nan for a row without a relevant item. Ties go to the earlier
    item; give items to leave out the score -inf. `scores` and `relevant` are (rows, items).
    Raises ConvcraftError for other shapes and a k that is not between 1 and the number of items. Source:
    Järvelin and Kekäläinen (2002), Cumulated Gain-Based Evaluation of IR Techniques. Chapter: Recommenders.

    >>> ndcg([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0]], [[1, 0, 0], [1, 0, 0]], k=3)
    array([1. , 0.5])
    """
    table, liked = np.asarray(scores, dtype=np.float64), np.asarray(relevant, dtype=bool)
    if table.ndim != 2 or table.shape != liked.shape or not 1 <= k <= table.shape[1]:
        raise ConvcraftError(
            f"scores and relevant must both be (rows, items), with k from 1 to the number of items; got shapes "
            f"{table.shape} and {liked.shape} and k={k}."
        )
    top = np.argsort(-table, axis=1, kind="stable")[:, :k]
    weights = 1 / np.log2(np.arange(k) + 2.0)
    gained = (np.take_along_axis(liked, top, axis=1) * weights).sum(1)
    highest = np.append(0.0, weights.cumsum())[np.minimum(liked.sum(1), k)]
    return np.where(highest > 0, gained / np.where(highest > 0, highest, 1.0), np.nan)
