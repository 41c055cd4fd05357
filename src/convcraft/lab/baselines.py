"""Baselines that an expert of the field asks for first: rules of a line, closed forms, neighbours.

Scores of recommenders are for a table of visits (visitors, items) of zeros and ones: multiply the rows of
new visitors by the item-item weights.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convcraft._checks import check_count, check_number
from convcraft.errors import ConvcraftError

Array = NDArray[np.float64]


def _table(values: ArrayLike, name: str = "visits") -> Array:
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or not table.size or not np.isfinite(table).all():
        raise ConvcraftError(
            f"{name} must be a table of finite numbers with two dimensions; got shape {table.shape}. Pass "
            "one row for each visitor or example."
        )
    return table


def popularity(visits: ArrayLike) -> Array:
    """How often each item was visited, (items,): the same list for everybody. Chapter: Recommenders.

    >>> popularity([[1, 0], [1, 1]])
    array([2., 1.])
    """
    return np.asarray(_table(visits).sum(0))


def item_knn(visits: ArrayLike, k: int = 50) -> Array:
    """Cosine similarity of the items (items, items), zero but for the k most similar ones of each column.

    The diagonal is zero. Raises ConvcraftError for a k below 1. Source: Sarwar, Karypis, Konstan and Riedl
    (2001), Item-Based Collaborative Filtering Recommendation Algorithms. Chapter: Recommenders.

    >>> item_knn([[1, 1, 0], [1, 1, 0], [0, 1, 1]], k=1).round(2)
    array([[0.  , 0.82, 0.  ],
           [0.82, 0.  , 0.58],
           [0.  , 0.  , 0.  ]])
    """
    from sklearn.metrics.pairwise import cosine_similarity

    check_count("item_knn", "k", k)
    similarity = cosine_similarity(_table(visits).T)
    np.fill_diagonal(similarity, 0.0)
    order = np.argsort(-similarity, axis=0, kind="stable")
    np.put_along_axis(similarity, order[k:], 0.0, axis=0)
    return similarity


def ease(visits: ArrayLike, strength: float = 100.0) -> Array:
    r"""Item-item weights by ridge regression of each item on the others, (items, items), in closed form.

    With :math:`P = (X^\top X + \lambda I)^{-1}`: :math:`B_{ij} = -P_{ij} / P_{jj}` and :math:`B_{jj} = 0`.
    Raises ConvcraftError for a strength that is not above 0. Source: Steck (2019), Embarrassingly Shallow
    Autoencoders for Sparse Data. Chapter: Recommenders.

    >>> ease(np.eye(2), 1.0)
    array([[ 0., -0.],
           [-0.,  0.]])
    """
    check_number("ease", "strength", strength, 0, above=True)
    table = _table(visits)
    inverse = np.linalg.inv(table.T @ table + strength * np.eye(table.shape[1]))
    weights = -inverse / np.diag(inverse)  # column j divided by P_jj
    np.fill_diagonal(weights, 0.0)
    return weights


def als(ratings: ArrayLike, rank: int, strength: float = 1.0, *, seed: int = 0, rounds: int = 15) -> Array:
    """Matrix factorization of ratings (users, items), nan where there is none, by alternating ridge
    regressions: of each user's ratings on the item vectors, then of each item's on those of the users.

    Returns all predictions (users, items). Raises ConvcraftError for a rank below 1 and a strength that is
    not above 0. Source: Koren, Bell and Volinsky (2009), Matrix Factorization Techniques for Recommender
    Systems. Chapter: Recommenders.

    >>> table = np.outer([1.0, -1.0, 2.0], [1.0, 2.0, -1.0])
    >>> held = np.where(np.eye(3) == 1, np.nan, table)
    >>> bool(np.abs(als(held, 1, strength=1e-6) - table).max() < 1e-3)
    True
    """
    check_count("als", "rank", rank)
    check_number("als", "strength", strength, 0, above=True)
    table = np.asarray(ratings, dtype=np.float64)
    there, rest = (~np.isnan(table)).astype(float), np.nan_to_num(table)

    def solve(fixed: Array, there: Array, rest: Array) -> Array:
        gram = np.einsum("nm,mi,mj->nij", there, fixed, fixed, optimize=True)  # (rows, rank, rank)
        gram += strength * np.eye(rank)
        return np.asarray(np.linalg.solve(gram, (rest @ fixed)[..., None])[..., 0])

    items = np.random.default_rng(seed).standard_normal((table.shape[1], rank))
    for _ in range(rounds):
        users = solve(items, there, rest)
        items = solve(users, there.T, rest.T)
    return users @ items.T


def seasonal_naive(windows: ArrayLike, horizon: int, period: int = 1) -> Array:
    """The value one period before, (n, horizon), from windows of the last values (n, lags).

    period=1: the last value. Raises ConvcraftError unless 1 <= period <= lags. Source: Hyndman and
    Athanasopoulos (2021), Forecasting: Principles and Practice. Chapter: Series.

    >>> seasonal_naive([[1, 2, 3, 4]], horizon=3, period=2)
    array([[3., 4., 3.]])
    """
    table = _table(windows, "windows")
    if not 1 <= period <= table.shape[1] or horizon < 1:
        raise ConvcraftError(
            f"period must lie between 1 and the {table.shape[1]} values of a window, and horizon be 1 or "
            f"more; got {period} and {horizon}. Pass longer windows."
        )
    return table[:, table.shape[1] - period + np.arange(horizon) % period]


def ridge_lags(windows: ArrayLike, targets: ArrayLike, alphas: ArrayLike | None = None) -> Any:
    """A linear forecast from the last values: scikit-learn's RidgeCV on windows (n, lags) and (n, horizon).

    One strength of `alphas` is chosen by leaving one out. Call `.predict(windows)`. Source: Hoerl and Kennard
    (1970), Ridge Regression: Biased Estimation for Nonorthogonal Problems. Chapter: Series.

    >>> series = np.sin(np.arange(60))
    >>> windows = np.lib.stride_tricks.sliding_window_view(series, 5)
    >>> model = ridge_lags(windows[:, :4], windows[:, 4:], alphas=[1e-6])
    >>> bool(abs(model.predict(windows[:, :4]).squeeze() - windows[:, 4]).max() < 0.01)
    True
    """
    from sklearn.linear_model import RidgeCV

    grid = np.logspace(-3, 3, 13) if alphas is None else np.asarray(alphas, dtype=np.float64)
    return RidgeCV(alphas=grid).fit(_table(windows, "windows"), _table(targets, "targets"))


def knn_distance(train: ArrayLike, test: ArrayLike, k: int = 5) -> Array:
    """Mean distance of each test example to its k nearest training examples, (n,): large is anomalous.

    Raises ConvcraftError for a k that is not between 1 and the number of training examples. Source:
    Ramaswamy, Rastogi and Shim (2000), Efficient Algorithms for Mining Outliers from Large Data Sets.
    Chapter: Series.

    >>> knn_distance([[0.0], [1.0]], [[0.0], [3.0]], k=1)
    array([0., 2.])
    """
    from sklearn.neighbors import NearestNeighbors

    known = _table(train, "train")
    if not 1 <= k <= len(known):
        raise ConvcraftError(f"k must lie between 1 and {len(known)}; got {k}. Pass more examples.")
    found = NearestNeighbors(n_neighbors=k).fit(known).kneighbors(_table(test, "test"))
    return np.asarray(found[0].mean(1))


def tfidf_logistic(ngrams: tuple[int, int] = (2, 5), strength: float = 10.0) -> Any:
    """Logistic regression on TF-IDF of character n-grams within words: a scikit-learn pipeline of texts.

    >>> texts = ["win a prize now", "win cash now", "see you at noon", "lunch at noon"] * 2
    >>> model = tfidf_logistic().fit(texts, [1, 1, 0, 0] * 2)
    >>> model.predict(["win a prize", "noon at lunch"]).tolist()
    [1, 0]

    Source: Salton and Buckley (1988), Term-Weighting Approaches in Automatic Text Retrieval.
    Chapter: Recurrent networks.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    words = TfidfVectorizer(analyzer="char_wb", ngram_range=ngrams, sublinear_tf=True)
    return make_pipeline(words, LogisticRegression(C=strength, max_iter=1000))
