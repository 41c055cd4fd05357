"""A function of tensors as a graph of torch's operations, replayed without what calls them from Python."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

#: how often inputs of one form must have been seen, and how many calls must be to come, for a trace to pay
AFTER, WORTH = 10, 150

Lists = tuple[list[Tensor], ...]


class Replay:
    """Calls a function of lists of tensors; after some calls on inputs of one form, its graph.

    The function must do the same operations at every call. The graph is compared with it when it is made, and
    is not used if any value differs, or if it cannot be made.
    """

    def __init__(self, function: Callable[..., list[Tensor]], allowed: bool) -> None:
        self.function, self.allowed = function, allowed
        self.seen: Counter[Any] = Counter()
        self.graphs: dict[Any, Callable[[Lists], list[Tensor]]] = {}

    def __call__(self, to_come: int, *inputs: list[Tensor]) -> list[Tensor]:
        if not self.allowed:
            return self.function(*inputs)
        form = tuple((t.shape, t.stride()) for part in inputs for t in part)
        if form not in self.graphs:
            self.seen[form] += 1
            if self.seen[form] < AFTER or to_come < WORTH:
                return self.function(*inputs)
            graph = _traced(self.function, inputs)
            if graph is None:
                self.allowed = False
                return self.function(*inputs)
            self.graphs[form] = graph
        with torch.no_grad():
            return self.graphs[form](inputs)


def _traced(function: Callable[..., list[Tensor]], inputs: Lists) -> Callable[[Lists], list[Tensor]] | None:
    """The graph of a function, if it returns the same and changes its inputs in the same way."""

    def cloned() -> Lists:
        return tuple([t.clone(memory_format=torch.preserve_format) for t in part] for part in inputs)

    ours, theirs = cloned(), cloned()
    try:
        graph = make_fx(lambda inputs: function(*inputs))(cloned())  # a method would confuse it
        with torch.no_grad():
            found = graph(ours)
    except Exception:  # whatever stops a trace: the function itself has just worked on these inputs
        return None
    expected = function(*theirs)
    pairs = zip(
        [*found, *(t for part in ours for t in part)], [*expected, *(t for part in theirs for t in part)], strict=True
    )
    same = all(torch.allclose(a, b, rtol=1e-4, atol=1e-6, equal_nan=True) for a, b in pairs)
    return graph if same else None
