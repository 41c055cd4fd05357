"""Convcraft: the functions of *The Craft of Training Convolutional Networks*, written out, tested and fast.

The library needs torch and numpy only, and `import convcraft` loads nothing else. Its parts are reached as
attributes, and are imported when they are first used:

    >>> import torch
    >>> import convcraft
    >>> convcraft.activations.relu(torch.tensor([-1.0, 2.0]))
    tensor([0., 2.])
"""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

from .errors import ConvcraftError

if TYPE_CHECKING:
    from . import (
        activations,
        augmentation,
        diagnostics,
        dropout,
        initialization,
        lab,
        learning_rates,
        normalization,
        penalties,
        plotting,
        reference,
    )

__version__ = "0.1.0"

__all__ = [
    "ConvcraftError", "__version__", "activations", "augmentation", "diagnostics", "dropout",
    "initialization", "lab", "learning_rates", "normalization", "penalties", "plotting", "reference",
]  # fmt: skip
_PARTS = sorted({*__all__, "errors"} - {"ConvcraftError", "__version__"})


def __getattr__(name: str) -> ModuleType:
    if name in _PARTS:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; its parts are {', '.join(_PARTS)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_PARTS})
