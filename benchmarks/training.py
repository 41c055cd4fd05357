"""Throughput of studies: many small networks one by one, by processes, vectorized, and both together."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import nn

from convcraft.errors import ConvcraftError
from convcraft.lab.data import Split, Splits, load
from convcraft.lab.models import MLP, ConvNet
from convcraft.lab.training import fit, fit_many, seeded

from .timing import Ratio, compare

RATE = 0.03
FIRST = "one by one"
#: the small networks that the book's studies train
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "perceptron": lambda: MLP((64, 64, 64, 10)),
    "convnet": lambda: ConvNet((8, 16), hidden=32),
}


@lru_cache
def digits(examples: int) -> Splits:
    """The digits with so many training examples, loaded once a process as in a study."""
    splits = load("digits").standardized()
    train = Split(splits.train.x[:examples], splits.train.y[:examples])
    return Splits(train, splits.validation, splits.test, splits.name, splits.classes)


def one_by_one(seeds: Sequence[int], network: str, epochs: int, batch: int, examples: int) -> list[float]:
    """The final validation loss of the network of each seed."""
    splits, factory = digits(examples), NETWORKS[network]
    settings: dict[str, Any] = {"epochs": epochs, "batch_size": batch, "learning_rate": RATE}
    histories = [fit(seeded(factory, s), splits, seed=s, progress=False, **settings) for s in seeds]
    return [history.validation_loss[-1] for history in histories]


def vectorized(seeds: Sequence[int], network: str, epochs: int, batch: int, examples: int) -> list[float]:
    """The same, all seeds together."""
    sweep = fit_many(
        NETWORKS[network], digits(examples), learning_rates=[RATE], seeds=seeds, epochs=epochs,
        batch_size=batch, progress=False,
    )  # fmt: skip
    return [float(loss) for loss in sweep.validation_loss[0, :, -1]]


def _alone(way: Callable[..., list[float]], seeds: Sequence[int], *rest: Any) -> list[float]:
    """In a process of its own: one thread."""
    torch.set_num_threads(1)
    return way(seeds, *rest)


def cores() -> int:
    """How many processes can run at a time."""
    from joblib import cpu_count

    return int(cpu_count())


def _ways(
    pool: Any, count: int, seeds: list[int], rest: tuple[str, int, int, int]
) -> dict[str, Callable[[], list[float]]]:
    """Every way to train the networks of the seeds; those one by one only train the first of them."""
    from joblib import delayed

    def spread(way: Callable[..., list[float]], parts: Sequence[Sequence[int]]) -> list[float]:
        return [loss for part in pool(delayed(_alone)(way, part, *rest) for part in parts) for loss in part]

    few = seeds[: max(count, len(seeds) // 8)]
    ways = {FIRST: lambda: one_by_one(few, *rest), "vectorized": lambda: vectorized(seeds, *rest)}
    if count > 1:
        shares = [part.tolist() for part in np.array_split(seeds, min(count, len(seeds)))]
        ways[f"{count} processes"] = lambda: spread(one_by_one, [[seed] for seed in few])
        ways[f"vectorized, {count} processes"] = lambda: spread(vectorized, shares)
    return ways


def _check(losses: dict[str, list[float]]) -> None:
    """All ways train the same networks: for two epochs, since rounding grows with the updates, at a large rate fast."""
    for name, values in losses.items():
        known = losses[FIRST]
        worst = float(np.abs(np.array(values[: len(known)]) / known - 1).max())
        if not worst <= 0.01:
            raise ConvcraftError(
                f"bench: {name} must train the networks that one by one trains, to rounding; their "
                f"validation losses differ by up to {100 * worst:.1f} %"
            )


def throughput(
    network: str, batch: int, rounds: int, models: int = 16, epochs: int = 10, examples: int = 1000
) -> list[Ratio]:
    """Time a model of each way over that of one by one; `baseline_ms` is that of one model for one epoch.

    The ways within one process are compared by processor time, which other programs hardly change; then all
    of them by wall time, which is what processes save.
    """
    from joblib import Parallel

    count, found = cores(), []
    with Parallel(n_jobs=count, batch_size=1) as pool:
        short, ways = (_ways(pool, count, list(range(models)), (network, n, batch, examples)) for n in (2, epochs))
        losses = {name: way() for name, way in short.items()}
        _check(losses)
        here = {name: way for name, way in ways.items() if "processes" not in name}
        for label, clock, some in (
            ("processor time", time.process_time, here),
            ("wall time", time.perf_counter, ways),
        ):
            times = compare(some, rounds, clock=clock)
            times = {name: [t / len(losses[name]) for t in own] for name, own in times.items()}
            base = 1e3 * float(np.median(times[FIRST])) / epochs
            for name, own in times.items():
                ratios = tuple(a / b for a, b in zip(own, times[FIRST], strict=True))
                what = f"{models} networks, {label}"
                found.append(Ratio(name, what, f"{network}, batch {batch}", (batch, 1, 8, 8), ratios, base))
    return found


def per_second(found: Sequence[Ratio]) -> str:
    """Models x epochs per second of every way, from the medians."""
    lines = [
        f"{1e3 / (ratio.baseline_ms * ratio.median):7.1f}  {ratio.layout}, {ratio.what}: {ratio.case}"
        for ratio in found
        if "batch" in ratio.layout
    ]
    return "\n".join(["models x epochs per second on the digits:", *lines]) if lines else ""
