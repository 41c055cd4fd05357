"""What the studies of initialization compute: mean-field predictions, and how their networks start."""

import math

import pytest
import torch

from convcraft.initialization import variance_map
from convcraft.lab.experiments.version import load_study

gradient_factor, depth_grid = load_study("gradient_factor"), load_study("depth_grid")


def predicted(depth=20, **arm):
    plain = {"activation": "relu", "gain": math.sqrt(2), "norm": False, "skip": False}
    return gradient_factor.run.__globals__["predicted"](plain | arm, depth)


def test_predictions_that_have_a_closed_form():
    assert predicted() == pytest.approx((1.0, 1.0), rel=1e-9)
    assert predicted(gain=1.0)[0] == pytest.approx(math.sqrt(0.5), rel=1e-9)
    assert predicted(activation="identity", gain=1.0, skip=True) == pytest.approx((math.sqrt(2), 2.0**20))
    assert predicted(norm=True)[0] == pytest.approx(math.sqrt(math.pi / (math.pi - 1)), rel=1e-9)
    assert predicted(norm=True)[0] == predicted(norm=True, gain=0.3)[0]


def test_the_prediction_is_that_of_the_variance_map():
    tanh = variance_map("tanh", 1.5**2)
    q = tanh.trajectory(1.0, 20)
    factor, moment = predicted(activation="tanh", gain=1.5)
    assert moment == pytest.approx(q[-1], rel=1e-9)
    assert factor == pytest.approx(math.prod(tanh.chi(v) for v in q[:-1]) ** (1 / 40), rel=1e-9)


def test_a_run_measures_what_is_predicted():
    found = gradient_factor.run(gradient_factor.arms["tanh 1.414"], None, 123, None, True)
    assert found["factor_20"] == pytest.approx(found["predicted_factor_20"], rel=0.03)
    assert found["moment_20"] == pytest.approx(found["predicted_moment_20"], rel=0.2)


def network(name):
    torch.manual_seed(0)
    return depth_grid.model(depth_grid.arms[name])


def test_depth_counts_activations_and_one_rule_fills_all_matrices():
    net = network("relu small 3")
    assert len(net.matrices) == 4
    assert all(float(m.weight.detach().std()) == pytest.approx(0.01, rel=0.1) for m in net.matrices)
    assert all(float(m.bias.detach().abs().max()) == 0 for m in net.matrices)


def test_branches_start_at_zero_scaled_or_as_they_are():
    names = ("relu he 30 skip-zero", "relu he 30 skip-none", "relu he 20 skip-scale")
    zero, none, scaled = (float(network(name).matrices[3].weight.detach().std()) for name in names)
    assert zero == 0 and none == pytest.approx(math.sqrt(2 / 64), rel=0.1)
    assert scaled == pytest.approx(math.sqrt(2 / 64 / 19), rel=0.1)


def test_with_zero_branches_a_block_passes_its_input_on():
    net = network("relu he 30 skip-zero")
    net.seen = []
    net(torch.randn(5, 64))
    assert len(net.seen) == 30 and torch.equal(net.seen[0], net.seen[-1])


def test_the_factor_spares_the_last_matrix_and_one_layer_can_be_spoiled():
    net = network("relu own 10 x4")
    inner, last = (float(net.matrices[i].weight.detach().std()) for i in (1, -1))
    assert inner / last == pytest.approx(4, rel=0.15)
    spoiled = [float(m.weight.detach().std()) < 0.02 for m in network("relu he 10 one-small").matrices]
    assert spoiled == [i == 5 for i in range(11)]
