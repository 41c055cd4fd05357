"""Numbers by step that stay on the device until there are many of them or somebody reads them."""

from __future__ import annotations

import torch
from torch import Tensor

FOLD = 256  # steps whose numbers are kept as tensors before they are put together


class Series:
    """(step, number or row of numbers); all tensors of one series have one shape and one device."""

    def __init__(self) -> None:
        self.waiting: list[tuple[int, Tensor]] = []
        self.folded: list[tuple[int, list[float]]] = []

    def append(self, step: int, value: Tensor) -> None:
        """Keep a number without waiting for the device, except for once in `FOLD` steps."""
        self.waiting.append((step, value))
        if len(self.waiting) >= FOLD:
            self.items()

    def items(self) -> list[tuple[int, list[float]]]:
        """Everything so far as plain numbers, each step's as a list."""
        waiting, self.waiting = self.waiting, []
        if waiting:
            rows = torch.stack([value.reshape(-1) for _, value in waiting]).double().tolist()
            self.folded += [(step, row) for (step, _), row in zip(waiting, rows, strict=True)]
        return self.folded
