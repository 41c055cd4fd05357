"""The lambda path: what the strength of an L2 or L1 penalty does to a network on 200 digits.

Varied: the penalty (sum of squares, or sum of absolute values by the proximal step), its strength lambda from
1e-6 to 1e-1, and whether the hidden layers are followed by batch normalization. The penalty is lambda times
the plain sum over the weights, so that lambda of L2 is a weight_decay of 2 lambda; biases and normalizations
are spared. Every seed has its own 200 training digits. Measured after training: norms, the largest weight,
losses and accuracies on training and test part, the Jacobian of the logits and the gradient of the loss with
respect to the input, the product of the spectral norms (normalization folded in), the roughness of the 8x8
filters of the first layer, and the share of weights that are exactly zero.

Reduced, to finish in minutes on two cores: a network of two hidden layers of 64 units, 4,000
updates.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convcraft import normalization, penalties
from convcraft.lab import data
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.training import evaluate

UPDATES = 4000
L2 = (1e-6, 1e-5, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
L1 = (1e-6, 1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
WITH_NORM = (1e-5, 1e-4, 1e-3, 1e-2, 3e-2)


def arms() -> dict[str, dict[str, Any]]:
    """Names such as "l2 0.001" and "l2 0.001 bn"; "none" and "none bn" are the ends of the paths."""
    found: dict[str, dict[str, Any]] = {}
    for kind, strengths in (("l2", L2), ("l1", L1)):
        found |= {f"{kind} {s:g}": {"kind": kind, "strength": s, "norm": False} for s in strengths}
    found |= {f"l2 {s:g} bn": {"kind": "l2", "strength": s, "norm": True} for s in WITH_NORM}
    for name, norm in (("none", False), ("none bn", True)):
        found[name] = {"kind": "l2", "strength": 0.0, "norm": norm}
    return found


def splits(arm: dict[str, Any], seed: int) -> data.Splits:
    """The digits with the 200 training images of this seed, standardized."""
    whole = data.load("digits")
    return replace(whole, train=whole.train.subset(200, seed=seed)).standardized()


def network(arm: dict[str, Any]) -> nn.Module:
    """Two hidden layers of 64 units, without biases where a normalization follows."""
    norm, layers = arm["norm"], [nn.Flatten()]
    for _ in range(2):
        layers += [nn.Linear(64, 64, bias=not norm), *([nn.BatchNorm1d(64)] if norm else []), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(64, 10))


def decayed(model: nn.Module) -> list[nn.Parameter]:
    """The weights, without biases and normalizations."""
    return penalties.decay_groups(model, 1.0)[0]["params"]


def fit(arm: dict[str, Any]) -> dict[str, Any]:
    """L2 is part of the step, L1 a proximal step after it."""
    l1, l2 = (arm["strength"] if arm["kind"] == kind else 0.0 for kind in ("l1", "l2"))
    return {
        "updates": UPDATES, "evaluate_at": range(UPDATES // 20, UPDATES + 1, UPDATES // 20),
        "batch_size": 50, "weight_decay": 2 * l2, "l1": l1, "decayed": decayed,
    }  # fmt: skip


def measure(model: nn.Module, splits: data.Splits, arm: dict[str, Any], seed: int) -> dict[str, float]:
    """What the chapter draws against lambda."""
    train, test = evaluate(model, splits.train), evaluate(model, splits.test)
    weights = [p.detach() for p in penalties.decay_groups(model, 0.0)[0]["params"]]
    first = weights[0]
    return {
        "train_accuracy": train.accuracy,
        "final_train_loss": train.loss,
        "loss_gap": test.loss - train.loss,
        "accuracy_gap": train.accuracy - test.accuracy,
        "l2_norm": float(penalties.l2_penalty(weights)) ** 0.5,
        "l1_norm": float(penalties.l1_penalty(weights)),
        "largest_weight": max(float(w.abs().max()) for w in weights),
        "zeros": sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights),
        "jacobian": jacobian_norm(model, splits.test.x),
        "input_gradient": input_gradient(model, splits.test),
        "spectral_product": spectral_product(model),
        "roughness": roughness(first.view(-1, 8, 8)),
    }


def jacobian_norm(model: nn.Module, x: Tensor) -> float:
    """Frobenius norm of the derivative of the logits by the input, mean over the images."""
    x = x.clone().requires_grad_()
    columns = model(x).sum(0)
    gradients = [torch.autograd.grad(c, x, retain_graph=True)[0].flatten(1) for c in columns]
    return float(torch.stack(gradients).square().sum((0, 2)).sqrt().mean())


def input_gradient(model: nn.Module, split: data.Split) -> float:
    """Euclidean norm of the gradient of the loss by the input, mean over the images."""
    x = split.x.clone().requires_grad_()
    F.cross_entropy(model(x), split.y, reduction="sum").backward()
    assert x.grad is not None
    return float(x.grad.flatten(1).norm(dim=1).mean())


def spectral_product(model: nn.Module) -> float:
    """Product of the largest singular values of the layers, a bound on how fast the logits can change."""
    if any(isinstance(m, nn.BatchNorm1d) for m in model.modules()):
        model = normalization.fold_batch_norm(copy.deepcopy(model).eval())
    matrices = [m.weight.detach() for m in model.modules() if isinstance(m, nn.Linear)]
    return float(torch.stack([torch.linalg.matrix_norm(w, 2) for w in matrices]).prod())


def roughness(filters: Tensor) -> float:
    """Sum of absolute differences of neighbours, over the sum of absolute values; 1 to 2 for white noise."""
    steps = filters.diff(dim=1).abs().sum() + filters.diff(dim=2).abs().sum()
    total = float(filters.abs().sum())
    return float(steps) / total if total > 0 else 0.0


CONTRASTS = tuple(
    Contrast(name, "none", measure=measure, claim=claim, family=f"{measure} along the L2 path")
    for name in [f"l2 {s:g}" for s in L2]
    for measure, claim in (
        ("test_loss", "l2-shrinks-weights-and-improves-generalization"),
        ("loss_gap", "lambda-trades-overfitting-for-underfitting"),
    )
)

STUDY = Study(
    arms=arms(),
    rates=(0.01, 0.03, 0.1, 0.3),
    seeds=range(10),
    tuning_seeds=range(100, 110),
    splits=splits,
    model=network,
    fit=fit,
    measure=measure,
    select=("validation_loss", "min"),
    contrasts=CONTRASTS,
    quick={"seeds": range(2), "rates": (0.03,), "fit": {"updates": 20, "evaluate_at": None}},
)
