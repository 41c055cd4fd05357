"""Intervals, differences, tests and shares of variance of results over seeds; distributions by scipy."""

from convcraft.lab.statistics.calibration import expected_calibration_error, perfect_calibration_error
from convcraft.lab.statistics.comparisons import Equivalence, difference, holm, paired_difference, tost
from convcraft.lab.statistics.crossed import Estimate, crossed, crossed_interval
from convcraft.lab.statistics.factorial import Effect, VarianceShares, variance_shares
from convcraft.lab.statistics.frechet import frechet_distance
from convcraft.lab.statistics.intervals import Interval, bootstrap_interval, t_interval, wilson
from convcraft.lab.statistics.ranking import ndcg
from convcraft.lab.statistics.series import blocked_interval, blocks_of, mase

__all__ = [
    "Effect", "Equivalence", "Estimate", "Interval", "VarianceShares", "blocked_interval", "blocks_of",
    "bootstrap_interval", "crossed", "crossed_interval", "difference", "expected_calibration_error",
    "frechet_distance", "holm", "mase", "ndcg", "paired_difference", "perfect_calibration_error",
    "t_interval", "tost", "variance_shares", "wilson",
]  # fmt: skip
