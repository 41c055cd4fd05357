"""Under Adam: a penalty in the loss against decay beside the gradient, on 200 digits.

Varied: the optimizer (Adam with the gradient of the penalty, `Adam(weight_decay=...)`; or AdamW, whose decay
does not pass through the division) and the strength; each arm has its own learning rate. Biases are spared.
Measured beside accuracy and loss: how the decay is shared out. The weights of the first layer are split in
halves by the size of their gradients (the root of Adam's second moment at the end of a run without decay),
and the norm of each half is divided by the norm of the same half in that run without decay, which has the
same learning rate and seed; the same also after the first quarter of the updates, since the answer may depend
on the budget.

Reduced, to finish in minutes on two cores: a network of two hidden layers of 64 units, three strengths of
each kind. 3,200 updates of 50 images; the short budget is 800.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from convcraft import penalties
from convcraft.lab import data, models
from convcraft.lab.experiments import Contrast, Study, train_and_score
from convcraft.lab.training import seeded

UPDATES = 3200
STRENGTHS = {"adam": (1e-4, 1e-3, 1e-2), "adamw": (1e-1, 1.0, 1e1)}
ARMS: dict[str, dict[str, Any]] = {
    f"{kind} {s:g}": {"kind": kind, "strength": s} for kind, some in STRENGTHS.items() for s in some
}


def splits(arm: dict[str, Any], seed: int) -> data.Splits:
    """The digits with the 200 training images of this seed, standardized."""
    whole = data.load("digits")
    return replace(whole, train=whole.train.subset(200, seed=seed)).standardized()


class Look:
    """The first layer's weights and Adam's second moment of them, after a quarter of the updates and at the end."""

    def __init__(self, weight: nn.Parameter) -> None:
        self.weight, self.steps, self.early, self.end = weight, 0, (weight, weight), (weight, weight)

    def __call__(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        self.steps += 1
        if self.steps in (UPDATES // 4, UPDATES):
            now = self.weight.detach().clone(), optimizer.state[self.weight]["exp_avg_sq"].clone()
            if self.steps == UPDATES:
                self.end = now
            else:
                self.early = now


def train(
    kind: str, strength: float, rate: float, seed: int, splits: data.Splits, final: bool
) -> tuple[Look, dict[str, Any]]:
    """One network; looks at its first layer, and its scores."""
    model = seeded(lambda: models.MLP((64, 64, 64, 10)), seed)
    chosen = torch.optim.AdamW if kind == "adamw" else torch.optim.Adam
    optimizer = chosen(penalties.decay_groups(model, strength), lr=rate, fused=True)
    look, step = Look(model.get_parameter("layers.linear1.weight")), max(UPDATES // 20, 1)
    optimizer.register_step_post_hook(look)
    scores = train_and_score(
        model, splits, seed=seed, final=final, updates=UPDATES, evaluate_at=range(step, UPDATES + 1, step),
        batch_size=50, learning_rate=rate, optimizer=lambda _: optimizer,
    )  # fmt: skip
    return look, scores


def run(arm: dict[str, Any], rate: float, seed: int, splits: data.Splits, final: bool) -> dict[str, Any]:
    """Train one network, and in the final phase another without decay beside it."""
    decayed, scores = train(arm["kind"], arm["strength"], rate, seed, splits, final)
    if not final:
        return scores
    free = without_decay(rate, seed)
    for name, (weight, _), (other, square) in (("early", decayed.early, free.early), ("kept", decayed.end, free.end)):
        small, large = kept(weight, other, square)
        scores |= {f"{name}_small_gradients": small, f"{name}_large_gradients": large}
        scores[f"{name}_difference"] = large - small
    return scores


@cache
def without_decay(rate: float, seed: int) -> Look:
    """The run without decay, which arms with the same rate share."""
    return train("adam", 0.0, rate, seed, splits({}, seed), False)[0]


def kept(decayed: Tensor, free: Tensor, square: Tensor) -> tuple[float, float]:
    """Norm with decay over norm without, of the weights with small and with large gradients.

    Weights of pixels that never change (no gradient but from the shift of the input) count like all others.
    """
    large = square > square.median()
    ratios = [float(decayed[part].norm() / free[part].norm()) for part in (~large, large)]
    return ratios[0], ratios[1]


CLAIM = "l2-loss-term-equals-weight-decay-for-any-optimizer"
STUDY = Study(
    arms=ARMS,
    rates=(0.0003, 0.001, 0.003),
    splits=splits,
    run=run,
    contrasts=(
        *(Contrast(f"adam {s:g}", f"adamw {t:g}", measure=measure, margin=0.05, family=measure, claim=CLAIM)
          for measure in ("early_difference", "kept_difference")
          for s, t in zip(*STRENGTHS.values(), strict=True)),
        *(Contrast(f"adam {s:g}", f"adamw {t:g}", family="accuracy")
          for s, t in zip(*STRENGTHS.values(), strict=True)),
    ),
    quick={"seeds": range(2), "tuning_seeds": range(100, 101), "rates": (0.003,)},
)  # fmt: skip
