"""Dropout of elements, channels, samples and squares, with torch's arguments, and Monte-Carlo prediction.

All functions take `p`, the probability of dropping (0 gives the input, 1 zeros), `training`, without which the input
is returned as it is, and `generator`, where the random numbers come from; None is torch's global one. The masks live
on the input's device. Modules act in training mode only. Under `torch.compile` the numbers come from torch's global
generator: `generator=` breaks the graph there, which `fullgraph=True` refuses.

>>> import torch
>>> from convcraft import dropout
>>> dropout.dropout(torch.ones(4), p=0.5, training=False)
tensor([1., 1., 1., 1.])
"""

from .alpha import AlphaDropout, FeatureAlphaDropout, alpha_dropout, feature_alpha_dropout
from .channels import Dropout1d, Dropout2d, Dropout3d, dropout1d, dropout2d, dropout3d
from .drop_block import DropBlock2d, drop_block2d
from .drop_path import DropPath, drop_path
from .dropout import Dropout, GaussianDropout, dropout, gaussian_dropout
from .monte_carlo import Prediction, mc_predict

__all__ = [
    "AlphaDropout", "DropBlock2d", "DropPath", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "FeatureAlphaDropout",
    "GaussianDropout", "Prediction", "alpha_dropout", "drop_block2d", "drop_path", "dropout", "dropout1d", "dropout2d",
    "dropout3d", "feature_alpha_dropout", "gaussian_dropout", "mc_predict",
]  # fmt: skip
