"""How often a step makes the host wait for the device: counted, not timed, so a machine without one can tell.

Without a GPU the layers run on the meta device, where they take the paths of a device.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from convcraft import penalties
from convcraft.lab.models import MLP
from convcraft.lab.training import fit, seeded

from .cases import NAMES, _both, _pair
from .images import pairs
from .layers import dropouts, normalizations
from .models import _steps, stack
from .training import digits

#: operations that read a value back, or whose result has a shape that depends on values
_READS = ("_local_scalar_dense", "equal", "is_nonzero", "masked_select", "nonzero")
_INDEXING = ("index", "index_put", "index_put_")  # by a mask they look for its places first


class _Count(TorchDispatchMode):
    waits = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.overloadpacket.__name__
        masks = name in _INDEXING and any(i is not None and i.dtype == torch.bool for i in args[1])
        self.waits += name in _READS or masks
        return function(*args, **(kwargs or {}))


def waits(*steps: Callable[[], object]) -> int:
    """How often the steps, after a first time each, make the host wait."""
    for step in steps:
        step()
    with _Count() as count:
        for step in steps:
            step()
    return count.waits


def _fit(updates: int) -> None:
    network = seeded(lambda: MLP((64, 16, 10)), 0)
    fit(network, digits(64), updates=updates, evaluate_at=[], batch_size=16, progress=False)


def summary() -> str:
    """One line: the waits of a step of each kind, of a sampled pass of `record`, of 100 updates of `fit`."""
    own = torch.get_default_device()
    with torch.device(own if own.type == "cuda" else "meta"):
        x, grad = torch.empty(8, 16, 8, 8), torch.empty(8, 16, 8, 8)
        layers = [case["ours"] for group in (dropouts(), normalizations(16)) for case in group.values()]
        weights = list(stack(2, 8).parameters())
        norm = partial(penalties.elastic_net, weights, 1e-4, 1e-3)
        steps: dict[str, list[Callable[[], object]]] = {
            "activations": [_both(_pair(name)[0], x, grad) for name in NAMES],
            "dropout and normalization": [_both(layer, x, grad) for layer in layers],
            "augmentation": [partial(ours, x) for ours, _ in pairs(8, 8).values()],
            "penalties": [
                lambda: torch.autograd.grad(norm(), weights),
                lambda: penalties.soft_threshold_(weights, 1e-9),
            ],
        }
        each = [f"{waits(*group)} {name}" for name, group in steps.items()]
    plain, watched = (waits(_steps(partial(MLP, (64, 16, 10)), (8, 64), 10, every)) for every in (None, 1))
    each += [f"{(watched - plain) / 10:g} a sampled pass of record"]
    each += [f"{(waits(partial(_fit, 201)) - waits(partial(_fit, 1))) / 2:g} every 100 updates of fit"]
    return f"the host waits for the device: {', '.join(each)}"
