"""Recommenders and forecasters: what they can express, and recurrent cells that equal torch's."""

import numpy as np
import pytest
import torch
from torch import nn

from convcraft import ConvcraftError
from convcraft.lab import models

PAIRS = torch.cartesian_prod(torch.arange(7), torch.arange(5))


def table(net):
    with torch.no_grad():
        return net(PAIRS).reshape(7, 5).double().numpy()


def test_factorization_is_a_product_and_biases():
    net = models.Factorization(7, 5, rank=2)
    for bias in (net.user_bias, net.item_bias):
        nn.init.normal_(bias.weight)
    direct = net.users.weight @ net.items.weight.T + net.user_bias.weight + net.item_bias.weight.T + net.mean
    np.testing.assert_allclose(table(net), direct.detach().double(), atol=1e-6)
    assert np.linalg.matrix_rank(table(net), tol=1e-5) <= 4


def test_without_activation_a_network_on_both_vectors_is_a_sum():
    additive = table(models.PairNet(7, 5, 4, (16, 16), activation=None))
    centred = additive - additive.mean(0) - additive.mean(1, keepdims=True) + additive.mean()
    assert np.abs(centred).max() < 1e-6
    for net in (
        models.PairNet(7, 5, 4, (16,), activation="relu"),
        models.PairNet(7, 5, 4, (16,), activation=None, product=True),
    ):
        got = table(net)
        assert np.abs(got - got.mean(0) - got.mean(1, keepdims=True) + got.mean()).max() > 1e-4


@pytest.mark.parametrize("kind", ["rnn", "gru"])
def test_recurrent_cells_equal_those_of_torch(kind):
    torch.manual_seed(0)
    net = models.Recurrent(kind, 9, 3).double()
    theirs = {"rnn": nn.RNN, "gru": nn.GRU}[kind](1, 9, batch_first=True).double()
    theirs.load_state_dict(net.cell.state_dict())
    x = torch.randn(4, 12, dtype=torch.float64)
    with torch.no_grad():
        states = theirs(x[..., None])[0]
        torch.testing.assert_close(net.states(x[..., None]), states, rtol=0, atol=1e-6)
        torch.testing.assert_close(net(x), net.output(states[:, -1]), rtol=0, atol=1e-6)


def test_another_activation_takes_the_place_of_tanh():
    torch.manual_seed(0)
    relu = models.Recurrent("rnn", 6, 2, activation="relu")
    theirs = nn.RNN(1, 6, nonlinearity="relu", batch_first=True)
    theirs.load_state_dict(relu.cell.state_dict())
    x = torch.randn(3, 8)
    torch.testing.assert_close(relu.states(x[..., None]), theirs(x[..., None])[0], rtol=0, atol=1e-6)


def test_a_tcn_sees_the_last_31_values_and_no_others():
    net = models.TCN(4, 2, activation=None)
    x = torch.randn(1, 40, requires_grad=True)
    net(x).sum().backward()
    seen = x.grad[0] != 0
    assert seen[-31:].all() and not seen[:-31].any()


@pytest.mark.parametrize("lags", [1, 7, 24, 33])
def test_a_tcn_is_a_stack_of_dilated_convolutions_read_at_the_last_position(lags):
    torch.manual_seed(0)
    net, x = models.TCN(4, 2, activation="tanh"), torch.randn(3, lags)
    h = x[:, None]
    for layer, dilation in zip(net.layers, (1, 2, 4, 8), strict=True):
        padded = nn.functional.pad(h, (2 * dilation, 0))
        h = torch.tanh(nn.functional.conv1d(padded, layer.weight, layer.bias, dilation=dilation))
    torch.testing.assert_close(net(x), net.output(h[..., -1]), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: models.Factorization(3, 0, 2), "1 or more; got 3, 0 and 2"),
        (lambda: models.PairNet(3, 3, 2, ()), "hidden must hold one width or more"),
        (lambda: models.Recurrent("grus", 3, 2), "did you mean 'gru'"),
        (lambda: models.Recurrent("gru", 3, 2, activation=None), "must be a function; got None"),
    ],
)
def test_misuse_is_named(call, said):
    with pytest.raises(ConvcraftError, match=said):
        call()
