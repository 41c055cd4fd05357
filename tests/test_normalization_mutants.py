"""Numerical stability of normalization, and known wrong implementations that the same checks must reject."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd import gradcheck

from convcraft import normalization as N
from convcraft.normalization import _fast, definitions


@pytest.fixture(params=["torch's kernels", "fast paths"])
def paths(request, monkeypatch):
    """Both ways through the code; the guard of torch's careless kernels stays where it is."""
    fast = request.param == "fast paths"
    monkeypatch.setattr(_fast, "FAST_FROM", 0 if fast else 1 << 60)
    monkeypatch.setattr(_fast, "ROW_FROM", 1)


def in_double(x, dims):
    return definitions.normalize(x.double(), dims, 1e-5)


def error(y, expected):
    """Relative error; an error of 1 means that nothing is right."""
    return float((y.double() - expected).norm() / expected.norm())


# checks of a batch-norm module of a class that takes the number of channels


def check_value(kind):
    x = torch.randn(16, 3, 6, 6) * torch.tensor([0.1, 1.0, 10.0]).view(3, 1, 1) + 2
    assert error(kind(3)(x), in_double(x, (0, 2, 3))) < 1e-5


def check_gradient(kind):
    module = kind(2).double().train()
    assert gradcheck(module, torch.randn(3, 2, 2, 2, dtype=torch.float64, requires_grad=True))


def check_gradient_sums_to_zero(kind):
    x = torch.randn(8, 3, 4, 4, requires_grad=True)
    (slope,) = torch.autograd.grad(kind(3)(x).pow(3).sum(), x)
    assert float(slope.sum((0, 2, 3)).abs().max()) < 1e-3 * float(slope.abs().sum())


def check_second_gradient(kind):
    found = []
    for module in (kind(3), nn.BatchNorm2d(3)):
        x = torch.linspace(-2, 3, 96, dtype=torch.float64).sin().view(2, 3, 4, 4).requires_grad_(True)
        (first,) = torch.autograd.grad(module.double()(x).pow(3).sum(), x, create_graph=True)
        found.append((first.detach(), *torch.autograd.grad(first.pow(2).sum(), [x, *module.parameters()])))
    torch.testing.assert_close(*found)


def check_stability(kind):
    x = 1e4 + 0.1 * torch.randn(64, 2, 16, 16)
    y = kind(2)(x)
    assert bool(torch.isfinite(y).all()) and error(y, in_double(x, (0, 2, 3))) < 0.05


def check_running_statistics(kind):
    module, reference = kind(3), nn.BatchNorm2d(3)
    for step in range(3):
        x = torch.randn(2, 3, 2, 2) + step
        module(x), reference(x)
    torch.testing.assert_close(module.running_mean.detach().flatten(), reference.running_mean)
    torch.testing.assert_close(module.running_var.detach().flatten(), reference.running_var)


def check_state_is_saved(kind):
    module, twin = kind(3), kind(3)
    for step in range(4):
        module(torch.randn(4, 3, 5, 5) * 3 + step)
    twin.load_state_dict(module.state_dict())
    x = torch.randn(4, 3, 5, 5)
    torch.testing.assert_close(twin.eval()(x), module.eval()(x))
    assert list(module.state_dict()) == list(nn.BatchNorm2d(3).state_dict())


def check_mode(kind):
    module, x = kind(3).eval(), torch.randn(4, 3, 5, 5) + 5
    with torch.enable_grad():
        torch.testing.assert_close(module(x), x / math.sqrt(1 + 1e-5))
    with torch.no_grad():
        module.train()
        assert float(module(x).mean().abs()) < 1e-4


def graph_nodes(tensor):
    seen, waiting = set(), [tensor.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [parent for parent, _ in node.next_functions]
    return len(seen)


def check_no_graph_in_the_buffers(kind):
    module = kind(3)
    for _ in range(3):
        module(torch.randn(4, 3, 5, 5, requires_grad=True))
    assert graph_nodes(module.running_mean) == graph_nodes(module.running_var) == 0
    copy.deepcopy(module)


def check_channels_last(kind):
    x = torch.randn(4, 3, 5, 6).contiguous(memory_format=torch.channels_last)
    y = kind(3)(x)
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert error(y, in_double(x, (0, 2, 3))) < 1e-5


CHECKS = [
    check_value, check_gradient, check_gradient_sums_to_zero, check_second_gradient, check_stability,
    check_running_statistics, check_state_is_saved, check_mode, check_no_graph_in_the_buffers,
    check_channels_last,
]  # fmt: skip


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__[6:])
def test_ours_passes(check, paths):
    check(N.BatchNorm2d)


# wrong ones


class Wrong(nn.Module):
    """A right batch norm of parts, each of which a subclass spoils."""

    def __init__(self, channels):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def batch(self):
        return self.training

    def moments(self, x):
        mean, variance = definitions.moments(x, (0, 2, 3))
        return mean.flatten(), variance.flatten()

    def kept(self, x, mean, variance):
        n = x.numel() // x.shape[1]
        return mean.detach(), variance.detach() * n / (n - 1)

    def forward(self, x):
        if self.batch():
            mean, variance = self.moments(x)
            kept = self.kept(x, mean, variance)
            self.running_mean = 0.9 * self.running_mean + 0.1 * kept[0]
            self.running_var = 0.9 * self.running_var + 0.1 * kept[1]
        else:
            mean, variance = self.running_mean, self.running_var
        column = (1, -1, 1, 1)
        hat = (x - mean.view(column)) * torch.rsqrt(variance + 1e-5).view(column)
        return hat * self.weight.view(column) + self.bias.view(column)


class StatisticsWithoutGradient(Wrong):
    def moments(self, x):
        with torch.no_grad():
            return super().moments(x)


class VarianceWithoutGradient(Wrong):
    def moments(self, x):
        mean, variance = super().moments(x)
        return mean, variance.detach()


class DifferenceOfSquares(Wrong):
    def moments(self, x):
        mean = x.mean((0, 2, 3))
        return mean, x.square().mean((0, 2, 3)) - mean.square()


class GraphInTheBuffers(Wrong):
    def kept(self, x, mean, variance):
        n = x.numel() // x.shape[1]
        return mean, variance * n / (n - 1)


class FlattenedByView(Wrong):
    def moments(self, x):
        rows = x.view(x.shape[0] * x.shape[1], -1).view(x.shape[0], x.shape[1], -1)
        return rows.mean((0, 2)), rows.var((0, 2), unbiased=False)


class PlainAttributes(Wrong):
    """The statistics are no buffers."""

    def __init__(self, channels):
        super().__init__(channels)
        for name in ("running_mean", "running_var"):
            value = getattr(self, name)
            delattr(self, name)
            setattr(self, name, value)


class ModeOfAutograd(Wrong):
    def batch(self):
        return torch.is_grad_enabled()


class BiasedRunningVariance(Wrong):
    def kept(self, x, mean, variance):
        return mean.detach(), variance.detach()


class UnbiasedToNormalize(Wrong):
    def moments(self, x):
        mean, variance = super().moments(x)
        n = x.numel() // x.shape[1]
        return mean, variance * n / (n - 1)


class MomentumTurnedRound(Wrong):
    def forward(self, x):
        y = super().forward(x)
        if self.training:
            mean, variance = self.kept(x, *self.moments(x))
            self.running_mean, self.running_var = 0.9 * mean, 0.9 * variance
        return y


WRONG = [
    (StatisticsWithoutGradient, check_gradient),
    (StatisticsWithoutGradient, check_gradient_sums_to_zero),
    (VarianceWithoutGradient, check_gradient),
    (DifferenceOfSquares, check_stability),
    (GraphInTheBuffers, check_no_graph_in_the_buffers),
    (FlattenedByView, check_channels_last),
    (PlainAttributes, check_state_is_saved),
    (ModeOfAutograd, check_mode),
    (BiasedRunningVariance, check_running_statistics),
    (UnbiasedToNormalize, check_value),
    (MomentumTurnedRound, check_running_statistics),
]


@pytest.mark.parametrize(("kind", "check"), WRONG, ids=[f"{k.__name__}-{c.__name__[6:]}" for k, c in WRONG])
def test_wrong_ones_are_caught(kind, check):
    with pytest.raises((AssertionError, RuntimeError)):
        check(kind)


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__[6:])
def test_the_parts_are_right_where_none_is_spoiled(check):
    check(Wrong)


# defects put into our own code


def spoiled_moments(x):
    mean = x.mean((0, 2))
    return mean.double(), (x.square().mean((0, 2)) - mean.square()).double()


def spoiled_backward(grad, x, dims, eps, weight=None):
    mean, variance = definitions.moments(x, dims)
    hat = (x - mean) * torch.rsqrt(variance + eps)
    h = grad if weight is None else grad * weight
    return torch.rsqrt(variance + eps) * (h - h.mean(dims, keepdim=True)), grad * hat


def test_difference_of_squares_in_our_code_is_caught(monkeypatch):
    monkeypatch.setattr(_fast, "FAST_FROM", 0)
    monkeypatch.setattr(_fast, "channel_moments", spoiled_moments)
    monkeypatch.setattr(_fast, "exceeds", lambda mean, rstd: False)
    with pytest.raises(AssertionError):
        check_stability(N.BatchNorm2d)


def test_a_missing_term_in_our_closed_form_is_caught(monkeypatch):
    monkeypatch.setattr(_fast, "FAST_FROM", 0)
    monkeypatch.setattr(_fast, "ROW_FROM", 1)
    check_second_gradient(N.BatchNorm2d)
    monkeypatch.setattr(_fast, "normalize_backward", spoiled_backward)
    with pytest.raises(AssertionError):
        check_second_gradient(N.BatchNorm2d)


def test_without_the_guard_torchs_channels_last_kernels_are_caught(monkeypatch):
    x = (1e4 + 0.1 * torch.randn(64, 4, 32, 32)).contiguous(memory_format=torch.channels_last)
    expected = in_double(x, (0, 2, 3))
    assert error(N.batch_norm(x, None, None, training=True), expected) < 1e-4
    monkeypatch.setattr(_fast, "exceeds", lambda mean, rstd: False)
    assert error(N.batch_norm(x, None, None, training=True), expected) > 0.05


# stability of everything, to more than torch gives


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (50.0, 1.0), (1e4, 0.1), (-1e4, 0.1)])
def test_batch_norm_of_a_large_mean_in_value_gradient_and_statistics(mean, deviation, layout, paths):
    x = (mean + deviation * torch.randn(64, 3, 16, 16)).contiguous(memory_format=layout)
    weight, bias = torch.tensor([0.5, 1.0, 2.0]), torch.tensor([0.0, 1.0, -1.0])
    grad = torch.randn(x.shape)

    def both(x, dtype):
        x = x.detach().to(dtype).requires_grad_(True)
        running = torch.zeros(3, dtype=dtype), torch.ones(3, dtype=dtype)
        y = N.batch_norm(x, *running, weight.to(dtype), bias.to(dtype), True, 1.0)
        return y, torch.autograd.grad(y, x, grad.to(dtype))[0], *running

    careful = float(x.is_contiguous()) == 0 or _fast.FAST_FROM == 0
    for single, double in zip(both(x, torch.float32), both(x, torch.float64), strict=True):
        assert error(single.detach(), double.detach()) < (1e-4 if careful else 0.02)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (50.0, 1.0), (1e4, 0.1)])
def test_the_others_of_a_large_mean(mean, deviation, layout):
    x = (mean + deviation * torch.randn(8, 4, 16, 16)).contiguous(memory_format=layout)
    grad = torch.randn(x.shape)
    for function, shape in (
        (lambda v: N.group_norm(v, 2), (8, 2, -1)),
        (N.instance_norm, (8, 4, -1)),
        (lambda v: N.layer_norm(v, (4, 16, 16)), (8, -1)),
    ):
        leaf = x.detach().requires_grad_(True)
        y = function(leaf)
        expected = in_double(x.reshape(shape), (len(shape) - 1,)).view(x.shape)
        assert error(y.detach(), expected) < 0.02
        (slope,) = torch.autograd.grad(y, leaf, grad)
        double = x.detach().double().requires_grad_(True)
        (right,) = torch.autograd.grad(function(double), double, grad.double())
        assert error(slope, right) < 0.02


def test_torch_itself_fails_there():
    """The reason for the guard; should torch mend its kernels, this test says so."""
    x = (1e4 + 0.1 * torch.randn(8, 4, 16, 16)).contiguous(memory_format=torch.channels_last)
    expected = in_double(x.reshape(8, 2, -1), (2,)).view(x.shape)
    assert error(N.group_norm(x, 2), expected) < 1e-4
    assert error(F.group_norm(x, 2), expected) > 0.1


def test_constant_channels_give_the_bias_and_a_finite_gradient(paths):
    for layout in (torch.contiguous_format, torch.channels_last):
        x = torch.full((16, 3, 16, 16), 3.0).contiguous(memory_format=layout).requires_grad_(True)
        bias = torch.tensor([1.0, 2.0, 3.0])
        y = N.batch_norm(x, None, None, None, bias, True)
        torch.testing.assert_close(y.detach().mean((0, 2, 3)), bias, rtol=1e-3, atol=0)
        (slope,) = torch.autograd.grad(y.square().sum(), x)
        assert bool(torch.isfinite(slope).all())


def test_nan_and_inf_stay_in_their_channel(paths):
    for layout in (torch.contiguous_format, torch.channels_last):
        x = torch.randn(16, 3, 16, 16).contiguous(memory_format=layout)
        x[0, 0, 0, 0], x[1, 1, 0, 0] = float("nan"), float("inf")
        y = N.batch_norm(x, None, None, training=True)
        assert bool(torch.isnan(y[:, 0]).all()) and not bool(torch.isnan(y[:, 2]).any())
        torch.testing.assert_close(y[:, 2], F.batch_norm(x, None, None, training=True)[:, 2])
