"""Checks of the exercises of the chapter "Dropout"."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from convcraft import dropout
from convcraft.lab import data, models
from convcraft.lab.exercises.framework import Check, compare, needs_function
from convcraft.lab.randomness import forked
from convcraft.lab.training import evaluate, fit, seeded


def keep_or_drop(answer: Sequence[float]) -> str | None:
    """Shares kept by nn.Dropout(0.9), by the sample of article a5 with p = 0.9, and by a paper's p = 0.9."""
    if len(tuple(answer)) != 3:
        return "expected three shares of units that are kept: torch, the article's function, the paper."
    torch_keeps, article, paper = (float(value) for value in answer)
    if math.isclose(torch_keeps, 0.9):
        return "torch's p is the probability of dropping: nn.Dropout(0.9) keeps little."
    if wrong := compare(torch_keeps, 0.1, "the share that nn.Dropout(0.9) keeps"):
        return wrong
    if math.isclose(article, 0.1):
        return "the article's mask is 1, not 0, with probability p."
    if wrong := compare(article, 0.9, "the share that the article's function keeps"):
        return wrong
    if math.isclose(paper, 0.1):
        return "in Srivastava et al. (2014) p is the probability of retaining a unit."
    return compare(paper, 0.9, "the share that the paper's p = 0.9 keeps")


def unit_variance(answer: Callable[[Tensor, Tensor, float], Tensor]) -> str | None:
    """A function (w, x, p) -> variance of sum_i w_i m_i x_i / (1 - p) over the masks."""
    if wrong := needs_function(answer, "w, x and p"):
        return wrong
    g = torch.Generator().manual_seed(0)
    w, x = (torch.randn(12, generator=g, dtype=torch.float64) for _ in range(2))
    squares = float((w * x).square().sum())
    for p in (0.2, 0.5, 0.9):
        got = float(torch.as_tensor(answer(w, x, p)))
        if math.isclose(got, p * (1 - p) * squares, rel_tol=1e-6):
            return "that is the variance without the division by 1 - p, which counts squared."
        if math.isclose(got, (1 - p) / p * squares, rel_tol=1e-6) and p != 0.5:
            return "p is the probability of dropping: p and 1 - p have changed places."
        if math.isclose(got, p / (1 - p) * float(w @ x) ** 2, rel_tol=1e-6):
            return "the masks are independent, so that variances add up: square first, then sum."
        if math.isclose(got, math.sqrt(p / (1 - p) * squares), rel_tol=1e-6):
            return "that is the standard deviation."
        if wrong := compare(got, p / (1 - p) * squares, f"the variance at p = {p}", tolerance=1e-6):
            return wrong
    return None


def dropout_as_ridge(answer: Callable[[int, float], float]) -> str | None:
    """A function (n, p) -> alpha of Ridge for features of mean square 1."""
    if wrong := needs_function(answer, "n and p"):
        return wrong
    for n, p in ((50, 0.2), (200, 0.75)):
        got = float(answer(n, p))
        if math.isclose(got, p / (1 - p)):
            return "Ridge minimizes the sum of squares over the examples: the column sums of x^2 are n."
        if math.isclose(got, n * p):
            return "the mask is divided by 1 - p: what is left of the variance is p / (1 - p)."
        if math.isclose(got, n * (1 - p) / p):
            return "p and 1 - p have changed places: without dropout the penalty must vanish."
        if wrong := compare(got, n * p / (1 - p), f"alpha for n = {n}, p = {p}"):
            return wrong
    return None


def block_seeds(answer: Callable[[float, int], float]) -> str | None:
    """A function (p, b) -> probability of a b x b block at each place, for a share p of dropped elements."""
    if wrong := needs_function(answer, "p and b"):
        return wrong
    for p, b in ((0.1, 1), (0.1, 7), (0.5, 3)):
        got, right = float(answer(p, b)), 1 - (1 - p) ** (1 / b**2)
        if b > 1 and math.isclose(got, p / b**2):
            return (
                "p / b^2 counts an element twice where blocks overlap: "
                f"at p = 0.5 and b = 3 it drops {1 - (1 - 0.5 / 9) ** 9:.0%} instead of 50 %."
            )
        if b > 1 and math.isclose(got, 1 - (1 - p) ** (1 / b)):
            return "a block of side b covers b^2 elements."
        if wrong := compare(got, right, f"the probability for p = {p}, b = {b}", tolerance=1e-9):
            return wrong
    return None


def mean_depth(answer: Callable[[int, float], float]) -> str | None:
    """A function (L, last) -> expected number of kept branches, block l dropped with l / L * last."""
    if wrong := needs_function(answer, "L and last"):
        return wrong
    for blocks, last in ((1, 0.5), (10, 0.5), (54, 0.2)):
        got, right = float(answer(blocks, last)), blocks - last * (blocks + 1) / 2
        if math.isclose(got, blocks * (1 - last)) and blocks > 1:
            return "that is the number if every block were dropped with the rate of the last."
        if math.isclose(got, blocks * (1 - last / 2)):
            return "the mean of 1, 2, ..., L is (L + 1) / 2."
        if wrong := compare(got, right, f"the expected number for L = {blocks}, last = {last}"):
            return wrong
    return None


def relu_variance_shift(answer: Callable[[float], float]) -> str | None:
    """A function p -> variance in evaluation over variance in training of dropout(relu(z)), z ~ N(0, 1)."""
    if wrong := needs_function(answer, "p"):
        return wrong
    variance = 0.5 - 1 / (2 * math.pi)
    for p in (0.0, 0.2, 0.5):
        got, right = float(answer(p)), variance / (variance + p / (1 - p) * 0.5)
        if p and math.isclose(got, 1 / right, rel_tol=1e-6):
            return "upside down: evaluation over training is below 1."
        if p and math.isclose(got, 1 - p, rel_tol=1e-6):
            return "that would be so for values of mean 0; the output of ReLU has a mean of 0.399."
        if p and math.isclose(got, variance / (variance + p / (1 - p) * variance), rel_tol=1e-6):
            return "the noise is p / (1 - p) times the mean square of the output, not its variance."
        if wrong := compare(got, right, f"the ratio at p = {p}", tolerance=1e-4):
            return wrong
    return None


def mend_the_dropout(answer: Callable[[float], nn.Module]) -> str | None:
    """A class or function p -> a dropout module."""
    if wrong := needs_function(answer, "p"):
        return wrong
    layer, x = answer(0.8), torch.ones(400, 500)
    if not isinstance(layer, nn.Module):
        return f"the function must return a module; got {type(layer).__name__}."
    with forked(0):
        y, again = layer.train()(x), layer(x)
        after = layer.eval()(x)
    if not torch.equal(after, x):
        return "in evaluation mode the output must be the input: ask self.training."
    if torch.equal(y, again):
        return "two passes in training mode have the same mask: draw a new one each time."
    if bool((y == y[:1]).all()):
        return "all examples have the same mask: draw one for every element."
    zeros = float((y == 0).float().mean())
    if abs(zeros - 0.2) < 0.01:
        return "a module with p = 0.8 must drop 80 %, and this one keeps as many."
    if abs(zeros - 0.8) > 0.01:
        return f"of all elements {zeros:.0%} are zero at p = 0.8."
    mean = float(y.mean())
    if abs(mean - 1) > 0.05:
        return f"the mean of the output is {mean:.2f} for an input of 1: divide by what is kept."
    return None


def _with_norm() -> nn.Sequential:
    """A network whose masks matter: the weights of its last layer are large."""
    last = nn.Linear(32, 10)
    with torch.no_grad():
        last.weight.mul_(6)
    layers = (nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), dropout.Dropout(0.5))
    return nn.Sequential(*layers, last)


def masks_on_norms_off(answer: Callable[[nn.Module, Tensor, int], Tensor]) -> str | None:
    """A function (model, x, samples) -> mean of the probabilities over masks, the model left as it was."""
    if wrong := needs_function(answer, "model, x and samples"):
        return wrong
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


def your_dropout(answer: Callable[[data.Splits, int], nn.Module]) -> str | None:
    """A function (splits, seed) -> a network trained on 100 digits, better by 0.05 nats than without."""
    if wrong := needs_function(answer, "splits and seed"):
        return wrong
    digits, gains = data.load("digits"), []
    for seed in range(3):
        splits = replace(digits, train=digits.train.subset(100, seed=seed)).standardized().flattened()
        withheld = replace(splits, test=data.Split(splits.test.x[:0], splits.test.y[:0]))
        plain = seeded(lambda: models.MLP((64, 256, 256, 10)), seed)
        fit(plain, splits, epochs=100, learning_rate=0.05, batch_size=32, seed=seed, progress=False)
        found = answer(withheld, seed)
        if not isinstance(found, nn.Module):
            return f"the function must return the trained network; got {type(found).__name__}."
        if not any(isinstance(layer, DROPS) and layer.p > 0 for layer in found.modules()):
            return "the network has no dropout layer with p > 0."
        gains.append(evaluate(plain, splits.test).loss - evaluate(found.eval(), splits.test).loss)
    gain = sum(gains) / 3
    if not gain >= 0.05:
        return f"the test loss is {gain:.3f} nats below that without dropout; 0.05 is asked for."
    return None


DROPS = (
    nn.modules.dropout._DropoutNd,
    dropout.GaussianDropout,
    dropout.DropBlock2d,
    dropout.DropPath,
)


CHECKS: dict[str, Check] = {
    "keep-or-drop": keep_or_drop,
    "unit-variance": unit_variance,
    "dropout-as-ridge": dropout_as_ridge,
    "block-seeds": block_seeds,
    "mean-depth": mean_depth,
    "relu-variance-shift": relu_variance_shift,
    "mend-the-dropout": mend_the_dropout,
    "masks-on-norms-off": masks_on_norms_off,
    "your-dropout": your_dropout,
}
