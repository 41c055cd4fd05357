"""What the dropouts have in common: the arguments of the modules, the mask of whole channels."""

import torch
from torch import Tensor, nn

from .._checks import check_generator, check_probability


class DropoutModule(nn.Module):
    """Goes before a dropout of torch.nn: checks the arguments and keeps the generator."""

    generator: torch.Generator | None

    def __init__(
        self, p: float = 0.5, inplace: bool = False, generator: torch.Generator | None = None
    ) -> None:
        check_probability(type(self).__name__, p)
        check_generator(type(self).__name__, generator)
        super().__init__(p, inplace)
        self.generator = generator


def channel_flags(x: Tensor, p: float, batched: bool, generator: torch.Generator | None) -> Tensor:
    """0 or 1 for each channel of each sample, in a shape that broadcasts with x."""
    kept = x.shape[: 2 if batched else 1]
    return x.new_empty((*kept, *(1,) * (x.dim() - len(kept)))).bernoulli_(1 - p, generator=generator)
