"""The table of results of `fit_many`."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from convcraft.errors import ConvcraftError
from convcraft.lab.data.splits import Split
from convcraft.lab.training.losses import device_of, evaluate, evaluating

Table = NDArray[np.float64]


@dataclass
class Sweep:
    """One arm at every learning rate and seed: tables (rate, seed, epoch), and the weights after the last
    epoch.

    From the epoch in which a run diverged, its losses are inf and its validation accuracy is chance;
    `diverged` (rate, seed) marks it. The best rate has the highest mean final validation accuracy over seeds;
    of equal ones the lower mean loss wins.

    Chapter: Activations.
    """

    learning_rates: list[float]
    seeds: list[int]
    train_loss: Table
    validation_loss: Table
    validation_accuracy: Table
    diverged: NDArray[np.bool_]
    chance: float
    template: nn.Module = field(repr=False)
    weights: dict[str, Tensor] = field(repr=False)

    @classmethod
    def empty(
        cls,
        rates: Sequence[float],
        seeds: Sequence[int],
        epochs: int,
        chance: float,
        template: nn.Module,
        stacked: Mapping[str, Tensor],
    ) -> Sweep:
        """A sweep in which every run has diverged before its first epoch; training fills the tables."""
        grid = (len(rates), len(seeds))
        loss = np.full((*grid, epochs), np.inf)
        weights = {name: w.detach().expand(len(rates), *w.shape).clone() for name, w in stacked.items()}
        return cls(
            list(rates),
            list(seeds),
            loss,
            loss.copy(),
            np.full_like(loss, chance),
            np.zeros(grid, dtype=np.bool_),
            chance,
            copy.deepcopy(template),
            weights,
        )

    @property
    def epochs(self) -> int:
        return int(self.train_loss.shape[-1])

    @property
    def best(self) -> int:
        """Index of the learning rate with the best mean final validation accuracy over seeds.

        Of a task without accuracies, the one with the lowest mean final validation loss.
        """
        if not self.epochs:
            raise ConvcraftError(
                "best needs at least one epoch; this sweep was trained for 0. Pass epochs=1 or more."
            )
        accuracy = self.validation_accuracy[:, :, -1]
        loss = self.validation_loss[:, :, -1].mean(1)
        if np.isnan(accuracy).any():  # a regression has none: a run that diverged must not look better for it
            return int(loss.argmin())
        return int(np.lexsort((loss, -accuracy.mean(1)))[0])

    @property
    def best_rate(self) -> float:
        """The learning rate with the best mean final validation accuracy over seeds."""
        return self.learning_rates[self.best]

    def models(self, rate_index: int | None = None) -> list[nn.Module]:
        """The trained networks at one rate (None: the best), one a seed, in evaluation mode."""
        rate = self.best if rate_index is None else range(len(self.learning_rates))[rate_index]
        models = []
        for seed in range(len(self.seeds)):
            model = copy.deepcopy(self.template).eval()
            with torch.no_grad():
                for name, parameter in model.named_parameters():
                    parameter.copy_(self.weights[name][rate, seed])
            models.append(model)
        return models

    def logits(self, x: Tensor, rate_index: int | None = None) -> Tensor:
        """Outputs (seeds, n, classes) of the networks at one rate (None: the best), without a graph."""
        outputs = []
        for model in self.models(rate_index):
            with evaluating(model):
                outputs.append(torch.cat([model(part.to(device_of(model))) for part in x.split(1024)]))
        return torch.stack(outputs)

    def accuracy(self, split: Split, rate_index: int | None = None) -> Table:
        """Accuracy (seeds,) on a split at one rate (None: the best); chance for a diverged run."""
        rate = self.best if rate_index is None else range(len(self.learning_rates))[rate_index]
        measured = [evaluate(model, split).accuracy for model in self.models(rate)]
        return np.where(self.diverged[rate], self.chance, measured)

    def __str__(self) -> str:
        return (
            f"Sweep({len(self.learning_rates)} rates x {len(self.seeds)} seeds, {self.epochs} epochs; best "
            "rate "
            f"{self.best_rate:g}; {int(self.diverged.sum())} diverged)"
        )

    __repr__ = __str__
