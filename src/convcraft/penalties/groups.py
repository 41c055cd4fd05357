"""Which parameters to decay, and how many are zero."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any

from torch import nn

from .._checks import check_module
from .._graph import kinds
from .._table import Table
from ..errors import ConvcraftError
from ._checks import parameters, rows, strength

__all__ = ["Sparsity", "SparsityRow", "decay_groups", "sparsity"]

#: Keys of a parameter group that are no strength of a penalty: 0 in the second group would not switch it off.
_SETTINGS = ("params", "lr", "betas", "momentum", "dampening", "alpha", "rho", "eps")


def decay_groups(model: nn.Module, weight_decay: float, **options: Any) -> list[dict[str, Any]]:
    r"""Split the parameters of a model into those to decay and those to leave alone.

    Formula: decayed are the weights of linear, convolution, recurrent and embedding layers and what else has
    two dimensions or more; not decayed are biases, all parameters of normalizations and of learned
    activations, and what else has fewer than two dimensions (scales). A parameter that several modules
    share stands in one group once, in the second when any of them is one of these.

    Coupled or decoupled is the optimizer's: `SGD` and `Adam` add :math:`\lambda w` to the gradient, so that
    Adam divides the decay of a weight by the size of its gradients; `AdamW` takes
    :math:`w \leftarrow w - \eta \lambda w` apart from the gradient, the same share from every weight. For
    plain SGD the two are the same; under Adam they are not.

    Args:
        model: any module.
        weight_decay: :math:`\lambda` of the first group, not negative; the second has 0.
        options: further strengths of the first group, each 0 in the second: `l1=1e-4` for `proximal`.

    Returns:
        Two parameter groups for any torch optimizer; the order within each is that of the model.

    Raises:
        ConvcraftError: when model is no module or has no parameters, a strength is negative or no number, or
            an option is no strength, such as lr.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.PReLU())
        >>> groups = decay_groups(model, 1e-2)
        >>> [(len(group["params"]), group["weight_decay"]) for group in groups]
        [(1, 0.01), (4, 0.0)]
        >>> optimizer = torch.optim.AdamW(groups, lr=1e-3)

    Source: Loshchilov and Hutter (2019), Decoupled Weight Decay Regularization; He, Zhang, Zhang, Zhang, Xie
    and Li (2019), Bag of Tricks for Image Classification with Convolutional Neural Networks. Chapter 6.
    """
    check_module("decay_groups", model, advice="pass the model, whose names tell biases from weights")
    everything = parameters("decay_groups", model)
    strength("decay_groups", "weight_decay", weight_decay)
    for key, value in options.items():
        if key in _SETTINGS:
            raise ConvcraftError(
                f"decay_groups: options must be strengths of penalties, 0 in the second group, got {key!r}; "
                f"pass {key} to the optimizer"
            )
        strength("decay_groups", key, value)
    spared = _spared(model)
    decayed = [p for p in everything if id(p) not in spared]
    rest = [p for p in everything if id(p) in spared]
    return [
        {"params": decayed, "weight_decay": weight_decay, **options},
        {"params": rest, "weight_decay": 0.0, **dict.fromkeys(options, 0.0)},
    ]


def _spared(model: nn.Module) -> set[int]:
    """Identities of the parameters that are not decayed."""
    found = set[int]()
    for module in model.modules():
        if kinds.layer_kind(module) == "normalization" or kinds.activation_name(module) is not None:
            found.update(id(p) for p in module.parameters())
        for name, p in module.named_parameters(recurse=False):
            if "bias" in name or p.dim() < 2:
                found.add(id(p))
    return found


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

    Args:
        model: any module; a shared parameter counts once.

    Returns:
        A list of `SparsityRow` with `zeros`, `total` and `share` of all; it prints as a table.

    Raises:
        ConvcraftError: when model is no module or has no floating-point parameters.

    Example:
        >>> model = nn.Linear(3, 2)
        >>> _ = nn.init.zeros_(model.bias)
        >>> sparsity(model).share
        0.25

    Chapter 6.
    """
    check_module("sparsity", model)
    parameters("sparsity", model)
    table = Sparsity()
    for name, p in model.named_parameters():
        zero = rows(p.detach(), 0) == 0
        table.append(SparsityRow(name, int(zero.sum()), p.numel(), int(zero.all(1).sum()), zero.size(0)))
    return table
