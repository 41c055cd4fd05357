"""diagnose: what is found, what must not be accused, and how remedies and limits are worded."""

import importlib
import inspect
import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

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


def test_a_report_equals_itself_whatever_is_found():
    class Model(nn.Sequential):
        def forward(self, x):
            return super().forward(F.dropout(x, 0.1, self.training))

    model = Model(*small())
    first, second = (diagnose(model, (X, Y), F.cross_entropy) for _ in range(2))
    assert first == second and "dropout-before-batch-norm" in first


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


def test_an_initial_loss_is_judged_by_the_spread_of_the_logits():
    logits = torch.randn(len(Y), 10, generator=torch.Generator().manual_seed(0))
    for spread, severity in ((1.5, None), (2.5, "note"), (4.0, "warning"), (12.0, "severe")):

        def loss(output, target, spread=spread):
            return F.cross_entropy(spread * logits + 0 * output.mean(), target)

        found = {f.name: f.severity for f in diagnose(small(norm=False), (X, Y), loss).findings}
        assert found.get("initial-loss") == severity, spread


def test_a_trained_model_is_not_judged_by_its_initialization():
    model = small(norm=False)
    with torch.no_grad():
        model[2].weight.mul_(40)
    optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9)
    assert "initial-loss" in diagnose(model, (X, Y), F.cross_entropy, optimizer)
    F.cross_entropy(model(X), Y).backward()
    optimizer.step()
    assert "initial-loss" not in diagnose(model, (X, Y), F.cross_entropy, optimizer)


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


def test_group_normalization_of_single_channels_takes_the_bias_away_and_of_several_does_not():
    for groups, accused in ((4, True), (2, False)):
        model = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.GroupNorm(groups, 4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)
        )
        x = torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        report = diagnose(model, (x, Y[:16]), F.cross_entropy)
        assert ("bias-before-normalization" in report) == accused
