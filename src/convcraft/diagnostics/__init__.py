"""Diagnostics: watch a model at work, and find what keeps it from training.

`record(model)` measures every layer while the model is used; `diagnose(model, batch, loss, optimizer)` looks
for the common illnesses of networks and returns a `Report`. Neither changes the model.

>>> import torch
>>> from torch import nn
>>> from convcraft.diagnostics import diagnose
>>> model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
>>> diagnose(model, (torch.randn(64, 8), torch.arange(64) % 3), "cross_entropy").healthy
True
"""

from . import thresholds
from .diagnose import diagnose
from .finding import Finding
from .layer_statistics import LayerStatistics
from .record import record
from .report import Comparison, Report
from .trace import Trace

__all__ = [
    "Comparison", "Finding", "LayerStatistics", "Report", "Trace", "diagnose", "record", "thresholds",
]  # fmt: skip
