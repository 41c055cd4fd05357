"""Checks of the exercises of the chapter "Activations"."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from convcraft.lab import data, models
from convcraft.lab.exercises.framework import Check, Complaint, by_name, compare
from convcraft.lab.exercises.kinds import formula, takes, trained_accuracy
from convcraft.lab.training import DivergedError, seeded


@takes("W, b, V and c")
def tanh_as_sigmoid(answer: Any) -> str | None:
    """The arrays of a sigmoid network that computes V tanh(W x + b) + c."""
    g = torch.Generator().manual_seed(0)
    shapes = ((5, 3), (5,), (2, 5), (2,))
    W, b, V, c = (torch.randn(shape, generator=g, dtype=torch.float64) for shape in shapes)
    got = answer(W, b, V, c)
    if not isinstance(got, Sequence) or len(got) != 4:
        return "Return the four arrays of the network with the sigmoid, in the order W, b, V, c."
    for name, value, shape in zip("WbVc", got, shapes, strict=True):
        if tuple(getattr(value, "shape", ())) != shape:
            return f"{name} has the shape {shape}; got {tuple(getattr(value, 'shape', ()))}."
    x = torch.randn(7, 3, generator=g, dtype=torch.float64)
    found = torch.sigmoid(x @ got[0].T + got[1]) @ got[2].T + got[3]
    wanted = torch.tanh(x @ W.T + b) @ V.T + c
    shift = found - wanted
    if not bool(torch.allclose(shift, torch.zeros(()).double(), atol=1e-9)):
        if bool((shift.std(0) < 1e-9).all()):
            return "The networks differ by a constant: the 1 of tanh z = 2 sigmoid(2z) - 1 belongs into c."
        if torch.allclose(got[0], W):
            return "The argument is doubled inside the sigmoid: what does that mean for W and b?"
    return compare(found, wanted, "the output for seven inputs")


@takes("a tensor")
def elu_without_nan(answer: Any) -> Iterator[Complaint]:
    """ELU with finite slopes at any input."""
    z = torch.tensor([-1e4, -100.0, -1.0, -1e-4, 0.5, 20.0, 1000.0], dtype=torch.float64, requires_grad=True)
    value = answer(z)
    yield compare(value, nn.functional.elu(z), "the value at " + str(z.tolist()), tolerance=1e-9)
    (slope,) = torch.autograd.grad(value.sum(), z)
    if bool(slope.isnan().any()):
        where = z.detach()[slope.isnan()].tolist()
        yield f"The values are right, and the slope is NaN at {where}. Which of the two branches is it from?"
    yield compare(slope, z.detach().clamp(max=0).exp(), "the slope")


@takes("a tensor")
def your_activation(answer: Any) -> Iterator[Complaint]:
    """Any activation that is finite, not a straight line, alive on both sides, and learns the digits."""
    f: Callable[[Tensor], Tensor] = answer
    z = torch.tensor([-1e4, -3.0, -1.0, -0.5, 0.5, 1.0, 3.0, 1e4], requires_grad=True)
    y = f(z)
    if not torch.is_tensor(y) or y.shape != z.shape:
        yield "The function must give back a tensor of the shape that it gets."
    (slope,) = torch.autograd.grad(y.sum(), z)
    for what, values in (("value", y), ("slope", slope)):
        if not bool(torch.isfinite(values).all()):
            where = z.detach()[~torch.isfinite(values)].tolist()
            yield f"The {what} is not finite at {where}. Keep exponentials of large numbers out of it."
    if torch.allclose(slope, slope[:1].expand_as(slope), atol=1e-6):
        yield "That is a straight line: any depth of such layers is one layer."
    if bool((slope[:4] == 0).all()):
        yield "The slope is 0 at every negative input, so units can die. Give the negative side a slope."
    net = seeded(lambda: models.MLP((64, 64, 64, 10), activation=lambda: models.Elementwise(f)), 0)
    try:
        accuracy = trained_accuracy(net, data.load("digits").flattened().standardized())
    except DivergedError:
        yield "Its training diverges: it makes large inputs larger still. Let it grow more slowly."
    if accuracy < 0.85:
        yield f"It computes, but five epochs on the digits reach only {accuracy:.0%} on validation."


_SQUARED = "The negative half is multiplied by the slope, so its square by the slope squared."

CHECKS: dict[str, Check] = by_name(tanh_as_sigmoid, elu_without_nan, your_activation) | {
    "leaky-gain": formula(
        lambda a: math.sqrt(2 / (1 + a**2)),
        [(0.0,), (0.01,), (0.5,), (1.0,), (-0.5,)],
        "the gain for slope {:g}",
        (lambda a: math.sqrt((1 + a**2) / 2), "The gain undoes the second moment: take the reciprocal."),
        (lambda a: math.sqrt(2 / (1 + a)), _SQUARED),
        (lambda a: math.sqrt(2) / (1 + a), _SQUARED),
        (lambda a: math.sqrt(2), "That is ReLU's gain, whatever the slope. The negative side adds to it."),
        (lambda a: 2 / (1 + a**2), "That is the factor for the variance of the weights: take the root."),
        arguments="the negative slope",
    )
}
