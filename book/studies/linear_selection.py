"""Selection in linear regression: Lasso, Ridge and elastic net where the truth is known.

Varied: the estimator (lasso, ridge and elastic net of scikit-learn, each with its strength by 5-fold
cross-validation) and the truth: 80 examples of 100 standard normal features, of which k = 5, 20, 50 or 100
have a coefficient; or k = 5 with all features correlated by 0.7; or k = 5 where each of the five has a twin
that correlates with it by 0.98 and has no coefficient. The coefficients are normal, scaled so that the signal
has variance 4; the noise has variance 1. Measured: mean squared error on 2,000 new examples, the numbers of
right and wrong selections, and how far the selections from two independent samples of the same truth agree
(intersection over union). For twins also the share of pairs of which exactly one is selected.

Nothing is reduced against the decisive tests: 50 seeds.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ElasticNetCV, LassoCV, RidgeCV

from convcraft.lab.experiments import Contrast, Study

Array = NDArray[np.float64]
FEATURES, EXAMPLES, NEW = 100, 80, 2000
WORLDS = {
    "k=5": {"k": 5},
    "k=20": {"k": 20},
    "k=50": {"k": 50},
    "k=100": {"k": 100},
    "k=5, correlated": {"k": 5, "correlation": 0.7},
    "k=5, twins": {"k": 5, "twins": 0.98},
}
ESTIMATORS = ("lasso", "ridge", "elastic net")


def features(world: dict[str, Any], n: int, rng: np.random.Generator) -> Array:
    """n rows of features of unit variance; the twins of features 0 to 4 stand in columns 5 to 9."""
    share = world.get("correlation", 0.0)
    x = np.sqrt(1 - share) * rng.standard_normal((n, FEATURES)) + np.sqrt(share) * rng.standard_normal((n, 1))
    if "twins" in world:
        r = world["twins"]
        x[:, 5:10] = r * x[:, :5] + np.sqrt(1 - r**2) * rng.standard_normal((n, 5))
    return x


def truth(world: dict[str, Any], rng: np.random.Generator) -> Array:
    """Coefficients, the first k of them not zero; the signal has variance 4."""
    beta = np.zeros(FEATURES)
    beta[: world["k"]] = rng.standard_normal(world["k"])
    share = world.get("correlation", 0.0)
    return 2 * beta / np.sqrt((1 - share) * beta @ beta + share * beta.sum() ** 2)


def estimator(name: str) -> Any:
    """The estimator with its grid of strengths."""
    if name == "lasso":
        return LassoCV(cv=5, max_iter=20_000)
    if name == "elastic net":
        return ElasticNetCV(l1_ratio=0.5, cv=5, max_iter=20_000)
    return RidgeCV(alphas=np.logspace(-2, 4, 40))


def run(arm: dict[str, Any], rate: float | None, seed: int, splits: None, final: bool) -> dict[str, Any]:
    """Fit on two samples of one truth; the first gives the errors, both together the agreement."""
    world = WORLDS[arm["world"]]
    rng = np.random.default_rng(seed)
    beta = truth(world, rng)
    found = []
    for _ in range(2):
        x = features(world, EXAMPLES, rng)
        y = x @ beta + rng.standard_normal(EXAMPLES)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            found.append(estimator(arm["estimator"]).fit(x, y))
    new = features(world, NEW, rng)
    error = found[0].predict(new) - new @ beta
    first, second = ((np.abs(model.coef_) > 0) for model in found)
    relevant = beta != 0
    pairs = first[:5].astype(int) + first[5:10]
    return {
        "test_mse": float(np.mean(error**2)) + 1.0,
        "selected": int(first.sum()),
        "true_selected": int(first[relevant].sum()),
        "false_selected": int(first[~relevant].sum()),
        "agreement": float((first & second).sum() / max(1, (first | second).sum())),
        "one_of_pair": float((pairs == 1).mean()) if "twins" in world else 0.0,
        "both_of_pair": float((pairs == 2).mean()) if "twins" in world else 0.0,
        "largest": float(np.abs(found[0].coef_).max()),
    }


STUDY = Study(
    trains=False,
    arms={
        f"{name}, {world}": {"estimator": name, "world": world} for world in WORLDS for name in ESTIMATORS
    },
    rates=(),
    seeds=range(50),
    run=run,
    contrasts=tuple(
        Contrast(f"lasso, {world}", f"ridge, {world}", measure="test_mse",
                 claim="l2-more-common-because-it-keeps-all-features", family="lasso against ridge")
        for world in WORLDS
    ),
    quick={"seeds": range(2)},
)  # fmt: skip
