"""Copies trained by Adam in one loop are what they would be alone."""

import numpy as np
import pytest
import torch
from torch import nn

from convcraft import ConvcraftError
from convcraft.lab import models
from convcraft.lab.data import Split
from convcraft.lab.training import adam_together, seeded

torch.manual_seed(0)
X = torch.randn(96, 5)
TRAIN, HELD = (Split(X[:64], X[:64].sin().sum(1, keepdim=True)), Split(X[64:], X[64:].sin().sum(1, keepdim=True)))
FACTORY = lambda: models.MLP((5, 8, 1), activation="tanh")  # noqa: E731
SETTINGS = {"learning_rate": 0.02, "batch_size": 16, "updates": 60, "look_every": 20, "flat": None}


def weights(one):
    return torch.cat([p.flatten() for p in one.model.parameters()])


def test_a_copy_is_what_it_is_alone():
    together = adam_together(
        FACTORY, TRAIN, HELD, [{"seed": s, "l2": x} for s in (0, 1) for x in (0.0, 0.1)], **SETTINGS
    )
    for one in together:
        (alone,) = adam_together(FACTORY, TRAIN, HELD, [{"seed": one.seed, "l2": one.strengths["l2"]}], **SETTINGS)
        torch.testing.assert_close(weights(one), weights(alone), rtol=1e-3, atol=1e-5)
        assert one.history.updates == [20, 40, 60] and one.history.stopped == "completed"
    assert weights(together[1]).norm() < weights(together[0]).norm()


DECODER = lambda: nn.Sequential(nn.Linear(5, 4), models.ConvDecoder(4, (6, 5), 6, activation="tanh"))  # noqa: E731


@pytest.mark.parametrize("factory, shape", [(FACTORY, (1,)), (DECODER, (1, 6, 6))], ids=["dense", "convolutions"])
def test_it_is_torchs_adam_on_the_batches_of_the_seed(factory, shape):
    from convcraft.lab.randomness import batch_orders

    train, held = (Split(p.x, torch.rand(len(p.x), *shape)) for p in (TRAIN, HELD))
    copies = [{"seed": 3}, {"seed": 4}]
    for one in adam_together(factory, train, held, copies, **SETTINGS | {"updates": 8, "look_every": 8}):
        net, orders, rows = seeded(factory, one.seed), batch_orders(64, one.seed), []
        optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
        for _ in range(8):
            rows = rows or list(next(orders).split(16))
            chosen = rows.pop(0)
            optimizer.zero_grad()
            nn.functional.mse_loss(net(train.x[chosen]), train.y[chosen]).backward()
            optimizer.step()
        alone = torch.cat([p.flatten() for p in net.parameters()])
        torch.testing.assert_close(weights(one), alone, rtol=1e-3, atol=1e-5)


def test_the_weights_of_the_lowest_validation_loss_are_kept():
    noise = Split(X[:64], torch.randn(64, 1))
    settings = SETTINGS | {"updates": 400, "look_every": 10}
    for one in adam_together(lambda: models.MLP((5, 64, 1)), noise, HELD, [{"seed": 0}, {"seed": 1}], **settings):
        losses = one.history.validation_loss
        with torch.no_grad():
            found = nn.functional.mse_loss(one.model(HELD.x), HELD.y)
        assert float(found) == pytest.approx(min(losses), rel=1e-4) and min(losses) < losses[-1]


def test_it_stops_when_all_are_flat_and_a_copy_of_its_own_data_learns_these():
    parts = [Split(X[:64], torch.full((64, 1), value)) for value in (1.0, -1.0)]
    held = [Split(X[64:], torch.full((32, 1), value)) for value in (1.0, -1.0)]
    found = adam_together(FACTORY, parts, held, [{"seed": 0}, {"seed": 0}], **SETTINGS | {"updates": 4000, "flat": 0.5})
    assert {one.history.stopped for one in found} == {"flat"} and found[0].history.updates[-1] < 4000
    with torch.no_grad():
        means = [float(one.model(HELD.x).mean()) for one in found]
    assert means[0] > 0.5 and means[1] < -0.5


def test_a_diverged_copy_leaves_the_others_alone():
    bad = Split(X[:64], torch.full((64, 1), np.nan))
    broken, fine = adam_together(FACTORY, [bad, TRAIN], HELD, [{"seed": 0}, {"seed": 0}], **SETTINGS)
    assert broken.diverged and not fine.diverged and torch.isfinite(weights(fine)).all()


def test_the_random_state_stays():
    before = torch.get_rng_state()
    net = lambda: nn.Sequential(nn.Dropout(0.5), nn.Linear(5, 1))  # noqa: E731
    adam_together(net, TRAIN, HELD, [{"seed": 0}], **SETTINGS)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"copies": []}, "one copy or more"),
        ({"factory": lambda: nn.Sequential(nn.Linear(5, 1), nn.BatchNorm1d(1))}, "without buffers"),
        ({"train": [TRAIN]}, "one of equal length for each copy"),
        ({"learning_rate": 0.0}, "learning_rate must be"),
        ({"updates": 0}, "updates must be"),
        ({"flat": 2.0}, "flat must"),
    ],
)
def test_misuse_is_named(changed, said):
    given = {"factory": FACTORY, "train": TRAIN, "validation": HELD, "copies": [{"seed": 0}, {"seed": 1}]}
    with pytest.raises(ConvcraftError, match=said):
        adam_together(**given | SETTINGS | changed)
