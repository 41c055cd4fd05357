"""Interleaved timing, and the bytes that a function keeps for its backward pass."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from convcraft.errors import ConvcraftError

Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Ratio:
    """Time of one candidate over the time of the baseline in the same round.

    `rivals` holds the same ratios of others that were measured in the same rounds.
    """

    case: str
    what: str
    layout: str
    shape: tuple[int, ...]
    ratios: tuple[float, ...]
    baseline_ms: float
    saved: float | None = None
    baseline_saved: float | None = None
    rivals: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def median(self) -> float:
        return float(np.median(self.ratios))

    @property
    def quartiles(self) -> tuple[float, float]:
        low, high = np.percentile(self.ratios, [25, 75])
        return float(low), float(high)

    def interval(self, seed: int = 0, repeats: int = 2000) -> tuple[float, float]:
        """Bootstrap 95 % interval of the median."""
        draws = np.random.default_rng(seed).choice(self.ratios, (repeats, len(self.ratios)))
        low, high = np.percentile(np.median(draws, axis=1), [2.5, 97.5])
        return float(low), float(high)

    def record(self) -> dict[str, Any]:
        """Everything as plain numbers, for JSON."""
        numbers = {**asdict(self), "ratios": [round(ratio, 4) for ratio in self.ratios]}
        numbers["rivals"] = {who: [round(ratio, 4) for ratio in own] for who, own in self.rivals.items()}
        return {**numbers, "median": self.median, "quartiles": self.quartiles, "interval": self.interval()}


@contextlib.contextmanager
def device_of_new_tensors(device: str) -> Iterator[None]:
    """Where tensors are made; with "cpu" no call goes through Python for it, which would be timed as well."""
    before = torch.get_default_device().type
    torch.set_default_device(None if device == "cpu" else device)
    try:
        yield
    finally:
        torch.set_default_device(None if before == "cpu" else before)


def synchronized() -> float:
    """Wall time after all that the GPU was given is done."""
    torch.cuda.synchronize()
    return time.perf_counter()


def clock_for(threads: int) -> Callable[[], float]:
    """With one thread processor time, which other programs hardly lengthen; else, and on a GPU, wall time."""
    if torch.get_default_device().type == "cuda":
        return synchronized
    return time.process_time if threads == 1 else time.perf_counter


def compare(
    actions: Mapping[str, Callable[[], object]],
    rounds: int,
    repeats: int = 1,
    clock: Callable[[], float] | None = None,
) -> dict[str, list[float]]:
    """Seconds of each action in each round, each round in random order, after one round of warm-up.

    `clock`: that of `clock_for` the threads in use, unless given.

    Formula: the ratio of two candidates is formed within a round, so that what slows the machine slows both.

    Raises:
        ConvcraftError: when rounds is below 1.

    Example:
        >>> times = compare({"a": lambda: None, "b": lambda: None}, rounds=5)
        >>> len(times["a"])
        5
    """
    if rounds < 1:
        raise ConvcraftError(
            f"bench: rounds must be at least 1, got {rounds}; five or more give usable quartiles"
        )
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    clock = clock or clock_for(torch.get_num_threads())
    order, shuffle = list(actions), random.Random(0)
    with device_of_new_tensors("cpu"):
        for number in range(rounds + 1):
            shuffle.shuffle(order)
            for name in order:
                start = clock()
                for _ in range(repeats):
                    actions[name]()
                if number:
                    seconds[name].append((clock() - start) / repeats)
    return seconds


def saved_bytes(function: Function, x: Tensor) -> float:
    """Bytes an element of x that the function keeps for its backward pass, each storage counted once.

    Example:
        >>> saved_bytes(torch.tanh, torch.zeros(8))
        4.0
    """
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = function(x.detach().requires_grad_(True))
    del result
    return sum(kept.values()) / max(1, x.numel())
