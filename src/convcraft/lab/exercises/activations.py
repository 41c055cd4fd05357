"""Checks of the exercises of the chapter "Activations"."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from convcraft.lab import data, models
from convcraft.lab.exercises.framework import Check, compare
from convcraft.lab.exercises.kinds import formula, numbers, takes
from convcraft.lab.training import evaluate, fit, seeded


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
        return (
            "That is the share of outputs that are 0. A dead unit is 0 for every example, along dimension 0."
        )
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
            return (
                "With respect to z: the product rule has a second term, for z stands inside the sigmoid too."
            )
        if torch.allclose(got[0], s + z * s * (1 - s)):
            return "With respect to z: the inner derivative is missing, beta z has the derivative beta."
    if torch.is_tensor(got[1]) and got[1].shape == z.shape and torch.allclose(got[1], z * s * (1 - s)):
        return "With respect to beta: the inner derivative is z, and there is the factor z in front already."
    return compare(got[0], by_z, "the derivative with respect to z") or compare(
        got[1], by_beta, "the derivative with respect to beta"
    )


@takes("the logits (n,)")
def softmax_jacobian(answer: Any) -> str | None:
    """The Jacobian of softmax at a vector of logits."""
    z = torch.tensor([1.0, 0.0, -1.0], dtype=torch.float64)
    p = z.softmax(0)
    jacobian = torch.diag(p) - torch.outer(p, p)
    got = answer(z)
    if torch.is_tensor(got):
        if got.shape == z.shape:
            return "Each output depends on every logit: the Jacobian is a 3 x 3 matrix."
        if got.shape == jacobian.shape and torch.allclose(got.to(p.dtype), torch.diag(p * (1 - p))):
            return "The diagonal is right. One logit lowers all other probabilities: other entries are not 0."
    return compare(got, jacobian, "the Jacobian at (1, 0, -1)") or compare(
        answer(z + 1000), jacobian, "the Jacobian at (1001, 1000, 999)"
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

    Chapter: Activations.
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


def _trained(net: nn.Module, splits: data.Splits) -> float:
    """Validation accuracy after five epochs."""
    fit(net, splits, epochs=5, learning_rate=0.1, progress=False)
    return evaluate(net, splits.validation).accuracy


@takes("the sick network")
def mend_the_stillborn_net(answer: Any) -> str | None:
    """A function that takes the network with dead units and gives it back alive."""
    net = stillborn()
    wanted = [(name, p.shape) for name, p in net.named_parameters()]
    net = answer(net)
    if not isinstance(net, nn.Module):
        return f"The function must return the network; got {type(net).__name__}. Did you forget a return?"
    if [(name, p.shape) for name, p in net.named_parameters()] != wanted:
        return "The network has other layers now. Keep its layers and change the numbers in them."
    splits = data.load("digits").flattened()
    shares = _never_fire(net, splits.train.x)
    if len(shares) != 2:
        return f"The network had two ReLU layers, now {len(shares)}. The patient must live with its ReLU."
    for layer, share in enumerate(shares, start=1):
        if share > 0.2:
            return f"In hidden layer {layer}, {share:.0%} of the units are still dead. Look at its biases."
    accuracy = _trained(net, splits)
    if accuracy < 0.85:
        return f"Nothing is dead, but validation accuracy is {accuracy:.0%}. Are all units of a layer alike?"
    return None


@takes("nothing that builds the network")
def mend_the_loss(answer: Any) -> str | None:
    """A function that builds a classifier for cross-entropy, without an activation too many at its end."""
    net = seeded(answer, 0)
    if not isinstance(net, nn.Module):
        return f"The function must return a network; got {type(net).__name__}. Did you forget a return?"
    splits = data.load("digits").flattened()
    x = splits.validation.x
    with torch.no_grad():
        out = net(x)
    if out.shape != (len(x), 10):
        return f"The network must give 10 logits an image; got shape {tuple(out.shape)} for {len(x)} images."
    if torch.allclose(out.sum(1), torch.ones(len(x)), atol=1e-4) and bool((out >= 0).all()):
        return (
            "The outputs still sum to 1, and cross_entropy applies a softmax to them once more. "
            "Return the logits."
        )
    if bool((out >= 0).all()):
        return "No output is ever negative: an activation follows the last layer. A logit may be any number."
    accuracy = _trained(net, splits)
    if accuracy < 0.85:
        return f"Five epochs reach only {accuracy:.0%} on validation; more than 85 % is possible."
    return None


@takes("a tensor")
def your_activation(answer: Any) -> str | None:
    """Any activation that is finite, not a straight line, alive on both sides, and learns the digits."""
    f: Callable[[Tensor], Tensor] = answer
    z = torch.tensor([-1e4, -3.0, -1.0, -0.5, 0.5, 1.0, 3.0, 1e4], requires_grad=True)
    y = f(z)
    if not torch.is_tensor(y) or y.shape != z.shape:
        return "The function must give back a tensor of the shape that it gets."
    (slope,) = torch.autograd.grad(y.sum(), z)
    for what, values in (("value", y), ("slope", slope)):
        if not bool(torch.isfinite(values).all()):
            where = z.detach()[~torch.isfinite(values)].tolist()
            return f"The {what} is not finite at {where}. Keep exponentials of large numbers out of it."
    if torch.allclose(slope, slope[:1].expand_as(slope), atol=1e-6):
        return "That is a straight line: any depth of such layers is one layer."
    if bool((slope[:4] == 0).all()):
        return "The slope is 0 at every negative input, so units can die. Give the negative side a slope."
    net = seeded(lambda: models.MLP((64, 64, 64, 10), activation=lambda: models.Elementwise(f)), 0)
    accuracy = _trained(net, data.load("digits").flattened().standardized())
    if accuracy < 0.85:
        return f"It computes, but five epochs on the digits reach only {accuracy:.0%} on validation."
    return None


_COUNT: dict[float | None, str] = {None: "Write down what one channel learns and multiply by 48 channels."}
_WITH_NORM = (
    "The convolution has no bias, but the batch normalization behind it learns two numbers a channel."
)
_SQUARED = "The negative half is multiplied by the slope, so its square by the slope squared."

CHECKS: dict[str, Check] = {
    "dead-share": dead_share,
    "adaptive-parameters": numbers(
        ("PReLU", 48, {2: "That is one slope a layer. Here each channel has its own.", **_COUNT}),
        ("ACON-C", 144, _COUNT),
        ("FReLU", 528, {432: _WITH_NORM, 480: _WITH_NORM, **_COUNT}),
    ),
    "leaky-gain": formula(
        "the negative slope",
        lambda a: math.sqrt(2 / (1 + a**2)),
        [(0.0,), (0.01,), (0.5,), (1.0,), (-0.5,)],
        "the gain for slope {:g}",
        (lambda a: math.sqrt((1 + a**2) / 2), "The gain undoes the second moment: take the reciprocal."),
        (lambda a: math.sqrt(2 / (1 + a)), _SQUARED),
        (lambda a: math.sqrt(2) / (1 + a), _SQUARED),
        (lambda a: math.sqrt(2), "That is ReLU's gain, whatever the slope. The negative side adds to it."),
        (lambda a: 2 / (1 + a**2), "That is the factor for the variance of the weights: take the root."),
    ),
    "swish-derivatives": swish_derivatives,
    "softmax-jacobian": softmax_jacobian,
    "revival-by-decay": revival_by_decay,
    "mend-the-stillborn-net": mend_the_stillborn_net,
    "mend-the-loss": mend_the_loss,
    "your-activation": your_activation,
}
