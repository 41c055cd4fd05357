"""Penalties: L1, L2, elastic net and group lasso in one pass, and proximal steps that give exact zeros.

The gradient of an L1 penalty pushes a weight past zero and back, and never leaves it there; the proximal step
does. `proximal(optimizer, l1=...)` adds it to an optimizer, and `sparsity(model)` counts what it set to zero.

>>> import torch
>>> from convcraft import penalties
>>> penalties.elastic_net([torch.tensor([1.0, -2.0])], l1=0.5, l2=0.1)
tensor(2.)
"""

from .decay import decay_groups
from .optimizer import proximal
from .steps import group_soft_threshold_, max_norm_, soft_threshold_
from .values import elastic_net, group_lasso, l1_penalty, l2_penalty
from .zeros import Sparsity, SparsityRow, sparsity

__all__ = [
    "Sparsity", "SparsityRow", "decay_groups", "elastic_net", "group_lasso", "group_soft_threshold_",
    "l1_penalty", "l2_penalty", "max_norm_", "proximal", "soft_threshold_", "sparsity",
]  # fmt: skip
