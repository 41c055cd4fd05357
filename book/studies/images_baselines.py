"""Fashion-MNIST without a network: neighbours, a linear model, a forest, and a linear model of gradients.

Varied: the rule. Logistic regression on pixels, five nearest neighbours on pixels, a random forest of 100
trees on pixels, and a linear support-vector machine on histograms of oriented gradients (Dalal and Triggs,
2005): 7x7 cells of 4x4 pixels, nine directions, blocks of 2x2 cells at norm 1. All learn from the 55,000
training images of `images_sample`; the strength of the two linear models is the better of two on the 5,000
validation images. Measured: test accuracy and which test images are right.

Nothing is trained by gradients on mini-batches; the forest alone is random, and has one seed.
"""

from __future__ import annotations

import base64
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC

from convcraft.lab import data
from convcraft.lab.experiments import Study

Array = NDArray[np.float32]


def splits(arm: dict) -> data.Splits:
    """55,000 images to train on, 5,000 to validate, 10,000 to test."""
    return data.load("fashion-mnist")


def hog(images: Array, cell: int = 4, directions: int = 9) -> Array:
    """Histograms of oriented gradients, (n, blocks * 4 * directions), of images (n, size, size)."""
    dy, dx = np.gradient(images, axis=(1, 2))
    strength, angle = np.hypot(dx, dy), np.arctan2(dy, dx) % np.pi
    place = angle / np.pi * directions
    low = np.floor(place).astype(int)
    share, cells = place - low, []
    for bin_ in range(directions):
        weight = strength * (
            (low % directions == bin_) * (1 - share) + ((low + 1) % directions == bin_) * share
        )
        n, size, _ = weight.shape
        cells.append(weight.reshape(n, size // cell, cell, size // cell, cell).sum((2, 4)))
    grid = np.stack(cells, -1)  # (n, cells, cells, directions)
    corners = (grid[:, :-1, :-1], grid[:, :-1, 1:], grid[:, 1:, :-1], grid[:, 1:, 1:])
    blocks = np.concatenate(corners, -1)
    blocks /= np.linalg.norm(blocks, axis=-1, keepdims=True) + 0.1
    return blocks.reshape(len(images), -1).astype(np.float32)


def flat(images: Array) -> Array:
    return images.reshape(len(images), -1)


def logistic(strength: float) -> LogisticRegression:
    return LogisticRegression(C=strength, max_iter=60)


def linear_svm(strength: float) -> LinearSVC:
    return LinearSVC(C=strength, dual=True, tol=1e-2, max_iter=60, random_state=0)


RULES: dict[str, tuple[Any, bool, tuple[float, ...]]] = {
    "logistic regression": (logistic, False, (0.01, 0.1)),
    "nearest neighbours": (lambda _: KNeighborsClassifier(5, algorithm="brute"), False, (0.0,)),
    "random forest": (lambda _: RandomForestClassifier(100, random_state=0), False, (0.0,)),
    "gradients and linear SVM": (linear_svm, True, (0.03, 0.1)),
}


def run(arm: dict, rate: None, seed: int, splits: data.Splits, final: bool) -> dict[str, Any]:
    """One rule at its better strength."""
    make, gradients, strengths = RULES[arm["rule"]]
    parts = {}
    for name in ("train", "validation", "test"):
        images = getattr(splits, name).x[:, 0].numpy()
        pieces = np.array_split(images, -(-len(images) // 1000)) if gradients else []
        parts[name] = np.concatenate([hog(piece) for piece in pieces]) if gradients else flat(images)
    learned = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for strength in strengths:
            learned[strength] = make(strength).fit(parts["train"], splits.train.y.numpy())
    score = {}
    if len(learned) > 1:
        score = {s: one.score(parts["validation"], splits.validation.y.numpy()) for s, one in learned.items()}
    best = max(learned, key=lambda s: score.get(s, 0.0))
    right = learned[best].predict(parts["test"]) == splits.test.y.numpy()
    bits = base64.b64encode(np.packbits(right).tobytes()).decode()
    return {"test_accuracy": float(right.mean()), "strength": float(best), "right": bits}


STUDY = Study(
    trains=False,
    arms={rule: {"rule": rule} for rule in RULES},
    rates=(),
    seeds=range(1),
    splits=splits,
    run=run,
)
