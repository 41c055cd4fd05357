"""Films: factorization, a network on [user, film], and both (NeuMF), trained for ratings and for lists.

Varied: the model (matrix factorization with biases; a fully connected network on two concatenated vectors,
hidden layers of 32 and 16 ReLUs; NeuMF, which adds the entries of a product of two further vectors), all with
vectors of 8 numbers; and what it is trained for: the rating (squared error), or whether a user has rated a
film at all (binary cross-entropy, four films drawn at random for each rated one). Adam, each arm at its own
rate and its own strength of an L2 penalty, until the validation loss is flat; the weights of its lowest value
count. Films, parts and measures are those of `recommenders_baselines`.

Reduced, to finish in minutes on two cores: films with ten ratings or more; one size of vectors and layers;
every rated pair is seen with five draws of others, which then repeat; two strengths of the penalty.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from convcraft.lab import data, models
from convcraft.lab.data import Split
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.experiments.score import last_quarter
from convcraft.lab.statistics import ndcg
from convcraft.lab.training import adam_together

RANK, HIDDEN, OTHERS, DRAWS = 8, (32, 16), 4, 5
STRENGTHS = {"ratings": (1e-4, 1e-3), "lists": (1e-5, 1e-4)}
SEEDS, TUNING = tuple(range(5)), tuple(range(100, 110))


@cache
def films() -> list[NDArray[np.float64]]:
    """Ratings (users, films) for training, validation and test; nan where there is none."""
    return data.movielens().tables()


def rated(table: NDArray[np.float64]) -> Split:
    """Pairs of user and film, and their ratings less 3.5."""
    pairs = np.argwhere(~np.isnan(table))
    return Split(torch.from_numpy(pairs), torch.from_numpy(table[tuple(pairs.T)] - 3.5).float())


def chosen(table: NDArray[np.float64], draws: int, rng: np.random.Generator) -> Split:
    """Every rated pair `draws` times, as 1, each time with four films drawn for the same user, as 0.

    A film that the user has rated in training is drawn again; validation and test are not looked at.
    """
    known = ~np.isnan(films()[0])
    pairs = np.repeat(np.argwhere(~np.isnan(table)), draws, axis=0)
    users = np.repeat(pairs[:, 0], OTHERS)
    drawn = rng.integers(known.shape[1], size=len(users))
    while (wrong := known[users, drawn]).any():
        drawn[wrong] = rng.integers(known.shape[1], size=wrong.sum())
    x = torch.from_numpy(np.concatenate([pairs, np.stack([users, drawn], 1)]))
    return Split(x, torch.cat([torch.ones(len(pairs)), torch.zeros(len(users))]))


@cache
def parts(target: str) -> tuple[Split, Split]:
    """Training and validation."""
    train, validation, _ = films()
    if target == "ratings":
        return rated(train), rated(validation)
    rng = np.random.default_rng(1)
    return chosen(train, DRAWS, rng), chosen(validation, 1, rng)


def model(name: str) -> nn.Module:
    """A model by its name."""
    users, items = films()[0].shape
    if name == "factorization":
        return models.Factorization(users, items, RANK)
    return models.PairNet(users, items, RANK, HIDDEN, activation="relu", product=name == "NeuMF")


def log_loss(scores: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy."""
    return nn.functional.binary_cross_entropy_with_logits(scores, target)


@cache
def trained(arm: str, rate: float, strength: float, seeds: tuple[int, ...]) -> dict[int, Any]:
    """The models of all seeds, trained in one loop."""
    given = json.loads(arm)
    copies = [{"seed": seed, "l2": strength} for seed in seeds]
    settings = {"updates": given["updates"], "look_every": 100, "batch_size": 1024, "learning_rate": rate}
    settings["loss"] = "mse" if given["target"] == "ratings" else log_loss
    found = adam_together(lambda: model(given["model"]), *parts(given["target"]), copies, **settings)
    return {one.seed: one for one in found}


@cache
def strength(arm: str, rate: float) -> float:
    """The strength with the lowest mean validation loss over the tuning seeds."""
    lowest = {
        s: np.mean([min(one.history.validation_loss) for one in trained(arm, rate, s, TUNING).values()])
        for s in STRENGTHS[json.loads(arm)["target"]]
    }
    return min(lowest, key=lambda s: lowest[s])


def measures(net: nn.Module, target: str) -> dict[str, Any]:
    """NDCG and hit rate at 10 among the films not rated in training, each user's NDCG, and the error."""
    train, _, test = films()
    users, items = train.shape
    pairs = torch.cartesian_prod(torch.arange(users), torch.arange(items))
    with torch.no_grad():
        table = net(pairs).reshape(users, items).double().numpy()
    gained = ndcg(np.where(np.isnan(train), table, -np.inf), np.nan_to_num(test) >= 4)
    gained = gained[~np.isnan(gained)]
    found = {"ndcg": float(gained.mean()), "hit_rate": float((gained > 0).mean())}
    found["gains"] = "".join(np.base_repr(round(35 * g), 36) for g in gained)
    if target == "ratings":
        found["rmse"] = float(np.sqrt(np.nanmean((table + 3.5 - test) ** 2)))
    return found


def run(arm: dict, rate: float, seed: int, splits: None, final: bool) -> dict[str, Any]:
    """Train with the other seeds of the phase, at the strength that is best for the tuning seeds."""
    text = json.dumps(arm)
    l2 = strength(text, rate)
    one = trained(text, rate, l2, SEEDS if seed in SEEDS else TUNING)[seed]
    losses, updates = one.history.validation_loss, one.history.updates
    found: dict[str, Any] = {"validation_loss": min(losses)}
    if final:
        found |= measures(one.model, arm["target"])
        found |= {"l2": l2, "updates": updates[-1], "last_quarter": last_quarter(losses, updates)}
    return found


MODELS = ("factorization", "network", "NeuMF")
ARMS = [{"target": t, "model": m, "updates": 3000} for t in STRENGTHS for m in MODELS]
STUDY = Study(
    arms={f"{arm['target']}, {arm['model']}": arm for arm in ARMS},
    rates=(0.001, 0.003, 0.01),
    seeds=SEEDS,
    tuning_seeds=TUNING,
    run=run,
    select=("validation_loss", "min"),
    contrasts=tuple(
        Contrast(f"{target}, {m}", f"{target}, factorization", measure=measure, margin=0.01)
        for target, measure in (("ratings", "rmse"), ("lists", "ndcg"))
        for m in MODELS[1:]
    ),
    quick={"rates": (0.003,), "arms": {"ratings, NeuMF": ARMS[2] | {"updates": 20}}},
)
