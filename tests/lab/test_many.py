"""Many networks at once: the numbers of training them one by one, and a table that can be trusted."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from convcraft import ConvcraftError, activations
from convcraft.lab import models
from convcraft.lab.data import Split, Splits, load
from convcraft.lab.training import Sweep, evaluate, fit, fit_many, seeded

RATES, SEEDS = (0.01, 0.1), (0, 3, 4)


@pytest.fixture(scope="module")
def small():
    splits = load("digits")
    return Splits(
        splits.train.subset(150, 0), splits.validation.subset(60, 0), splits.test, "small", splits.classes
    )


def mlp():
    return models.MLP((64, 16, 16, 10))


def one_by_one(factory, splits, rates=RATES, seeds=SEEDS, **settings):
    runs = {}
    for r, rate in enumerate(rates):
        for s, seed in enumerate(seeds):
            model = seeded(factory, seed)
            runs[r, s] = fit(model, splits, learning_rate=rate, seed=seed, **settings), model
    return runs


def assert_same(sweep, runs, tolerance=2e-4):
    for (rate, seed), (history, model) in runs.items():
        np.testing.assert_allclose(sweep.train_loss[rate, seed], history.train_loss, rtol=tolerance)
        np.testing.assert_allclose(sweep.validation_loss[rate, seed], history.validation_loss, rtol=tolerance)
        np.testing.assert_allclose(
            sweep.validation_accuracy[rate, seed], history.validation_accuracy, atol=1.5 / 60
        )
        for mine, theirs in zip(sweep.models(rate)[seed].parameters(), model.parameters(), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "factory",
    [
        mlp,
        lambda: models.MLP((64, 16, 10), activation=None, bias=False),
        lambda: models.MLP((64, 16, 16, 10), activation=lambda channels: nn.PReLU(channels)),
        lambda: models.ConvNet((4, 8), hidden=8),
        lambda: models.ConvNet((4, 8), pool="stride", head="global_avg", activation="tanh"),
        lambda: models.ConvNet((4,), pool="avg", head="global_max", activation="silu"),
    ],
)
def test_the_numbers_are_those_of_training_one_by_one(small, factory):
    settings = {"epochs": 2, "batch_size": 32, "momentum": 0.9}
    sweep = fit_many(factory, small, learning_rates=RATES, seeds=SEEDS, **settings)
    assert_same(sweep, one_by_one(factory, small, **settings))


def test_also_with_weight_decay_and_no_momentum(small):
    settings = {"epochs": 2, "batch_size": 64, "momentum": 0.0, "weight_decay": 0.1}
    sweep = fit_many(mlp, small, learning_rates=RATES, seeds=SEEDS, **settings)
    assert_same(sweep, one_by_one(mlp, small, **settings))
    plain = fit_many(mlp, small, learning_rates=RATES, seeds=SEEDS, **settings | {"weight_decay": 0.0})
    norms = [float(s.weights["layers.linear2.weight"][1].norm()) for s in (sweep, plain)]
    assert norms[0] < 0.98 * norms[1]


@pytest.mark.parametrize(
    "loss", [lambda out, y: F.cross_entropy(out, y, label_smoothing=0.1), "cross_entropy"]
)
def test_also_with_a_loss_of_the_callers(small, loss):
    sweep = fit_many(mlp, small, learning_rates=RATES, seeds=SEEDS, epochs=1, loss=loss)
    assert_same(sweep, one_by_one(mlp, small, epochs=1, loss=loss))


def test_a_diverged_regression_is_not_the_best(small):
    def brightness(split):
        return Split(split.x, split.x.mean((1, 2, 3)).unsqueeze(1))

    splits = Splits(*map(brightness, (small.train, small.validation, small.test)), "brightness", ())
    sweep = fit_many(
        lambda: models.MLP((64, 8, 1), activation=None),
        splits,
        learning_rates=[1e20, 0.01],
        seeds=[0, 1],
        epochs=2,
        loss="mse",
    )
    assert sweep.diverged[0].all() and not sweep.diverged[1].any()
    assert sweep.best == 1


def test_a_parameter_that_is_not_used_stays(small):
    class Spare(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.spare = nn.Linear(64, 10), nn.Linear(64, 10)

        def forward(self, x):
            return self.used(x.flatten(1))

    sweep = fit_many(Spare, small, learning_rates=[0.1], seeds=[3], epochs=1)
    before, after = seeded(Spare, 3), sweep.models()[0]
    assert torch.equal(after.spare.weight, before.spare.weight)
    assert not torch.equal(after.used.weight, before.used.weight)


def test_also_for_regression(small):
    def part(split):
        return Split(split.x, split.x.flatten(1).mean(1, keepdim=True))

    splits = Splits(part(small.train), part(small.validation), part(small.test), "ink", ())
    sweep = fit_many(
        lambda: models.MLP((64, 8, 1)), splits, learning_rates=[0.01], seeds=[0, 1], epochs=2, loss="mse"
    )
    runs = one_by_one(
        lambda: models.MLP((64, 8, 1)), splits, rates=[0.01], seeds=[0, 1], epochs=2, loss="mse"
    )
    np.testing.assert_allclose(sweep.validation_loss[0, 1], runs[0, 1][0].validation_loss, rtol=1e-4)
    assert np.isnan(sweep.validation_accuracy).all()


@pytest.mark.parametrize("chunk", [1, 2, 4, 100])
def test_a_run_is_a_function_of_its_rate_and_seed_alone(small, chunk):
    whole = fit_many(mlp, small, learning_rates=RATES, seeds=SEEDS, epochs=1)
    part = fit_many(mlp, small, learning_rates=(0.1, 0.5), seeds=(4, 7), epochs=1, chunk=chunk)
    assert part.train_loss[0, 0, 0] == pytest.approx(whole.train_loss[1, 2, 0], rel=1e-5)
    assert part.validation_accuracy[0, 0, 0] == whole.validation_accuracy[1, 2, 0]


def test_two_sweeps_agree_bit_for_bit_and_leave_the_random_state(small):
    def factory():
        return nn.Sequential(nn.Flatten(), nn.Dropout(0.3), nn.Linear(64, 10))

    before = torch.get_rng_state()
    first, second = (fit_many(factory, small, learning_rates=RATES, seeds=SEEDS, epochs=2) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(first.train_loss, second.train_loss)
    assert all(torch.equal(first.weights[name], second.weights[name]) for name in first.weights)


def test_dropout_acts_in_training_only_and_is_that_of_the_seed(small):
    def factory():
        return nn.Sequential(nn.Flatten(), nn.Dropout(0.9), nn.Linear(64, 10))

    sweep = fit_many(factory, small, learning_rates=[1e-9, 2e-9], seeds=[0, 1], epochs=1)
    plain = evaluate(seeded(factory, 0), small.validation)
    assert sweep.validation_loss[0, 0, 0] == pytest.approx(plain.loss, rel=1e-5)
    assert sweep.train_loss[0, 0, 0] == pytest.approx(sweep.train_loss[1, 0, 0], rel=1e-6)
    assert sweep.train_loss[0, 0, 0] != pytest.approx(sweep.train_loss[0, 1, 0], rel=1e-3)


def test_every_catalogued_activation_can_be_swept(small):
    few = Splits(small.train.subset(20, 0), small.validation.subset(20, 0), small.test, "few", small.classes)
    for name in activations.catalog():
        sweep = fit_many(
            lambda name=name: models.MLP((64, 8, 10), activation=name),
            few,
            learning_rates=[0.05],
            seeds=[0, 1],
            epochs=1,
        )
        history = fit(
            models.build("mlp", widths=(64, 8, 10), activation=name, seed=1),
            few,
            learning_rate=0.05,
            seed=1,
            epochs=1,
        )
        assert sweep.validation_loss[0, 1, 0] == pytest.approx(history.validation_loss[0], rel=1e-4), name


def test_a_run_that_diverges_is_frozen_and_counts_as_chance(small):
    rates = (0.1, 1e30)
    sweep = fit_many(mlp, small, learning_rates=rates, seeds=SEEDS, epochs=3, batch_size=32)
    alone = fit_many(mlp, small, learning_rates=rates[:1], seeds=SEEDS, epochs=3, batch_size=32)
    assert sweep.diverged.tolist() == [[False] * 3, [True] * 3]
    assert np.isinf(sweep.train_loss[1]).all() and np.isinf(sweep.validation_loss[1]).all()
    assert (sweep.validation_accuracy[1] == 0.1).all()
    assert (sweep.accuracy(small.test, 1) == 0.1).all()
    np.testing.assert_allclose(sweep.train_loss[0], alone.train_loss[0], rtol=1e-5)
    assert sweep.best == 0 and sweep.best_rate == 0.1
    assert "3 diverged" in repr(sweep)
    with pytest.raises(ConvcraftError, match="learning rate"):
        fit(seeded(mlp, 0), small, learning_rate=1e30, epochs=3, batch_size=32)


def test_a_run_can_diverge_on_validation_and_late(small):
    x = torch.full_like(small.validation.x, math.inf)
    splits = Splits(small.train, Split(x, small.validation.y), small.test, "bad", small.classes)
    sweep = fit_many(mlp, splits, learning_rates=RATES, seeds=SEEDS, epochs=2)
    assert sweep.diverged.all() and np.isinf(sweep.train_loss).all()

    def bursting(outputs, y):
        loss = F.cross_entropy(outputs, y)
        return torch.where(loss < 1.5, torch.inf, loss)

    late = fit_many(
        mlp, small, learning_rates=[1e-4, 0.1], seeds=SEEDS, epochs=20, batch_size=32, loss=bursting
    )
    assert late.diverged.tolist() == [[False] * 3, [True] * 3]
    assert np.isfinite(late.train_loss[1, :, 0]).all() and np.isinf(late.train_loss[1, :, -1]).all()
    assert (late.validation_accuracy[1, :, -1] == 0.1).all()


def test_the_test_split_is_never_read(small):
    poison = Split(torch.full_like(small.test.x, math.nan), small.test.y)
    changed = Splits(small.train, small.validation, poison, "poisoned", small.classes)
    first, second = (fit_many(mlp, s, learning_rates=RATES, seeds=SEEDS, epochs=1) for s in (small, changed))
    assert np.array_equal(first.validation_loss, second.validation_loss)


def test_the_best_rate_breaks_ties_by_the_loss():
    accuracy = np.array([[[0.5], [0.7]], [[0.8], [0.8]], [[0.9], [0.7]]])
    loss = np.array([[[1.0], [1.0]], [[0.9], [0.9]], [[0.5], [0.5]]])
    sweep = Sweep(
        [0.1, 0.2, 0.3], [0, 1], loss, loss, accuracy, np.zeros((3, 2), bool), 0.1, nn.Identity(), {}
    )
    assert sweep.best == 2 and sweep.best_rate == 0.3
    assert (
        Sweep([0.1, 0.2, 0.3], [0, 1], loss, -loss, accuracy, sweep.diverged, 0.1, nn.Identity(), {}).best
        == 1
    )


def test_models_logits_and_accuracy_belong_together(small):
    sweep = fit_many(mlp, small, learning_rates=RATES, seeds=SEEDS, epochs=2)
    networks = sweep.models()
    assert len(networks) == 3 and not any(network.training for network in networks)
    logits = sweep.logits(small.test.x)
    assert logits.shape == (3, 500, 10) and not logits.requires_grad
    torch.testing.assert_close(logits[1], networks[1](small.test.x).detach())
    expected = [(row.argmax(1) == small.test.y).float().mean() for row in logits]
    np.testing.assert_allclose(sweep.accuracy(small.test), expected, rtol=1e-6)
    assert not torch.equal(sweep.logits(small.test.x, 0), sweep.logits(small.test.x, 1))
    with torch.no_grad():
        next(networks[0].parameters()).zero_()
    torch.testing.assert_close(sweep.logits(small.test.x), logits)


def test_a_sweep_can_be_copied_and_pickled(small):
    sweep = fit_many(mlp, small, learning_rates=RATES, seeds=SEEDS, epochs=1)
    for twin in (copy.deepcopy(sweep), pickle.loads(pickle.dumps(sweep))):
        assert torch.equal(twin.logits(small.test.x), sweep.logits(small.test.x))


def test_parameters_that_do_not_train_stay(small):
    def factory():
        model = mlp()
        model.layers.linear1.weight.requires_grad_(False)
        return model

    sweep = fit_many(factory, small, learning_rates=[0.1], seeds=[0], epochs=1)
    trained, start = sweep.models(0)[0], seeded(factory, 0)
    assert torch.equal(trained.layers.linear1.weight, start.layers.linear1.weight)
    assert not torch.equal(trained.layers.linear2.weight, start.layers.linear2.weight)


def test_the_bar_shows_when_asked(small, capsys):
    fit_many(mlp, small, learning_rates=[0.1], seeds=[0], epochs=1)
    assert capsys.readouterr().err == ""
    pytest.importorskip("tqdm")
    fit_many(mlp, small, learning_rates=[0.1], seeds=[0], epochs=1, progress=True)
    assert "batch" in capsys.readouterr().err


def test_a_factory_whose_networks_differ_is_refused(small):
    sizes = iter((8, 9))
    with pytest.raises(ConvcraftError, match="same parameters at every call"):
        fit_many(lambda: models.MLP((64, next(sizes), 10)), small, learning_rates=[0.1], seeds=[0, 1])
    with pytest.raises(ConvcraftError, match="same parameters at every call; got 0"):
        fit_many(nn.Flatten, small, learning_rates=[0.1], seeds=[0])


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"learning_rates": []}, "learning_rates"),
        ({"learning_rates": [0.1, 0.1]}, "learning_rates"),
        ({"learning_rates": [0.1, -0.1]}, "learning_rate "),
        ({"seeds": []}, "seeds"),
        ({"seeds": [1, 1]}, "seeds"),
        ({"seeds": [-1]}, "seed"),
        ({"chunk": 0}, "chunk"),
        ({"epochs": -1}, "epochs"),
        ({"batch_size": 0}, "batch_size"),
        ({"momentum": -0.1}, "momentum"),
        ({"loss": "crossentropy"}, "cross_entropy"),
    ],
)
def test_settings_that_cannot_be_are_named(small, settings, named):
    with pytest.raises(ConvcraftError, match=named):
        fit_many(mlp, small, **{"learning_rates": [0.1], "seeds": [0], **settings})


def test_no_epochs_have_no_best(small):
    sweep = fit_many(mlp, small, learning_rates=[0.1], seeds=[0], epochs=0)
    with pytest.raises(ConvcraftError, match="at least one epoch"):
        _ = sweep.best
    assert torch.equal(next(sweep.models(0)[0].parameters()), next(seeded(mlp, 0).parameters()))
