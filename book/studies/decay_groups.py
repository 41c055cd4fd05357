"""Which parameters to decay: weights, biases, normalizations, or everything.

Varied: the network (convolutions with batch normalization, or with biases instead), which of its parameters
are decayed, and how strongly. With batch normalization the weights are of two kinds, those whose scale the
normalization takes out again (the convolutions and the hidden layer) and those of the last layer; each is
also decayed alone. Measured after training on 300 digits: accuracy and loss on the test part, the norms of
the groups, and for the network with normalization the mean of its scales.

Reduced, to finish in minutes on two cores: a network of 8 and 16 channels, 300 images, 300 steps, three
strengths.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from convcraft import penalties
from convcraft.lab import data
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.training import evaluate, fit, seeded

STRENGTHS = (1e-3, 1e-2, 5e-2)  # weight_decay
GROUPS = {
    "norm": ("weights", "everything", "others", "before norm", "last layer"),
    "plain": ("weights", "everything", "others"),
}


def arms() -> dict[str, dict[str, Any]]:
    """Names such as "norm, weights 0.01"."""
    found: dict[str, dict[str, Any]] = {}
    for network, groups in GROUPS.items():
        found[f"{network}, none"] = {"network": network, "group": "weights", "strength": 0.0}
        found |= {
            f"{network}, {group} {s:g}": {"network": network, "group": group, "strength": s}
            for group in groups
            for s in STRENGTHS
        }
    return found


def splits(arm: dict[str, Any]) -> data.Splits:
    return data.load("digits")


def network(norm: bool) -> nn.Sequential:
    """Two convolutions and a hidden layer, each followed by batch normalization or with a bias."""

    def block(layer: nn.Module, *after: nn.Module) -> list[nn.Module]:
        return [layer, *after[: 1 if norm else 0], nn.ReLU(), *after[1:]]

    return nn.Sequential(
        *block(nn.Conv2d(1, 8, 3, padding=1, bias=not norm), nn.BatchNorm2d(8), nn.MaxPool2d(2)),
        *block(nn.Conv2d(8, 16, 3, padding=1, bias=not norm), nn.BatchNorm2d(16), nn.MaxPool2d(2)),
        nn.Flatten(),
        *block(nn.Linear(64, 32, bias=not norm), nn.BatchNorm1d(32)),
        nn.Linear(32, 10),
    )


def parameters(model: nn.Sequential, group: str) -> list[nn.Parameter]:
    """The parameters that are decayed."""
    weights, others = (part["params"] for part in penalties.decay_groups(model, 0.0))
    return {
        "weights": weights,
        "others": others,
        "everything": weights + others,
        "before norm": weights[:-1],
        "last layer": weights[-1:],
    }[group]


def run(arm: dict[str, Any], rate: float, seed: int, splits: data.Splits, final: bool) -> dict[str, Any]:
    """Train one network on the 300 digits of this seed."""
    splits = replace(splits, train=splits.train.subset(300, seed=seed)).standardized()
    model = seeded(lambda: network(arm["network"] == "norm"), seed)
    decayed = parameters(model, arm["group"])
    chosen = {id(p) for p in decayed}
    groups = [
        {"params": decayed, "weight_decay": arm["strength"]},
        {"params": [p for p in model.parameters() if id(p) not in chosen], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.SGD(groups, lr=rate, momentum=0.9)
    history = fit(
        model, splits, epochs=50, batch_size=50, learning_rate=rate, seed=seed, progress=False,
        optimizer=lambda _: optimizer,
    )  # fmt: skip
    result = {key: getattr(history, key)[-1:] for key in ("validation_loss", "validation_accuracy")}
    return result | (measure(model, splits) if final else {})


def measure(model: nn.Sequential, splits: data.Splits) -> dict[str, float]:
    """Test part, norms of the groups, mean scale of the normalizations."""
    train, test = evaluate(model, splits.train), evaluate(model, splits.test)
    weights, others = (part["params"] for part in penalties.decay_groups(model, 0.0))
    norms = [m for m in model.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))]
    with torch.no_grad():
        scales = [float(m.weight.abs().mean()) for m in norms]
        return {
            "test_accuracy": test.accuracy,
            "test_loss": test.loss,
            "final_train_loss": train.loss,
            "weight_norm": float(penalties.l2_penalty(weights)) ** 0.5,
            "other_norm": float(penalties.l2_penalty(others)) ** 0.5,
            "last_norm": float(penalties.l2_penalty(weights[-1])) ** 0.5,
            "mean_scale": sum(scales) / len(scales) if scales else 0.0,
        }


CONTRASTS = tuple(
    Contrast(f"{network}, everything {s:g}", f"{network}, weights {s:g}", measure=measure, margin=margin,
             family=f"everything against weights, {measure}")
    for network in GROUPS
    for s in STRENGTHS
    for measure, margin in (("test_accuracy", 0.01), ("test_loss", None))
)  # fmt: skip

STUDY = Study(
    arms=arms(),
    rates=(0.01, 0.03, 0.1),
    seeds=range(10),
    tuning_seeds=range(100, 102),
    splits=splits,
    run=run,
    contrasts=CONTRASTS,
    quick={"seeds": range(2), "rates": (0.03,)},
)
