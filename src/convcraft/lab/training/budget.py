"""How long to train, when to measure, and checks of the arguments of training."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from torch import Tensor

from convcraft._checks import check_count
from convcraft.errors import ConvcraftError
from convcraft.lab.data.splits import Splits
from convcraft.lab.randomness import batch_orders


@dataclass(frozen=True)
class Budget:
    """`updates` in total, `per_epoch` of them per epoch; the network is measured after those in `looks`."""

    updates: int
    per_epoch: int
    batch_size: int
    looks: frozenset[int]

    @classmethod
    def of(
        cls, examples: int, batch_size: int, epochs: int, updates: int | None, evaluate_at: Iterable[int] | None
    ) -> Self:
        """From the arguments of `fit`; raises ConvcraftError for impossible updates."""
        per_epoch = math.ceil(examples / batch_size)
        if updates is not None:
            check_count("fit", "updates", updates, 0)
        total = epochs * per_epoch if updates is None else updates
        looks = range(per_epoch, total + 1, per_epoch) if evaluate_at is None else list(evaluate_at)
        for look in looks:
            check_count("fit", "each of evaluate_at", look)
            if look > total:
                raise ConvcraftError(
                    f"evaluate_at must hold updates up to the last one, {total}; got {look}. Train longer or "
                    "leave it out."
                )
        return cls(total, per_epoch, batch_size, frozenset(looks) | ({total} if total else set()))

    def batches(self, examples: int, seed: int) -> Iterator[Tensor]:
        """The rows of each update: a new order of the examples in every epoch, cut into batches."""
        count = 0
        for order in batch_orders(examples, seed):
            for rows in order.split(self.batch_size):
                if count == self.updates:
                    return
                count += 1
                yield rows

    def name(self, update: int) -> str:
        """An update (counted from 1) in words."""
        epoch, batch = divmod(update - 1, self.per_epoch)
        return f"epoch {epoch + 1}, batch {batch + 1} of {self.per_epoch}"


def is_flat(losses: Sequence[float], updates: Sequence[int], tolerance: float = 0.01) -> bool:
    """Whether the lowest loss fell by at most the share `tolerance` within the last quarter of the updates.

    False for fewer than eight measurements, which are too few to tell.

    >>> is_flat([1.0, 0.5, 0.4, 0.35, 0.33, 0.32, 0.3195, 0.319], range(1, 9))
    True
    >>> is_flat([1.0, 0.5, 0.4, 0.35, 0.33, 0.32, 0.31, 0.30], range(1, 9))
    False
    """
    if len(losses) < 8:
        return False
    before = min(loss for loss, update in zip(losses, updates, strict=True) if update <= 0.75 * updates[-1])
    return before - min(losses) <= tolerance * abs(before)


def check_strengths(momentum: float, weight_decay: float, l1: float) -> None:
    """Raise ConvcraftError unless momentum lies in [0, 1) and the penalties are not negative."""
    if not (0 <= momentum < 1 and 0 <= weight_decay < math.inf and 0 <= l1 < math.inf):
        raise ConvcraftError(
            f"momentum must lie in [0, 1), weight_decay and l1 must be finite and 0 or more; got momentum={momentum}, "
            f"weight_decay={weight_decay}, l1={l1}. Pass for example momentum=0.9, weight_decay=0."
        )


def check_flat(flat: float | None) -> None:
    """Raise ConvcraftError unless the tolerance of the stopping rule is None or a share."""
    if flat is not None and not 0 <= flat < 1:
        raise ConvcraftError(f"flat must lie in [0, 1), or be None; got {flat}. Pass for example 0.01.")


def check_data(splits: Splits, epochs: int, batch_size: int) -> None:
    """Raise ConvcraftError unless there are examples to learn from, in batches of at least one."""
    check_count("fit", "epochs", epochs, 0)
    check_count("fit", "batch_size", batch_size)
    for name, part in (("train", splits.train), ("validation", splits.validation)):
        if not len(part):
            raise ConvcraftError(f"splits.{name} must hold examples; got none. Split the data set again.")
