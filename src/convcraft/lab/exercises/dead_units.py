"""Checks of the exercises of the chapter "Dead units and learned activations"."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from convcraft.lab import data, models
from convcraft.lab.exercises.framework import Check, Complaint, by_name, compare
from convcraft.lab.exercises.kinds import takes, trained_accuracy
from convcraft.lab.training import seeded


def _near(value: Any, *known: float) -> bool:
    """Whether a number is one of the known ones."""
    return isinstance(value, int | float) and any(math.isclose(value, other, rel_tol=1e-3) for other in known)


@takes("the outputs (examples, units)")
def dead_share(answer: Any) -> str | None:
    """Share of units that never fire, from the outputs (examples, units) of a ReLU layer."""
    outputs = torch.tensor([[0, 0, 0.001, 2], [0, 3, 0.002, 0], [0, 0, 0.001, 0]])
    value = answer(outputs)
    if isinstance(value, Tensor) and value.numel() > 1:
        return f"One number is asked for, the mean of the mask; got shape {tuple(value.shape)}."
    value = float(value) if value is not None else None
    if _near(value, 7 / 12):
        return "That is the share of outputs that are 0. A dead unit is 0 for every example (dimension 0)."
    if _near(value, 0.75, 0.5):
        return "A small output is alive, and so is a unit that is 0 for some examples only."
    if value == 0:
        return "No unit was found. The examples run along dimension 0: did you take all() over the units?"
    if _near(value, 1.0):
        return "That is the number of dead units; divide it by the number of units."
    return compare(value, 0.25, "the share for the four units of the test")


@takes("z and beta")
def swish_derivatives(answer: Any) -> str | None:
    """Both derivatives of z sigmoid(beta z)."""
    z, beta = torch.linspace(-3, 3, 7, dtype=torch.float64), 1.5
    got = answer(z, beta)
    if not isinstance(got, Sequence) or len(got) != 2:
        return "Return two things: the derivative with respect to z, and the one with respect to beta."
    s = torch.sigmoid(beta * z)
    by_z, by_beta = s + beta * z * s * (1 - s), z**2 * s * (1 - s)
    if torch.is_tensor(got[0]) and got[0].shape == z.shape:
        if torch.allclose(got[0], s):
            return "With respect to z: the product rule has a second term, since z is in the sigmoid too."
        if torch.allclose(got[0], s + z * s * (1 - s)):
            return "With respect to z: the inner derivative is missing, beta z has the derivative beta."
    if torch.is_tensor(got[1]) and got[1].shape == z.shape and torch.allclose(got[1], z * s * (1 - s)):
        return "With respect to beta: the inner derivative is z, and there is the factor z in front already."
    return compare(got[0], by_z, "the derivative with respect to z") or compare(
        got[1], by_beta, "the derivative with respect to beta"
    )


def revival_by_decay(answer: Any) -> str | None:
    """After how many steps of weight decay a dead unit of the first layer fires."""
    if answer is None or answer == math.inf:
        return "Its gradient is 0, but weight decay needs no gradient: it shrinks w, and the bias stays."
    if isinstance(answer, float) and not answer.is_integer() and 137 < answer < 138:
        return "Right so far; the number of steps is a whole one: the first at which the sum is positive."
    if answer == 137:
        return "After 137 steps w·x + b is -0.005, still below 0. Round up."
    return compare(answer, 138, "the number of steps")


def stillborn(seed: int = 0) -> nn.Module:
    """The sick network of an exercise: every hidden unit has the bias -3.

    >>> stillborn().layers.linear1.bias[:2]
    tensor([-3., -3.], grad_fn=<SliceBackward0>)

    Chapter: Dead units and learned activations.
    """
    net = seeded(lambda: models.MLP((64, 64, 64, 10), activation=nn.ReLU), seed)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name in ("layers.linear1.bias", "layers.linear2.bias"):
                parameter.fill_(-3.0)
    return net


def _never_fire(net: nn.Module, x: Tensor) -> list[float]:
    """Share of dead units behind each ReLU of a network."""
    shares: list[float] = []

    def count(module: nn.Module, inputs: Any, out: Tensor) -> None:
        shares.append(float((out <= 0).all(0).float().mean()))

    hooks = [module.register_forward_hook(count) for module in net.modules() if isinstance(module, nn.ReLU)]
    with torch.no_grad():
        net(x)
    for hook in hooks:
        hook.remove()
    return shares


@takes("the sick network")
def mend_the_stillborn_net(answer: Any) -> Iterator[Complaint]:
    """A function that takes the network with dead units and gives it back alive."""
    net = stillborn()
    wanted = [(name, p.shape) for name, p in net.named_parameters()]
    net = answer(net)
    if not isinstance(net, nn.Module):
        yield f"The function must return the network; got {type(net).__name__}. Did you forget a return?"
    if [(name, p.shape) for name, p in net.named_parameters()] != wanted:
        yield "The network has other layers now. Keep its layers and change the numbers in them."
    splits = data.load("digits").flattened()
    shares = _never_fire(net, splits.train.x)
    if len(shares) != 2:
        yield f"The network had two ReLU layers, now {len(shares)}. The patient must live with its ReLU."
    for layer, share in enumerate(shares, start=1):
        if share > 0.2:
            yield f"In hidden layer {layer}, {share:.0%} of the units are still dead. Look at its biases."
    accuracy = trained_accuracy(net, splits)
    if accuracy < 0.85:
        yield f"Nothing is dead, but validation accuracy is {accuracy:.0%}. Are all units of a layer alike?"


CHECKS: dict[str, Check] = by_name(dead_share, swish_derivatives, revival_by_decay, mend_the_stillborn_net)
