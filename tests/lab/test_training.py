"""Training one network: a function of its seed, true to its splits, not to be lost by an interrupt."""

import copy
import math
import random
import re
import signal
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from convcraft import ConvcraftError
from convcraft.lab import models
from convcraft.lab.data import Split, Splits, load
from convcraft.lab.training import evaluate, fit, predict_probabilities, progress, seeded


@pytest.fixture(scope="module")
def digits():
    return load("digits")


@pytest.fixture
def small(digits):
    return Splits(
        digits.train.subset(100, 0), digits.validation.subset(60, 0), digits.test, "small", digits.classes
    )


def mlp(seed=0, **options):
    return models.build("mlp", widths=(64, 16, 10), seed=seed, **options)


class NoisyNet(nn.Module):
    """Dropout, batch normalization and an attribute of its own: what a run must not be unsettled by."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(64, 16),
            nn.BatchNorm1d(16),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(16, 10),
        )

    def forward(self, x):
        return self.layers(x)


@pytest.mark.parametrize(("evaluate_at", "measured"), [(None, [2, 4, 5]), ([3], [3, 5]), ([], [5])])
def test_the_last_update_is_always_measured(small, evaluate_at, measured):
    history = fit(mlp(), small, batch_size=50, updates=5, evaluate_at=evaluate_at)
    assert history.updates == measured


def test_two_runs_agree_bit_for_bit_and_another_seed_does_not(small):
    runs = []
    for seed in (5, 5, 6):
        model = seeded(NoisyNet, 1)
        history = fit(model, small, epochs=3, seed=seed, learning_rate=0.05)
        runs.append((history, model.state_dict()))
    (first, first_weights), (second, second_weights), (other, _) = runs
    assert first.rows == second.rows
    assert all(torch.equal(first_weights[name], second_weights[name]) for name in first_weights)
    assert first.train_loss != other.train_loss


def test_the_global_random_state_is_neither_read_nor_changed(small):
    torch.manual_seed(1)
    first = fit(seeded(NoisyNet, 1), small, epochs=2)
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    torch.manual_seed(2)
    second = fit(seeded(NoisyNet, 1), small, epochs=2)
    torch.manual_seed(1)
    assert first.rows == second.rows
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.array_equal(np.random.get_state()[1], states[2])


def test_fit_equals_a_loop_written_out(small):
    model, copied = mlp(), mlp()
    fit(model, small, epochs=1, learning_rate=0.1, momentum=0.9, weight_decay=0.01, batch_size=100)
    optimizer = torch.optim.SGD(copied.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    F.cross_entropy(copied(small.train.x), small.train.y).backward()
    optimizer.step()
    for trained, expected in zip(model.parameters(), copied.parameters(), strict=True):
        torch.testing.assert_close(trained, expected)


def test_every_example_is_seen_once_an_epoch(small):
    seen = []

    class Spy(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(64, 10)

        def forward(self, x):
            if self.training:
                seen.append(x.flatten(1))
            return self.linear(x.flatten(1))

    fit(Spy(), small, epochs=2, batch_size=32)
    expected = small.train.x.flatten(1).sum(1).sort().values
    epochs = torch.cat(seen[:4]), torch.cat(seen[4:])
    assert [len(batch) for batch in seen] == [32, 32, 32, 4] * 2
    for epoch in epochs:
        torch.testing.assert_close(epoch.sum(1).sort().values, expected)
    assert not torch.equal(*epochs)


def test_it_learns_the_digits(digits):
    model = models.build("convnet", channels=(8, 16), seed=0)
    history = fit(model, digits, epochs=8)
    assert history.validation_accuracy[-1] > 0.9
    assert history.train_loss[-1] < history.train_loss[0]
    assert evaluate(model, digits.test).accuracy > 0.9


def test_a_model_that_comes_in_evaluation_mode_is_trained_in_training_mode(small):
    first, second = seeded(NoisyNet, 1), seeded(NoisyNet, 1).eval()
    assert fit(first, small, epochs=1).rows == fit(second, small, epochs=1).rows
    assert int(second.layers[2].num_batches_tracked) == 2 and not second.training


def test_the_test_split_is_never_read(small):
    poison = Split(torch.full_like(small.test.x, math.nan), small.test.y)
    changed = Splits(small.train, small.validation, poison, "poisoned", small.classes)
    assert fit(mlp(), changed, epochs=2).rows == fit(mlp(), small, epochs=2).rows


def test_validation_never_reaches_the_weights(small):
    other = Split(torch.rand_like(small.validation.x), small.validation.y)
    first, second = mlp(), mlp()
    fit(first, small, epochs=2)
    fit(second, Splits(small.train, other, small.test, "other", small.classes), epochs=2)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_patience_stops_and_puts_the_best_weights_back(small):
    shuffled = Split(small.validation.x, small.validation.y.roll(7))  # what is learned cannot help here
    splits = Splits(small.train, shuffled, small.test, "shuffled", small.classes)
    model = mlp()
    history = fit(model, splits, epochs=200, patience=3)
    assert history.stopped == "patience"
    assert history.epochs == history.best_epoch + 3 < 200
    assert evaluate(model, shuffled).loss == pytest.approx(min(history.validation_loss), rel=1e-6)


def test_patience_keeps_the_best_weights_also_when_the_epochs_run_out(small):
    shuffled = Split(small.validation.x, small.validation.y.roll(7))
    model = mlp()
    history = fit(
        model, Splits(small.train, shuffled, small.test, "s", small.classes), epochs=30, patience=1000
    )
    assert history.stopped == "completed" and history.best_epoch < 30
    assert evaluate(model, shuffled).loss == pytest.approx(min(history.validation_loss), rel=1e-6)


class Interrupting(nn.Module):
    """Raises KeyboardInterrupt in its n-th call: in a batch of training or of validation."""

    def __init__(self, calls):
        super().__init__()
        self.net, self.calls = mlp(), calls

    def forward(self, x):
        self.calls -= 1
        if self.calls == 0:
            raise KeyboardInterrupt
        return self.net(x)


@pytest.mark.parametrize(("calls", "epochs"), [(1, 0), (3, 0), (5, 0), (6, 1), (10, 1), (12, 2)])
def test_an_interrupt_in_any_batch_keeps_the_history_so_far(small, calls, epochs):
    """An epoch here is four batches of training and one of validation."""
    before = torch.get_rng_state()
    model = Interrupting(calls)
    history = fit(model, small, epochs=5, batch_size=25)
    assert history.stopped == "interrupted"
    assert history.epochs == epochs
    assert len(history.train_loss) == len(history.validation_accuracy) == epochs
    assert not model.training and all(p.grad is None for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), before)


def test_ctrl_c_ends_training_with_the_history_so_far(small):
    calls = iter(range(100))

    def pressed(outputs, y):
        if next(calls) == 7:  # an epoch is four batches of training and one of validation
            signal.raise_signal(signal.SIGINT)
        return F.cross_entropy(outputs, y)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    try:
        history = fit(mlp(), small, epochs=5, batch_size=25, loss=pressed)
    finally:
        signal.signal(signal.SIGINT, before)
    assert history.stopped == "interrupted" and history.epochs == 1


@pytest.mark.parametrize("where", ["backward", "step", "schedule"])
def test_an_interrupt_outside_the_forward_pass_too(small, where):
    class Tripwire(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            raise KeyboardInterrupt

    class Optimizer(torch.optim.SGD):
        def step(self, closure=None):
            raise KeyboardInterrupt

    class Schedule(torch.optim.lr_scheduler.StepLR):
        def step(self, *arguments):
            if self.last_epoch >= 0:
                raise KeyboardInterrupt
            super().step(*arguments)

    settings = {
        "backward": {"loss": lambda outputs, y: F.cross_entropy(Tripwire.apply(outputs), y)},
        "step": {"optimizer": lambda p: Optimizer(p, lr=0.1)},
        "schedule": {"schedule": lambda o: Schedule(o, 1)},
    }[where]
    history = fit(mlp(), small, epochs=5, **settings)
    assert history.stopped == "interrupted"
    assert history.epochs == (1 if where == "schedule" else 0)


def test_an_interrupt_with_patience_puts_the_best_weights_back(small):
    model = Interrupting(23)
    history = fit(model, small, epochs=9, batch_size=25, patience=2)
    assert history.stopped == "interrupted" and history.epochs == 4
    assert evaluate(model, small.validation).loss == pytest.approx(min(history.validation_loss), rel=1e-6)


def test_any_other_exception_passes_and_leaves_the_random_state(small):
    def failing(outputs, y):
        torch.rand(1)
        raise RuntimeError("mine")

    before = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="mine"):
        fit(mlp(), small, loss=failing)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_loss_that_is_not_finite_is_refused_naming_epoch_batch_and_rate(small):
    model = mlp()
    message = r"loss is (nan|inf) at epoch \d+, batch \d+ of 4, learning rate 1e\+30.*Lower the learning rate"
    with pytest.raises(ConvcraftError, match=message):
        fit(model, small, learning_rate=1e30, epochs=50, batch_size=25)
    assert not model.training


def test_the_message_tells_bad_input_from_a_rate_that_is_too_large(small):
    x = small.train.x.clone()
    x[0, 0, 0, 0] = math.nan
    splits = Splits(Split(x, small.train.y), small.validation, small.test, "bad", small.classes)
    with pytest.raises(ConvcraftError, match="input itself holds values that are not finite"):
        fit(mlp(), splits, batch_size=100)
    assert all(torch.isfinite(p).all() for p in mlp().parameters())


def test_a_validation_loss_that_is_not_finite_is_refused_too(small):
    x = torch.full_like(small.validation.x, math.inf)
    splits = Splits(small.train, Split(x, small.validation.y), small.test, "bad", small.classes)
    with pytest.raises(ConvcraftError, match="validation loss is .* after epoch 1"):
        fit(mlp(), splits)


def test_schedule_and_optimizer_are_the_callers(small):
    history = fit(
        mlp(),
        small,
        epochs=3,
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=0.01),
        schedule=lambda optimizer: torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5),
    )
    assert history.learning_rate == pytest.approx([0.01, 0.005, 0.0025])
    plateau = fit(
        mlp(),
        Splits(
            small.train, Split(small.validation.x, small.validation.y.roll(7)), small.test, "s", small.classes
        ),
        epochs=40,
        schedule=lambda optimizer: torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0),
    )
    assert plateau.learning_rate[-1] < 0.1 == plateau.learning_rate[0]


def test_schedules_count_epochs_and_a_plateau_measurements(small):
    from torch.optim import lr_scheduler

    per_epoch = math.ceil(len(small.train) / 64)
    seldom = range(3 * per_epoch, 12 * per_epoch + 1, 3 * per_epoch)

    def rates(schedule):
        return fit(
            mlp(), small, updates=seldom[-1], evaluate_at=seldom, learning_rate=0.01, schedule=schedule
        ).learning_rate

    falling = rates(lambda optimizer: lr_scheduler.ExponentialLR(optimizer, 0.5))
    assert falling == pytest.approx([0.01 * 0.5**done for done in (2, 5, 8, 11)])
    waiting = rates(lambda optimizer: lr_scheduler.ReduceLROnPlateau(optimizer, patience=1))
    assert waiting == [0.01] * 4  # the loss of every measurement is lower than that of the last
    refused = rates(lambda optimizer: lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, threshold=1.0))
    assert refused == pytest.approx([0.01, 0.001, 0.0001, 0.00001])  # one cut for each


def test_regression_has_a_loss_and_no_accuracy(small):
    def part(split):
        return Split(split.x, split.x.flatten(1).mean(1, keepdim=True))

    splits = Splits(part(small.train), part(small.validation), part(small.test), "ink", ())
    history = fit(models.build("mlp", widths=(64, 1), activation=None, seed=0), splits, loss="mse", epochs=30)
    assert history.validation_loss[-1] < history.validation_loss[0]
    assert all(math.isnan(value) for value in history.validation_accuracy + history.train_accuracy)


def test_evaluate_measures_what_a_loop_does_and_changes_nothing(small):
    model = seeded(NoisyNet, 0)
    model.train()
    model.layers[4].eval()
    weights, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    measured = evaluate(model, small.validation, batch_size=7)
    modes = [module.training for module in model.modules()]
    model.eval()
    outputs = model(small.validation.x).detach()
    assert measured.loss == pytest.approx(float(F.cross_entropy(outputs, small.validation.y)), rel=1e-5)
    assert measured.accuracy == int((outputs.argmax(1) == small.validation.y).sum()) / 60
    assert measured.n == 60 and "60 examples" in str(measured)
    assert modes.count(False) == 1
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())


def test_evaluate_refuses_an_empty_split_and_an_unknown_loss(small):
    with pytest.raises(ConvcraftError, match="at least one example"):
        evaluate(mlp(), small.train.subset(0))
    with pytest.raises(ConvcraftError, match="cross_entropy"):
        evaluate(mlp(), small.train, loss="crossentropy")


def test_predicted_probabilities_are_the_softmax_in_evaluation_mode(small):
    model = seeded(NoisyNet, 0)
    p = predict_probabilities(model, small.test.x[:50], batch_size=8)
    assert model.training
    assert not p.requires_grad and p.shape == (50, 10)
    torch.testing.assert_close(p, model.eval()(small.test.x[:50]).softmax(1))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"epochs": -1}, "epochs"),
        ({"epochs": 1.5}, "epochs"),
        ({"batch_size": 0}, "batch_size"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"learning_rate": math.nan}, "learning_rate"),
        ({"momentum": 1.0}, "momentum"),
        ({"weight_decay": -1e-4}, "weight_decay"),
        ({"patience": 0}, "patience"),
        ({"seed": -1}, "seed"),
        ({"seed": 0.5}, "seed"),
        ({"loss": "mes"}, "'mse'"),
    ],
)
def test_settings_that_cannot_be_are_named(small, settings, named):
    with pytest.raises(ConvcraftError, match=named):
        fit(mlp(), small, **settings)


def test_empty_parts_are_refused(small):
    empty = small.train.subset(0)
    with pytest.raises(ConvcraftError, match="splits.train must hold"):
        fit(mlp(), Splits(empty, small.validation, small.test, "e", small.classes))
    with pytest.raises(ConvcraftError, match="splits.validation must hold"):
        fit(mlp(), Splits(small.train, empty, small.test, "e", small.classes))


def test_no_epochs_give_an_empty_history(small):
    history = fit(mlp(), small, epochs=0)
    assert history.epochs == history.best_epoch == 0 and "before the first epoch" in repr(history)


def test_the_bar_shows_when_asked_and_is_silent_otherwise(small, capsys):
    fit(mlp(), small, epochs=1, progress=False)
    fit(mlp(), small, epochs=1)  # under the tests nobody watches
    assert capsys.readouterr().err == ""
    pytest.importorskip("tqdm")
    fit(mlp(), small, epochs=1, progress=True)
    assert re.search(r"batch", capsys.readouterr().err)


def test_the_bar_does_without_tqdm(small, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    assert fit(mlp(), small, epochs=1, progress=True).epochs == 1
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("asks", [True, False])
def test_a_kernel_is_watched_when_its_front_end_can_be_asked(monkeypatch, asks):
    class Kernel:
        _allow_stdin = asks

    class Shell:
        kernel = Kernel()

    class IPython:
        @staticmethod
        def get_ipython():
            return Shell()

    monkeypatch.setitem(sys.modules, "IPython", IPython)
    assert progress.somebody_watches() is asks
