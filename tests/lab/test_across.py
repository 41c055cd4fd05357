"""Functions side by side over the studies: tasks that exist, effects with their sign, a nested choice."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from convcraft.lab.experiments import across, load

#: Read and judged once for all effects of a study.
load = functools.cache(load)


@pytest.fixture(scope="module")
def effects():
    return across.effects()


def test_tasks_name_arms_and_measures_that_exist():
    for task in across.TASKS.values():
        result = load(task.study)
        assert set(task.arms.values()) <= set(result.arms) and "relu" in task.arms
        assert {m.removeprefix("-") for m in (task.measure, task.chosen_by)} <= set(result.measures)


@functools.cache
def weak(study):
    return {arm for arms in load(study).shortcomings.values() for arm in arms}


def test_no_effect_rests_on_an_arm_that_breaks_a_rule(effects):
    for effect in effects:
        task = across.TASKS[effect.task]
        assert not weak(task.study) & {task.arms[effect.function], task.arms["relu"]}


def test_better_is_positive_whatever_the_measure(effects):
    for effect in effects:
        task = across.TASKS[effect.task]
        result = load(task.study)
        name = task.measure.removeprefix("-")
        difference = result.difference(task.arms[effect.function], task.arms["relu"], name).mean
        sign = -1 if task.measure.startswith("-") else 1
        assert np.sign(effect.interval.mean) == np.sign(sign * difference)
        assert effect.interval.low <= effect.interval.mean <= effect.interval.high


def test_verdicts_follow_the_adjusted_p(effects):
    decided = [e for e in effects if e.verdict in ("ahead", "behind")]
    assert decided and all((e.verdict == "ahead") == (e.interval.mean > 0) for e in decided)
    assert max(e.judged.adjusted for e in decided if not e.judged.collapses) < 0.05


def test_the_choice_is_made_without_the_test_part():
    for choice in across.nested_choice():
        task = across.TASKS[choice.task]
        result, sign = load(task.study), -1 if task.chosen_by.startswith("-") else 1
        scores = {}
        for name in ("relu", "tanh", "silu"):
            values = result.values(task.chosen_by.removeprefix("-"), task.arms[name])
            scores[name] = sign * (values if values.ndim == 1 else values[:, -1]).mean()
        assert choice.chosen == max(scores, key=scores.get)
        assert (choice.gains == 0).all() == (choice.chosen == choice.default)
