"""Models of digits and clothes without a network: what a generator has to beat.

Varied: the model. Independent pixels (a normal distribution for each), one Gaussian with a full covariance, a
mixture of ten, PPCA and factor analysis with 8 latent numbers, the training images themselves, and training
images with shuffled pixels. What is added to the covariances of digits is the best of three on validation.

Data and classifier are those of `generation_digits` and, for clothes, of `generation_fashion_mnist`; so are
the measures. "bound" is the log-probability of an image itself, with the same noise of a grey level. For PPCA
and factor analysis the drawn images are means of the pixels, and "noisy" ones draws; of all others they are
draws.

Reduced, to finish in minutes on two cores: five seeds for the draws, and of the mixture for its start.
"""

from __future__ import annotations

import base64
import math
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.mixture import GaussianMixture
from torch import nn

from convcraft.lab import data, models
from convcraft.lab.baselines import knn_distance
from convcraft.lab.data import Split
from convcraft.lab.experiments import Study
from convcraft.lab.statistics import frechet_distance
from convcraft.lab.training import fit, seeded

Array = NDArray[np.float64]
LATENT, ADDED = 8, {"digits": (1e-4, 1e-3, 3e-3), "fashion-mnist": (1e-3,)}
#: grey levels, size, images drawn, classifier: images trained on, shuffled ones, epochs
SIZES = {"digits": (17, 8, 1000, 1000, 1000, 30), "fashion-mnist": (1021, 14, 2000, 10_000, 2000, 10)}
RULES = ("pixels", "gaussian", "ten gaussians", "ppca", "factors", "training images", "shuffled pixels")


@cache
def images(name: str, count: int) -> data.Splits:
    """The images of a data set, continuous in [0, 1]; of clothes some, at half their size."""
    parts, (levels, _, drawn, *_) = data.load(name), SIZES[name]
    generator = torch.Generator().manual_seed(0)

    def continuous(part: Split, count: int) -> Split:
        x = part.x[:count]
        grey = ((x if name == "digits" else nn.functional.avg_pool2d(x, 2)) * (levels - 1)).round()
        return Split((grey + torch.rand(grey.shape, generator=generator)) / levels, part.y[:count])

    counts = {"train": count, "validation": 1000, "test": drawn}
    order = ("train", "validation", "test") if name == "digits" else ("validation", "test", "train")
    some = {part: continuous(getattr(parts, part), counts[part]) for part in order}
    return data.Splits(some["train"], some["validation"], some["test"], name, parts.classes)


@cache
def classifier(name: str, rejects: bool) -> nn.Module:
    """The network that judges the images."""
    _, size, _, count, shuffles, epochs = SIZES[name]
    given = images(name, count)
    if rejects:
        flat = given.train.x[:shuffles].flatten(1)
        order = torch.rand(flat.shape, generator=torch.Generator().manual_seed(1)).argsort(0)
        y = torch.cat([given.train.y, torch.full((len(flat),), 10)])
        train = Split(torch.cat([given.train.x, flat.gather(0, order).reshape(-1, 1, size, size)]), y)
        given = data.Splits(train, given.validation, given.test, name, (*given.classes, "none"))
    classes = 11 if rejects else 10
    judge = seeded(lambda: models.ConvNet((16, 32), classes=classes, size=size, hidden=32), 0)
    settings = {"epochs": epochs, "batch_size": 50, "learning_rate": 0.05, "momentum": 0.9}
    fit(judge, given, seed=0, progress=False, **settings)
    return judge.eval()


def seen(drawn: Array, name: str, rejects: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Last hidden layer (N, 32) and probabilities of the ten classes that a classifier has for images."""
    judge, size = classifier(name, rejects), SIZES[name][1]
    x = torch.from_numpy(drawn.astype(np.float32)).reshape(-1, 1, size, size)
    with torch.no_grad():
        hidden = judge.head[:-1](judge.features(x))
        return hidden.numpy(), judge.head[-1](hidden).softmax(-1)[:, :10].numpy()


def judged(drawn: Array, name: str, train: Array, test: Array) -> dict[str, float]:
    """What is measured of drawn images."""
    drawn = drawn.clip(0, 1)
    hidden, probabilities = seen(drawn, name)
    shares = np.bincount(probabilities.argmax(1), minlength=10) / len(drawn)
    return {
        "recognized": float((probabilities.max(1) > 0.9).mean()),
        "naive": float((seen(drawn, name, False)[1].max(1) > 0.9).mean()),
        "frechet": frechet_distance(hidden, seen(test, name)[0]),
        "modes": int((shares >= 0.02).sum()),
        "nearest": float(knn_distance(train, drawn, 1).mean() / knn_distance(train, test, 1).mean()),
    }


def fitted(name: str, rule: str, seed: int, train: Array, validation: Array) -> Any:
    """A model with `score_samples`, as scikit-learn has it."""
    if rule == "ppca":
        return PCA(LATENT, svd_solver="full").fit(train)
    if rule == "factors":
        return FactorAnalysis(LATENT, tol=1e-4, max_iter=3000, svd_method="lapack").fit(train)
    kind, count = ("diag", 1) if rule == "pixels" else ("full", 10 if rule == "ten gaussians" else 1)
    tried = [
        GaussianMixture(count, covariance_type=kind, reg_covar=added, random_state=seed).fit(train)
        for added in ADDED[name]
    ]
    return max(tried, key=lambda found: found.score(validation))


def draw(rule: str, found: Any, count: int, seed: int) -> tuple[Array, Array | None]:
    """Drawn images, and where these are means of the pixels the noise that belongs to them."""
    if rule not in ("ppca", "factors"):
        found.random_state = seed
        return found.sample(count)[0], None
    rng = np.random.default_rng(seed)
    variance = np.full(len(found.mean_), found.noise_variance_)
    weights = found.components_
    if rule == "ppca":
        weights = weights * np.sqrt(found.explained_variance_ - found.noise_variance_)[:, None]
    mean = found.mean_ + rng.standard_normal((count, LATENT)) @ weights
    return mean, np.sqrt(variance) * rng.standard_normal(mean.shape)


def run(arm: dict, rate: None, seed: int, splits: None, final: bool) -> dict[str, Any]:
    """Fit a model, score the test images, and judge what it draws."""
    name, rule = arm["data"], arm["rule"]
    levels, _, count, *_ = SIZES[name]
    given = images(name, 1000 if name == "digits" else 5000)
    parts = (given.train, given.validation, given.test)
    train, validation, test = (p.x.flatten(1).numpy().astype(float) for p in parts)
    if rule in ("training images", "shuffled pixels"):
        rng = np.random.default_rng(seed)
        drawn = train[rng.permutation(len(train))[:count]]
        if rule == "shuffled pixels":
            drawn = rng.permuted(drawn, axis=0)
        return judged(drawn, name, train, test) | {"bound": None}
    found = fitted(name, rule, seed, train, validation)
    bounds = found.score_samples(test) - test.shape[1] * math.log(levels)
    drawn, noise = draw(rule, found, count, seed)
    measured = {"bound": float(bounds.mean())} | judged(drawn, name, train, test)
    if noise is not None:
        noisy = judged(drawn + noise, name, train, test)
        measured |= {f"noisy_{key}": value for key, value in noisy.items()}
    if name == "digits":
        measured["bounds"] = base64.b64encode(bounds.astype(np.float16).tobytes()).decode()
    return measured


STUDY = Study(
    trains=False,
    arms={f"digits, {rule}": {"data": "digits", "rule": rule} for rule in RULES}
    | {
        f"clothes, {rule}": {"data": "fashion-mnist", "rule": rule}
        for rule in ("ten gaussians", "ppca", "training images", "shuffled pixels")
    },
    rates=(),
    seeds=range(5),
    run=run,
)
