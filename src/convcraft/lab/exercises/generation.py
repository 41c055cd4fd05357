"""Checks of the exercises of the chapter "Generation"."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from convcraft.lab.exercises.framework import Check, by_name, compare
from convcraft.lab.exercises.kinds import formula, takes
from convcraft.lab.randomness import forked

_RNG = np.random.default_rng(11)
_MEAN, _LOG_VARIANCE = _RNG.standard_normal((6, 3)), _RNG.standard_normal((6, 3))


def _kl(mean: Any, log_variance: Any) -> Any:
    return 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance).sum(-1)


def _total_mass(p: float) -> float:
    return (2 * p - 1) / (math.log(p) - math.log1p(-p))


@takes("mean and log_variance")
def draw_with_gradient(answer: Callable[..., Any]) -> str | None:
    """A function of mean and log-variance (tensors) -> draws, whose gradient reaches both."""
    mean, log_variance = (torch.full((20_000, 2), v, requires_grad=True) for v in (0.5, -1.0))
    with forked(0):
        z = answer(mean, log_variance)
    if not isinstance(z, torch.Tensor) or z.shape != mean.shape:
        return "the function must return a tensor of draws with the shape of mean."
    spread = float(z.detach().std())
    if abs(float(z.detach().mean()) - 0.5) > 0.03:
        return "the draws do not have the mean that was given."
    if abs(spread - math.exp(-0.5)) > 0.02:
        known = {math.exp(-1): "exp(log_variance) is the variance, not the standard deviation."}
        near = [why for value, why in known.items() if abs(spread - value) < 0.02]
        return near[0] if near else f"the standard deviation of the draws is {spread:.2f}, not exp(-1/2)."
    if not z.requires_grad:
        return "no gradient reaches the encoder: the draws are cut off from mean and log_variance."
    z.square().sum().backward()
    if mean.grad is None or not mean.grad.any():
        return "the gradient with respect to mean is zero: the draw itself must be written as a formula."
    if log_variance.grad is None or not log_variance.grad.any():
        return "the gradient with respect to log_variance is zero: scale noise that does not depend on it."
    return compare(mean.grad, 2 * z.detach(), "the gradient of the sum of squares with respect to mean")


CHECKS: dict[str, Check] = by_name(draw_with_gradient) | {
    "kl-by-hand": formula(
        _kl,
        [(_MEAN, _LOG_VARIANCE)],
        "the divergence of each row",
        (lambda m, v: 2 * _kl(m, v), "the factor of one half is missing."),
        (lambda m, v: 0.5 * (m**2 + v - 1 - np.log(np.abs(v))).sum(-1), "log_variance is a logarithm already."),
        (lambda m, v: _kl(m, 2 * v), "exp(log_variance) is the variance, not the standard deviation."),
        (lambda m, v: _kl(m, v).mean(), "one number for each row."),
    ),
    "grey-pixels": formula(
        _total_mass,
        [(0.1,), (0.3,), (0.9,)],
        "the integral at p = {0}",
        (lambda p: 1.0, "that is the sum over a pixel that is 0 or 1; a grey one takes all values between."),
        (lambda p: -_total_mass(p), "the sign is wrong: an integral of positive values is positive."),
        (lambda p: 1 / _total_mass(p), "that is the factor by which to multiply, to make it 1."),
    ),
    "hidden-deviation": formula(
        lambda pixels: math.sqrt(pixels / 2),
        [(64,), (196,), (784,)],
        "the standard deviation for {0} pixels",
        (lambda n: n / 2, "that is the variance."),
        (lambda n: math.sqrt(n), "the square in the density is divided by 2 sigma^2, not by sigma^2."),
        (lambda n: math.sqrt(2 / n), "upside down: a small weight of the error belongs to a large deviation."),
        (lambda n: math.sqrt(0.5), "that belongs to the sum over the pixels; here it is the mean."),
    ),
}
