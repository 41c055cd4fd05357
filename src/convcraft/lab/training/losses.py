"""Loss by name or as a function, and the measure of a model on a split."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convcraft._restore import modes
from convcraft.errors import ConvcraftError, unknown
from convcraft.lab.data.splits import Split

Loss = str | Callable[[Tensor, Tensor], Tensor]
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"cross_entropy": F.cross_entropy, "mse": F.mse_loss}


def resolve_loss(loss: Loss) -> Callable[[Tensor, Tensor], Tensor]:
    """The function for a name, or the function given; raises ConvcraftError for an unknown name."""
    if callable(loss):
        return loss
    if loss not in LOSSES:
        raise unknown("loss", loss, LOSSES)
    return LOSSES[loss]


def is_classification(outputs: Tensor, targets: Tensor) -> bool:
    """Whether outputs are one score a class and targets class numbers, so that an accuracy is defined."""
    return outputs.ndim >= 2 and outputs.ndim == targets.ndim + 1 and not targets.is_floating_point()


def count_correct(outputs: Tensor, targets: Tensor) -> float:
    """How many examples have their class's score on top; nan where accuracy is not defined (regression)."""
    if not is_classification(outputs, targets):
        return math.nan
    return float((outputs.argmax(-1) == targets).sum())


def device_of(model: nn.Module) -> torch.device:
    """The device of a model's parameters (of the CPU when it has none)."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without a graph within the block; after it every module's mode is as before."""
    with modes(model), torch.no_grad():
        model.eval()
        yield


@dataclass(frozen=True)
class Evaluation:
    """Mean loss and accuracy over `n` examples; the accuracy of a regression is nan."""

    loss: float
    accuracy: float
    n: int

    def __str__(self) -> str:
        return f"loss {self.loss:.4f}, accuracy {self.accuracy:.4f} on {self.n} examples"


def evaluate(
    model: nn.Module, split: Split, *, loss: Loss = "cross_entropy", batch_size: int = 1024
) -> Evaluation:
    """Mean loss and accuracy of a model on a split, in evaluation mode; modes, weights and random state stay
    as they were.

    `loss` maps (outputs, targets) to the mean over the batch. Raises ConvcraftError for an empty split or an
    unknown loss.

    >>> split = Split(torch.eye(3), torch.tensor([0, 1, 0]))
    >>> print(evaluate(nn.Identity(), split))
    loss 0.8848, accuracy 0.6667 on 3 examples

    Chapter: Convolutional networks.
    """
    if not len(split):
        raise ConvcraftError(
            "split must hold at least one example; got an empty one. Pass a part of a data set."
        )
    function, device = resolve_loss(loss), device_of(model)
    total, right = 0.0, 0.0
    with evaluating(model):
        for x, y in zip(split.x.split(batch_size), split.y.split(batch_size), strict=True):
            y = y.to(device)
            outputs = model(x.to(device))
            total += float(function(outputs, y)) * len(y)
            right += count_correct(outputs, y)
    return Evaluation(total / len(split), right / len(split), len(split))


def predict_probabilities(model: nn.Module, x: Tensor, *, batch_size: int = 1024) -> Tensor:
    r"""Class probabilities :math:`\mathrm{softmax}(\text{logits})` of a model in evaluation mode, (N,
    classes), without a graph.

    >>> predict_probabilities(nn.Identity(), torch.zeros(1, 4))
    tensor([[0.2500, 0.2500, 0.2500, 0.2500]])

    Chapter: Activations.
    """
    device = device_of(model)
    with evaluating(model):
        return torch.cat([model(part.to(device)).softmax(-1) for part in x.split(batch_size)])
