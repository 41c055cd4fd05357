"""No false alarm: healthy models of every kind, as their authors leave them and after initialize."""

import pytest

from convcraft.diagnostics import diagnose
from convcraft.initialization import initialize
from zoo import ZOO


def alarms(name, initialized, stops):
    """Findings above a note on fresh batches, after so many steps of training."""
    case = ZOO[name]
    model = case.model()
    if initialized:
        initialize(model)
    optimizer, done, found = case.optimizer(model), 0, []
    for stop in stops:
        for step in range(done, stop):
            inputs, target = case.batch(step)
            optimizer.zero_grad()
            case.loss(case.call(model, inputs), target).backward()
            optimizer.step()
        done = stop
        report = diagnose(model, case.batch(1000 + stop), case.loss, optimizer)
        assert report.skipped == (), report
        found += [(initialized, stop, str(f)) for f in report.findings if f.severity != "note"]
    return found


@pytest.mark.parametrize("name", ZOO)
def test_a_healthy_model_is_accused_of_nothing(name):
    even = list(ZOO).index(name) % 2 == 0  # every second one is trained on, from either start
    assert alarms(name, even, (0, 1, 3, 10)) == []
    assert alarms(name, not even, (0, 1)) == []


@pytest.mark.parametrize("name", list(ZOO)[::4])
def test_a_model_that_has_learned_is_accused_of_nothing(name):
    assert alarms(name, list(ZOO).index(name) % 8 == 0, (100,)) == []


def test_there_are_many_kinds():
    assert len(ZOO) >= 40
