"""Checks of the exercises of the chapter "Output layers and losses"."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from convcraft.lab import data
from convcraft.lab.exercises.framework import Check, Complaint, by_name, compare
from convcraft.lab.exercises.kinds import formula, takes, trained_accuracy
from convcraft.lab.training import seeded


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


@takes("the logits (n, classes)")
def log_softmax(answer: Any) -> str | None:
    """The logarithm of softmax, finite for logits of 1000."""
    mild = torch.tensor([[1.0, 0.0, -1.0], [2.0, 2.0, 2.0]], dtype=torch.float64)
    hard = torch.tensor([[1000.0, 0.0, -1000.0], [0.0, 0.0, 800.0]], dtype=torch.float64)
    wrong = compare(answer(mild), mild.log_softmax(1), "the result for small logits")
    if wrong:
        return wrong
    got = answer(hard)
    if not bool(torch.isfinite(torch.as_tensor(got)).all()):
        return "Right for small logits, not finite at 1000. Subtract the largest logit; take no log of 0."
    return compare(got, hard.log_softmax(1), "the result for logits of 1000")


@takes("nothing that builds the network")
def mend_the_loss(answer: Any) -> Iterator[Complaint]:
    """A function that builds a classifier for cross-entropy, without an activation too many at its end."""
    net = seeded(answer, 0)
    if not isinstance(net, nn.Module):
        yield f"The function must return a network; got {type(net).__name__}. Did you forget a return?"
    splits = data.load("digits").flattened()
    x = splits.validation.x
    with torch.no_grad():
        out = net(x)
    if out.shape != (len(x), 10):
        yield f"The network must give 10 logits per image; got shape {tuple(out.shape)} for {len(x)} images."
    if torch.allclose(out.sum(1), torch.ones(len(x)), atol=1e-4) and bool((out >= 0).all()):
        yield "The outputs still sum to 1, and cross_entropy applies a softmax to them once more. Return the logits."
    if bool((out >= 0).all()):
        yield "No output is ever negative: an activation follows the last layer. A logit may be any number."
    accuracy = trained_accuracy(net, splits)
    if accuracy < 0.85:
        yield f"Five epochs reach only {accuracy:.0%} on validation; more than 85 % is possible."


def _squared(z: float, y: float) -> float:
    p = 1 / (1 + math.exp(-z))
    return 2 * (p - y) * p * (1 - p)


CHECKS: dict[str, Check] = by_name(log_softmax, softmax_jacobian, mend_the_loss) | {
    "gradient-of-squared-error": formula(
        _squared,
        [(-3.0, 1.0), (0.5, 0.0), (2.0, 1.0)],
        "the gradient at z = {:g}, y = {:g}",
        (lambda z, y: _squared(z, y) / 2, "The derivative of a square has a factor of 2."),
        (lambda z, y: 1 / (1 + math.exp(-z)) - y, "That is the gradient of the cross-entropy."),
        (lambda z, y: 2 / (1 + math.exp(-z)) - 2 * y, "The chain rule goes on through the sigmoid."),
    )
}
