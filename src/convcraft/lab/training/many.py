"""Training many copies of one network at once: every learning rate times every seed of an arm."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import nn

from convcraft.errors import ConvcraftError
from convcraft.lab.randomness import check_seed
from convcraft.lab.training.fit import Decayed
from convcraft.lab.training.losses import Loss
from convcraft.lab.training.sweep import Sweep
from convcraft.lab.training.together import SplitsOfSeed, fit_together


def fit_many(
    factory: Callable[[], nn.Module],
    splits: SplitsOfSeed,
    *,
    learning_rates: Sequence[float],
    seeds: Sequence[int],
    epochs: int = 10,
    momentum: float = 0.9,
    batch_size: int = 64,
    loss: Loss = "cross_entropy",
    weight_decay: float = 0.0,
    l1: float = 0.0,
    decayed: Decayed | None = None,
    updates: int | None = None,
    evaluate_at: Iterable[int] | None = None,
    flat: float | None = None,
    chunk: int | None = None,
    progress: bool | None = None,
    device: torch.device | str | None = None,
) -> Sweep:
    """Train the network of a factory at every learning rate from every seed, many at once.

    `fit_together` over the grid: the numbers are those of `fit(seeded(factory, s), splits, learning_rate=r,
    seed=s, ...)` to rounding. `factory()` is called once a seed, with torch's generator at that seed; the
    order of the batches and the noise (dropout, augmentation) are the seed's too, the same for all rates. A
    run whose loss is not finite counts as chance accuracy. The other arguments are those of `fit_together`.
    Raises ConvcraftError for an empty or repeated list of rates or seeds, and as `fit_together`. Source:
    Robbins and Monro (1951), A Stochastic Approximation Method. Chapter: Activations.

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
    trained = fit_together(
        factory, splits, [{"seed": seed, "learning_rate": rate, **own} for seed in seeds for rate in rates],
        epochs=epochs, batch_size=batch_size, loss=loss, decayed=decayed, updates=updates,
        evaluate_at=evaluate_at, flat=flat, chunk=chunk, progress=progress, device=device,
    )  # fmt: skip
    chance = (splits(seeds[0]) if callable(splits) else splits).chance
    return Sweep.of(rates, seeds, trained, chance)
