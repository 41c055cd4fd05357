"""L1 in a network: which solvers set weights to zero, and which noise inputs are removed.

Three questions, each a set of arms on digits, with one network of 64 hidden units:

- solver: the same penalty, 1e-3 times the sum of absolute weights, through autograd (SGD, Adam), as the
  proximal step after SGD or Adam, and not at all; 1,000 images, 3,200 updates;
- noise: 64 columns of noise beside the 64 pixels, and on the first layer no penalty, an L1 penalty or a group
  lasso over the inputs, both by proximal steps, each at three strengths; the 300 images of each seed, 2,400
  updates;
- activation: a penalty on the hidden activations (mean over the images of the sum of their absolute values)
  in place of the weights; 1,000 images, 3,200 updates.

Measured: shares of weights that are exactly zero or below a list of thresholds, which inputs have no weight
left, and the share of hidden activations that are zero. Adam has a tenth of the rate of an arm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

from convcraft import penalties
from convcraft.lab import data, models
from convcraft.lab.experiments import Contrast, Study

STRENGTH = 1e-3
THRESHOLDS = (0.0, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
STRENGTHS = (3e-4, 1e-3, 1e-2)
PENALTIES = {"no penalty": 0.0, "autograd": STRENGTH, "proximal": STRENGTH}

ARMS: dict[str, dict[str, Any]] = {
    f"{solver}, {how}": {"question": "solver", "solver": solver, "how": how, "strength": PENALTIES[how]}
    for solver, how in (
        ("sgd", "no penalty"), ("sgd", "autograd"), ("adam", "autograd"), ("sgd", "proximal"), ("adam", "proximal"),
    )
} | {
    "noise, none": {"question": "noise", "solver": "sgd", "how": "proximal", "strength": 0.0},
    **{
        f"noise, {name} {s:g}": {"question": "noise", "solver": "sgd", "how": how, "strength": s}
        for name, how in (("l1", "proximal"), ("group", "group"))
        for s in STRENGTHS
    },
    "activation 0.01": {"question": "activation", "solver": "sgd", "how": "activation", "strength": 0.01},
}  # fmt: skip


def splits(arm: dict[str, Any], seed: int) -> data.Splits:
    """All digits; or 300 training digits of this seed, and beside the pixels 64 columns of standard normal noise."""
    found = data.load("digits")
    if arm["question"] != "noise":
        return found.standardized()
    found = replace(found, train=found.train.subset(300, seed=seed)).standardized().flattened()
    parts = {}
    for name, its_seed in (("validation", 0), ("test", 1), ("train", 2 + seed)):
        part = getattr(found, name)
        noise = torch.randn(part.x.shape, generator=torch.Generator().manual_seed(its_seed))
        parts[name] = data.Split(torch.cat([part.x, noise], 1), part.y)
    return replace(found, **parts)


def model(arm: dict[str, Any]) -> nn.Module:
    net = models.MLP((128 if arm["question"] == "noise" else 64, 64, 10))
    if arm["how"] == "activation":
        net.get_submodule("layers.act1").register_forward_hook(pull(arm["strength"]))
    return net


def pull(strength: float) -> Callable[..., None]:
    """A hook that adds to the gradient of a layer's output that of the penalty on it."""

    def hook(layer: nn.Module, inputs: Any, output: Tensor) -> None:
        if output.requires_grad:
            slope = strength * output.detach().sign() / len(output)
            output.register_hook(lambda gradient: gradient + slope)

    return hook


def weights(net: nn.Module) -> list[nn.Parameter]:
    """The weights, without biases."""
    return penalties.decay_groups(net, 1.0)[0]["params"]


def first(net: nn.Module) -> list[nn.Parameter]:
    return weights(net)[:1]


def optimizer(arm: dict[str, Any], rate: float) -> Callable[[Iterable[nn.Parameter]], Optimizer]:
    """SGD or Adam, with the penalty of an arm."""

    def make(parameters: Iterable[nn.Parameter]) -> Optimizer:
        every = list(parameters)
        penalized = [p for p in every if p.ndim > 1]
        kind = arm["how"]
        if kind == "group":
            penalized = penalized[:1]
        names = {id(p) for p in penalized}
        key = "group" if kind == "group" else "l1"
        groups = [{"params": penalized, key: arm["strength"]},
                  {"params": [p for p in every if id(p) not in names], key: 0.0}]  # fmt: skip
        chosen: Optimizer
        if arm["solver"] == "adam":
            chosen = Adam(groups, lr=rate / 10, fused=True)
        else:
            chosen = SGD(groups, lr=rate, momentum=0.9, fused=True)
        if kind == "autograd":
            chosen.register_step_pre_hook(lambda *_: (arm["strength"] * penalties.l1_penalty(penalized)).backward())
        return penalties.proximal(chosen, dim=1) if kind in ("proximal", "group") else chosen

    return make


def fit(arm: dict[str, Any], rate: float) -> dict[str, Any]:
    """SGD with L1 by proximal steps, or without a penalty, is what `fit` does itself."""
    noise = arm["question"] == "noise"
    updates = 2400 if noise else 3200
    found = {"updates": updates, "evaluate_at": range(updates // 20, updates + 1, updates // 20), "batch_size": 50}
    if arm["solver"] == "sgd" and arm["how"] in ("no penalty", "proximal"):
        return found | {"l1": arm["strength"], "decayed": first if noise else weights}
    return found | {"optimizer": optimizer(arm, rate)}


def measure(net: nn.Module, splits: data.Splits, arm: dict[str, Any], seed: int) -> dict[str, Any]:
    """Zeros of weights, of inputs and of activations."""
    layers = [p.detach() for p in weights(net)]
    if arm["question"] == "noise":
        gone = (layers[0] == 0).all(0)
        used = splits.train.x.std(0) > 0
        return {
            "first_layer_zeros": float((layers[0] == 0).float().mean()),
            "noise_removed": float(gone[64:].float().mean()),
            "pixels_removed": float(gone[:64][used[:64]].float().mean()),
        }
    flat = torch.cat([w.flatten() for w in layers]).abs()
    with torch.no_grad():
        hidden = torch.relu(net.get_submodule("layers.linear1")(splits.test.x.flatten(1)))
    return {
        "zeros": float((flat == 0).float().mean()),
        "below": [float((flat <= t).float().mean()) for t in THRESHOLDS],
        "zero_activations": float((hidden == 0).float().mean()),
    }


SPARSE, SELECTS = "l1-makes-weights-sparse", "l1-does-feature-selection"
STUDY = Study(
    arms=ARMS,
    rates=(0.01, 0.03, 0.1, 0.3),
    splits=splits,
    model=model,
    fit=fit,
    measure=measure,
    contrasts=(
        *(
            Contrast(f"{solver}, proximal", f"{solver}, autograd", measure=measure, family=f"solvers, {measure}",
                     claim=SPARSE)
            for solver in ("sgd", "adam") for measure in ("zeros", "test_accuracy")
        ),
        *(
            Contrast(f"noise, group {s:g}", f"noise, l1 {s:g}", measure=measure, family=f"inputs, {measure}",
                     claim=SELECTS)
            for s in STRENGTHS[1:] for measure in ("noise_removed", "test_accuracy")
        ),
        *(Contrast(f"noise, l1 {s:g}", "noise, none", family="noise", claim=SELECTS) for s in STRENGTHS),
        Contrast("activation 0.01", "sgd, proximal", measure="zero_activations",
                 claim="regularizers-act-on-activation-functions"),
    ),
    quick={"seeds": range(2), "tuning_seeds": range(100, 101), "rates": (0.03,),
           "fit": {"updates": 20, "evaluate_at": None}},
)  # fmt: skip
