"""The zoo: every model runs, learns its data, and is the same from the same seed."""

import pytest
import torch

from zoo import ZOO


def test_there_are_many_models():
    assert len(ZOO) >= 40


@pytest.mark.parametrize("name", ZOO)
def test_every_model_learns(name):
    case = ZOO[name]
    model, first = case.model(), case.batch(0)
    torch.testing.assert_close(list(case.model().parameters()), list(model.parameters()))
    optimizer, losses = case.optimizer(model), []
    for step in range(25):
        x, y = case.batch(step)
        optimizer.zero_grad()
        loss = case.loss(case.call(model, x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    early, late = sum(losses[:5]) / 5, sum(losses[-5:]) / 5
    assert late < early
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    assert case.loss(case.call(model.eval(), first[0]), first[1]).isfinite()
