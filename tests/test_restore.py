"""Everything that a function has used is put back, bit for bit, and graphs that wait stay valid."""

import math
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from convcraft import _restore


class Busy(nn.Module):
    """Changes everything that a forward pass can change."""

    def __init__(self):
        super().__init__()
        self.layer = spectral_norm(nn.Linear(3, 3))
        self.register_buffer("odd", torch.tensor([math.nan, -0.0, 1.0]))
        self.register_buffer("signed", torch.tensor([-0.0]))
        self.register_buffer("turned", torch.zeros(2, dtype=torch.complex64))
        self.table = torch.zeros(2)  # a tensor that is not a buffer
        self.seen, self.counts, self.source = [], {}, torch.Generator().manual_seed(1)

    def forward(self, x):
        self.seen.append(x)
        self.counts["x"] = self.counts.get("x", 0) + 1
        self.last = x
        self.odd.zero_()
        self.signed.neg_()
        self.turned.add_(1j)
        self.table += 1
        self.register_forward_hook(lambda *_: None)
        return self.layer(x) + torch.rand(1) + torch.rand(1, generator=self.source)


def bits(tensor):
    return tensor.detach().numpy().tobytes()


def test_a_model_is_put_back_whole():
    model = Busy()
    model(torch.ones(2, 3)).sum().backward()
    before = {name: bits(value) for name, value in model.state_dict().items()}
    attributes = {name: id(value) for name, value in vars(model).items() if name != "training"}
    slopes = [(id(p.grad), bits(p.grad)) for p in model.parameters()]
    hooks, table, states = len(model._forward_hooks), bits(model.table), bits(model.source.get_state())
    random = bits(torch.get_rng_state())
    with pytest.raises(KeyError), _restore.preserved(model):
        model.eval()
        model.zero_grad()
        model.train()
        model(torch.zeros(2, 3)).sum().backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(math.nan)
        model.odd = torch.ones(5)
        raise KeyError
    assert {name: bits(value) for name, value in model.state_dict().items()} == before
    assert {name: id(value) for name, value in vars(model).items() if name != "training"} == attributes
    assert [(id(p.grad), bits(p.grad)) for p in model.parameters()] == slopes
    assert len(model.seen) == 1 and model.counts == {"x": 1} and len(model._forward_hooks) == hooks
    assert bits(model.table) == table and bits(model.source.get_state()) == states
    assert bits(torch.get_rng_state()) == random and model.training


def test_a_graph_that_waits_for_its_backward_pass_is_not_spoiled():
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 1))
    loss = model(torch.ones(2, 3)).sum()
    with _restore.preserved(model), _restore.buffers(model), _restore.modes(model):
        model.eval()
        model(torch.zeros(1, 3))
    loss.backward()
    assert model.training and model[0].weight.grad is not None


def test_modes_are_put_back_one_by_one():
    model = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout()))
    model[1].eval()
    with _restore.modes(model):
        model.train()
    assert [m.training for m in model.modules()] == [True, True, False, False]


def test_from_one_seed_all_generators_draw_the_same_and_go_on_afterwards_as_if_nothing_had_been():
    def draw():
        return torch.rand(1).item(), np.random.rand(), random.random()

    model = nn.Linear(2, 2)
    before = torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()
    drawn = []
    for seed in (3, 3, 4):
        with _restore.random_state(model, seed=seed):
            drawn.append(draw())
    assert drawn[0] == drawn[1] and all(a != b for a, b in zip(drawn[0], drawn[2], strict=True))
    assert (torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()) == before
