"""Checks of the exercises of the chapter "Learning rates"."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from convcraft.lab import data, models
from convcraft.lab.exercises.framework import Check, Complaint, by_name, compare
from convcraft.lab.exercises.kinds import formula, takes
from convcraft.lab.training import DivergedError, evaluate, fit, seeded


def _rates(build: Callable[..., Any], epochs: int, steps: int) -> list[float] | str:
    """The rate of every step of a training that advances the schedule after every step."""
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    schedule = build(optimizer, epochs, steps)
    if not isinstance(schedule, torch.optim.lr_scheduler.LRScheduler):
        return f"build must return a scheduler of torch.optim; got {type(schedule).__name__}."
    rates = []
    for _ in range(epochs * steps):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        weight.grad = torch.ones(1)
        optimizer.step()
        schedule.step()
    return [*rates, float(optimizer.param_groups[0]["lr"])]


@takes("the optimizer, the epochs and the steps of an epoch")
def mend_the_cosine(answer: Any) -> Iterator[Complaint]:
    """A function that builds a cosine for a training that advances it after every step."""
    for epochs, steps in ((4, 25), (3, 10)):
        rates = _rates(answer, epochs, steps)
        if isinstance(rates, str):
            yield rates
            return
        if any(b > a + 1e-9 for a, b in zip(rates, rates[1:], strict=False)):
            yield f"In {epochs} epochs of {steps} steps it rises again: T_max counts steps, not epochs."
        if rates[-1] > 1e-3 * rates[0]:
            yield f"The rate ends at {rates[-1] / rates[0]:.0%} of its start; a cosine should end at 0."
        middle = 0.5 * (1 + math.cos(math.pi / 4)) * 0.1
        yield compare(rates[0], 0.1, "the first rate")
        if abs(rates[round(epochs * steps / 4)] - middle) > 3e-3:
            yield "After a quarter of the steps the rate should be at 85 % of its start, as a cosine is."


def _deep() -> nn.Module:
    """Eight hidden layers, He initialization."""
    net, gain = models.MLP((64, *[32] * 8, 10)), 1.0
    for layer in net.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=gain / layer.in_features**0.5)
            nn.init.zeros_(layer.bias)
            gain = 2**0.5
    return net


def _trained(factor: Callable[[float], float], seed: int, rate: float = 0.064) -> float:
    """Validation accuracy after six epochs with a schedule, at a rate that is too large for a constant."""
    splits, total = data.load("digits").standardized(), 6 * 32
    net = seeded(_deep, seed)
    optimizer = torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: factor(min(step / total, 1.0)))
    optimizer.register_step_post_hook(lambda *_: schedule.step())
    try:
        fit(net, splits, optimizer=lambda _: optimizer, epochs=6, batch_size=32, progress=False)
    except DivergedError:
        return 0.1
    return evaluate(net, splits.validation).accuracy


@takes("the share of the training that is over")
def your_schedule(answer: Any) -> Iterator[Complaint]:
    """A schedule of one's own, a factor between 0 and 1, that makes a rate usable that is too large."""
    values = [float(answer(i / 100)) for i in range(101)]
    if not all(math.isfinite(v) and 0 <= v <= 1 for v in values):
        yield "The factor must lie between 0 and 1 for every share from 0 to 1."
    if max(values) < 0.9:
        yield "The largest factor is below 0.9: that is a smaller rate, not a schedule."
    if values[-1] > 0.1 * max(values):
        yield "At the end the rate should be at most a tenth of the largest, so that the noise dies out."
    accuracy = sum(_trained(answer, seed) for seed in range(4)) / 4
    if accuracy < 0.72:
        yield f"Four networks reach {accuracy:.2f} on average. How long is the rate above half of its largest value?"


REMEDIES = ("raise", "lower", "decay", "keep")


def read_the_curves(answer: Any) -> Iterator[Complaint]:
    """What to do with the learning rate of four training curves."""
    right = {
        "A": ("raise", "is smooth and still falling at the end. What would have made it fall faster?"),
        "B": ("decay", "falls fast, then stays on a noisy level. What sets the height of that level?"),
        "C": ("lower", "leaves its start upwards. On which side of the edge is it?"),
        "D": ("keep", "has come to rest below the others. Is there anything to mend?"),
    }
    if not isinstance(answer, dict) or set(answer) != set(right):
        yield "The answer must be a dict with the keys A, B, C and D, one remedy for each curve."
    if odd := [value for value in answer.values() if value not in REMEDIES]:
        yield f"The remedies are {', '.join(REMEDIES)}; got {odd[0]!r}."
    for name, (remedy, why) in right.items():
        if answer[name] != remedy:
            yield f"Look at curve {name} again: it {why}"


def _steps(condition: float, share: float) -> float:
    return math.log(share) / math.log1p(-1 / condition)


CHECKS: dict[str, Check] = by_name(mend_the_cosine, your_schedule, read_the_curves) | {
    "steps-to-shrink": formula(
        lambda condition, share: math.ceil(_steps(condition, share) - 1e-12),
        [(100.0, 0.01), (2.0, 0.5), (1000.0, 0.1)],
        "the steps for condition number {:g} and share {:g}",
        (_steps, "Right but for the last step: the number of steps is a whole one. Round up."),
        (lambda *case: math.floor(_steps(*case)), "After that many the share is not reached yet. Round up."),
        (lambda *case: -_steps(*case), "Both logarithms are negative; their quotient is not."),
        (lambda *case: -math.ceil(_steps(*case)), "Both logarithms are negative; their quotient is not."),
        arguments="the condition number and the share",
    ),
    "first-step-of-adam": formula(
        lambda g, rate, beta1, beta2, eps: rate * g / (abs(g) + eps),
        [(g, 0.01, 0.9, 0.999, eps) for g, eps in ((0.3, 1e-8), (-2.0, 1e-8), (1e-3, 1e-2))],
        "the step for gradient {0:g} and eps {4:g}",
        (
            lambda g, rate, beta1, beta2, eps: -rate * g / (abs(g) + eps),
            "The size is right. A positive gradient should give a positive step.",
        ),
        (
            lambda g, rate, beta1, beta2, eps: rate * (1 - beta1) * g / (math.sqrt(1 - beta2) * abs(g) + eps),
            "That is the step without the correction. Divide both means by 1 - beta^t, with t = 1.",
        ),
        (lambda g, rate, *_: rate * g, "That is a step of gradient descent. What is it divided by?"),
        arguments="the gradient, the rate, beta1, beta2 and eps",
    ),
}
