"""How far each step moves each parameter, compared with how large the parameter is."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from .._checks import check_learns, check_optimizer


class UpdateRatios(Mapping[str, list[float]]):
    """The ratios of every step seen, by the name of the parameter; prints as a table.

    A ratio is 0 where nothing moved, and infinite where a parameter was all zeros before the step, as biases
    are at first. Chapter: Learning rates.

    >>> ratios = UpdateRatios()
    >>> ratios.add({"weight": torch.tensor(0.001)})
    >>> ratios["weight"], ratios.steps
    ([0.0010000000474974513], 1)
    """

    def __init__(self) -> None:
        self._seen: dict[str, list[Tensor]] = {}
        self.steps = 0

    def add(self, ratios: Mapping[str, Tensor]) -> None:
        """Take in one step; the values stay on their device until they are asked for."""
        self.steps += 1
        for name, ratio in ratios.items():
            self._seen.setdefault(name, []).append(ratio)

    def __getitem__(self, name: str) -> list[float]:
        values: list[float] = torch.stack(self._seen[name]).tolist()
        return values

    def __iter__(self) -> Iterator[str]:
        return iter(self._seen)

    def __len__(self) -> int:
        return len(self._seen)

    def typical(self) -> dict[str, float]:
        """Geometric mean of the positive, finite ratios of each parameter; 0 where there are none."""
        out = {}
        for name in self:
            logs = [math.log(value) for value in self[name] if 0 < value < math.inf]
            out[name] = math.exp(sum(logs) / len(logs)) if logs else 0.0
        return out

    def __str__(self) -> str:
        if not self._seen:
            return "update ratios: no step was seen"
        width = max(len("parameter"), *(len(name) for name in self))
        lines = [f"{'parameter':{width}s}  typical ratio    last   ({self.steps} steps)"]
        for name, value in self.typical().items():
            lines.append(f"{name:{width}s}  {value:13.2e}  {self[name][-1]:.2e}")
        return "\n".join(lines)


@contextmanager
def update_ratios(model: nn.Module, optimizer: Optimizer) -> Iterator[UpdateRatios]:
    r"""Measure the update-to-weight ratio of each parameter at every step of the optimizer inside the `with`.

    Formula: :math:`\lVert w_{t+1} - w_t \rVert / \lVert w_t \rVert`, Euclidean norms over a whole parameter. About
    :math:`10^{-3}` is a usual value; far above it the weights are overwritten, far below it they hardly learn.

    The steps are watched by hooks of the optimizer that are taken away at the end, and the training is not
    disturbed: the weights are read before and after each step, nothing else is touched. It costs one copy of
    the parameters that learn.

    Raises ConvcraftError when the model has nothing to train, or the optimizer holds none of it. Source:
    Karpathy (2016), CS231n Convolutional Neural Networks for Visual Recognition, notes, "Ratio of
    weights:updates". Chapter: Learning rates.

    >>> from torch import nn
    >>> model = nn.Linear(2, 1, bias=False)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.5)
    >>> with update_ratios(model, optimizer) as ratios:
    ...     model(torch.zeros(1, 2)).sum().backward()
    ...     optimizer.step()
    >>> [round(ratio, 4) for ratio in ratios["weight"]]
    [0.05]
    """
    check_learns("update_ratios", model)
    check_optimizer("update_ratios", optimizer, model)
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    watched = {name: p for name, p in model.named_parameters() if id(p) in held}
    before: dict[str, Tensor] = {}
    ratios = UpdateRatios()

    def remember(*_: Any) -> None:
        before.update({name: p.detach().clone() for name, p in watched.items()})

    def compare(*_: Any) -> None:
        found = {}
        for name, p in watched.items():
            wide = torch.promote_types(p.dtype, torch.float32)
            moved = torch.linalg.vector_norm(p.detach().to(wide) - before[name].to(wide))
            size = torch.linalg.vector_norm(before[name], dtype=wide)
            found[name] = torch.where(moved == 0, torch.zeros_like(moved), moved / size)  # 0 for zeros that stay
        ratios.add(found)
        before.clear()

    handles = [optimizer.register_step_pre_hook(remember), optimizer.register_step_post_hook(compare)]
    try:
        yield ratios
    finally:
        for handle in handles:
            handle.remove()
