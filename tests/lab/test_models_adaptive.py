"""Networks for functions that depend on their input: shapes, sizes, and what the new layers compute."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from convcraft import ConvcraftError
from convcraft.lab import models


@pytest.mark.parametrize("function", models.ADAPTIVE)
def test_equal_parameters_and_ten_outputs(function):
    size = lambda name, widths: sum(p.numel() for p in models.adaptive_net(name, widths).parameters())  # noqa: E731
    widths = models.adaptive_widths(function, (8, 17))
    net = models.adaptive_net(function, widths)
    out = net(torch.randn(3, 1, 8, 8))
    out.sum().backward()
    assert out.shape == (3, 10) and all(p.grad is not None for p in net.parameters())
    assert abs(size(function, widths) / size("relu", (8, 17)) - 1) < 0.03


def test_unknown_functions_are_refused():
    with pytest.raises(ConvcraftError, match="function"):
        models.adaptive_net("relus", (4, 8))


def test_bumps_are_their_formula():
    x = torch.randn(5, 2, dtype=torch.float64)
    y = models.Bumps(5, reach=2.0)(x)
    assert y.shape == (5, 12)
    torch.testing.assert_close(y[:, :2], nn.functional.silu(x))
    torch.testing.assert_close(y[:, 4:6], torch.exp(-((x + 1) ** 2)))  # the second centre, -1


def test_a_skip_adds_its_input():
    x = torch.randn(4, 3)
    torch.testing.assert_close(models.Skip(nn.ReLU())(x), x + x.relu())


def test_a_sine_net_starts_as_a_siren():
    torch.manual_seed(0)
    net = models.sine_mlp((2, 64, 64, 1), frequency=30)
    first, second = net.layers.linear1.weight, net.layers.linear2.weight
    assert 14 < float(first.detach().abs().max()) <= 15
    assert 0.9 * math.sqrt(6 / 64) < float(second.detach().abs().max()) <= math.sqrt(6 / 64)
    inner = net.layers.linear2(torch.sin(net.layers.linear1(torch.rand(500, 2) * 2 - 1)))
    assert 0.8 < float(inner.detach().std()) < 1.2
