"""L1 in a network: which solvers set weights to zero, and which noise inputs are removed.

Three questions, each a set of arms on digits, with one network of 64 hidden units:

- solver: the same penalty, 1e-3 times the sum of absolute weights, through autograd (SGD, Adam), as the
  proximal step after SGD or Adam, and not at all;
- noise: 64 columns of noise beside the 64 pixels, and on the first layer no penalty, an L1 penalty or a group
  lasso over the inputs, both by proximal steps, each at four strengths;
- activation: a penalty on the weights (proximal L1) or on the hidden activations (mean over the images of the
  sum of their values).

Measured: shares of weights that are exactly zero or below a list of thresholds, accuracy as trained and with
every weight below 1e-3, or below 1e-2, set to zero, the loss with its penalty, which inputs have no weight
left, and the share of hidden activations that are zero. Reduced, to finish in minutes on two cores: 40 epochs
of 1,000 images; 300 images for the noise arms, where there is something to gain from fewer inputs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convcraft import penalties
from convcraft.lab import data, models
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.training import evaluate, fit, seeded

STRENGTH = 1e-3
THRESHOLDS = (0.0, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
NOISE = {"l1": (3e-4, 1e-3, 3e-3, 1e-2), "group": (3e-4, 1e-3, 3e-3, 1e-2)}

ARMS: dict[str, dict[str, Any]] = {
    "sgd, no penalty": {"question": "solver", "optimizer": "sgd", "penalty": None},
    "sgd, autograd": {"question": "solver", "optimizer": "sgd", "penalty": "autograd"},
    "adam, autograd": {"question": "solver", "optimizer": "adam", "penalty": "autograd"},
    "sgd, proximal": {"question": "solver", "optimizer": "sgd", "penalty": "proximal"},
    "adam, proximal": {"question": "solver", "optimizer": "adam", "penalty": "proximal"},
    "noise, none": {"question": "noise", "l1": 0.0, "group": 0.0},
    **{
        f"noise, {kind} {s:g}": {"question": "noise", "l1": 0.0, "group": 0.0, kind: s}
        for kind, strengths in NOISE.items()
        for s in strengths
    },
    **{f"activation {s:g}": {"question": "activation", "strength": s} for s in (1e-3, 1e-2, 3e-2)},
}


def splits(arm: dict[str, Any]) -> data.Splits:
    found = data.load("digits")
    return found if arm["question"] == "noise" else found.standardized()


def with_noise(splits: data.Splits, seed: int, final: bool) -> data.Splits:
    """300 training digits of this seed, standardized, with 64 columns of standard normal noise."""
    splits = replace(splits, train=splits.train.subset(300, seed=seed)).standardized().flattened()
    generator = torch.Generator().manual_seed(seed)
    parts = {}
    for name in ("train", "validation", "test")[: 3 if final else 2]:  # the test part is withheld in tuning
        part = getattr(splits, name)
        noise = torch.randn(part.x.shape, generator=generator)
        parts[name] = data.Split(torch.cat([part.x, noise], 1), part.y)
    return replace(splits, **parts)


def run(arm: dict[str, Any], rate: float, seed: int, splits: data.Splits, final: bool) -> dict[str, Any]:
    """Train one network and look at its zeros."""
    noisy = arm["question"] == "noise"
    if noisy:
        splits = with_noise(splits, seed, final)
    model = seeded(lambda: models.MLP((128 if noisy else 64, 64, 10)), seed)
    optimizer = optimizer_of(model, arm, rate)
    history = fit(
        model, splits, epochs=100 if noisy else 40, batch_size=50, learning_rate=rate, seed=seed,
        loss=loss_of(model, arm), optimizer=lambda _: optimizer, progress=False,
    )  # fmt: skip
    result = {key: getattr(history, key)[-1:] for key in ("validation_loss", "validation_accuracy")}
    return result | (measure(model, splits) if final else {})


def optimizer_of(model: nn.Module, arm: dict[str, Any], rate: float) -> torch.optim.Optimizer:
    """The optimizer, with the proximal step where the arm has one."""
    if arm["question"] == "noise":
        first, *rest = model.parameters()
        groups = [{"params": [first], "l1": arm["l1"], "group": arm["group"]},
                  {"params": rest, "l1": 0.0, "group": 0.0}]  # fmt: skip
        return penalties.proximal(torch.optim.SGD(groups, lr=rate, momentum=0.9), dim=1)
    proximal = arm.get("penalty") == "proximal"
    groups = penalties.decay_groups(model, 0.0, l1=STRENGTH if proximal else 0.0)
    if arm.get("optimizer") == "adam":
        chosen: torch.optim.Optimizer = torch.optim.Adam(groups, lr=rate)
    else:
        chosen = torch.optim.SGD(groups, lr=rate, momentum=0.9)
    return penalties.proximal(chosen) if proximal else chosen


def loss_of(model: nn.Module, arm: dict[str, Any]) -> Callable[[Tensor, Tensor], Tensor]:
    """Cross-entropy, and in training what the arm adds to it."""
    weights = penalties.decay_groups(model, 0.0)[0]["params"]
    hidden: dict[str, Tensor] = {}
    if arm["question"] == "activation":
        model.get_submodule("layers.act1").register_forward_hook(
            lambda module, inputs, output: hidden.update(h=output)
        )

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        value = F.cross_entropy(outputs, targets)
        if model.training and arm.get("penalty") == "autograd":
            value = value + STRENGTH * penalties.l1_penalty(weights)
        if model.training and hidden:
            value = value + arm["strength"] * hidden["h"].abs().sum(1).mean()
        return value

    return loss


def measure(model: nn.Module, splits: data.Splits) -> dict[str, Any]:
    """Zeros of weights, of inputs and of activations, and what they cost."""
    weights = [p.detach() for p in penalties.decay_groups(model, 0.0)[0]["params"]]
    flat = torch.cat([w.flatten() for w in weights]).abs()
    train, test = evaluate(model, splits.train), evaluate(model, splits.test)
    gone = (weights[0] == 0).all(0)
    used = splits.train.x.flatten(1).std(0) > 0
    with torch.no_grad():
        hidden = torch.relu(model.get_submodule("layers.linear1")(splits.test.x.flatten(1)))
    return {
        "test_accuracy": test.accuracy,
        "test_loss": test.loss,
        "pruned_accuracy_1e-3": evaluate(pruned(model, 1e-3), splits.test).accuracy,
        "pruned_accuracy_1e-2": evaluate(pruned(model, 1e-2), splits.test).accuracy,
        "final_train_loss": train.loss,
        "objective": train.loss + STRENGTH * float(flat.sum()),
        "zeros": float((flat == 0).float().mean()),
        "below": [float((flat <= t).float().mean()) for t in THRESHOLDS],
        "largest_weight": float(flat.max()),
        "noise_removed": float(gone[64:].float().mean()) if len(gone) > 64 else 0.0,
        "pixels_removed": float(gone[:64][used[:64]].float().mean()),
        "first_layer_zeros": float((weights[0] == 0).float().mean()),
        "zero_activations": float((hidden == 0).float().mean()),
    }


def pruned(model: nn.Module, threshold: float) -> nn.Module:
    """A copy in which every weight below the threshold is zero."""
    model = copy.deepcopy(model)
    for p in penalties.decay_groups(model, 0.0)[0]["params"]:
        p.data[p.abs() < threshold] = 0
    return model


STUDY = Study(
    arms=ARMS,
    rates=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3),
    seeds=range(10),
    tuning_seeds=range(100, 103),
    splits=splits,
    run=run,
    contrasts=tuple(
        Contrast(name, "sgd, no penalty", claim="l1-makes-weights-sparse", family="solvers")
        for name in ("sgd, autograd", "adam, autograd", "sgd, proximal", "adam, proximal")
    ),
    quick={"seeds": range(2), "rates": (0.03,)},
)  # fmt: skip
