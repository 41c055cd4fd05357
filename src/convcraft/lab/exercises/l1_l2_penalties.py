"""Checks of the exercises of the chapter "L1 and L2 penalties"."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convcraft.lab import data, models
from convcraft.lab.exercises.framework import Check, Complaint, by_name
from convcraft.lab.exercises.kinds import formula, gain_on_digits, takes
from convcraft.lab.training import evaluate, seeded


@takes("a model")
def sparse_optimizer(answer: Callable[[nn.Module], torch.optim.Optimizer]) -> Iterator[Complaint]:
    """A function of a model that returns an optimizer which makes weights zero and leaves biases alone."""
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
        yield "no weight is zero: a gradient steps over zero, whatever the penalty. Use a proximal step."
    if zeros < 0.2:
        yield f"only {zeros:.0%} of the weights are zero after 100 steps: make the penalty stronger."
    if float(hidden.bias.detach().mean()) < 0.35 or bool((hidden.bias == 0).any()):
        yield "the biases shrink too: give them a parameter group of their own, without a penalty."
    accuracy = evaluate(model, splits.validation).accuracy
    if accuracy < 0.7:
        yield f"many zeros, but the accuracy is {accuracy:.0%}: the penalty is too strong."


@takes("a model")
def who_is_decayed(answer: Callable[[nn.Module], list[dict[str, Any]]]) -> Iterator[Complaint]:
    """A function of a model that returns the groups to decay and to spare."""
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.PReLU(4), nn.Flatten(), nn.Linear(144, 10), nn.LayerNorm(10)
    )
    groups = answer(model)
    decayed = {id(p) for group in groups if group.get("weight_decay", 0) > 0 for p in group["params"]}
    held = [id(p) for group in groups for p in group["params"]]
    if len(held) != len(set(held)) or set(held) != {id(p) for p in model.parameters()}:
        yield "every parameter must be in one of the groups, and only once."
    for name, p in model.named_parameters():
        kind = type(model.get_submodule(name.split(".")[0])).__name__
        if (id(p) in decayed) != (name in ("0.weight", "4.weight")):
            what = "is decayed and should not be" if id(p) in decayed else "is not decayed and should be"
            yield f"{name.split('.')[1]} of the {kind} {what}."


def a_weight_that_grows(answer: tuple[Any, Any]) -> str | None:
    """(H, w) such that one weight is larger at lambda = 0.1 than at 0."""
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        return f"Give 2 tensors: H and the minimizer w; got {answer!r}."
    hessian, w = (torch.as_tensor(part, dtype=torch.float64) for part in answer)
    if hessian.shape != (2, 2) or w.shape != (2,):
        return f"H must have shape (2, 2) and w (2,); got {tuple(hessian.shape)} and {tuple(w.shape)}."
    if not torch.allclose(hessian, hessian.T) or torch.linalg.eigvalsh(hessian).min() <= 1e-9:
        return "H must be symmetric and have positive eigenvalues, as the Hessian at a minimum has."
    shrunk = torch.linalg.solve(hessian + 0.2 * torch.eye(2, dtype=torch.float64), hessian @ w)
    if (shrunk.abs() - w.abs()).max() >= 0.01:
        return None
    if hessian[0, 1] == 0:
        return "without correlation each weight shrinks by a factor of its own: tilt the ellipse."
    return "no weight grows by 0.01: what if one of the two weights is small, and the features correlate?"


@takes("splits and seed")
def your_regularizer(answer: Callable[[data.Splits, int], nn.Module]) -> Iterator[Complaint]:
    """A function (splits, seed) -> a network trained on 100 digits, better by 0.03 nats than without.

    The control has the best of the learning rates 0.003, 0.01, 0.03 and 0.1, by its validation loss.
    """
    settings: dict[str, Any] = {"epochs": 150, "learning_rate": 0.01, "batch_size": 50}
    gain = gain_on_digits(answer, 100, lambda: models.MLP((64, 64, 64, 10)), "loss", **settings)
    if isinstance(gain, str):
        yield gain
    elif gain < 0.03:
        side = "below" if gain >= 0 else "above"
        yield f"the test loss is {abs(gain):.3f} nats {side} that without a penalty; 0.03 below is asked for."


def _share_left(h: float, rate: float, steps: int) -> float:
    """What gradient descent from 0 reaches of the minimum 1 of h (w - 1)^2 / 2."""
    return 1 - (1 - rate * h) ** steps


def _threshold(u: Tensor, a: float) -> Tensor:
    return u.sign() * (u.abs() - a).clamp(min=0)


_U = torch.linspace(-3, 3, 25, dtype=torch.float64)

CHECKS: dict[str, Check] = by_name(sparse_optimizer, who_is_decayed, a_weight_that_grows, your_regularizer) | {
    "elastic-prox": formula(
        lambda u, a, b: _threshold(u, a) / (1 + 2 * b),
        [(_U, 0.0, 0.5), (_U, 1.0, 0.0), (_U, 0.8, 0.7)],
        "the minimizer for a = {1}, b = {2}",
        (lambda u, a, b: _threshold(u, a) / (1 + b), "the derivative of b v^2 is 2 b v: the 2 is missing."),
        (lambda u, a, b: _threshold(u / (1 + 2 * b), a), "the order matters: threshold first, then shrink."),
        tolerance=1e-9,
    ),
    "early-stopping": formula(
        lambda *case: case[0] * (1 / _share_left(*case) - 1) / 2,
        [(1.0, 0.1, 10), (0.2, 0.5, 3), (3.0, 0.1, 1)],
        "lambda for h = {}, rate {}, {} steps",
        (lambda *case: case[0] * (1 / _share_left(*case) - 1), "twice too large: (lambda w^2)'' is 2 lambda."),
        arguments="h, rate and steps",
    ),
    "effective-rate": formula(
        lambda rate, decay, size: math.sqrt(2 * rate * decay) / size,
        [(0.1, 0.01, 1.0), (0.4, 0.001, 1.0), (0.1, 0.01, 2.0)],
        "the effective rate for rate {}, decay {}, G = {}",
        (lambda eta, decay, size: size * math.sqrt(eta / (2 * decay)), "that is the squared norm; divide by it."),
        (lambda eta, decay, size: math.sqrt(eta * decay) / size, "a 2 is missing: the norm is squared."),
        arguments="rate, decay and G",
    ),
}
