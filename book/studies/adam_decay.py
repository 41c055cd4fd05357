"""Under Adam: a penalty in the loss against decay beside the gradient, on 200 digits.

Varied: the optimizer (Adam with the gradient of the penalty, `Adam(weight_decay=...)`; or AdamW, whose decay
does not pass through the division), the strength, and the learning rate, each arm with the same number of
tuning runs. Biases are spared. Measured: accuracy and loss on the test part, norms, and how the decay is
shared out: the weights of the first layer are split in halves by the size of their gradients during training
(the root of Adam's second moment), and the ratio of each half's norm to the same half's norm in the same run
without decay is taken, at the same learning rate and seed.

Reduced, to finish in minutes on two cores: a network of two hidden layers of 64 units, 800 steps.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from convcraft import penalties
from convcraft.lab import data, models
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.training import History, evaluate, fit, seeded

ADAM = (1e-4, 1e-3, 3e-3, 1e-2, 3e-2)
ADAMW = (1e-1, 3e-1, 1.0, 3.0, 1e1)
ARMS: dict[str, dict[str, Any]] = {
    "no decay": {"kind": "adam", "strength": 0.0},
    **{f"adam {s:g}": {"kind": "adam", "strength": s} for s in ADAM},
    **{f"adamw {s:g}": {"kind": "adamw", "strength": s} for s in ADAMW},
}


def splits(arm: dict[str, Any]) -> data.Splits:
    return data.load("digits")


def train(
    arm: dict[str, Any], strength: float, rate: float, seed: int, splits: data.Splits
) -> tuple[nn.Module, History, torch.optim.Optimizer]:
    """One network with its optimizer."""
    model = seeded(lambda: models.MLP((64, 64, 64, 10)), seed)
    kind = torch.optim.AdamW if arm["kind"] == "adamw" else torch.optim.Adam
    optimizer = kind(penalties.decay_groups(model, strength), lr=rate)
    history = fit(
        model, splits, epochs=200, batch_size=50, learning_rate=rate, seed=seed, progress=False,
        optimizer=lambda _: optimizer,
    )  # fmt: skip
    return model, history, optimizer


def run(arm: dict[str, Any], rate: float, seed: int, splits: data.Splits, final: bool) -> dict[str, Any]:
    """Train one network on the 200 digits of this seed."""
    splits = replace(splits, train=splits.train.subset(200, seed=seed)).standardized()
    model, history, optimizer = train(arm, arm["strength"], rate, seed, splits)
    result = {key: getattr(history, key)[-1:] for key in ("validation_loss", "validation_accuracy")}
    if not final:
        return result
    without, _, free = train(arm, 0.0, rate, seed, splits)
    small, large = kept(first_weight(model), first_weight(without), free)
    test = evaluate(model, splits.test)
    weights = [p.detach() for p in penalties.decay_groups(model, 0.0)[0]["params"]]
    return result | {
        "test_accuracy": test.accuracy,
        "test_loss": test.loss,
        "l2_norm": float(penalties.l2_penalty(weights)) ** 0.5,
        "kept_small_gradients": small,
        "kept_large_gradients": large,
    }


def first_weight(model: nn.Module) -> nn.Parameter:
    return model.get_parameter("layers.linear1.weight")


def kept(decayed: Tensor, free: nn.Parameter, optimizer: torch.optim.Optimizer) -> tuple[float, float]:
    """Norm with decay over norm without, of the weights with small and with large gradients.

    Weights of pixels that never change (no gradient but from the shift of the input) count like all others.
    """
    size = optimizer.state[free]["exp_avg_sq"]
    large = size > size.median()
    ratios = [float(decayed[part].detach().norm() / free[part].detach().norm()) for part in (~large, large)]
    return ratios[0], ratios[1]


STUDY = Study(
    arms=ARMS,
    rates=(0.0003, 0.001, 0.003, 0.01),
    seeds=range(10),
    tuning_seeds=range(100, 103),
    splits=splits,
    run=run,
    contrasts=tuple(
        Contrast(name, "no decay", measure="test_loss", family="against no decay",
                 claim="l2-loss-term-equals-weight-decay-for-any-optimizer")
        for name in ARMS if name != "no decay"
    ),
    quick={"seeds": range(2), "rates": (0.003,)},
)  # fmt: skip
