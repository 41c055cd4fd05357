"""Copies trained together, each with data, noise and strengths of its own: the numbers of `fit`."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from convcraft import ConvcraftError, augmentation, dropout, normalization, penalties
from convcraft.lab import models
from convcraft.lab.data import Split, load
from convcraft.lab.training import correct, evaluate, fit, fit_many, fit_together, reason_against, seeded, stacked
from convcraft.lab.training.budget import is_flat
from convcraft.lab.training.stacked import Stacked
from convcraft.lab.training.together import DEFAULTS

COPIES = (
    {"seed": 3, "learning_rate": 0.05},
    {"seed": 4, "learning_rate": 0.02, "weight_decay": 0.1},
    {"seed": 3, "learning_rate": 0.02, "momentum": 0.5, "l1": 0.002},
)


@pytest.fixture(scope="module")
def small():
    digits = load("digits")
    return replace(digits, train=digits.train.subset(90, 0), validation=digits.validation.subset(60, 0))


def of_seed(small):
    """A training subset of each seed, by which the validation part is standardized as well."""
    return lambda seed: replace(small, train=small.train.subset(50, seed)).standardized()


def mlp():
    return models.MLP((64, 16, 10))


def batch_norm():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(144, 8),
        normalization.BatchNorm1d(8),
        nn.Tanh(),
        nn.Linear(8, 10),
    )


def dropped():
    return nn.Sequential(
        nn.Flatten(), dropout.Dropout(0.2), nn.Linear(64, 16), nn.Dropout(0.4), nn.Linear(16, 10)
    )


def augmented():
    augment = augmentation.Compose(augmentation.RandomAffine(10, shift=1), augmentation.RandomNoise(0.1))
    return nn.Sequential(augment, nn.Conv2d(1, 4, 3), nn.Dropout2d(0.2), nn.Flatten(), nn.Linear(144, 10))


class Listed(nn.Module):
    """Dropout in a list, called once in every step of a loop."""

    def __init__(self):
        super().__init__()
        self.input, self.output = nn.Linear(16, 12), nn.Linear(12, 10)
        self.drops = nn.ModuleList([dropout.Dropout(0.3)])

    def forward(self, x):
        state = 0.0
        for rows in x.flatten(1).chunk(4, 1):
            state = torch.tanh(self.input(rows) + self.drops[0](state * torch.ones(len(x), 12)))
        return self.output(state)


def weights(model):
    return penalties.decay_groups(model, 0.0)[0]["params"]


def assert_as_by_fit(factory, splits, copies=COPIES, **settings):
    together = fit_together(factory, splits, copies, **settings)
    settings = {name: value for name, value in settings.items() if name != "chunk"}
    for one, own in zip(together, copies, strict=True):
        own = {**own}
        seed = own.pop("seed")
        data = splits(seed) if callable(splits) else splits
        model = seeded(factory, seed)
        history = fit(model, data, seed=seed, **own, **settings)
        assert (one.seed, one.history.stopped) == (seed, history.stopped)
        assert one.history.updates == history.updates
        assert one.history.learning_rate == pytest.approx(history.learning_rate)
        for name in ("train_loss", "validation_loss"):
            assert getattr(one.history, name) == pytest.approx(getattr(history, name), rel=1e-3), name
        for name in ("train_accuracy", "validation_accuracy"):
            assert getattr(one.history, name) == pytest.approx(getattr(history, name), abs=0.021), name
        for key, value in model.state_dict().items():
            torch.testing.assert_close(one.model.state_dict()[key], value, rtol=1e-2, atol=1e-3)
        assert not one.model.training
    return together


@pytest.mark.parametrize("factory", [mlp, batch_norm, dropped, augmented, Listed])
def test_copies_with_data_noise_and_strengths_of_their_own_get_the_numbers_of_fit(small, factory):
    assert reason_against(factory(), small.train) == ""
    settings = {"epochs": 2, "batch_size": 25}
    assert_as_by_fit(factory, of_seed(small), **settings)
    assert_as_by_fit(factory, small, decayed=weights, chunk=2, **settings)


def test_budgets_in_updates_and_measurements_at_stated_ones(small):
    settings = {"batch_size": 20, "updates": 13, "evaluate_at": [1, 4, 5]}
    first, *_ = assert_as_by_fit(dropped, small, **settings)
    assert first.history.updates == [1, 4, 5, 13]
    assert [h.history.epochs for h in fit_together(mlp, small, COPIES, updates=0)] == [0, 0, 0]
    sweep = fit_many(mlp, small, learning_rates=[0.1], seeds=[3, 4], **settings)
    assert sweep.validation_loss.shape == (1, 2, 4)


def test_the_stopping_rule_ends_each_copy_at_its_own_time(small):
    noise = Split(small.validation.x, small.validation.y.roll(7))
    easy = Split(small.train.x[:60], small.train.y[:60])
    stuck, learning = assert_as_by_fit(
        mlp, lambda seed: replace(small, validation=noise if seed == 3 else easy),
        [{"seed": 3}, {"seed": 4, "learning_rate": 0.03}], epochs=12, flat=0.01,
    )  # fmt: skip
    assert stuck.history.stopped == "flat" and stuck.history.epochs < 12 and not stuck.history.falling
    assert learning.history.stopped == "completed" and learning.history.falling


def test_flat_means_no_lower_loss_in_the_last_quarter():
    falling = [1 / n for n in range(1, 9)]
    assert not is_flat(falling, range(1, 9)) and is_flat(falling, range(1, 9), 0.3)
    assert is_flat([*falling[:6], 1.0, 2.0], range(1, 9))
    assert not is_flat([1.0] * 7, range(1, 8))  # too few to tell
    assert not is_flat(falling, [1, 2, 3, 4, 5, 6, 7, 100])  # one measurement covers the last quarter


def test_l1_makes_zeros_in_the_parameters_that_it_is_for(small):
    copies = [{"seed": 0, "l1": strength, "learning_rate": 0.05} for strength in (0.0, 0.01)]
    none, some = assert_as_by_fit(mlp, small, copies, epochs=2, decayed=weights)
    zeros = [int((one.model.layers.linear1.weight == 0).sum()) for one in (none, some)]
    assert zeros[0] == 0 < zeros[1] and (some.model.layers.linear1.bias != 0).all()


def test_what_cannot_be_stacked_is_trained_one_by_one(small):
    class Branch(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(64, 10)

        def forward(self, x):
            y = self.linear(x.flatten(1))
            return y if y.sum() > 0 else 2 * y

    class DrawsWithWeights(Branch):
        def forward(self, x):
            return F.dropout(self.linear(x.flatten(1)), 0.2, self.training)

    def noisy_loss(outputs, y):
        return F.cross_entropy(outputs * (1 + 0.1 * torch.rand(1)), y)

    assert "torch.func cannot" in reason_against(Branch(), small.train)
    assert "random numbers" in reason_against(DrawsWithWeights(), small.train)
    assert "random numbers" in reason_against(mlp(), small.train, noisy_loss)
    rrelu = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.RReLU())
    assert "aten::rrelu" in reason_against(rrelu, small.train)
    for factory in (Branch, DrawsWithWeights):
        assert_as_by_fit(factory, small, epochs=2)
    one, other = fit_together(Branch, small, [{"learning_rate": 3e38}, {"learning_rate": 0.1}], epochs=3)
    assert one.diverged and one.history.epochs < 3 and not other.diverged


def test_a_copy_that_diverges_keeps_what_it_measured_before(small):
    def bursting(outputs, y):
        loss = F.cross_entropy(outputs, y)
        return torch.where(loss < 1.5, torch.inf, loss)

    copies = [{"learning_rate": 0.1}, {"learning_rate": 1e-4}]
    fast, slow = fit_together(mlp, small, copies, epochs=20, batch_size=30, loss=bursting)
    assert fast.diverged and 0 < fast.history.epochs < 20 and np.isfinite(fast.history.train_loss).all()
    assert slow.history.stopped == "completed" and slow.history.epochs == 20


def test_which_answers_are_right(small):
    (one,) = fit_together(mlp, small, [{}], epochs=2)
    right = correct(one.model, small.test, batch_size=64)
    assert right.shape == (500,) and right.mean() == pytest.approx(evaluate(one.model, small.test).accuracy)
    with pytest.raises(ConvcraftError, match="class numbers; got targets of torch.float32"):
        correct(one.model, Split(small.test.x, small.test.x.mean((1, 2, 3)).unsqueeze(1)))


@pytest.mark.parametrize(
    ("copies", "settings", "named"),
    [
        ([], {}, "at least one dictionary"),
        ([{"sead": 1}], {}, "unknown entry of copies 'sead': did you mean 'seed'"),
        ([{"l1": -1.0}], {}, "l1 must be finite and 0 or more; got .* l1=-1"),
        ([{}], {"updates": -1}, "updates must be a whole number of at least 0"),
        ([{}], {"updates": 5, "evaluate_at": [6]}, "up to the last one, 5; got 6"),
        ([{}], {"evaluate_at": [0]}, "each of evaluate_at must be a whole number of at least 1"),
        ([{}], {"flat": 1.0}, "flat must lie in"),
    ],
)
def test_settings_that_cannot_be_are_named(small, copies, settings, named):
    with pytest.raises(ConvcraftError, match=named):
        fit_together(mlp, small, copies, **settings)


def test_data_of_different_sizes_are_refused(small):
    with pytest.raises(ConvcraftError, match="same size for every seed; got train x of shapes"):
        fit_together(
            mlp, lambda seed: replace(small, train=small.train.subset(50 + seed)), [{"seed": 0}, {"seed": 1}]
        )
    with pytest.raises(ConvcraftError, match="l1 and decayed belong to fit's own optimizer"):
        fit(mlp(), small, l1=0.1, optimizer=lambda parameters: torch.optim.Adam(parameters))


def test_fit_waits_for_the_device_once_a_measurement_and_every_hundred_updates(small):
    from torch.utils._python_dispatch import TorchDispatchMode

    class Count(TorchDispatchMode):
        waits = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            name = function.overloadpacket._qualified_op_name
            self.waits += name in ("aten::_local_scalar_dense", "aten::nonzero", "aten::is_nonzero")
            return function(*args, **(kwargs or {}))

    def waits(train, **settings):
        with Count() as count:
            train(**settings)
        return count.waits

    def alone(**settings):
        fit(mlp(), small, batch_size=10, **settings)

    def together(**settings):
        fit_together(mlp, small, COPIES, batch_size=10, **settings)

    for train in (alone, together):
        once = waits(train, updates=20, evaluate_at=[])
        assert waits(train, updates=60, evaluate_at=[]) == once
    assert waits(alone, updates=201, evaluate_at=[]) <= once + 4


def test_a_replayed_step_gives_the_numbers_of_fit(small, monkeypatch):
    monkeypatch.setattr(stacked, "WORTH", 5)
    traced = []
    original = stacked._traced
    monkeypatch.setattr(stacked, "_traced", lambda *a: traced.append(original(*a)) or traced[-1])
    for factory in (batch_norm, lambda: models.ConvNet((2, 4), hidden=8)):
        assert_as_by_fit(factory, small, COPIES, batch_size=30, epochs=8)
    assert len(traced) == 2 and None not in traced


def test_what_a_graph_would_not_repeat_is_not_replayed():
    counts = iter(range(1, 100))

    def counting(inputs):
        return [inputs[0] * next(counts)]

    def waiting(inputs):
        return [inputs[0] * float(inputs[0].sum())]

    for function in (counting, waiting):
        calls = stacked.Replay(function, allowed=True)
        for _ in range(stacked.AFTER + 2):
            (found,) = calls(stacked.WORTH, [torch.ones(2)])
            assert function is counting or found.tolist() == [2.0, 2.0]
        assert not calls.allowed and not calls.graphs


def test_a_network_that_counts_its_calls_is_not_replayed(small):
    class Counting(nn.Linear):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return super().forward(x.flatten(1)) * (1 + 1e-6 * self.calls)

    for factory, allowed in ((lambda: Counting(64, 10), False), (mlp, True)):
        stacked = Stacked([factory()] * 2, [DEFAULTS] * 2, [0, 1], set(), [], "cross_entropy")
        x, y = (t[:4].expand(2, *t[:4].shape) for t in (small.train.x, small.train.y))
        stacked.update(x, y)
        assert stacked.gradients.allowed is allowed
