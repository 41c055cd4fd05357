"""Losses, by name or as functions, and the evaluation of a model on a split."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from convcraft import _batch
from convcraft._restore import modes
from convcraft.errors import ConvcraftError, unknown
from convcraft.lab.data.splits import Split

#: outputs and targets -> the mean loss
LossFunction = Callable[[Tensor, Tensor], Tensor]
Loss = str | LossFunction


def resolve_loss(loss: Loss) -> LossFunction:
    """The function for a name, or the function given; raises ConvcraftError for an unknown name."""
    found = _batch.resolve_loss("lab", loss)
    if found is None:  # the lab does not train models that return their loss
        raise unknown("loss", loss, _batch.LOSSES)
    return found


def is_classification(outputs: Tensor, targets: Tensor) -> bool:
    """Whether outputs are one score per class and targets class numbers, so that an accuracy is defined."""
    return outputs.ndim >= 2 and outputs.ndim == targets.ndim + 1 and not targets.is_floating_point()


def right_answers(outputs: Tensor, targets: Tensor) -> Tensor | None:
    """Which examples have their class's score on top; None where accuracy is not defined (regression)."""
    return outputs.argmax(-1) == targets if is_classification(outputs, targets) else None


def device_of(model: nn.Module) -> torch.device:
    """The device of a model's parameters (the CPU if it has none)."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without a graph within the block; afterwards every module's mode is restored."""
    with modes(model), torch.no_grad():
        model.eval()
        yield


def outputs_of(model: nn.Module, x: Tensor, batch_size: int = 1024) -> Tensor:
    """The outputs of a model in evaluation mode, batch by batch, without a graph."""
    device = device_of(model)
    with evaluating(model):
        return torch.cat([model(part.to(device)) for part in x.split(batch_size)])


@dataclass(frozen=True)
class Evaluation:
    """Mean loss and accuracy over `n` examples; the accuracy of a regression is nan."""

    loss: float
    accuracy: float
    n: int

    def __str__(self) -> str:
        return f"loss {self.loss:.4f}, accuracy {self.accuracy:.4f} on {self.n} examples"


def evaluate(model: nn.Module, split: Split, *, loss: Loss = "cross_entropy", batch_size: int = 1024) -> Evaluation:
    """Mean loss and accuracy of a model on a split, in evaluation mode; modes, weights and random state are kept.

    `loss` maps (outputs, targets) to the mean over the batch. Raises ConvcraftError for an empty split or an
    unknown loss.

    >>> split = Split(torch.eye(3), torch.tensor([0, 1, 0]))
    >>> print(evaluate(nn.Identity(), split))
    loss 0.8848, accuracy 0.6667 on 3 examples

    Chapter: Convolutional networks.
    """
    if not len(split):
        raise ConvcraftError("split must hold at least one example; got an empty one. Pass a part of a data set.")
    total, right = totals(model, split, resolve_loss(loss), batch_size).tolist()
    return Evaluation(total / len(split), right / len(split), len(split))


def totals(model: nn.Module, split: Split, function: LossFunction, batch_size: int = 1024) -> Tensor:
    """Sum of the losses and number of right answers (nan for a regression), float64 on the model's device."""
    device = device_of(model)
    sums = torch.zeros(2, dtype=torch.float64, device=device)
    with evaluating(model):
        for x, y in zip(split.x.split(batch_size), split.y.split(batch_size), strict=True):
            y = y.to(device)
            outputs = model(x.to(device))
            right = right_answers(outputs, y)
            sums[0] += function(outputs, y).double() * len(y)
            sums[1] += math.nan if right is None else right.sum()
    return sums


def correct(model: nn.Module, split: Split, *, batch_size: int = 1024) -> NDArray[np.bool_]:
    """Which examples of a split a model classifies correctly, (n,), in evaluation mode.

    Raises ConvcraftError if the targets are not classes. Chapter: Convolutional networks.

    >>> correct(nn.Identity(), Split(torch.eye(3), torch.tensor([0, 1, 0])))
    array([ True,  True, False])
    """
    right = right_answers(outputs_of(model, split.x, batch_size), split.y.to(device_of(model)))
    if right is None:
        raise ConvcraftError(
            f"correct needs scores of classes and class numbers; got targets of {split.y.dtype} and shape "
            f"{tuple(split.y.shape)}. Use evaluate for a regression."
        )
    return right.cpu().numpy()


def predict_probabilities(model: nn.Module, x: Tensor, *, batch_size: int = 1024) -> Tensor:
    r"""Class probabilities :math:`\mathrm{softmax}(\text{logits})`, (N, classes), in evaluation mode, without a graph.

    >>> predict_probabilities(nn.Identity(), torch.zeros(1, 4))
    tensor([[0.2500, 0.2500, 0.2500, 0.2500]])

    Chapter: Activations.
    """
    return outputs_of(model, x, batch_size).softmax(-1)
