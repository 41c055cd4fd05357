"""Convolutional networks without an activation a second time, with other seeds and another split.

The arms, rates, budget and contrasts of `linear_convnets`, but final and tuning seeds of its own, and the digits
divided anew into training, validation and test images.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from convcraft.lab import data
from convcraft.lab.experiments import load_study


def splits(arm: dict[str, Any]) -> data.Splits:
    return data.load("digits", seed=1).standardized()


STUDY = replace(load_study("linear_convnets"), splits=splits, seeds=range(1000, 1010), tuning_seeds=range(1100, 1110))
