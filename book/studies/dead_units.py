"""Dead units: how many die when death is provoked, what prevents it, and whether silence selects.

Varied: the activation (ReLU, Leaky ReLU at slopes 0.01 and 0.2, PReLU, ELU, SELU) in a fully connected
network, and the start: `plain` (six hidden layers, biases 0), `forced` (six hidden layers, every hidden bias
-3, so that nearly every unit is negative for every example) or `shallow` (forced, with two hidden layers).
Plain gradient descent, without momentum, so that nothing but the gradient can bring a unit back.

Measured on all 1000 training examples, at the start and at the end: the share of hidden units that are silent
(never positive), and the share that are dead (the gradient of the loss with respect to their pre-activation is
exactly 0 on every example). For the plain start, after training: the rank correlation between how often a unit
is suppressed and how much accuracy and loss suffer when it is removed, beside the same of the untrained
network; and mean and variance after 50 fresh layers of weight variance 1/n.

Budgets: long enough that the loss had stopped falling in a first look at one seed (900). From the plain start 1,200
updates of 50 images; from the shallow one 2,400, and 14,400 with the slow leak of 0.01. ReLU is compared with that
after 2,400: where none of its units has a gradient (`dead_start`), more updates change nothing in them. Beside them,
on purpose short, 240 updates, from every start.

How it decides: the sign of a slow leak may depend on the time it is given, so from the shallow start the leak of 0.01
is a setting at both budgets; the forced start (in the first look a leak of 0.2 began to learn after some 8,000
updates) is one at 240 alone, and everything else at the long budget.

Reduced, to finish in minutes on two cores: digits alone, layers of 64 units, the long budget only for the functions
that a claim needs.
"""

from __future__ import annotations

from typing import Any

import torch
from scipy import stats
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from convcraft.initialization import calculate_gain
from convcraft.lab import data, models
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.training import seeded

WIDTH = 64
STARTS = {"plain": (6, 0.0), "forced": (6, -3.0), "shallow": (2, -3.0)}  # hidden layers, their biases
BRIEF = 240  # updates
LONG = {f"plain-{name}": 1200 for name in ("relu", "leaky_0.01", "elu", "selu")}
LONG |= {f"shallow-{name}": 2400 for name in ("relu", "leaky_0.2", "elu", "selu")} | {"shallow-leaky_0.01": 14400}
FUNCTIONS: dict[str, dict[str, Any]] = {
    "relu": {"activation": "relu"},
    "leaky_0.01": {"activation": "leaky_relu", "slope": 0.01},
    "leaky_0.2": {"activation": "leaky_relu", "slope": 0.2},
    "prelu": {"activation": "prelu"},
    "elu": {"activation": "elu"},
    "selu": {"activation": "selu"},
}


def activation(arm: dict[str, Any]) -> nn.Module:
    """A fresh activation layer of the arm."""
    if "slope" in arm:
        return nn.LeakyReLU(arm["slope"])
    return models.activation_layer(arm["activation"])


def splits(arm: dict[str, Any]) -> data.Splits:
    """The digits, standardized."""
    return data.load("digits").standardized()


def model(arm: dict[str, Any]) -> models.MLP:
    """The network, each layer at the weight scale that keeps the second moment of its own activation."""
    net = models.MLP((64, *[WIDTH] * arm["depth"], 10), activation=lambda: activation(arm))
    gain = 1.0
    for layer in (module for module in net.modules() if isinstance(module, nn.Linear)):
        nn.init.normal_(layer.weight, std=gain * layer.in_features**-0.5)
        nn.init.constant_(layer.bias, arm["bias"] if layer.out_features == WIDTH else 0.0)
        gain = calculate_gain(activation(arm))
    return net


def fit(arm: dict[str, Any]) -> dict[str, Any]:
    last = arm["updates"]
    looks = range(last // 20, last + 1, last // 20)
    return {"updates": last, "evaluate_at": looks, "batch_size": 50, "momentum": 0.0}


def forward(net: models.MLP, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The logits, and the pre-activations of every hidden layer."""
    seen, h = [], x.flatten(1)
    for name, layer in net.layers.named_children():
        h = layer(h)
        if name.startswith("linear"):
            seen.append(h)
    return seen[-1], seen[:-1]


def shares(net: models.MLP, part: data.Split) -> dict[str, float]:
    """Share of the hidden units that are positive for no example, and of those whose pre-activation has a
    gradient of exactly 0 on every example."""
    logits, seen = forward(net, part.x)
    # The sum over the examples, not the mean: the gradient of one example does not depend on their number.
    gradients = torch.autograd.grad(cross_entropy(logits, part.y, reduction="sum"), seen)
    silent = torch.cat([(z <= 0).all(0) for z in seen]).float().mean()
    dead = torch.cat([(gradient == 0).all(0) for gradient in gradients]).float().mean()
    return {"silent": float(silent), "dead": float(dead)}


@torch.no_grad()
def selection(net: models.MLP, part: data.Split) -> dict[str, float]:
    """Mean over the layers of Spearman's correlation between suppression and importance of the units.

    Suppression: share of the examples with a pre-activation of 0 or less. Importance: what `accuracy` and
    `loss` lose when the unit's output is set to 0; `loss_alive` leaves out the units that are silent on every
    example, `loss_mean` sets the output to its mean instead, which removes what it tells and keeps its level.
    """
    logits, seen = forward(net, part.x)
    accuracy, loss = _scores(logits[None], part.y)
    names, layers = zip(*net.layers.named_children(), strict=True)
    found: dict[str, list[float]] = {"accuracy": [], "loss": [], "loss_alive": [], "loss_mean": []}
    for number, z in enumerate(seen, start=1):
        place = names.index(f"act{number}")
        outputs, rest = layers[place](z), nn.Sequential(*layers[place + 1 :])
        suppressed = (z <= 0).float().mean(0)
        zero = _scores(_without_each(outputs, rest, torch.zeros(WIDTH)), part.y)
        mean = _scores(_without_each(outputs, rest, outputs.mean(0)), part.y)
        alive = suppressed < 1
        found["accuracy"].append(_spearman(suppressed, accuracy - zero[0]))
        found["loss"].append(_spearman(suppressed, zero[1] - loss))
        found["loss_alive"].append(_spearman(suppressed[alive], (zero[1] - loss)[alive]))
        found["loss_mean"].append(_spearman(suppressed, mean[1] - loss))
    return {key: sum(values) / len(values) for key, values in found.items()}


def _without_each(outputs: Tensor, rest: nn.Module, values: Tensor) -> Tensor:
    """The logits, (unit, example, class), with each unit's output in turn set to its constant in `values`."""
    each = torch.arange(WIDTH)
    copies = outputs.repeat(WIDTH, 1, 1)
    copies[each, :, each] = values[:, None]
    return rest(copies)


def _scores(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Accuracy and loss of each copy of logits."""
    losses = cross_entropy(logits.flatten(0, 1), y.repeat(len(logits)), reduction="none")
    return (logits.argmax(-1) == y).float().mean(-1), losses.view(len(logits), -1).mean(-1)


def _spearman(a: Tensor, b: Tensor) -> float:
    """Spearman's rank correlation; 0 where one side is constant, so that there is nothing to rank."""
    constant = len(a.unique()) < 2 or len(b.unique()) < 2
    return 0.0 if constant else float(stats.spearmanr(a.numpy(), b.numpy()).statistic)


@torch.no_grad()
def stack(arm: dict[str, Any], seed: int) -> dict[str, float]:
    """Mean and variance of the activations after 50 fresh layers of weight variance 1/n; at the input 1/2 and 9/4."""
    generator = torch.Generator().manual_seed(seed)
    f, n = activation(arm), 256
    h = 0.5 + 1.5 * torch.randn(256, n, generator=generator)
    for _ in range(50):
        h = f(h @ (torch.randn(n, n, generator=generator) / n**0.5))
    return {"stack_mean": float(h.mean()), "stack_variance": float(h.var())}


def measure(net: models.MLP, splits: data.Splits, arm: dict[str, Any], seed: int) -> dict[str, float]:
    """The shares at the start and at the end; for the plain start what the units matter, and the deep stack."""
    fresh = seeded(lambda: model(arm), seed)
    found = {f"{name}_start": share for name, share in shares(fresh, splits.train).items()}
    found |= shares(net, splits.train)
    if arm["bias"] == 0:
        found |= {f"trained_{key}": value for key, value in selection(net, splits.test).items()}
    if arm["bias"] == 0 and arm["updates"] > BRIEF:  # what no training changes
        found |= {f"untrained_{key}": value for key, value in selection(fresh, splits.test).items()}
        found |= stack(arm, seed)
    return found


EACH = {
    f"{start}-{name}": {**arm, "depth": depth, "bias": bias}
    for start, (depth, bias) in STARTS.items()
    for name, arm in FUNCTIONS.items()
}
ARMS = {name: EACH[name] | {"updates": updates} for name, updates in LONG.items()}
ARMS |= {f"{name} short": arm | {"updates": BRIEF} for name, arm in EACH.items()}
CLAIMS = dict.fromkeys(("leaky_0.01", "leaky_0.2"), "leaky-relu-prevents-dying-units") | dict.fromkeys(
    ("elu", "selu"), "leaky-elu-selu-were-made-against-dying-relu"
)


def _contrasts() -> tuple[Contrast, ...]:
    """Each function against ReLU, at each start and budget, and the budgets against each other."""
    pairs = [(f"{start}-{name}", f"{start}-relu", start, CLAIMS.get(name))
             for start in STARTS for name in FUNCTIONS if name != "relu"]  # fmt: skip
    long = [pair for pair in pairs if pair[0] in LONG]
    found = [Contrast(a, b, claim=claim, family=start) for a, b, start, claim in long]
    found += [Contrast(f"{a} short", f"{b} short", family=f"{start} short") for a, b, start, _ in pairs]
    found += [
        Contrast(a, b, against=(f"{a} short", f"{b} short"), family=f"{start}, budget") for a, b, start, _ in long
    ]
    elu = "elu-trains-better-than-leaky-and-reduces-bias"
    return (*found, Contrast("plain-elu", "plain-leaky_0.01", claim=elu, family="elu"))


STUDY = Study(
    arms=ARMS,
    rates=(0.01, 0.03, 0.1, 0.3),
    seeds=range(10),
    tuning_seeds=range(100, 110),
    short=tuple(name for name in ARMS if name.endswith("short")),
    splits=splits,
    model=model,
    measure=measure,
    fit=fit,
    contrasts=_contrasts(),
    quick={"seeds": range(2), "tuning_seeds": range(100, 101), "rates": (0.1, 0.3),
           "fit": {"updates": 20, "evaluate_at": (10, 20)}},
)  # fmt: skip
