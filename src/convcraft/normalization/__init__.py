"""Normalization: batch, layer, group and instance, with torch's arguments; folding, recalibration, freezing.

The formulas, with the backward pass derived, stand in `convcraft.normalization.definitions`.

>>> import torch
>>> from convcraft import normalization
>>> normalization.layer_norm(torch.tensor([[1.0, 3.0]]), (2,), eps=0.0)
tensor([[-1.,  1.]])
"""

from .batch import BatchNorm1d, BatchNorm2d, BatchNorm3d, SyncBatchNorm, batch_norm
from .folding import FoldingReport, fold_batch_norm, folding_report
from .instance import InstanceNorm1d, InstanceNorm2d, InstanceNorm3d, instance_norm
from .layer_group_norm import GroupNorm, LayerNorm, group_norm, layer_norm
from .running_stats import freeze_batch_norm, recalibrate_batch_norm, unfreeze_batch_norm

__all__ = [
    "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "FoldingReport", "GroupNorm", "InstanceNorm1d", "InstanceNorm2d",
    "InstanceNorm3d", "LayerNorm", "SyncBatchNorm", "batch_norm", "fold_batch_norm", "folding_report",
    "freeze_batch_norm", "group_norm", "instance_norm", "layer_norm", "recalibrate_batch_norm", "unfreeze_batch_norm",
]  # fmt: skip
