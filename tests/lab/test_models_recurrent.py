"""The hand-written cells are torch's where they ought to be; padding of text is not read."""

import pytest
import torch
from torch import nn

from convcraft import ConvcraftError
from convcraft.initialization import initialize
from convcraft.lab import models


@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
def test_with_sigmoid_and_tanh_the_cells_are_those_of_torch(kind):
    for seed in range(5):
        torch.manual_seed(seed)
        net = models.Gated(kind, 15, 24, 10).double()
        x = 3 * torch.randn(8, 50, 15, dtype=torch.float64)
        expected, _ = net.cell(x)
        assert (net.states(x) - expected).abs().max() < 1e-12
        assert torch.equal(net(x), net.output(net.states(x)[:, -1]))
    single = net.float()
    assert (single.states(x.float()) - single.cell(x.float())[0]).abs().max() < 1e-6


def test_gradients_are_those_of_torch():
    net = models.Gated("lstm", 3, 5, 2).double()
    x = torch.randn(4, 9, 3, dtype=torch.float64)
    mine, theirs = (
        torch.autograd.grad(states.square().sum(), list(net.cell.parameters()))
        for states in (net.states(x), net.cell(x)[0])
    )
    assert all(torch.allclose(a, b) for a, b in zip(mine, theirs, strict=True))


def test_gate_and_candidate_can_be_exchanged():
    x = torch.randn(6, 12, 3)
    plain = models.Gated("rnn", 3, 8, 2, candidate="relu")
    relu = nn.RNN(3, 8, nonlinearity="relu", batch_first=True)
    relu.load_state_dict(plain.cell.state_dict())
    assert torch.allclose(plain.states(x), relu(x)[0], atol=1e-6)
    gate = lambda z: torch.full_like(z, 0.5)  # noqa: E731
    net = models.Gated("lstm", 3, 8, 2, gate=gate, candidate=None)
    c = torch.zeros(6, 8)
    for now in x.unbind(1):
        h = 0.5 * c
        new = nn.functional.linear(now, net.cell.weight_ih_l0[16:24], net.cell.bias_ih_l0[16:24])
        new = new + nn.functional.linear(h, net.cell.weight_hh_l0[16:24], net.cell.bias_hh_l0[16:24])
        c = 0.5 * c + 0.5 * new
    assert torch.allclose(net.states(x)[:, -1], 0.5 * c, atol=1e-6)
    with pytest.raises(ConvcraftError, match="did you mean 'lstm'"):
        models.Gated("lst", 3, 8, 2)


def test_initialize_reaches_the_cell():
    net = models.Gated("lstm", 3, 400, 2)
    initialize(net.cell, memory=100)
    forget = net.cell.bias_ih_l0.detach()[400:800].sigmoid()
    assert 0.5 <= float(forget.min()) and float(forget.max()) < 0.99 and float(forget.mean()) > 0.9


@pytest.mark.parametrize("kind", ["mean", "cnn", "gru", "transformer"])
def test_padding_on_the_left_is_not_read(kind):
    torch.manual_seed(0)
    net = models.TextNet(kind, 50, 8, 12, 2, activation="tanh").eval()
    words = torch.randint(1, 50, (5, 6))
    short = torch.cat([torch.zeros(5, 3, dtype=torch.int64), words], 1)
    long = torch.cat([torch.zeros(5, 9, dtype=torch.int64), words], 1)
    with torch.no_grad():
        before = net(short)
        assert before.shape == (5, 2) and (kind == "gru" or torch.allclose(before, net(long), atol=1e-6))
        net.embedding.weight[0] += 100  # the number of the padding
        assert torch.allclose(before, net(short), atol=1e-5)
        net(torch.zeros(2, 4, dtype=torch.int64))  # a message without words
    with pytest.raises(ConvcraftError, match="kind of network"):
        models.TextNet("bert", 50, 8, 12, 2)
