"""Contrasts of a study whose arms are measured in different ways."""

from typing import Any

import pytest

from convcraft import ConvcraftError
from convcraft.lab.experiments import Contrast, Study, run_study


def _run(arm: dict, rate: Any, seed: int, splits: Any, final: bool) -> dict[str, float]:
    return {arm["name"]: arm["shift"] * (1 + 0.1 * seed)}


ARMS = {
    "a": {"name": "height", "shift": 1.0},
    "b": {"name": "height", "shift": 2.0},
    "c": {"name": "weight", "shift": 3.0},
}


def test_a_contrast_asks_its_own_arms_only_for_its_measure() -> None:
    study = Study(arms=ARMS, seeds=range(3), run=_run, contrasts=(Contrast("b", "a", measure="height"),))
    (judged,) = run_study(study).contrasts()
    assert judged.interval.mean == pytest.approx(1.1)


def test_a_contrast_about_a_measure_that_its_arm_lacks_is_refused() -> None:
    study = Study(arms=ARMS, seeds=range(3), run=_run, contrasts=(Contrast("c", "a", measure="height"),))
    with pytest.raises(ConvcraftError, match="measure of a contrast 'height'"):
        run_study(study)
