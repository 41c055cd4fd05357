"""Splits without their test part: all that tuning and training get to see."""

from dataclasses import dataclass
from typing import Any, NoReturn

from convcraft.errors import ConvcraftError
from convcraft.lab.data.splits import Splits


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
    `flattened` or `to` make of it holds it.
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
