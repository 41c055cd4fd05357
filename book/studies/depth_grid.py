"""Depth x activation x initialization: which deep networks train on digits.

Varied: depth (the number of layers with an activation, 1 to 50), activation, rule of initialization, gain,
batch normalization, skip connections, width. Measured after training at the best rate of the arm: test and
train accuracy; and at the start, before any step: the factor per layer of the norm of the loss's gradient,
and the share of hidden units whose gradient is below 1e-4 on every training example.

A network is x1 = W0 input; x' = W f(x) from layer to layer, with BN W f(BN(x)), with a skip x + W f(x);
logits W f(x). One rule fills every matrix, the first and the last included; biases start at 0. "own" is
N(0, (c g)^2 / fan_in) with g = E[f(z)^2]^(-1/2) and a factor c, which the last matrix does not get. The
weights of a skip's branch are divided by the root of the number of branches ("scale"), left as they are
("none") or zero ("zero"). BN uses the statistics of the batch, and when it is evaluated those of the split.

Budgets: 1,000 updates of 50 images and, on purpose short, 200 for the comparisons of He, Xavier and
N(0, 0.01^2) under ReLU and leaky ReLU and for the deep networks of other activations.

Reduced, to finish on two cores: ReLU and ELU to depth 30, the others to 20; width 64 is joined by 256
instead of 512; batches of 50 instead of 100.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from convcraft import activations
from convcraft.initialization import (
    calculate_gain,
    kaiming_normal_,
    lecun_normal_,
    normal_,
    orthogonal_,
    xavier_normal_,
)
from convcraft.lab import data
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.training import evaluate, seeded

FACTORS = (1 / 16, 1 / 4, 1 / 2, 0.64, 0.8, 1.0, 1.25, 2.0, 4.0, 16.0)
MIXED = ("xavier", "he", "lecun", "orthogonal")


def function(name: str) -> Callable[[Tensor], Tensor]:
    if name == "sigmoid_steep_centred":
        return lambda x: 0.5 * torch.tanh(2 * x)  # sigmoid(4 x) - 1/2
    if name == "leaky_relu_0.2":
        return lambda x: activations.leaky_relu(x, 0.2)
    return activations.catalog()[name].function


@functools.cache
def own_gain(name: str) -> float:
    """The gain that keeps a second moment of 1."""
    return calculate_gain(function(name))


class Deep(nn.Module):
    """The network of an arm; `forward` keeps the inputs of the activations when `seen` is a list."""

    def __init__(self, arm: dict) -> None:
        super().__init__()
        width, branches = arm["width"], arm["depth"] - 1
        self.function, self.skip = function(arm["activation"]), arm["skip"]
        sizes = [(64, width)] + branches * [(width, width)] + [(width, 10)]
        self.matrices = nn.ModuleList(nn.Linear(a, b) for a, b in sizes)
        self.norms = nn.ModuleList(
            nn.BatchNorm1d(width, track_running_stats=False) for _ in range(branches + 1) if arm["norm"]
        )
        self.seen: list[Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        x = self.matrices[0](x.flatten(1))
        for index, matrix in enumerate(self.matrices[1:]):
            h = self.norms[index](x) if self.norms else x
            if self.seen is not None:
                self.seen.append(h)
            branch = matrix(self.function(h))
            inner = self.skip and index < len(self.matrices) - 2
            x = x + branch if inner else branch
        return x


def fill(layer: nn.Linear, rule: str, activation: str, factor: float) -> None:
    """Fill one matrix by a rule, for the activation that it serves."""
    if rule == "small":
        normal_(layer.weight, std=0.01)
    elif rule == "xavier":
        xavier_normal_(layer)
    elif rule == "he":
        slope = {"leaky_relu": 0.01, "leaky_relu_0.2": 0.2}.get(activation, 0.0)
        kaiming_normal_(layer, a=slope, nonlinearity="leaky_relu")
    elif rule == "lecun":
        lecun_normal_(layer)
    elif rule == "orthogonal":
        orthogonal_(layer.weight)
    else:
        normal_(layer.weight, std=factor * own_gain(activation) / math.sqrt(layer.in_features))


def model(arm: dict) -> Deep:
    net = Deep(arm)
    last = len(net.matrices) - 1
    for index, layer in enumerate(net.matrices):
        rule = arm["rule"]
        if rule == "mixture":
            rule = MIXED[int(torch.randint(len(MIXED), ()))]
        rule = "small" if index == arm["small_at"] else rule
        fill(layer, rule, arm["activation"], arm["factor"] if index < last else 1.0)
        nn.init.zeros_(layer.bias)
        if 0 < index < last:
            with torch.no_grad():
                layer.weight *= {"none": 1.0, "zero": 0.0, "scale": (last - 1) ** -0.5}[arm["branch"]]
    return net


def splits(arm: dict) -> data.Splits:
    return data.load("digits").standardized()


def at_start(net: Deep, x: Tensor, y: Tensor) -> dict[str, float]:
    """Gradient factor per layer, and share of units whose gradient is below 1e-4 on every example."""
    net.seen = []
    loss = nn.functional.cross_entropy(net(x), y, reduction="sum")
    gradients = [g.double() for g in torch.autograd.grad(loss, net.seen)]
    net.seen = None
    norms = [float(g.norm()) for g in gradients]
    steps = len(norms) - 1
    silent = torch.cat([g.abs().amax(0) < 1e-4 for g in gradients])
    found = {"start_silent": float(silent.double().mean())}
    if steps and min(norms[0], norms[-1]) > 0 and math.isfinite(norms[0]):
        found["start_factor"] = (norms[0] / norms[-1]) ** (1 / steps)
    return found


def measure(net: Deep, splits: data.Splits, arm: dict, seed: int) -> dict[str, float]:
    fresh = seeded(lambda: model(arm), seed)
    train = {"train_accuracy": evaluate(net, splits.train).accuracy}
    return train | at_start(fresh, splits.train.x, splits.train.y)


def _arms() -> dict[str, dict]:
    """The arms of all claims; one that belongs to several stands there once."""
    arms: dict[str, dict] = {}

    def add(activation: str, rule: str, depth: int, **more: object) -> None:
        arm = {"activation": activation, "rule": rule, "depth": depth, "width": 64, "norm": False,
               "skip": False, "branch": "none", "factor": 1.0, "small_at": None} | more
        if rule == "own" and activation == "relu" and arm["factor"] == 1.0:
            rule = arm["rule"] = "he"  # the same scale
        label = [activation, rule, str(depth)]
        label += [f"w{arm['width']}"] * (arm["width"] != 64)
        label += [f"x{arm['factor']:g}"] * (arm["factor"] != 1.0)
        label += ["bn"] * arm["norm"] + [f"skip-{arm['branch']}"] * arm["skip"]
        label += ["one-small"] * (arm["small_at"] is not None)
        arms[" ".join(label)] = arm

    for depth in (1, 2, 3, 5, 10):  # a fixed 0.01
        add("relu", "small", depth)
        add("relu", "he", depth)
    for depth in (1, 3, 5):
        add("relu", "small", depth, width=256)
        add("relu", "he", depth, width=256)
    for depth in (3, 10, 20, 30):
        for rule in ("xavier", "he"):
            add("relu", rule, depth)
        for rule in ("xavier", "he", "own"):
            add("elu", rule, depth)
    for depth in (1, 3, 10, 20):
        for name in ("leaky_relu", "leaky_relu_0.2"):
            for rule in ("small", "xavier", "he"):
                add(name, rule, depth)
    for depth in (1, 3, 10):  # what makes sigmoid fail, and what helps
        add("sigmoid", "xavier", depth)
        add("sigmoid", "xavier", depth, norm=True)
        add("sigmoid", "xavier", depth, skip=True)
        add("sigmoid_steep_centred", "xavier", depth)
    for depth in (10, 20):  # activation against initialization and skip
        for name in ("relu", "leaky_relu", "elu", "silu", "sigmoid"):
            for rule in ("xavier", "he" if name == "leaky_relu" else "own"):
                add(name, rule, depth)
                add(name, rule, depth, skip=True, branch="scale")
    for name in ("relu", "tanh"):  # the gain, with and without BN
        for factor in FACTORS:
            for norm in (False, True):
                add(name, "own", 10, factor=factor, norm=norm)
    add("relu", "mixture", 10)
    add("relu", "he", 10, small_at=5)
    for branch in ("zero", "none"):  # zeros where they are safe
        add("relu", "he", 30, skip=True, branch=branch)
    add("relu", "he", 50)  # remedies that are no activation, and one that is
    add("relu", "he", 50, norm=True)
    add("relu", "he", 50, skip=True, branch="scale")
    add("relu", "xavier", 50)
    add("selu", "lecun", 50)
    add("tanh", "orthogonal", 50)
    return arms


def _budgets() -> dict[str, dict]:
    """All arms with 1,000 updates, and with 200 those whose order may depend on it."""
    long = {name: arm | {"updates": 1000} for name, arm in _arms().items()}
    short = {
        f"{name} short": arm | {"updates": 200}
        for name, arm in long.items()
        if not arm["norm"] and not arm["skip"] and arm["factor"] == 1 and arm["width"] == 64
        and arm["small_at"] is None and arm["depth"] in (1, 2, 3, 5, 10, 20, 30)
        and arm["activation"] in ("relu", "leaky_relu", "elu", "silu") and arm["rule"] != "mixture"
    }  # fmt: skip
    return long | short


ARMS = _budgets()
STUDY = Study(
    arms=ARMS,
    rates=(0.003, 0.01, 0.03, 0.1),
    seeds=range(10),
    tuning_seeds=range(100, 110),
    short=tuple(name for name in ARMS if name.endswith("short")),
    splits=splits,
    model=model,
    measure=measure,
    fit=lambda arm: {
        "updates": arm["updates"],
        "batch_size": 50,
        "evaluate_at": range(arm["updates"] // 20, arm["updates"] + 1, arm["updates"] // 20),
    },
    contrasts=tuple(
        Contrast(a, b, claim=claim, family=claim)
        for claim, pairs in {
            "xavier-suits-relu": [(f"relu he {d}", f"relu xavier {d}") for d in (3, 10, 20, 30)],
            "random-normal-times-001-is-a-standard-init": [
                (f"relu small {d}", f"relu he {d}") for d in (1, 2, 3, 5, 10, "1 w256", "3 w256", "5 w256")
            ],
            "random-init-suits-leaky-relu": [
                (f"{name} small {d}", f"{name} he {d}")
                for name in ("leaky_relu", "leaky_relu_0.2") for d in (1, 3, 10, 20)
            ],
            "he-suits-elu": [(f"elu he {d}", f"elu own {d}") for d in (3, 10, 20, 30)],
            "zero-init-causes-symmetry-problem": [
                ("relu he 30 skip-zero", "relu he 30 skip-none"), ("relu he 30 skip-zero", "relu he 30")
            ],
            "choose-init-per-layer-and-by-tuning": [
                ("relu mixture 10", "relu he 10"), ("relu he 10 one-small", "relu he 10")
            ],
            "init-scale-controls-gradients-and-convergence": [
                (best, f"{name} own 10 x{factor}")
                for name, best in (("relu", "relu he 10"), ("tanh", "tanh own 10"))
                for factor in ("0.0625", "0.25", "4", "16")
            ],
            "sigmoid-unusable-in-deep-hidden-layers": [
                *((f"sigmoid xavier {d}", "sigmoid xavier 1") for d in (3, 10)),
                *((f"sigmoid xavier {d} {how}", f"sigmoid xavier {d}")
                  for d in (3, 10) for how in ("bn", "skip-none")),
                *((f"sigmoid_steep_centred xavier {d}", f"sigmoid xavier {d}") for d in (3, 10)),
            ],
            "leaky-elu-swish-cure-dead-units-and-vanishing-in-deep-nets": [
                (f"{name} {'he' if rule == 'own' and name == 'leaky_relu' else rule} {rest}",
                 f"relu {'he' if rule == 'own' else rule} {rest}")
                for name in ("leaky_relu", "elu", "silu", "sigmoid")
                for rule in ("xavier", "own") for rest in ("10", "20", "10 skip-scale", "20 skip-scale")
            ],
            "exploding-and-vanishing-are-unsolved-activation-problems": [
                (arm, "relu he 50")
                for arm in ("relu he 50 bn", "relu he 50 skip-scale", "selu lecun 50", "tanh orthogonal 50")
            ],
        }.items()
        for a, b in pairs
    )
    + tuple(
        Contrast(f"{a} short", f"{b} short", family="short")
        for a, b in [
            *((f"relu he {d}", f"relu xavier {d}") for d in (3, 10, 20, 30)),
            *((f"relu small {d}", f"relu he {d}") for d in (1, 2, 3, 5, 10)),
            *((f"leaky_relu small {d}", f"leaky_relu he {d}") for d in (1, 3, 10, 20)),
            *((f"{name} own 20", "relu he 20") for name in ("elu", "silu")),
        ]
    )
    + tuple(
        Contrast(a, b, against=(f"{a} short", f"{b} short"), family="budget")
        for a, b in [
            *((f"relu he {d}", f"relu xavier {d}") for d in (10, 20, 30)),
            ("relu small 3", "relu he 3"),
            ("silu own 20", "relu he 20"),
        ]
    ),
    quick={"seeds": range(2), "fit": {"updates": 20, "evaluate_at": None}},
)
