"""Seeds without side effects: random streams of their own, and the global random state put back as it was."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from convcraft._checks import check_count
from convcraft._restore import seed_torch

_PURPOSES = ("batch order", "noise")


def check_seed(seed: Any) -> int:
    """The seed as an int; raises ConvcraftError unless it is an integer of 0 or more."""
    return check_count("lab", "seed", seed, 0)


def stream(seed: int, purpose: str) -> int:
    """Seed of an independent stream for one purpose, so that batch order and dropout noise share nothing.

    >>> stream(0, "noise") == stream(0, "batch order")
    False
    """
    entropy = (check_seed(seed), _PURPOSES.index(purpose))
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> np.uint64(1))


@contextmanager
def forked(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Run torch's global generators (CPU, and `device`) from `seed` within the block, and put them back.

    >>> before = torch.get_rng_state()
    >>> with forked(3):
    ...     x = torch.rand(2)
    >>> torch.equal(before, torch.get_rng_state())
    True
    """
    device = torch.device(device)
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        seed_torch(seed, cuda)
        yield


def batch_orders(n: int, seed: int) -> Iterator[Tensor]:
    """The order of `n` training examples, epoch after epoch: a function of the seed and of `n` alone."""
    generator = torch.Generator().manual_seed(stream(seed, "batch order"))
    while True:
        yield torch.randperm(n, generator=generator)
