"""The recorder that `diagnose` uses: every value counted, and what norms and first layers are fed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .._graph import kinds, tensors
from ._tally import LIMITS
from ._watch import Spot
from .record import Recorder

#: Functions that show the same values in another shape, on the way from a gate to what it scales.
_VIEWS = {"view", "reshape", "unsqueeze", "expand", "expand_as", "flatten", "getitem", "chunk", "split"}


@dataclass
class InputFacts:
    """What a layer is fed: mean, standard deviation, and the range of its features' standard deviations."""

    layer: str
    mean: float
    std: float
    smallest: float
    largest: float
    is_batch: bool  # whether these are the values of the batch itself


@dataclass
class NormFacts:
    """What a batch normalization is fed, averaged over the batches."""

    name: str
    examples: int
    values: int  # of each channel
    means: list[Tensor] = field(default_factory=list)
    variances: list[Tensor] = field(default_factory=list)


class Examiner(Recorder):
    """A recorder that also notes inputs, batch statistics, and which activations are gates."""

    def __init__(self, model: nn.Module, batch_tensors: Iterable[Tensor]) -> None:
        super().__init__(model, exact=True)
        self.starts = {t.data_ptr() for t in batch_tensors if t.is_floating_point() and t.numel()}
        self.inputs: dict[str, InputFacts] = {}
        self.norms: dict[str, NormFacts] = {}
        self.first_layer = True
        self.outputs: dict[int, tuple[Tensor, str]] = {}

    def begin(self) -> bool:
        self.outputs.clear()
        self.first_layer = self.passes == 0
        return super().begin()

    def layer(self, spot: Spot, inputs: Any, output: Tensor) -> None:
        first = next((t for t in tensors(inputs) if t.is_floating_point()), None)
        with torch.no_grad():
            if spot.role in ("weights", "normalization"):
                if first is not None and spot.role == "weights":
                    self._input(spot, first.detach())
                self.first_layer = False
            if first is not None and isinstance(spot.module, _BatchNorm):
                self._norm(spot, first.detach())
        super().layer(spot, inputs, output)
        if spot.kind in LIMITS:
            self.outputs[id(output)] = (output, spot.name)

    def function(self, name: str, path: str, inputs: Any, output: Any) -> None:
        found = [self.outputs[id(t)] for t in tensors(inputs) if id(t) in self.outputs]
        if name in kinds.PRODUCTS or name in ("matmul", "bmm", "einsum"):
            for _, source in found:
                self.tallies[source].gate = True
        elif name in _VIEWS and found:
            for tensor in tensors(output):
                self.outputs[id(tensor)] = (tensor, found[0][1])

    def _input(self, spot: Spot, value: Tensor) -> None:
        raw = value.data_ptr() in self.starts and value.numel() > 0
        if not (raw or self.first_layer) or self.passes > 1 or spot.name in self.inputs:
            return
        dim = -1 if spot.unit_dim == -1 else 1
        if value.dim() < 2 or not value.numel():
            return
        others = [d for d in range(value.dim()) if d != dim % value.dim()]
        x = value.float()
        spread = x.std(others, correction=0)
        facts = InputFacts(
            spot.name,
            float(x.mean()),
            float(x.std(correction=0)),
            float(spread.min()),
            float(spread.max()),
            raw,
        )
        self.inputs[spot.name] = facts

    def _norm(self, spot: Spot, value: Tensor) -> None:
        others = [d for d in range(value.dim()) if d != 1]
        x = value.float()
        name = spot.name.partition(":")[0]
        facts = self.norms.setdefault(name, NormFacts(name, x.shape[0], x.numel() // max(1, x.shape[1])))
        facts.means.append(x.mean(others))
        facts.variances.append(x.var(others, correction=0))
