"""diagnose: nothing is changed, every form of data, models of every kind, and what must not be accused."""

import copy
import importlib
import inspect
import random
import re
import threading

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from convcraft import ConvcraftError
from convcraft.diagnostics import diagnose, thresholds
from convcraft.diagnostics.findings import KINDS, names
from convcraft.normalization import freeze_batch_norm

X, Y = torch.randn(128, 6, generator=torch.Generator().manual_seed(0)), torch.arange(128) % 3


def small(*more, norm=True):
    torch.manual_seed(0)
    middle = [nn.BatchNorm1d(16)] if norm else []
    return nn.Sequential(nn.Linear(6, 16, bias=not norm), *middle, nn.ReLU(), nn.Linear(16, 3), *more)


def found(report):
    return {finding.name for finding in report.findings}


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
    assert report.loss is not None and (report.layers[0].update is not None) == (make is not Locked)
    assert any("cannot be copied" in text for text in report.skipped) == (make is Locked)


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


def test_a_report_equals_itself_whatever_is_found():
    class Model(nn.Sequential):
        def forward(self, x):
            return super().forward(F.dropout(x, 0.1, self.training))

    model = Model(*small())
    first, second = (diagnose(model, (X, Y), F.cross_entropy) for _ in range(2))
    assert first == second and "dropout-before-batch-norm" in first


@pytest.mark.parametrize(
    ("tail", "loss", "severity"),
    [
        (nn.Softmax(1), F.cross_entropy, "severe"),
        (nn.LogSoftmax(1), nn.CrossEntropyLoss(label_smoothing=0.1), "warning"),
        (nn.LogSoftmax(1), F.nll_loss, None),
        (nn.Identity(), "nll", "severe"),
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


def test_the_loss_of_a_uniform_guess_is_that_of_the_loss_itself():
    report = diagnose(small(), (X, Y), lambda o, t: F.cross_entropy(o, t, label_smoothing=0.2))
    assert report.uniform_loss == pytest.approx(np.log(3), rel=1e-5)


def corrupted(name, value):
    model = small()
    with torch.no_grad():
        model.get_parameter(name).view(-1)[0] = value
    return model


class Root(nn.Module):
    """Finite forward, infinite slope."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.last((self.first(x).relu() * 0).sqrt() + 1)


class Divide(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x):
        h = self.first(x)
        mask = torch.zeros_like(h).masked_fill(h > 100, float("-inf"))
        return self.last((h + mask) / torch.zeros(()))


def test_the_first_value_that_is_not_finite_is_located():
    bad = X.clone()
    bad[3, 2] = float("nan")
    cases = [
        (small(), bad, "", "the batch"),
        (corrupted("3.weight", float("inf")), X, "3", "the parameter 3.weight"),
        (Divide(), X, "", "truediv"),
        (Root(), X, "relu", "gradient"),
    ]
    for model, x, layer, message in cases:
        report = diagnose(model, (x, Y), F.cross_entropy, torch.optim.SGD(model.parameters(), 0.1))
        finding = next(f for f in report.findings if f.name == "not-finite")
        assert finding.severity == "severe" and finding.layer == layer, finding
        assert message in finding.message or "div" in finding.message, finding
    assert "infinite" not in str(diagnose(small(), (X, Y), F.cross_entropy))


def test_batch_norm_that_refuses_a_batch_of_one():
    report = diagnose(small(), (X[:1], Y[:1]), F.cross_entropy)
    (finding,) = [f for f in report.findings if f.name == "batch-norm-small-batch"]
    assert finding.severity == "severe" and "refuses" in finding.message and report.loss is not None


def test_batch_norm_frozen_for_good_is_not_accused():
    model = freeze_batch_norm(small(), affine=False)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    assert "batch-norm-eval-mode" not in diagnose(model, (X, Y), F.cross_entropy, optimizer)


def test_frozen_batch_norm_is_not_accused():
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    model[1].eval()
    assert "batch-norm-eval-mode" in diagnose(model, (X, Y), F.cross_entropy, optimizer)
    for parameter in model[1].parameters():
        parameter.requires_grad_(False)
    assert "batch-norm-eval-mode" not in diagnose(model, (X, Y), F.cross_entropy, optimizer)
    model = small().eval()
    assert "batch-norm-eval-mode" in diagnose(model, (X, Y), F.cross_entropy, optimizer)
    assert "batch-norm-eval-mode" not in diagnose(model, (X, Y), F.cross_entropy)


class Branch(nn.Module):
    """A residual network whose branches begin at zero, and a gate that may be closed."""

    def __init__(self):
        super().__init__()
        self.stem, self.branch = nn.Linear(6, 16), nn.Linear(16, 16)
        self.gate, self.out = nn.Linear(16, 16), nn.Linear(16, 3)
        nn.init.zeros_(self.branch.weight)
        nn.init.constant_(self.gate.bias, -9.0)

    def forward(self, x):
        x = F.relu(self.stem(x))
        x = x + self.branch(x)
        return self.out(x + x * torch.sigmoid(self.gate(x)))


def test_zeros_that_are_meant_and_closed_gates_are_not_accused():
    torch.manual_seed(0)
    report = diagnose(Branch(), (X, Y), F.cross_entropy)
    assert report.healthy and report["sigmoid"].gate and report["sigmoid"].saturated == 1.0
    assert {f.severity for f in report.findings if f.name == "constant-weights"} == {"note"}
    model = small()
    nn.init.zeros_(model[3].weight)
    assert diagnose(model, (X, Y), F.cross_entropy).healthy
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))
    nn.init.zeros_(model[2].weight)
    nn.init.zeros_(model[2].bias)
    report = diagnose(model, (X, Y), F.cross_entropy)
    assert [f.layer for f in report.severe if f.name == "constant-weights"] == ["2"]


def test_a_sigmoid_at_the_output_may_saturate():
    model = small(nn.Sigmoid())
    with torch.no_grad():
        model[3].bias.fill_(20.0)
    report = diagnose(model, (X, Y), lambda o, t: F.binary_cross_entropy(o, F.one_hot(t).float()))
    assert report["4"].saturated == 1.0 and "saturated-units" not in report


def test_too_little_data_makes_dead_units_a_note():
    model = small(norm=False)
    with torch.no_grad():
        model[0].bias.fill_(-20.0)
    few, many = (diagnose(model, (X[:n], Y[:n])) for n in (16, 128))
    assert [f.severity for f in few.findings if f.name == "dead-units"] == ["note"]
    assert [f.severity for f in many.findings if f.name == "dead-units"] == ["severe"]


def test_the_reduction_of_the_loss_does_not_matter():
    for scale, expected in ((1, False), (40, True)):
        model = small(norm=False)
        with torch.no_grad():
            model[2].weight.mul_(scale)
        report = diagnose(model, (X, Y), lambda o, t: F.cross_entropy(o, t, reduction="sum"))
        assert ("initial-loss" in report) == expected


def test_a_trained_model_is_not_judged_by_its_initialization():
    model = small(norm=False)
    with torch.no_grad():
        model[2].weight.mul_(40)
    optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9)
    assert "initial-loss" in diagnose(model, (X, Y), F.cross_entropy, optimizer)
    F.cross_entropy(model(X), Y).backward()
    optimizer.step()
    assert "initial-loss" not in diagnose(model, (X, Y), F.cross_entropy, optimizer)


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


def test_dropout_as_a_function_and_before_a_normalization_far_away():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.norm = nn.Linear(6, 16), nn.Linear(16, 16), nn.BatchNorm1d(16)
            self.out = nn.Linear(16, 3)

        def forward(self, x):
            x = F.dropout(F.relu(self.a(x)), 0.2, self.training)
            return self.out(F.relu(self.norm(self.b(x))))

    report = diagnose(Model(), (X, Y), F.cross_entropy)
    assert found(report) == {"dropout-before-batch-norm", "bias-before-normalization"}


def test_kinds_of_finding_can_be_left_out():
    model = small(nn.Softmax(1))
    assert diagnose(model, (X, Y), F.cross_entropy, ignore=["softmax-before-cross-entropy"]).findings == ()


@pytest.mark.parametrize("name", names())
def test_what_a_remedy_names_exists(name):
    for path in re.findall(r"convcraft(?:\.\w+)+", KINDS[name].remedy):
        module, _, attribute = path.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute), path


def test_every_limit_has_a_reason():
    lines = inspect.getsource(thresholds).split("\n")
    for i, line in enumerate(lines):
        if "=" in line and line[:1].isupper():
            assert lines[i - 1].startswith("#:"), line


ERRORS = [
    (lambda: diagnose(F.relu, X), "model must be a torch.nn.Module, got function"),
    (lambda: diagnose(torch.compile(small()), X), "must not be compiled"),
    (lambda: diagnose(nn.LazyLinear(3), X), "model must be initialized, got a lazy module"),
    (lambda: diagnose(small(), 3), "batch must be a tensor"),
    (lambda: diagnose(small(), (1, 2)), "batch must hold a tensor"),
    (lambda: diagnose(small(), X, F.cross_entropy), "must be .inputs, target. where a loss is given"),
    (lambda: diagnose(small(), iter([]), F.cross_entropy), "must yield at least one batch, got none"),
    (lambda: diagnose(small(), (X, Y), lambda o, t: o), "loss must return a scalar, got shape"),
    (lambda: diagnose(small(), (X, Y), lambda o, t: 3.0), "loss must return a scalar, got float"),
    (lambda: diagnose(small(), (X, Y), "cross-entropy"), "did you mean 'cross_entropy'"),
    (lambda: diagnose(small(), (X, Y), 3), "loss must be callable"),
    (lambda: diagnose(small(), (X.to("meta"), Y), F.cross_entropy), "model's device cpu, got meta"),
    (lambda: diagnose(small(), (X[:, :2], Y), F.cross_entropy), "must run on the batch, got RuntimeError"),
    (lambda: diagnose(small(), (X, Y), batches=0), "batches must be an integer of 1 or more"),
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


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (X * 100, "standard deviation 1"),
        (X + 10, "standard deviations from 0"),
        (X * torch.tensor([1.0, 1, 1, 1, 0.004, 1]), "features with standard deviations from"),
    ],
)
def test_inputs_are_judged_by_scale_place_and_evenness(x, words):
    (finding,) = [
        f
        for f in diagnose(small(norm=False), (x, Y), F.cross_entropy).findings
        if f.name == "inputs-not-standardized"
    ]
    assert words in finding.message and finding.layer == "0"


def test_inputs_that_the_model_standardizes_itself_are_not_accused():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = small(norm=False)

        def forward(self, x):
            return self.body((x - x.mean(0)) / x.std(0))

    x = 255 * torch.rand(128, 6, generator=torch.Generator().manual_seed(0))
    assert "inputs-not-standardized" in diagnose(small(norm=False), (x, Y), F.cross_entropy)
    assert "inputs-not-standardized" not in diagnose(Own(), (x, Y), F.cross_entropy)
    normed = nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 3))
    assert "inputs-not-standardized" not in diagnose(normed, (x, Y), F.cross_entropy)


def test_dropout_of_torch_itself_is_known_to_differ():
    class Low(nn.Module):
        def __init__(self, told):
            super().__init__()
            self.layer, self.told = nn.Linear(6, 3), told

        def forward(self, x):
            return self.layer(torch.dropout(x, 0.3, self.training or not self.told))

    assert diagnose(Low(True), (X, Y), F.cross_entropy).healthy
    assert found(diagnose(Low(False), (X, Y), F.cross_entropy)) == {"random-evaluation"}


def test_a_loss_without_a_gradient_is_said():
    report = diagnose(small(), (X, Y), lambda o, t: F.cross_entropy(o.detach(), t))
    assert any("the gradients" in text for text in report.skipped)
    assert [f.severity for f in report.findings if f.name == "no-gradient"] == ["severe"]


def test_group_normalization_of_single_channels_takes_the_bias_away_and_of_several_does_not():
    for groups, accused in ((4, True), (2, False)):
        model = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.GroupNorm(groups, 4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)
        )
        x = torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        report = diagnose(model, (x, Y[:16]), F.cross_entropy)
        assert ("bias-before-normalization" in report) == accused
