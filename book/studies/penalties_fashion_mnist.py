"""L2 and L1 in a convolutional network on 1,000 images of Fashion-MNIST.

Varied: the penalty (sum of squares, or sum of absolute values by the proximal step) on the weights, its
strength, the learning rate. Measured: accuracy and loss on training and test part, norm of the weights, share
of weights that are exactly zero.

Reduced, to finish in minutes on two cores: 1,000 of the 55,000 training images (the same for all seeds),
1,000 of the 5,000 validation images, 8 and 16 channels, 20 epochs, two tuning seeds, five seeds.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from convcraft import penalties
from convcraft.lab import data, models
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.training import evaluate, fit, seeded

STRENGTHS = {"l2": (3e-4, 1e-3, 3e-3, 1e-2), "l1": (1e-4, 3e-4, 1e-3)}
ARMS: dict[str, dict[str, Any]] = {
    "none": {"kind": "l2", "strength": 0.0},
    **{f"{k} {s:g}": {"kind": k, "strength": s} for k, strengths in STRENGTHS.items() for s in strengths},
}


def splits(arm: dict[str, Any]) -> data.Splits:
    """Fashion-MNIST with 1,000 images to learn from and 1,000 to choose by, standardized."""
    found = data.load("fashion-mnist")
    train, validation = found.train.subset(1000, seed=0), found.validation.subset(1000, seed=0)
    return replace(found, train=train, validation=validation).standardized()


def run(arm: dict[str, Any], rate: float, seed: int, splits: data.Splits, final: bool) -> dict[str, Any]:
    """Train one network."""
    model = seeded(lambda: models.ConvNet((8, 16), size=28, hidden=32), seed)
    l1, l2 = (arm["strength"] if arm["kind"] == kind else 0.0 for kind in ("l1", "l2"))
    sgd = torch.optim.SGD(penalties.decay_groups(model, 2 * l2, l1=l1), lr=rate, momentum=0.9)
    history = fit(
        model, splits, epochs=20, batch_size=50, learning_rate=rate, seed=seed, progress=False,
        optimizer=lambda _: penalties.proximal(sgd) if l1 else sgd,
    )  # fmt: skip
    result = {key: getattr(history, key)[-1:] for key in ("validation_loss", "validation_accuracy")}
    if not final:
        return result
    train, test = evaluate(model, splits.train), evaluate(model, splits.test)
    weights = [p.detach() for p in penalties.decay_groups(model, 0.0)[0]["params"]]
    return result | {
        "train_accuracy": train.accuracy,
        "final_train_loss": train.loss,
        "test_accuracy": test.accuracy,
        "test_loss": test.loss,
        "l2_norm": float(penalties.l2_penalty(weights)) ** 0.5,
        "zeros": sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights),
    }


STUDY = Study(
    arms=ARMS,
    rates=(0.01, 0.03, 0.1),
    seeds=range(5),
    tuning_seeds=range(100, 102),
    splits=splits,
    run=run,
    contrasts=tuple(
        Contrast(name, "none", measure=measure, family=measure)
        for name in ARMS if name != "none"
        for measure in ("test_accuracy", "test_loss")
    ),
    quick={"seeds": range(2), "rates": (0.03,)},
)  # fmt: skip
