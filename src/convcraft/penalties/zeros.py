"""How many parameters are exactly zero."""

import html
from dataclasses import dataclass

from torch import nn

from .._checks import check_module
from .._table import Table
from ._checks import parameters, rows


@dataclass(frozen=True)
class SparsityRow:
    """Zeros of one parameter, and its groups along dimension 0 (output units) that are all zero."""

    name: str
    zeros: int
    total: int
    zero_groups: int
    groups: int

    @property
    def share(self) -> float:
        """Share of zeros, 0 to 1."""
        return self.zeros / self.total if self.total else 0.0


class Sparsity(Table[SparsityRow]):
    """A list of `SparsityRow`, one for each parameter; printed, an aligned table with the total."""

    headings = ("parameter", "zeros", "of", "share", "zero groups")

    @property
    def zeros(self) -> int:
        """Number of zeros in all parameters."""
        return sum(row.zeros for row in self)

    @property
    def total(self) -> int:
        """Number of all parameters."""
        return sum(row.total for row in self)

    @property
    def share(self) -> float:
        """Share of zeros among all parameters, 0 to 1."""
        return self.zeros / self.total if self.total else 0.0

    def cells(self, row: SparsityRow) -> tuple[str, ...]:
        groups = f"{row.zero_groups}/{row.groups}"
        return row.name, str(row.zeros), str(row.total), f"{row.share:.1%}", groups

    def __repr__(self) -> str:
        return f"{super().__repr__()}\nall: {self.zeros} of {self.total} are zero ({self.share:.1%})"

    def _repr_html_(self) -> str:
        total = html.escape(f"all: {self.zeros} of {self.total} are zero ({self.share:.1%})")
        return f"{super()._repr_html_()}<p>{total}</p>"


def sparsity(model: nn.Module) -> Sparsity:
    r"""Count the parameters that are exactly zero.

    Formula: the share :math:`\#\{i: w_i = 0\} / n`, of each parameter and of all; and the groups along
    dimension 0, the output units of linear layers and convolutions, of which every weight is zero.

    A shared parameter counts once. Returns a list of `SparsityRow` with `zeros`, `total` and `share` of all;
    it prints as a table. Raises ConvcraftError when model is not a module or has no floating-point
    parameters. Chapter: L1 and L2 penalties.

    >>> model = nn.Linear(3, 2)
    >>> _ = nn.init.zeros_(model.bias)
    >>> sparsity(model).share
    0.25
    """
    check_module("sparsity", model)
    parameters("sparsity", model)
    table = Sparsity()
    for name, p in model.named_parameters():
        zero = rows(p.detach(), 0) == 0
        table.append(SparsityRow(name, int(zero.sum()), p.numel(), int(zero.all(1).sum()), zero.size(0)))
    return table
