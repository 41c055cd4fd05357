"""diagnose: nothing is changed, every form of data, models of every kind, and misuse."""

import copy
import random
import threading

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from convcraft import ConvcraftError
from convcraft.diagnostics import diagnose

X, Y = torch.randn(128, 6, generator=torch.Generator().manual_seed(0)), torch.arange(128) % 3


def small(*more, norm=True):
    torch.manual_seed(0)
    middle = [nn.BatchNorm1d(16)] if norm else []
    return nn.Sequential(nn.Linear(6, 16, bias=not norm), *middle, nn.ReLU(), nn.Linear(16, 3), *more)


class Locked(nn.Module):
    """A model that cannot be copied."""

    def __init__(self):
        super().__init__()
        self.body, self.lock = small(nn.Dropout(0.2)), threading.Lock()

    def forward(self, x):
        self.seen = x  # assigns an attribute, as some models do
        return self.body(x)


def snapshot(model, optimizer):
    return {
        "state": copy.deepcopy(model.state_dict()),
        "grads": [None if p.grad is None else (p.grad, p.grad.clone()) for p in model.parameters()],
        "modes": [m.training for m in model.modules()],
        "optimizer": copy.deepcopy(optimizer.state_dict()),
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state()[1].copy(),
        "python": random.getstate(),
        "ids": [id(p) for p in model.parameters()],
        "attributes": [sorted(vars(m)) for m in model.modules()],
    }


def assert_same(before, model, optimizer):
    after = snapshot(model, optimizer)
    for name, value in before["state"].items():
        assert torch.equal(value, after["state"][name]), name
    for old, new in zip(before["grads"], after["grads"], strict=True):
        assert (old is None) == (new is None)
        if old is not None:
            assert old[0] is new[0] and torch.equal(old[1], new[1])
    assert torch.equal(before["torch"], after["torch"]) and (before["numpy"] == after["numpy"]).all()
    for key in ("modes", "python", "ids", "attributes"):
        assert before[key] == after[key], key
    old, new = before["optimizer"], after["optimizer"]
    assert old["param_groups"] == new["param_groups"] and old["state"].keys() == new["state"].keys()
    for key, values in old["state"].items():
        for name, value in values.items():
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(new["state"][key][name]))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize("make", [lambda: small(nn.Dropout(0.2)), Locked], ids=["copied", "restored"])
@pytest.mark.parametrize("steps", [0, 2])
def test_everything_is_as_it_was(make, steps):
    model = make()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(steps):
        F.cross_entropy(model(X), Y).backward()
        optimizer.step()
    next(model.children()).eval()
    before = snapshot(model, optimizer)
    report = diagnose(model, [(X, Y), (X, Y)], nn.CrossEntropyLoss(), optimizer)
    assert_same(before, model, optimizer)
    assert report.loss is not None and report.layers[0].update is not None and report.skipped == ()


@pytest.mark.parametrize("make", [small, Locked], ids=["copied", "restored"])
def test_everything_is_as_it_was_after_an_exception(make):
    model = make()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    F.cross_entropy(model(X), Y).backward()
    before = snapshot(model, optimizer)

    def loss(output, target):
        raise ZeroDivisionError("in the loss")

    with pytest.raises(ZeroDivisionError):
        diagnose(model, (X, Y), loss, optimizer)
    with pytest.raises(ConvcraftError, match="must run on the batch"):
        diagnose(model, (X[:, :4], Y), F.cross_entropy, optimizer)
    assert_same(before, model, optimizer)


def test_a_loader_and_its_generators_are_as_they_were():
    generator = torch.Generator().manual_seed(5)
    loader = DataLoader(TensorDataset(X, Y), 32, shuffle=True, generator=generator)
    model = small()
    state, own = torch.get_rng_state(), generator.get_state()
    first, second = (diagnose(model, loader, F.cross_entropy) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state) and torch.equal(generator.get_state(), own)
    assert first == second and first.batches == 4 and first.examples == 128
    assert diagnose(model, loader, F.cross_entropy, batches=2).batches == 2


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Linear(6, 8)
        self.out = nn.Linear(8, 3)

    def forward(self, left, right, *, scale=1.0):
        return self.out(F.relu(self.a(left) + self.b(right)) * scale)


@pytest.mark.parametrize(
    "batch",
    [
        ((X, X), Y),
        [(X, X), Y],
        (X, X, Y),
        {"left": X, "right": X, "labels": Y},
        ({"left": X, "right": X}, Y),
        [((X, X), Y), ((X, X), Y)],
        ((X, X, Y) for _ in range(3)),
    ],
    ids=["nested", "list", "flat", "mapping", "mapping-and-target", "list-of-batches", "generator"],
)
def test_several_inputs_in_every_form(batch):
    torch.manual_seed(0)
    report = diagnose(Two(), batch, F.cross_entropy)
    assert report.healthy and [layer.name for layer in report.layers] == ["a", "b", "relu", "out"]


def test_a_loss_without_target():
    assert diagnose(small(), (X, None), lambda output, _: output.square().mean()).loss is not None


def test_without_a_loss_the_values_are_judged_and_the_rest_is_said_to_be_missing():
    torch.manual_seed(0)
    for model, batch in ((small(), X), (small(), (X, Y)), (Two(), (X, X)), (Two(), (X, X, Y))):
        report = diagnose(model, batch)
        assert report.loss is None and report.layers[0].gradient is None
        assert any("no loss was given" in text for text in report.skipped)


class OwnLoss(nn.Module):
    """A model that computes its loss itself, and branches on its data."""

    def __init__(self):
        super().__init__()
        self.body = small(nn.Softmax(1))

    def forward(self, x, y):
        if float(x.sum()) > 1e9:
            raise RuntimeError
        return F.cross_entropy(self.body(x), y)


def test_a_model_that_returns_its_loss_and_cannot_be_traced():
    report = diagnose(OwnLoss(), (X, Y))
    assert report.loss is not None and "softmax-before-cross-entropy" in report
    assert report["body.0"].gradient > 0


class Answer:
    def __init__(self, loss, logits):
        self.loss, self.logits = loss, logits


class Answering(nn.Module):
    """Takes its target by name, and returns an object with the loss in it."""

    def __init__(self):
        super().__init__()
        self.body = small()

    def forward(self, features, labels=None):
        logits = self.body(features)
        return Answer(F.cross_entropy(logits, labels), logits)


def test_a_model_whose_answer_holds_its_loss():
    report = diagnose(Answering(), {"features": X, "labels": Y})
    assert report.healthy and report.uniform_loss == pytest.approx(np.log(3), rel=1e-5)
    assert report["body.0"].gradient > 0


@pytest.mark.parametrize(
    ("tail", "loss", "severity"),
    [
        (nn.Softmax(1), F.cross_entropy, "severe"),
        (nn.LogSoftmax(1), nn.CrossEntropyLoss(label_smoothing=0.1), "warning"),
        (nn.LogSoftmax(1), F.nll_loss, None),
        (nn.Identity(), "nll", None),
        (nn.Softmax(1), F.nll_loss, "severe"),
        (nn.Sigmoid(), lambda o, t: F.binary_cross_entropy_with_logits(o, F.one_hot(t).float()), "severe"),
        (nn.Identity(), lambda o, t: F.binary_cross_entropy_with_logits(o, F.one_hot(t).float()), None),
        (nn.Sigmoid(), lambda o, t: F.binary_cross_entropy(o, F.one_hot(t).float()), None),
    ],
)
def test_what_the_loss_is_given(tail, loss, severity):
    report = diagnose(small(tail), (X, Y), loss)
    severities = [f.severity for f in report.findings if f.name == "softmax-before-cross-entropy"]
    assert severities == ([severity] if severity else [])


@pytest.mark.parametrize("tail", [nn.Identity(), nn.ReLU(), nn.Softmax(1), nn.LogSoftmax(1)])
def test_a_negative_log_likelihood_of_plain_values_has_no_bound(tail):
    found = [f for f in diagnose(small(tail), (X, Y), F.nll_loss).findings if f.name == "unbounded-loss"]
    assert bool(found) is isinstance(tail, nn.Identity | nn.ReLU)
    assert all(f.severity == "severe" and "without bound" in f.message for f in found)


def test_the_loss_of_a_uniform_guess_is_that_of_the_loss_itself():
    report = diagnose(small(), (X, Y), lambda o, t: F.cross_entropy(o, t, label_smoothing=0.2))
    assert report.uniform_loss == pytest.approx(np.log(3), rel=1e-5)


def test_an_optimizer_of_another_model_and_one_that_needs_a_closure():
    model = small()
    other = torch.optim.SGD(small().parameters(), 0.1)
    (finding,) = diagnose(model, (X, Y), F.cross_entropy, other).severe
    assert finding.name == "not-optimized"
    report = diagnose(model, (X, Y), F.cross_entropy, torch.optim.LBFGS(model.parameters()))
    assert any("update ratios" in text for text in report.skipped) and not report.severe


def test_under_autocast_and_in_double_precision():
    with torch.autocast("cpu", torch.bfloat16):
        assert diagnose(small(), (X, Y), F.cross_entropy).healthy
    model = small().double()
    assert diagnose(model, (X.double(), Y), F.cross_entropy).healthy


ERRORS = [
    (lambda: diagnose(F.relu, X), "model must be a torch.nn.Module, got function"),
    (lambda: diagnose(torch.compile(small()), X), "must not be compiled"),
    (lambda: diagnose(nn.LazyLinear(3), X), "model must be initialized, got a lazy module"),
    (lambda: diagnose(small(), 3), "batches must be an iterable"),
    (lambda: diagnose(small(), (1, 2)), "batch must hold a tensor"),
    (lambda: diagnose(small(), X, F.cross_entropy), "must be .inputs, target. where a loss is given"),
    (lambda: diagnose(small(), iter([]), F.cross_entropy), "must yield at least one batch, got none"),
    (lambda: diagnose(small(), (X, Y), lambda o, t: o), "loss must return a scalar.*got shape"),
    (lambda: diagnose(small(), (X, Y), lambda o, t: 3.0), "loss must return a scalar.*got float"),
    (lambda: diagnose(small(), (X, Y), "cross-entropy"), "did you mean 'cross_entropy'"),
    (lambda: diagnose(small(), (X, Y), 3), "loss must be callable"),
    (lambda: diagnose(small(), (X.to("meta"), Y), F.cross_entropy), "model's device cpu, got meta"),
    (lambda: diagnose(small(), (X[:, :2], Y), F.cross_entropy), "must run on the batch, got RuntimeError"),
    (lambda: diagnose(small(), (X, Y), batches=0), "batches must be a whole number of at least 1"),
    (lambda: diagnose(small(), (X, Y), ignore=["dead-unit"]), "did you mean 'dead-units'"),
]


@pytest.mark.parametrize(("call", "message"), ERRORS, ids=[message for _, message in ERRORS])
def test_misuse(call, message):
    with pytest.raises(ConvcraftError, match=message):
        call()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu():
    model = small().cuda()
    state = torch.cuda.get_rng_state()
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.0)
    with torch.autocast("cuda", torch.bfloat16):
        report = diagnose(model, (X.cuda(), Y.cuda()), F.cross_entropy, optimizer)
    assert report.healthy and report.device == "cuda:0" and torch.equal(torch.cuda.get_rng_state(), state)


class Raising(nn.Module):
    def __init__(self, error):
        super().__init__()
        self.error, self.layer = error, nn.Linear(6, 3)

    def forward(self, x):
        raise self.error


@pytest.mark.parametrize("error", [ValueError("not this"), KeyError("weight")])
def test_a_model_that_fails_on_the_batch_says_why(error):
    with pytest.raises(ConvcraftError, match=f"must run on the batch, got {type(error).__name__}"):
        diagnose(Raising(error), (X, Y), F.cross_entropy)


def test_a_loss_without_a_gradient_is_said():
    report = diagnose(small(), (X, Y), lambda o, t: F.cross_entropy(o.detach(), t))
    assert any("the gradients" in text for text in report.skipped)
    assert [f.severity for f in report.findings if f.name == "no-gradient"] == ["severe"]
