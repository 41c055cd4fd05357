"""Checks of the exercises of the chapter "L1 and L2 penalties"."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convcraft.lab import data, models
from convcraft.lab.exercises.framework import Check, compare, needs_function
from convcraft.lab.training import evaluate, fit, seeded


def half_life(answer: float) -> str | None:
    """Steps until a weight has halved at rate 0.1 and weight_decay 0.01."""
    slips = {
        69: "one step multiplies by 1 - rate * weight_decay, not by 1 - weight_decay.",
        692: "after 692 steps it is still a little larger than half.",
        347: "weight_decay already is twice lambda: the factor is 1 - 0.1 * 0.01.",
    }
    if answer in slips:
        return slips[int(answer)]
    return compare(answer, 693, "the number of steps")


def penalty_dialects(answer: Sequence[float]) -> str | None:
    """weight_decay of SGD and alpha of Ridge for a mean squared error of 80 examples plus 0.003 sum w^2."""
    if len(tuple(answer)) != 2:
        return "expected two numbers: weight_decay and alpha."
    decay, alpha = answer
    if math.isclose(decay, 0.003) or math.isclose(decay, 0.0015):
        return "weight_decay is what multiplies w in the gradient: differentiate 0.003 w^2."
    if wrong := compare(decay, 0.006, "the weight_decay"):
        return wrong
    if math.isclose(alpha, 0.003):
        return "Ridge minimizes the sum of squares, not their mean: multiply the objective by 80."
    return compare(alpha, 0.24, "the alpha")


def elastic_prox(answer: Callable[[Tensor, float, float], Tensor]) -> str | None:
    """A function (u, a, b) -> argmin of (v - u)^2 / 2 + a |v| + b v^2."""
    if wrong := needs_function(answer, "u, a and b"):
        return wrong
    u = torch.linspace(-3, 3, 25, dtype=torch.float64)
    for a, b in ((0.0, 0.5), (1.0, 0.0), (0.8, 0.7)):
        got = torch.as_tensor(answer(u, a, b), dtype=torch.float64)
        right = u.sign() * (u.abs() - a).clamp(min=0) / (1 + 2 * b)
        if torch.allclose(got, right, atol=1e-9):
            continue
        if torch.allclose(got, u.sign() * (u.abs() - a).clamp(min=0) / (1 + b), atol=1e-9):
            return "the derivative of b v^2 is 2 b v: the 2 is missing."
        if torch.allclose(got, u.sign() * (u.abs() / (1 + 2 * b) - a).clamp(min=0), atol=1e-9):
            return "the order matters: the threshold comes first, then the shrinkage."
        return compare(got.numpy(), right.numpy(), f"the minimizer for a = {a}, b = {b}", tolerance=1e-9)
    return None


def early_stopping(answer: Callable[[float, float, int], float]) -> str | None:
    """A function (h, rate, steps) -> lambda that keeps the same share as so many steps from 0."""
    if wrong := needs_function(answer, "h, rate and steps"):
        return wrong
    for h, rate, steps in ((1.0, 0.1, 10), (0.2, 0.5, 3), (3.0, 0.1, 1)):
        w = 0.0
        for _ in range(steps):
            w -= rate * h * (w - 1)
        got = answer(h, rate, steps)
        if math.isclose(got, h * (1 - w) / w):
            return "twice too large: the penalty is lambda w^2, whose second derivative is 2 lambda."
        if wrong := compare(got, h * (1 - w) / (2 * w), f"lambda for h = {h}, rate {rate}, {steps} steps"):
            return wrong
    return None


def effective_rate(answer: Callable[[float, float, float], float]) -> str | None:
    """A function (rate, decay, G) -> the effective rate at which growth and decay balance."""
    if wrong := needs_function(answer, "rate, decay and G"):
        return wrong
    for rate, decay, size in ((0.1, 0.01, 1.0), (0.4, 0.001, 1.0), (0.1, 0.01, 2.0)):
        got, right = answer(rate, decay, size), math.sqrt(2 * rate * decay) / size
        if math.isclose(got, size * math.sqrt(rate / (2 * decay))):
            return "that is the squared norm; the effective rate is the learning rate over it."
        if math.isclose(got, math.sqrt(rate * decay) / size):
            return "the factor (1 - rate * decay) is squared in the square of the norm: a 2 is missing."
        if wrong := compare(got, right, f"the effective rate for rate {rate}, decay {decay}, G = {size}"):
            return wrong
    return None


def sparse_optimizer(answer: Callable[[nn.Module], torch.optim.Optimizer]) -> str | None:
    """A function of a model that returns an optimizer which makes weights zero and leaves biases alone."""
    if wrong := needs_function(answer, "a model"):
        return wrong
    model = seeded(lambda: models.MLP((64, 32, 10)), 0)
    hidden, output = (model.get_submodule(f"layers.linear{i}") for i in (1, 2))
    assert isinstance(hidden, nn.Linear) and isinstance(output, nn.Linear)
    hidden.bias.data.fill_(0.5)
    splits = data.load("digits").standardized().flattened()
    optimizer = answer(model)
    for rows in torch.arange(1000).split(50) * 5:
        loss = F.cross_entropy(model(splits.train.x[rows]), splits.train.y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    zeros = sum(int((layer.weight == 0).sum()) for layer in (hidden, output)) / (64 * 32 + 320)
    if zeros == 0:
        return "no weight is zero: a gradient steps over zero, whatever the penalty. Use a proximal step."
    if zeros < 0.2:
        return f"only {zeros:.0%} of the weights are zero after 100 steps: make the penalty stronger."
    if float(hidden.bias.detach().mean()) < 0.35 or bool((hidden.bias == 0).any()):
        return "the biases shrink too: give them a parameter group of their own, without a penalty."
    accuracy = evaluate(model, splits.validation).accuracy
    if accuracy < 0.7:
        return f"many zeros, but the accuracy is {accuracy:.0%}: the penalty is too strong."
    return None


def who_is_decayed(answer: Callable[[nn.Module], list[dict[str, Any]]]) -> str | None:
    """A function of a model that returns the groups to decay and to spare."""
    if wrong := needs_function(answer, "a model"):
        return wrong
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.PReLU(4), nn.Flatten(), nn.Linear(144, 10), nn.LayerNorm(10)
    )
    groups = answer(model)
    decayed = {id(p) for group in groups if group.get("weight_decay", 0) > 0 for p in group["params"]}
    held = [id(p) for group in groups for p in group["params"]]
    if len(held) != len(set(held)) or set(held) != {id(p) for p in model.parameters()}:
        return "every parameter must stand in one of the groups, once."
    for name, p in model.named_parameters():
        kind = type(model.get_submodule(name.split(".")[0])).__name__
        if (id(p) in decayed) != (name in ("0.weight", "4.weight")):
            what = "is decayed and should not be" if id(p) in decayed else "is not decayed and should be"
            return f"{name.split('.')[1]} of the {kind} {what}."
    return None


def your_regularizer(answer: Callable[[data.Splits, int], nn.Module]) -> str | None:
    """A function (splits, seed) -> a network trained on 100 digits, better by 0.1 nats than without."""
    if wrong := needs_function(answer, "splits and seed"):
        return wrong
    digits, gains = data.load("digits"), []
    for seed in range(3):
        splits = replace(digits, train=digits.train.subset(100, seed=seed)).standardized().flattened()
        withheld = replace(splits, test=data.Split(splits.test.x[:0], splits.test.y[:0]))
        plain = seeded(lambda: models.MLP((64, 64, 64, 10)), seed)
        fit(plain, splits, epochs=150, learning_rate=0.1, batch_size=50, seed=seed, progress=False)
        found = answer(withheld, seed)
        if not isinstance(found, nn.Module):
            return f"the function must return the trained network; got {type(found).__name__}."
        gains.append(evaluate(plain, splits.test).loss - evaluate(found.eval(), splits.test).loss)
    gain = sum(gains) / 3
    if not gain >= 0.1:
        return f"the test loss is {gain:.3f} nats below that without a regularizer; 0.1 is asked for."
    return None


CHECKS: dict[str, Check] = {
    "half-life": half_life,
    "penalty-dialects": penalty_dialects,
    "elastic-prox": elastic_prox,
    "early-stopping": early_stopping,
    "effective-rate": effective_rate,
    "sparse-optimizer": sparse_optimizer,
    "who-is-decayed": who_is_decayed,
    "your-regularizer": your_regularizer,
}
