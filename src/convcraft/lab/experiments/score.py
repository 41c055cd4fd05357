"""What a run reports about a network: how its training went, and how well it does on the test part."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray

from convcraft.errors import ConvcraftError
from convcraft.lab.data.splits import Split, Splits
from convcraft.lab.training import evaluate, fit
from convcraft.lab.training.history import History
from convcraft.lab.training.losses import Loss, is_classification, outputs_of


def of_training(history: History, final: bool, kept: Sequence[str] = ()) -> dict[str, Any]:
    """What a run reports of its training: of each curve the last entry, or all of it where it is `kept`, and
    in final runs the updates and the last quarter of the validation loss."""
    names = ("train_loss", "validation_loss", "validation_accuracy")
    curves = {name: [float(value) for value in getattr(history, name)] for name in names}
    measures: dict[str, Any] = {n: _short(c) if final and n in kept else c[-1:] for n, c in curves.items()}
    if final:
        measures["updates"] = history.updates[-1] if history.updates else 0
        measures["last_quarter"] = _short(last_quarter(curves["validation_loss"], history.updates))
    return measures


def _short(curve: Sequence[float]) -> list[float]:
    """A curve rounded to the four digits that a figure shows."""
    return [float(f"{value:.4g}") for value in curve]


def last_quarter(losses: Sequence[float], updates: Sequence[int], points: int = 4) -> list[float]:
    """The lowest loss of the first three quarters of the updates, then some points of the last and its end.

    `Results.fall` tells from it whether a loss still falls.

    >>> last_quarter([8, 7, 6, 5, 4, 3, 2, 1], range(1, 9))
    [3, 2, 1]
    """
    if len(losses) < 2:
        return list(losses)
    early = sum(update <= 0.75 * updates[-1] for update in updates)
    start = min(max(early, 1), len(losses) - 1)
    rest = losses[start:]
    count = min(points, len(rest))
    places = [round((i + 1) * len(rest) / count) - 1 for i in range(count)]
    return [min(losses[:start]), *(rest[place] for place in places)]


def which_right(model: torch.nn.Module, part: Split) -> str:
    """Which examples of a part a network gets right: one bit each, as base64; "" without classes."""
    outputs = outputs_of(model, part.x)
    if not is_classification(outputs, part.y):
        return ""
    right = (outputs.argmax(-1) == part.y).flatten().cpu().numpy()
    return base64.b64encode(np.packbits(right).tobytes()).decode()


def bits(text: str, count: int) -> NDArray[np.bool_]:
    """The bits that `which_right` has packed.

    >>> bits("wA==", 4)
    array([ True,  True, False, False])
    """
    packed = np.frombuffer(base64.b64decode(text), dtype=np.uint8)
    return np.unpackbits(packed, count=count).astype(bool)


def train_and_score(
    model: torch.nn.Module, splits: Splits, *, seed: int, final: bool, curves: Sequence[str] = (), **settings: Any
) -> dict[str, Any]:
    """Train a network by `fit`, and return the dictionary that a study's own `run` has to return.

    `settings` are keywords of `fit`, such as `updates` and `flat`. The dictionary holds train_loss,
    validation_loss and validation_accuracy (their last entry, or whole curves where named in `curves`); for
    final runs also updates, last_quarter (whether the loss still falls), train_accuracy, test_accuracy,
    test_loss and test_correct (which test images were right). The model is trained in place, and the test
    part withheld from training. Raises ConvcraftError as `fit` does. Chapter: Activations.

    >>> from convcraft.lab import data, models
    >>> net, digits = models.build("mlp", widths=(64, 10), activation=None, seed=0), data.load("digits")
    >>> found = train_and_score(net, digits, seed=0, final=True, updates=32, learning_rate=0.1)
    >>> found["updates"], found["test_accuracy"] > 0.8
    (32, True)
    """
    unseen = splits if isinstance(splits, Withheld) else withhold(splits)
    history = fit(model, unseen, seed=seed, progress=False, **settings)
    found = of_training(history, final, curves)
    if final:
        loss = settings.get("loss", "cross_entropy")
        found["train_accuracy"] = evaluate(model, splits.train, loss=loss).accuracy
        found |= score(model, splits, loss)
    return found


def score(model: torch.nn.Module, splits: Splits, loss: Loss = "cross_entropy") -> dict[str, Any]:
    """Accuracy and loss on the test part, and which of its images were right."""
    tested = evaluate(model, splits.test, loss=loss)
    found: dict[str, Any] = {"test_accuracy": tested.accuracy, "test_loss": tested.loss}
    if right := which_right(model, splits.test):
        found["test_correct"] = right
    return found


class MissingTest:
    """Stands in for the test part: any use of it raises ConvcraftError."""

    def _refuse(self, *arguments: Any) -> NoReturn:
        raise ConvcraftError(
            "splits.test is withheld while a rate is chosen and a network trained; expected train and "
            "validation only, got test. Measure on the test part in measure, or in run where final is True."
        )

    __len__ = __iter__ = __getitem__ = __bool__ = __setattr__ = _refuse

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what copy and pickle look for
            raise AttributeError(name)
        self._refuse()

    def __repr__(self) -> str:
        return "withheld"


@dataclass(frozen=True, repr=False)
class Withheld(Splits):
    """The training and validation parts of a data set; any use of `test` raises ConvcraftError.

    The test part is not merely hidden: neither this object nor what `dataclasses.replace`, `standardized`,
    `flattened` or `to` make from it holds it.
    """

    def __post_init__(self) -> None:
        object.__setattr__(self, "test", MissingTest())

    def _map(self, change: Any) -> Splits:
        return Withheld(change(self.train), change(self.validation), self.test, self.name, self.classes)

    def __repr__(self) -> str:
        return f"Withheld({self.name!r}, {len(self.train)}/{len(self.validation)}, test withheld)"


def withhold(splits: Splits) -> Withheld:
    """The same data without the test part."""
    return Withheld(splits.train, splits.validation, splits.test, splits.name, splits.classes)
