"""Training many copies of one network at once, over a grid of learning rates and seeds."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from convcraft.errors import ConvcraftError
from convcraft.lab.data.splits import Split
from convcraft.lab.randomness import check_seed
from convcraft.lab.training.losses import evaluate, outputs_of
from convcraft.lab.training.together import SplitsOfSeed, Trained, fit_together


def fit_many(
    factory: Callable[[], nn.Module],
    splits: SplitsOfSeed,
    *,
    learning_rates: Sequence[float],
    seeds: Sequence[int],
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    l1: float = 0.0,
    **settings: Any,
) -> Sweep:
    """Train the network of a factory at every learning rate from every seed, many at once.

    `fit_together` over the grid: the numbers are those of `fit(seeded(factory, s), splits, learning_rate=r,
    seed=s, ...)` up to rounding. `factory()` is called once per seed, with torch's generator at that seed; batch
    order and noise (dropout, augmentation) depend on the seed too, and are the same for all rates. A
    run whose loss is not finite counts as chance accuracy. The other arguments, such as `epochs` and `loss`, are those
    of `fit_together`. Raises ConvcraftError for no rates or seeds, or repeated ones, and as `fit_together` does.
    Source: Robbins and Monro (1951), A Stochastic Approximation Method. Chapter: Activations.

    >>> from convcraft.lab import data, models
    >>> sweep = fit_many(lambda: models.MLP((64, 10), activation=None), data.load("digits"),
    ...                  learning_rates=[0.001, 0.1], seeds=range(3), epochs=2)
    >>> sweep.validation_accuracy.shape, sweep.best_rate
    ((2, 3, 2), 0.1)
    """
    rates, seeds = [float(rate) for rate in learning_rates], [check_seed(seed) for seed in seeds]
    for name, values in (("learning_rates", rates), ("seeds", seeds)):
        if not values or len(set(values)) < len(values):
            raise ConvcraftError(
                f"{name} must hold at least one value, none twice; got {values}. Leave out the repeats."
            )
    own = {"momentum": momentum, "weight_decay": weight_decay, "l1": l1}
    copies = [{"seed": seed, "learning_rate": rate, **own} for seed in seeds for rate in rates]
    trained = fit_together(factory, splits, copies, **settings)
    chance = (splits(seeds[0]) if callable(splits) else splits).chance
    return Sweep.of(rates, seeds, trained, chance)


Table = NDArray[np.float64]


@dataclass
class Sweep:
    """One arm at every learning rate and seed: tables (rate, seed, epoch), and the weights at the end.

    With `evaluate_at` the last dimension counts measurements. From the epoch in which a run diverged, its losses are
    inf and its validation accuracy is chance; `diverged` (rate, seed) marks it. The best rate has the highest mean
    final validation accuracy over seeds; ties go to the lower mean loss. Chapter: Activations.
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
    def of(cls, rates: Sequence[float], seeds: Sequence[int], trained: Sequence[Trained], chance: float) -> Sweep:
        """The table of runs that are ordered by seed, then rate."""
        grid = (len(rates), len(seeds))
        looks = max((one.history.epochs for one in trained), default=0)
        loss = np.full((*grid, looks), np.inf)  # kept by a run that diverged before the first measurement
        sweep = cls(
            list(rates), list(seeds), loss, loss.copy(), np.full_like(loss, chance),
            np.zeros(grid, dtype=np.bool_), chance, copy.deepcopy(trained[0].model), {},
        )  # fmt: skip
        for number, one in enumerate(trained):
            place, history = (number % len(rates), number // len(rates)), one.history
            sweep.diverged[place] = one.diverged
            for name in ("train_loss", "validation_loss", "validation_accuracy"):
                values = getattr(history, name)
                table = getattr(sweep, name)[place]
                table[: len(values)] = values
                if values and not one.diverged:
                    table[len(values) :] = values[-1]  # a run whose loss had stopped falling
        states = [one.model.state_dict() for one in trained]
        for name in states[0]:
            stacked = torch.stack([state[name] for state in states])
            shape = (len(seeds), len(rates), *stacked.shape[1:])
            sweep.weights[name] = stacked.view(shape).transpose(0, 1)
        return sweep

    @property
    def epochs(self) -> int:
        return int(self.train_loss.shape[-1])

    @property
    def best(self) -> int:
        """Index of the learning rate with the best mean final validation accuracy over seeds.

        For a regression, the one with the lowest mean final validation loss. Raises ConvcraftError after 0 epochs.
        """
        if not self.epochs:
            raise ConvcraftError("best needs at least one epoch; this sweep was trained for 0. Pass epochs=1 or more.")
        accuracy = self.validation_accuracy[:, :, -1]
        loss = self.validation_loss[:, :, -1].mean(1)
        if np.isnan(accuracy).any():  # a regression has none, and a diverged run must not look better for that
            return int(loss.argmin())
        return int(np.lexsort((loss, -accuracy.mean(1)))[0])

    @property
    def best_rate(self) -> float:
        """The learning rate with the best mean final validation accuracy over seeds."""
        return self.learning_rates[self.best]

    def models(self, rate_index: int | None = None) -> list[nn.Module]:
        """The trained networks at one rate (None: the best), one for each seed, in evaluation mode."""
        rate = self.best if rate_index is None else range(len(self.learning_rates))[rate_index]
        models = []
        for seed in range(len(self.seeds)):
            model = copy.deepcopy(self.template).eval()
            model.load_state_dict({name: weight[rate, seed] for name, weight in self.weights.items()})
            models.append(model)
        return models

    def logits(self, x: Tensor, rate_index: int | None = None) -> Tensor:
        """Outputs (seeds, n, classes) of the networks at one rate (None: the best), without a graph."""
        return torch.stack([outputs_of(model, x) for model in self.models(rate_index)])

    def accuracy(self, split: Split, rate_index: int | None = None) -> Table:
        """Accuracy (seeds,) on a split at one rate (None: the best); chance for a diverged run."""
        rate = self.best if rate_index is None else range(len(self.learning_rates))[rate_index]
        measured = [evaluate(model, split).accuracy for model in self.models(rate)]
        return np.where(self.diverged[rate], self.chance, measured)

    def __str__(self) -> str:
        return (
            f"Sweep({len(self.learning_rates)} rates x {len(self.seeds)} seeds, {self.epochs} epochs; best rate "
            f"{self.best_rate:g}; {int(self.diverged.sum())} diverged)"
        )

    __repr__ = __str__
