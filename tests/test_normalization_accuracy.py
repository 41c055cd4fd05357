"""Accuracy of normalization where the mean is large against the deviation, and where values are extreme."""

import pytest
import torch
import torch.nn.functional as F

from convcraft import normalization as N
from convcraft.normalization import _accuracy, definitions


def in_double(x, dims):
    return definitions.normalize(x.double(), dims, 1e-5)


def error(y, expected):
    """Relative error; an error of 1 means that nothing is right."""
    return float((y.double() - expected).norm() / expected.norm())


def test_without_the_guard_torchs_channels_last_kernels_lose_every_digit(monkeypatch):
    """The reason for the guard; should torch mend its kernels, this test says so."""
    x = (1e4 + 0.1 * torch.randn(64, 4, 32, 32)).contiguous(memory_format=torch.channels_last)
    expected = in_double(x, (0, 2, 3))
    assert error(N.batch_norm(x, None, None, training=True), expected) < 1e-4
    monkeypatch.setattr(_accuracy, "exceeds", lambda mean, rstd: False)
    assert error(N.batch_norm(x, None, None, training=True), expected) > 0.05


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (50.0, 1.0), (1e4, 0.1), (-1e4, 0.1)])
def test_batch_norm_of_a_large_mean_in_value_gradient_and_statistics(mean, deviation, layout):
    x = (mean + deviation * torch.randn(64, 3, 16, 16)).contiguous(memory_format=layout)
    weight, bias = torch.tensor([0.5, 1.0, 2.0]), torch.tensor([0.0, 1.0, -1.0])
    grad = torch.randn(x.shape)

    def both(x, dtype):
        x = x.detach().to(dtype).requires_grad_(True)
        running = torch.zeros(3, dtype=dtype), torch.ones(3, dtype=dtype)
        y = N.batch_norm(x, *running, weight.to(dtype), bias.to(dtype), True, 1.0)
        return y, torch.autograd.grad(y, x, grad.to(dtype))[0], *running

    careful = not x.is_contiguous()
    for single, double in zip(both(x, torch.float32), both(x, torch.float64), strict=True):
        assert error(single.detach(), double.detach()) < (1e-4 if careful else 0.02)


def test_the_running_mean_of_a_large_mean_is_right_to_the_last_digit():
    x = (1e4 + 0.1 * torch.randn(64, 64, 8, 8)).contiguous(memory_format=torch.channels_last)
    running_mean = torch.zeros(64)
    N.batch_norm(x, running_mean, None, training=True, momentum=1.0)
    assert torch.equal(running_mean, x.double().mean((0, 2, 3)).float())


def test_weights_with_gaps_in_memory_are_those_that_one_sees():
    x = torch.randn(64, 4, 32, 32).contiguous(memory_format=torch.channels_last)
    weight, bias = torch.randn(2, 8)[:, ::2]
    ours, theirs = N.group_norm(x, 2, weight, bias), F.group_norm(x, 2, weight, bias)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    ours, theirs = (f.batch_norm(x, None, None, weight, bias, True) for f in (N, F))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_the_defined_variance_is_no_difference_of_two_large_numbers():
    x = 1e4 + 0.1 * torch.randn(1000)
    _, variance = definitions.moments(x, (0,))
    assert error(variance, x.double().var(0, correction=0, keepdim=True)) < 1e-3


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


def test_group_norm_of_channels_last_where_torch_itself_fails():
    x = (1e4 + 0.1 * torch.randn(8, 4, 16, 16)).contiguous(memory_format=torch.channels_last)
    expected = in_double(x.reshape(8, 2, -1), (2,)).view(x.shape)
    assert error(N.group_norm(x, 2), expected) < 1e-4
    assert error(F.group_norm(x, 2), expected) > 0.1


def test_constant_channels_give_the_bias_and_a_finite_gradient():
    for layout in (torch.contiguous_format, torch.channels_last):
        x = torch.full((16, 3, 16, 16), 3.0).contiguous(memory_format=layout).requires_grad_(True)
        bias = torch.tensor([1.0, 2.0, 3.0])
        y = N.batch_norm(x, None, None, None, bias, True)
        torch.testing.assert_close(y.detach().mean((0, 2, 3)), bias, rtol=1e-3, atol=0)
        (slope,) = torch.autograd.grad(y.square().sum(), x)
        assert bool(torch.isfinite(slope).all())


def test_nan_and_inf_stay_in_their_channel():
    for layout in (torch.contiguous_format, torch.channels_last):
        x = torch.randn(16, 3, 16, 16).contiguous(memory_format=layout)
        x[0, 0, 0, 0], x[1, 1, 0, 0] = float("nan"), float("inf")
        y = N.batch_norm(x, None, None, training=True)
        assert bool(torch.isnan(y[:, 0]).all()) and not bool(torch.isnan(y[:, 2]).any())
        torch.testing.assert_close(y[:, 2], F.batch_norm(x, None, None, training=True)[:, 2])
