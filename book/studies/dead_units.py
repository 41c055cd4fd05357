"""Dead units: how many die when death is provoked, what prevents it, and whether silence selects.

Varied: the activation (ReLU, Leaky ReLU at slopes 0.01 and 0.2, PReLU, ELU, SELU) in a fully connected
network, and the start: `plain` (six hidden layers, biases 0), `forced` (six hidden layers, every hidden bias
-3, so that nearly every unit is negative for every example) or `shallow` (forced, with two hidden layers).
The learning rate goes up to 1 and beyond; training is plain gradient descent, without momentum, so that
nothing but the gradient can bring a unit back.

Measured, after every epoch and on all 1000 training examples: the share of hidden units that are silent
(never positive); at the start and at the end: the share that are dead (the gradient of the loss with respect
to their pre-activation is exactly 0 on every example). For the plain start, after training: the rank
correlation between how often a unit is suppressed and how much accuracy and loss suffer when it is removed,
beside the same of the untrained network; and mean and variance through 50 fresh layers of weight variance
1/n. Every rate is trained on ten tuning seeds, so that the shares at rate 1 stand in the tuning runs with an
interval of their own.

Reduced, to finish in minutes on two cores: digits alone, layers of 64 units, 12 epochs.
"""

from __future__ import annotations

from typing import Any

import torch
from scipy import stats
from torch import Tensor, nn

from convcraft.initialization import calculate_gain
from convcraft.lab import data, models
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.training import Evaluation, evaluate, fit, seeded

WIDTH, EPOCHS = 64, 12
STARTS = {"plain": (6, 0.0), "forced": (6, -3.0), "shallow": (2, -3.0)}  # hidden layers, their biases
STACK = (10, 20, 30, 40, 50)  # the layers of the deep stack that are recorded
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


def network(arm: dict[str, Any]) -> models.MLP:
    """The network, each layer at the weight scale that keeps the second moment of its own activation."""
    net = models.MLP((64, *[WIDTH] * arm["depth"], 10), activation=lambda: activation(arm))
    gain = 1.0
    for layer in (module for module in net.modules() if isinstance(module, nn.Linear)):
        nn.init.normal_(layer.weight, std=gain * layer.in_features**-0.5)
        nn.init.constant_(layer.bias, arm["bias"] if layer.out_features == WIDTH else 0.0)
        gain = calculate_gain(activation(arm))
    return net


def hidden(net: models.MLP, kind: str) -> list[nn.Module]:
    """The hidden layers called linear1, linear2, ... or act1, act2, ..., from input to output."""
    return [net.layers.get_submodule(f"{kind}{number}") for number in range(1, len(net.widths) - 1)]


def forward(net: models.MLP, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The logits, and the pre-activations of every hidden layer."""
    seen: list[Tensor] = []
    layers = hidden(net, "linear")
    hooks = [layer.register_forward_hook(lambda *call: seen.append(call[2])) for layer in layers]
    try:
        return net(x), seen
    finally:
        for hook in hooks:
            hook.remove()


def silent(net: models.MLP, part: data.Split) -> float:
    """Share of hidden units that are positive for no example."""
    with torch.no_grad():
        _, seen = forward(net, part.x)
    return float(torch.cat([(z <= 0).all(0) for z in seen]).float().mean())


def dead(net: models.MLP, part: data.Split) -> float:
    """Share of hidden units whose pre-activation has a gradient of exactly 0 on every example."""
    logits, seen = forward(net, part.x)
    # The sum over the examples, not the mean: the gradient of one example does not depend on their number.
    loss = nn.functional.cross_entropy(logits, part.y, reduction="sum")
    gradients = torch.autograd.grad(loss, seen)
    return float(torch.cat([(gradient == 0).all(0) for gradient in gradients]).float().mean())


def selection(net: models.MLP, part: data.Split) -> dict[str, float]:
    """Mean over the layers of Spearman's correlation between suppression and importance of the units.

    Suppression: share of the examples with a pre-activation of 0 or less. Importance: what `accuracy` and
    `loss` lose when the unit's output is set to 0; `loss_alive` leaves out the units that are silent on every
    example, `loss_mean` sets the output to its mean instead, which removes what it tells and keeps its level.
    """
    whole = evaluate(net, part)
    with torch.no_grad():
        _, seen = forward(net, part.x)
    found: dict[str, list[float]] = {"accuracy": [], "loss": [], "loss_alive": [], "loss_mean": []}
    for z, layer in zip(seen, hidden(net, "act"), strict=True):
        suppressed = (z <= 0).float().mean(0)
        zero = [_ablated(net, layer, unit, part, 0.0) for unit in range(z.shape[1])]
        with torch.no_grad():
            means = layer(z).mean(0).tolist()
        mean = [_ablated(net, layer, unit, part, means[unit]) for unit in range(z.shape[1])]
        loss = torch.tensor([result.loss - whole.loss for result in zero])
        alive = suppressed < 1
        found["accuracy"].append(_spearman(suppressed, [whole.accuracy - result.accuracy for result in zero]))
        found["loss"].append(_spearman(suppressed, loss))
        found["loss_alive"].append(_spearman(suppressed[alive], loss[alive]))
        found["loss_mean"].append(_spearman(suppressed, [result.loss - whole.loss for result in mean]))
    return {key: sum(values) / len(values) for key, values in found.items()}


def _spearman(a: Any, b: Any) -> float:
    """Spearman's rank correlation; 0 where one side is constant, so that there is nothing to rank."""
    a, b = torch.as_tensor(a), torch.as_tensor(b)
    constant = len(a.unique()) < 2 or len(b.unique()) < 2
    return 0.0 if constant else float(stats.spearmanr(a.numpy(), b.numpy()).statistic)


def _ablated(net: nn.Module, layer: nn.Module, unit: int, part: data.Split, value: float) -> Evaluation:
    """The evaluation with one unit's output set to a constant."""

    def remove(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output.index_fill(1, torch.tensor([unit]), value)

    hook = layer.register_forward_hook(remove)
    try:
        return evaluate(net, part)
    finally:
        hook.remove()


def stack(arm: dict[str, Any], seed: int, mean: float, spread: float) -> dict[str, list[float]]:
    """Mean and variance of the activations at the layers of STACK, in fresh layers of weight variance 1/n."""
    generator = torch.Generator().manual_seed(seed)
    f, n = activation(arm), 256
    h = mean + spread * torch.randn(256, n, generator=generator)
    means, variances = [], []
    for number in range(1, max(STACK) + 1):
        with torch.no_grad():
            h = f(h @ (torch.randn(n, n, generator=generator) / n**0.5))
        if number in STACK:
            means.append(float(h.mean()))
            variances.append(float(h.var()))
    return {"mean": means, "variance": variances}


def run(arm: dict[str, Any], rate: float, seed: int, splits: data.Splits, final: bool) -> dict[str, Any]:
    """Train one network epoch by epoch and count its silent and dead units."""
    net = seeded(lambda: network(arm), seed)
    record: dict[str, Any] = {"dead_start": dead(net, splits.train), "silent": [silent(net, splits.train)]}
    record |= {"train_loss": [], "validation_loss": [], "validation_accuracy": []}
    looks_inside = final and arm["bias"] == 0
    if looks_inside:
        record |= {f"untrained_{key}": value for key, value in selection(net, splits.test).items()}
    for epoch in range(EPOCHS):
        how = {"epochs": 1, "batch_size": 50, "momentum": 0.0, "progress": False}
        history = fit(net, splits, learning_rate=rate, seed=1000 * seed + epoch, **how)
        for key in ("train_loss", "validation_loss", "validation_accuracy"):
            record[key] += getattr(history, key)
        record["silent"].append(silent(net, splits.train))
    record |= {"dead": dead(net, splits.train), "silent_end": record["silent"][-1]}
    if final:
        measured = evaluate(net, splits.test)
        record |= {"test_accuracy": measured.accuracy, "test_loss": measured.loss}
    if looks_inside:
        record |= {f"trained_{key}": value for key, value in selection(net, splits.test).items()}
        for name, mean, spread in (("stack", 0.0, 1.0), ("shifted_stack", 0.5, 1.5)):
            record |= {f"{name}_{key}": values for key, values in stack(arm, seed, mean, spread).items()}
    return record


def _contrasts() -> tuple[Contrast, ...]:
    claim = "leaky-relu-prevents-dying-units"
    return tuple(
        Contrast(
            f"{start}-{name}",
            f"{start}-relu",
            measure="test_accuracy",
            claim=claim,
            margin=0.01,
            family=start,
        )
        for start in STARTS
        for name in FUNCTIONS
        if name != "relu"
    )


STUDY = Study(
    arms={
        f"{start}-{name}": {**arm, "depth": depth, "bias": bias}
        for start, (depth, bias) in STARTS.items()
        for name, arm in FUNCTIONS.items()
    },
    rates=(0.01, 0.03, 0.1, 0.3, 1.0, 3.0),
    seeds=range(10),
    tuning_seeds=range(100, 110),
    splits=splits,
    run=run,
    contrasts=_contrasts(),
    quick={"seeds": range(2), "tuning_seeds": range(100, 101), "rates": (0.1, 1.0)},
)
