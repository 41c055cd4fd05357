"""Learning rates: find one by a range test, watch what it does, and know where it must fail.

Schedules come from `torch.optim.lr_scheduler`.

>>> from convcraft.learning_rates import largest_stable_rate
>>> largest_stable_rate(8.0)
0.25
"""

from .curvature import Sharpness, largest_stable_rate, sharpness
from .ratios import UpdateRatios, update_ratios
from .sweep import RangeTest, range_test

__all__ = [
    "RangeTest", "Sharpness", "UpdateRatios", "largest_stable_rate", "range_test", "sharpness", "update_ratios",
]  # fmt: skip
