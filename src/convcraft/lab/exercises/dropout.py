"""Checks of the exercises of the chapter "Dropout"."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache

import torch
from torch import Tensor, nn

from convcraft import dropout
from convcraft.lab import data
from convcraft.lab.exercises.framework import Check, Complaint, by_name
from convcraft.lab.exercises.kinds import digits, formula, takes
from convcraft.lab.randomness import forked
from convcraft.lab.training import evaluate, fit, seeded


@takes("p")
def mend_the_dropout(answer: Callable[[float], nn.Module]) -> Iterator[Complaint]:
    """A class or function p -> a dropout module."""
    layer, x = answer(0.8), torch.ones(400, 500)
    if not isinstance(layer, nn.Module):
        yield f"the function must return a module; got {type(layer).__name__}."
    with forked(0):
        y, again = layer.train()(x), layer(x)
        after = layer.eval()(x)
    if not torch.equal(after, x):
        yield "in evaluation mode the output must be the input: ask self.training."
    if torch.equal(y, again):
        yield "two passes in training mode have the same mask: draw a new one each time."
    if bool((y == y[:1]).all()):
        yield "all examples have the same mask: draw one for every element."
    zeros = float((y == 0).float().mean())
    if abs(zeros - 0.2) < 0.01:
        yield "a module with p = 0.8 must drop 80 %, and this one keeps as many."
    if abs(zeros - 0.8) > 0.01:
        yield f"of all elements {zeros:.0%} are zero at p = 0.8."
    mean = float(y.mean())
    if abs(mean - 1) > 0.05:
        yield f"the mean of the output is {mean:.2f} for an input of 1: divide by what is kept."


def _with_norm() -> nn.Sequential:
    """A network whose masks matter: the weights of its last layer are large."""
    last = nn.Linear(32, 10)
    with torch.no_grad():
        last.weight.mul_(6)
    layers = (nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), dropout.Dropout(0.5))
    return nn.Sequential(*layers, last)


@takes("model, x and samples")
def masks_on_norms_off(answer: Callable[[nn.Module, Tensor, int], Tensor]) -> str | None:
    """A function (model, x, samples) -> mean of the probabilities over masks, the model left as it was."""
    model, x = seeded(_with_norm, 0).eval(), data.load("digits").test.x[:50]
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with forked(0):
        got, other = answer(model, x, 200), answer(model, x, 200)
    if not isinstance(got, Tensor) or tuple(got.shape) != (50, 10):
        return "return one tensor of probabilities, a row of 10 for each example."
    if any(not torch.equal(before[key], value) for key, value in model.state_dict().items()):
        return "the running statistics of the batch normalization have changed: leave it in eval mode."
    if any(module.training for module in model.modules()):
        return "the model came in eval mode and left in training mode: put it back."
    if torch.equal(got, other):
        return "two calls give the same: the dropout layer is off."
    if not torch.allclose(got.sum(1), torch.ones(50), atol=1e-4):
        return "the rows do not sum to 1: average the probabilities, not the logits."
    with forked(1), torch.no_grad():
        drop = model.get_submodule("4").train()
        right = torch.stack([model(x).softmax(1) for _ in range(2000)]).mean(0)
        logits = torch.stack([model(x) for _ in range(2000)]).mean(0).softmax(1)
        drop.eval()
    far, near = float((got - right).abs().max()), float((got - logits).abs().max())
    if near < far and near < 0.1:
        return "that is the softmax of the mean logits; average the probabilities."
    return None if far < 0.1 else f"the probabilities are off by up to {far:.2f}."


def noise_that_cancels(answer: Tensor) -> str | None:
    """A 2x2 tensor of contributions whose channels (rows) add no noise to the sum when dropped whole."""
    given = torch.as_tensor(answer, dtype=torch.float64)
    if tuple(given.shape) != (2, 2):
        return f"expected a tensor of shape (2, 2), got {tuple(given.shape)}."
    if bool((given == 0).all()):
        return "where all contributions are zero, dropping values adds no noise either."
    if bool((given.sum(1).abs() < 1e-9).all()):
        return None
    if bool((given.sum(0).abs() < 1e-9).all()):
        return "rows are channels: the contributions of one row share a bit, not those of one column."
    return "what counts is the square of each channel's own sum: can it be zero?"


def _wide(p: float) -> nn.Sequential:
    """Twice 256 units with dropout behind each."""
    hidden = (nn.Linear(64, 256), nn.ReLU(), nn.Dropout(p), nn.Linear(256, 256), nn.ReLU(), nn.Dropout(p))
    return nn.Sequential(*hidden, nn.Linear(256, 10))


@cache
def _loss(p: float, rate: float) -> float:
    """Mean test loss over three seeds after 100 epochs on 100 digits."""
    losses = []
    for seed in range(3):
        splits = digits(100, seed)
        net = seeded(lambda: _wide(p), seed)
        fit(net, splits, epochs=100, learning_rate=rate, batch_size=32, seed=seed, progress=False, evaluate_at=())
        losses.append(evaluate(net, splits.test).loss)
    return sum(losses) / 3


def your_dropout(answer: Sequence[float]) -> str | None:
    """(drop rate, learning rate) that beat the same network without dropout at the better of two rates."""
    if not isinstance(answer, Sequence) or len(answer) != 2:
        return f"Give 2 numbers: the drop rate, the learning rate; got {answer!r}."
    drop, rate = (float(value) for value in answer)
    if not 0.01 <= drop < 1 or not 0 < rate <= 1:
        return "the drop rate must be from 0.01 to below 1, the learning rate above 0 and at most 1."
    gain = min(_loss(0.0, r) for r in {rate, 0.003}) - _loss(drop, rate)
    if gain >= 0.015:
        return None
    side = "below" if gain >= 0 else "above"
    return f"the test loss is {abs(gain):.3f} nats {side} that without dropout; 0.015 below is asked for."


def _noise(w: Tensor, x: Tensor) -> Tensor:
    return (w * x).square().sum()


_W, _X = torch.randn(2, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
_VARIANCE = 0.5 - 1 / (2 * math.pi)  # of relu(z), z ~ N(0, 1)

CHECKS: dict[str, Check] = by_name(mend_the_dropout, masks_on_norms_off, noise_that_cancels, your_dropout) | {
    "unit-variance": formula(
        lambda w, x, p: p / (1 - p) * _noise(w, x),
        [(_W, _X, p) for p in (0.2, 0.5, 0.9)],
        "the variance at p = {2}",
        (lambda w, x, p: p * (1 - p) * _noise(w, x), "divide the mask by 1 - p, which counts squared."),
        (lambda w, x, p: (1 - p) / p * _noise(w, x), "p and 1 - p have changed places: p is for dropping."),
        (lambda w, x, p: p / (1 - p) * (w @ x) ** 2, "the masks are independent: square first, then sum."),
        (lambda w, x, p: (p / (1 - p) * _noise(w, x)).sqrt(), "that is the standard deviation."),
    ),
    "dropout-as-ridge": formula(
        lambda n, p: n * p / (1 - p),
        [(50, 0.2), (200, 0.75)],
        "alpha for n = {}, p = {}",
        (lambda n, p: p / (1 - p), "Ridge sums over the examples: the column sums of x^2 are n."),
        (lambda n, p: n * p, "the mask is divided by 1 - p: the variance left is p / (1 - p)."),
        (lambda n, p: n * (1 - p) / p, "p and 1 - p have changed places: without dropout, no penalty."),
    ),
    "block-seeds": formula(
        lambda p, b: 1 - (1 - p) ** (1 / b**2),
        [(0.1, 1), (0.1, 7), (0.5, 3)],
        "the probability for p = {}, b = {}",
        (lambda p, b: p / b**2, f"blocks overlap: with 0.5 and 3, {1 - (1 - 0.5 / 9) ** 9:.0%} are dropped."),
        (lambda p, b: 1 - (1 - p) ** (1 / b), "a block of side b covers b^2 elements."),
        tolerance=1e-9,
    ),
    "mean-depth": formula(
        lambda L, last: L - last * (L + 1) / 2,
        [(1, 0.5), (10, 0.5), (54, 0.2)],
        "the expected number for L = {}, last = {}",
        (lambda L, last: L * (1 - last), "that drops every block with the rate of the last."),
        (lambda L, last: L * (1 - last / 2), "the mean of 1, 2, ..., L is (L + 1) / 2."),
    ),
    "relu-variance-shift": formula(
        lambda p: _VARIANCE / (_VARIANCE + p / (1 - p) * 0.5),
        [(0.0,), (0.2,), (0.5,)],
        "the ratio at p = {}",
        (lambda p: 1 + p / (1 - p) * 0.5 / _VARIANCE, "upside down: evaluation over training is below 1."),
        (lambda p: 1 - p, "so it would be for values of mean 0; the output of ReLU has a mean of 0.399."),
        tolerance=1e-4,
    ),
}
