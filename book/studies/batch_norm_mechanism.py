"""Why batch normalization speeds training up: noise put back after it.

The test of Santurkar, Tsipras, Ilyas and Madry (2018), How Does Batch Normalization Help Optimization?: if
batch normalization (BN) works by keeping the distributions inside the network still, then noise after it that
moves them at every step must take the gain away.

Varied: two ReLU networks with He initialization (a perceptron of ten hidden layers; four convolutions and two
dense layers), each plain, with BN before every activation, and with BN followed by noise. At each step each
unit draws a mean from U(-a, a) and a scale from U(1, b); each example then gets scale + 0.1 N(0, 1) times its
value, plus mean + U(-0.1, 0.1). Weak noise: a = 0.5, b = 1.25; strong noise: a = 1, b = 1.5.
The learning rate is the one that reaches the target soonest on the tuning seeds.

Measured: updates until 95 % of 400 training images are right (population statistics, the noise replaced by
its mean; looked at every second update), where training ends, but not before 128 updates; shift, the change of mean
and standard deviation of every activation's input over one update, in standard deviations; gradient_shift, how far
the gradient of a layer's weights turns when the layers below it are updated first (relative length of the difference,
the paper's measure of internal covariate shift); gradient_change, how far the gradient of the whole network turns
after a step of 0.1 along itself (the rival explanation: a smoother loss). The shifts are means over updates 4, 8, 16,
32, 64 and 128.

The claim is about speed, so the protocol's updates to a stated level hold in place of a long budget; a run that has
not got there after 384 updates counts with these.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from convcraft.initialization import kaiming_normal_
from convcraft.lab import data
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.experiments.score import last_quarter
from convcraft.lab.randomness import batch_orders, forked, stream
from convcraft.normalization import BatchNorm1d, BatchNorm2d

BATCH, UPDATES, EVERY, TARGET = 64, 384, 2, 0.95
WATCHED = (4, 8, 16, 32, 64, 128)


class Noise(nn.Module):
    """A random mean and scale of its own for every unit at every step; their means in evaluation mode."""

    def __init__(self, mean: float, scale: float) -> None:
        super().__init__()
        self.mean, self.scale, self.still = mean, scale, False

    def forward(self, x: Tensor) -> Tensor:
        if self.still or not self.training:
            return x * (1 + self.scale) / 2
        unit = (1, x.shape[1]) + (1,) * (x.ndim - 2)
        mean = self.mean * (2 * torch.rand(unit) - 1)
        scale = 1 + (self.scale - 1) * torch.rand(unit)
        return x * (scale + 0.1 * torch.randn_like(x)) + mean + 0.1 * (2 * torch.rand_like(x) - 1)


def block(linear: nn.Module, width: int, arm: dict) -> list[nn.Module]:
    """A linear layer or convolution, what normalizes it, the noise and the activation.

    BN has momentum 1: its running statistics are those of the last batch that it has seen in training mode.
    """
    layers: list[nn.Module] = [linear]
    if arm["bn"]:
        norm = BatchNorm2d if isinstance(linear, nn.Conv2d) else BatchNorm1d
        layers.append(norm(width, momentum=1.0))
    if "noise" in arm:
        layers.append(Noise(*arm["noise"]))
    return [*layers, nn.ReLU()]


def model(arm: dict) -> nn.Sequential:
    layers: list[nn.Module] = []
    if arm["net"] == "deep":
        layers.append(nn.Flatten())
        for _ in range(10):
            layers += block(nn.Linear(64, 64), 64, arm)
        layers.append(nn.Linear(64, 10))
    else:
        for before, after in ((1, 8), (8, 8), (8, 16), (16, 16)):
            layers += block(nn.Conv2d(before, after, 3, padding=1), after, arm)
            layers += [nn.MaxPool2d(2)] if before == after else []
        layers += [nn.Flatten(), *block(nn.Linear(64, 32), 32, arm), nn.Linear(32, 10)]
    net = nn.Sequential(*layers)
    for layer in weighted(net):
        kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    return net


def weighted(net: nn.Module) -> list:
    return [layer for layer in net if isinstance(layer, (nn.Linear, nn.Conv2d))]


def accuracy(net: nn.Module, train: data.Split, other: data.Split | None = None) -> tuple[float, float]:
    """Accuracy and loss, after one pass over `train` has set all statistics, with the noise at its mean."""
    noises = [layer for layer in net if isinstance(layer, Noise)]
    for noise in noises:
        noise.still = True
    with torch.no_grad():
        logits, y = net.train()(train.x), train.y
        if other is not None:
            logits, y = net.eval()(other.x), other.y
    net.train()
    for noise in noises:
        noise.still = False
    return float((logits.argmax(1) == y).float().mean()), float(cross_entropy(logits, y))


def moments(net: nn.Module, x: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Mean and standard deviation of every unit's input to its activation, in training mode."""
    found = []
    with torch.no_grad():
        for layer in net:
            if isinstance(layer, nn.ReLU):
                units = x.transpose(0, 1).flatten(1)
                found.append((units.mean(1), units.std(1, correction=0)))
            x = layer(x)
    return found


def shift(before: list, after: list) -> float:
    changes = [
        (((m1 - m0) ** 2 + (s1 - s0) ** 2).sqrt() / ((s0 + s1) / 2).clamp_min(1e-6)).mean()
        for (m0, s0), (m1, s1) in zip(before, after, strict=True)
    ]
    return float(torch.stack(changes).mean())


def gradients(net: nn.Module, x: Tensor, y: Tensor) -> list[Tensor]:
    """Gradients of the weights, one flat tensor a layer."""
    net.zero_grad()
    cross_entropy(net(x), y).backward()
    return [layer.weight.grad.flatten().clone() for layer in weighted(net)]


def relative(change: list[Tensor], start: list[Tensor]) -> float:
    return float(torch.cat(change).norm() / torch.cat(start).norm().clamp_min(1e-12))


def internal_shift(old: nn.Module, new: nn.Module, x: Tensor, y: Tensor) -> float:
    """How the gradient of each layer changes when the layers below it are already updated."""
    start, net = gradients(old, x, y), copy.deepcopy(old)
    lengths: list[float] = []
    layers = list(net)
    position = 0
    for number, layer in enumerate(weighted(net)):
        while layers[position] is not layer:
            layers[position].load_state_dict(list(new)[position].state_dict())
            position += 1
        if number:
            gradient = gradients(net, x, y)[number]
            lengths.append(relative([gradient - start[number]], [start[number]]))
    return sum(lengths) / len(lengths)


def gradient_change(net: nn.Module, x: Tensor, y: Tensor, step: float = 0.1) -> float:
    """Relative change of the gradient after a step along itself."""
    net = copy.deepcopy(net)
    start = gradients(net, x, y)
    with torch.no_grad():
        for p in net.parameters():
            p -= step * p.grad
    return relative([b - a for a, b in zip(start, gradients(net, x, y), strict=True)], start)


def run(arm: dict, rate: float, seed: int, splits: data.Splits, final: bool) -> dict:
    """Train until the target; in the final phase watch the shifts, which takes 128 updates at least."""
    with forked(seed):
        net = model(arm)
    optimizer = torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9)
    probe, seen, losses, reached = splits.train.subset(400, seed=0), [], [], None
    with forked(stream(seed, "noise")):
        batches = (rows for order in batch_orders(len(splits.train), seed) for rows in order.split(BATCH))
        for update, rows in zip(range(1, UPDATES + 1), batches, strict=False):
            x, y = splits.train.x[rows], splits.train.y[rows]
            watched = final and update in WATCHED
            if watched:
                old, start = copy.deepcopy(net), moments(net, probe.x)
            optimizer.zero_grad()
            cross_entropy(net(x), y).backward()
            optimizer.step()
            if watched:
                turn = gradient_change(old, x, y)
                seen.append((shift(start, moments(net, probe.x)), internal_shift(old, net, x, y), turn))
            if reached is None and update % EVERY == 0 and accuracy(net, probe)[0] >= TARGET:
                reached = update
            if final and update % 16 == 0:
                losses.append(float(f"{accuracy(net, splits.train, splits.validation)[1]:.4g}"))
            if reached and (not final or update >= WATCHED[-1]):
                break
        result = {"updates_to_target": reached or UPDATES, "reached": reached is not None}
        if final:
            means = [sum(column) / len(seen) for column in zip(*seen, strict=True)]
            result |= dict(zip(("shift", "gradient_shift", "gradient_change"), means, strict=True))
            result |= {"updates": update, "last_quarter": last_quarter(losses, range(1, len(losses) + 1))}
        else:
            loss = accuracy(net, splits.train, splits.validation)[1]
            result["validation_loss"] = float(f"{loss:.4g}")
    return result


def splits(arm: dict) -> data.Splits:
    return data.load("digits").standardized()


KINDS = {
    "plain": {"bn": False},
    "bn": {"bn": True},
    "noise": {"bn": True, "noise": (0.5, 1.25)},
    "strong_noise": {"bn": True, "noise": (1.0, 1.5)},
}
CLAIM = "bn-works-by-reducing-internal-covariate-shift"

ARMS = {f"{net}_{kind}": {"net": net, **more} for net in ("deep", "conv") for kind, more in KINDS.items()}

STUDY = Study(
    arms=ARMS,
    rates=(0.01, 0.03, 0.1, 0.3),
    short=tuple(ARMS),  # they stop at the target
    splits=splits,
    run=run,
    select=("updates_to_target", "min"),
    contrasts=tuple(
        Contrast(f"{net}_{a}", f"{net}_{b}", measure=measure, claim=CLAIM, family=measure)
        for measure in ("updates_to_target", "shift", "gradient_shift", "gradient_change")
        for net in ("deep", "conv")
        for a, b in (("bn", "plain"), ("noise", "bn"), ("noise", "plain"), ("strong_noise", "bn"))
    ),
    quick={"seeds": range(2), "tuning_seeds": range(100, 101), "rates": (0.01,)},
)
