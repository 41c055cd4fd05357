"""Splits whose test part is not there: what tuning and training get to see."""

from __future__ import annotations

from typing import Any

from convcraft.errors import ConvcraftError
from convcraft.lab.data.splits import Splits


class Withheld(Splits):
    """The training and validation part of a data set; to ask for `test` raises ConvcraftError.

    The test part is not merely hidden: this object does not hold it.
    """

    def __init__(self, splits: Splits) -> None:
        super().__init__(splits.train, splits.validation, None, splits.name, splits.classes)  # type: ignore[arg-type]

    def _map(self, change: Any) -> Splits:
        changed = Splits(change(self.train), change(self.validation), None, self.name, self.classes)  # type: ignore[arg-type]
        return Withheld(changed)

    def __repr__(self) -> str:
        return f"Withheld({self.name!r}, {len(self.train)}/{len(self.validation)}, test withheld)"


def _withheld(self: Withheld) -> Any:
    raise ConvcraftError(
        "splits.test is withheld while a learning rate is chosen and a network trained; expected train and "
        "validation only, got test. Measure on the test part in measure, or in run where final is True."
    )


# A property wins over the attribute of the instance; what is assigned to it is dropped.
Withheld.test = property(_withheld, lambda self, value: None)  # type: ignore[assignment]
