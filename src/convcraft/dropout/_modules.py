"""What the dropouts have in common: their arguments and what these must be, the mask of whole channels."""

from typing import Any

from torch import Tensor, nn

from .._checks import Generator, check_floating, check_generator, check_probability


def check_dropout(function: str, input: Any, p: Any, generator: Any, below_one: bool = False) -> None:
    """Require a probability, a floating-point tensor, and no generator of another device."""
    check_probability(function, p, below_one)
    check_floating(function, input)
    check_generator(function, generator, input)


class DropoutModule(nn.modules.dropout._DropoutNd):
    """A dropout, alone or before one of torch.nn: checks the arguments and keeps the generator."""

    generator: Generator
    #: whether p = 1 has no meaning
    below_one = False

    def __init__(self, p: float = 0.5, inplace: bool = False, generator: Generator = None) -> None:
        check_probability(type(self).__name__, p, self.below_one)
        check_generator(type(self).__name__, generator)
        super().__init__(p, inplace)
        self.generator = generator


def channel_flags(x: Tensor, p: float, batched: bool, generator: Generator) -> Tensor:
    """0 or 1 for each channel of each sample, in a shape that broadcasts with x."""
    kept = x.shape[: 2 if batched else 1]
    return x.new_empty((*kept, *(1,) * (x.dim() - len(kept)))).bernoulli_(1 - p, generator=generator)
