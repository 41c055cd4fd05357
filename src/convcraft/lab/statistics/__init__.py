"""Intervals, differences, tests and shares of variance of results over seeds; distributions by scipy."""

from convcraft.lab.statistics.calibration import expected_calibration_error
from convcraft.lab.statistics.comparisons import Equivalence, holm, paired_difference, tost
from convcraft.lab.statistics.factorial import Effect, VarianceShares, variance_shares
from convcraft.lab.statistics.intervals import Interval, bootstrap_interval, t_interval, wilson

__all__ = [
    "Effect",
    "Equivalence",
    "Interval",
    "VarianceShares",
    "bootstrap_interval",
    "expected_calibration_error",
    "holm",
    "paired_difference",
    "t_interval",
    "tost",
    "variance_shares",
    "wilson",
]
