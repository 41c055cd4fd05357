"""Recommenders without a network: counting, neighbours and closed forms, on visits and on ratings of films.

Varied: the rule. On visits to a web site (people and held-out areas as in `recommenders_visits`): popularity,
item neighbours, EASE. On MovieLens latest-small (films with ten ratings or more): popularity, user and film
biases, item neighbours, a factorization by alternating least squares, EASE. Of every user a tenth of the
ratings is held out for validation and a fifth for the test. Neighbours, strengths and ranks are the best of a
few on validation, by NDCG at 10, those of biases and factorization by the error of ratings.

Measured: NDCG and hit rate at 10 among all items that the user has not been seen with (of films: the
held-out ones with four stars or more count); the rank of each held-out area as one character, on films each
user's NDCG in 35ths as a digit of base 36; for the models of ratings the root mean squared error of the
held-out ratings; the mean overlap of two users' top ten.

Nothing is trained by gradients, and nothing is random but the split.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convcraft.lab import baselines, data
from convcraft.lab.experiments import Study
from convcraft.lab.statistics import ndcg

Array = NDArray[np.float64]
SIZES = (3000, 1000, 8000)
VISITS = {"popularity": (0,), "item neighbours": (50, 100, 200, 284), "EASE": (3, 10, 30, 100, 300)}
FILMS = {
    "popularity": (0,),
    "biases": (1, 3, 10, 30),
    "item neighbours": (3, 10, 30, 100),
    "factorization": (5, 10, 20, 40),
    "EASE": (30, 100, 300, 1000),
}


def scores(rule: str, strength: float, known: Array, rows: Array) -> Array:
    """Scores of all items for each row, from the visits `known`."""
    if rule == "popularity":
        return np.broadcast_to(baselines.popularity(known), rows.shape).copy()
    if rule == "item neighbours":
        return rows @ baselines.item_knn(known, int(strength))
    return rows @ baselines.ease(known, strength)


@cache
def visits() -> data.Splits:
    """The splits of `recommenders_visits`."""
    return data.leave_one_out(data.msweb().matrix, SIZES)


def visit_ranks(rule: str, strength: float, part: data.Split) -> tuple[NDArray[np.int64], Array]:
    """The rank of each held-out area from 0, and the scores; of ties half are above it."""
    rows, own = part.x.numpy().astype(float), part.y.numpy()
    table = scores(rule, strength, visits().train.x.numpy(), rows)
    table[rows > 0] = -np.inf
    value = table[np.arange(len(own)), own][:, None]
    return (table > value).sum(1) + ((table == value).sum(1) - 1) // 2, table


def gain(rank: NDArray[np.int64]) -> Array:
    """What a rank counts in NDCG at 10."""
    return np.where(rank < 10, 1 / np.log2(rank + 2.0), 0.0)


def overlap(table: Array, pairs: int = 2000) -> float:
    """Mean share of the top ten that two users have in common."""
    rng = np.random.default_rng(0)
    top = np.argpartition(-table, 10, axis=1)[:, :10]
    chosen = rng.integers(len(top), size=(pairs, 2))
    chosen = chosen[chosen[:, 0] != chosen[:, 1]]
    return float(np.mean([len(set(top[a]) & set(top[b])) / 10 for a, b in chosen]))


def on_visits(rule: str) -> dict[str, Any]:
    """A rule at its best strength on the visits."""
    given = visits()
    found = {s: gain(visit_ranks(rule, s, given.validation)[0]).mean() for s in VISITS[rule]}
    best = max(found, key=found.get)  # type: ignore[arg-type]
    rank, table = visit_ranks(rule, best, given.test)
    text = "".join(str(r) if r < 10 else "-" for r in rank)
    return {
        "ndcg": float(gain(rank).mean()),
        "hit_rate": float((rank < 10).mean()),
        "overlap": overlap(table),
        "strength": float(best),
        "ranks": text,
    }


@cache
def films() -> list[Array]:
    """Ratings (users, films) for training, validation and test; nan where there is none."""
    return data.movielens().tables()


def biases(ratings: Array, strength: float) -> Array:
    """Mean, user and film biases, shrunk towards 0, in ten rounds; (users, films)."""
    there, rest = ~np.isnan(ratings), np.nan_to_num(ratings)
    mean = rest.sum() / there.sum()
    user, film = np.zeros((len(rest), 1)), np.zeros(rest.shape[1])
    for _ in range(10):
        user = ((rest - mean - film) * there).sum(1, keepdims=True) / (there.sum(1, keepdims=True) + strength)
        film = ((rest - mean - user) * there).sum(0) / (there.sum(0) + strength)
    return mean + user + film


def factorization(ratings: Array, strength: float, rank: int = 8, rounds: int = 8) -> Array:
    """Biases and a product of vectors by alternating least squares; (users, films)."""
    base = biases(ratings, 10.0)
    there, rest = ~np.isnan(ratings), np.nan_to_num(ratings - base)
    rng = np.random.default_rng(0)
    users, items = (
        0.1 * rng.standard_normal((len(rest), rank)),
        0.1 * rng.standard_normal((rest.shape[1], rank)),
    )
    for _ in range(rounds):
        users = solve(items, there, rest, strength)
        items = solve(users, there.T, rest.T, strength)
    return base + users @ items.T


def solve(fixed: Array, there: NDArray[np.bool_], rest: Array, strength: float) -> Array:
    """Ridge regression of each row on the vectors of the other side."""
    gram = np.einsum("nm,mi,mj->nij", there.astype(float), fixed, fixed, optimize=True)
    gram += strength * np.eye(fixed.shape[1])
    return np.linalg.solve(gram, (rest @ fixed)[..., None])[..., 0]


def film_table(rule: str, strength: float) -> Array:
    """What a rule says of every film for every user."""
    ratings = films()[0]
    if rule == "biases":
        return biases(ratings, strength)
    if rule == "factorization":
        return factorization(ratings, strength)
    seen = (~np.isnan(ratings)).astype(float)
    return scores(rule, strength, seen, seen)


def film_ndcg(table: Array, held: Array) -> tuple[Array, Array]:
    """NDCG at 10 of each user with a held-out film of four stars or more, and the scores of the unseen."""
    ranked = np.where(np.isnan(films()[0]), table, -np.inf)
    gained = ndcg(ranked, np.nan_to_num(held) >= 4)
    return gained[~np.isnan(gained)], ranked


def rmse(table: Array, held: Array) -> float:
    """Root of the mean squared error of the held-out ratings."""
    return float(np.sqrt(np.nanmean((table - held) ** 2)))


def on_films(rule: str) -> dict[str, Any]:
    """A rule at its best strength on the films."""
    _, validation, test = films()
    rates = rule in ("biases", "factorization")
    tried = {}
    for strength in FILMS[rule]:
        table = film_table(rule, strength)
        tried[strength] = -rmse(table, validation) if rates else film_ndcg(table, validation)[0].mean()
    best = max(tried, key=tried.get)  # type: ignore[arg-type]
    table = film_table(rule, best)
    gained, ranked = film_ndcg(table, test)
    found = {"ndcg": float(gained.mean()), "hit_rate": float((gained > 0).mean()), "overlap": overlap(ranked)}
    found |= {"strength": float(best), "gains": "".join(np.base_repr(round(35 * g), 36) for g in gained)}
    return found | {"rmse": rmse(table, test) if rates else None}


def run(arm: dict, rate: None, seed: int, splits: None, final: bool) -> dict[str, Any]:
    """One rule on one table."""
    return on_visits(arm["rule"]) if arm["data"] == "visits" else on_films(arm["rule"])


STUDY = Study(
    trains=False,
    arms={f"visits, {rule}": {"data": "visits", "rule": rule} for rule in VISITS}
    | {f"films, {rule}": {"data": "films", "rule": rule} for rule in FILMS},
    rates=(),
    seeds=range(1),
    run=run,
)
