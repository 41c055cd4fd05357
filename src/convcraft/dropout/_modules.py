"""What the modules of dropout have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from .._checks import check_generator, check_probability


class DropoutModule(nn.Module):
    """To be put before a dropout of torch.nn: checks arguments, keeps the generator, calls `_function`."""

    _function: ClassVar[Callable[..., Tensor]]
    generator: torch.Generator | None

    def __init__(
        self, p: float = 0.5, inplace: bool = False, generator: torch.Generator | None = None
    ) -> None:
        check_probability(type(self).__name__, p)
        check_generator(type(self).__name__, generator)
        super().__init__(p, inplace)
        self.generator = generator

    def forward(self, input: Tensor) -> Tensor:
        return type(self)._function(input, self.p, self.training, self.inplace, self.generator)
