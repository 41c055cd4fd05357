"""Whole models: what `initialize` chooses for each layer, what it does to the variance, and LSUV."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from convcraft import ConvcraftError
from convcraft import activations as A
from convcraft.initialization import Assignments, calculate_gain, fans, initialize, lsuv_


class Block(nn.Module):
    def __init__(self, width, norm=True, shortcut=None):
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.norm1, self.norm2 = (nn.BatchNorm2d(width) if norm else nn.Identity() for _ in "12")
        self.shortcut = shortcut

    def forward(self, x):
        skip = x if self.shortcut is None else self.shortcut(x)
        return skip + self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))


class ResNet(nn.Module):
    def __init__(self, width=16, depth=2, norm=True):
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1)
        self.blocks = nn.Sequential(*(Block(width, norm) for _ in range(depth)))
        self.head = nn.Linear(width, 3)

    def forward(self, x):
        return self.head(F.relu(self.blocks(torch.tanh(self.stem(x)))).mean((2, 3)))


class Untraceable(ResNet):
    def forward(self, x):
        return super().forward(x) if x.mean() < 1e9 else x


def rows(table):
    return {row.layer: row for row in table}


def is_zero(tensor):
    return not tensor.detach().any()


IMAGES = torch.randn(4, 1, 8, 8)


@pytest.mark.parametrize("make", [ResNet, Untraceable], ids=["trace", "run"])
def test_scheme_and_gain_follow_the_functional_activation(make):
    model = make()
    table = rows(initialize(model, example=IMAGES))
    assert (table["stem"].scheme, table["stem"].activation) == ("xavier_normal", "tanh")
    assert table["stem"].gain == pytest.approx(5 / 3)
    assert (table["blocks.0.conv1"].scheme, table["blocks.0.conv1"].activation) == ("kaiming_normal", "relu")
    assert table["blocks.0.conv1"].gain == pytest.approx(math.sqrt(2))
    assert (table["head"].scheme, table["head"].activation, table["head"].gain) == (
        "lecun_normal",
        "output",
        1,
    )
    assert table["blocks.0.conv1"].std == pytest.approx(math.sqrt(2 / 144), rel=0.1)
    assert all(is_zero(p) for name, p in model.named_parameters() if name.endswith("bias"))
    assert is_zero(model.blocks[0].norm2.weight) and not is_zero(model.blocks[0].conv2.weight)
    assert (model.blocks[0].norm1.weight == 1).all() and "zero" in table["blocks.0.norm2"].note


def test_without_an_example_the_table_says_what_was_not_seen():
    table = rows(initialize(Untraceable()))
    assert "pass example=" in table["stem"].note and table["stem"].gain == 1


def test_residual_branches_end_in_zero_or_are_scaled():
    model = ResNet(norm=False, depth=4)
    table = rows(initialize(model))
    assert all(is_zero(block.conv2.weight) for block in model.blocks)
    assert table["blocks.1.conv2"].std == 0 and "residual: zero" in table["blocks.1.conv2"].note
    x = torch.randn(2, 16, 8, 8)
    torch.testing.assert_close(model.blocks(x), x)
    table = rows(initialize(model, residual="scale"))
    assert table["blocks.1.conv2"].std == pytest.approx(math.sqrt(2 / 144) / 2, rel=0.1)  # 1 / sqrt(4)
    table = rows(initialize(model, residual="none"))
    assert table["blocks.1.conv2"].std == pytest.approx(math.sqrt(2 / 144), rel=0.1)
    model = ResNet(depth=4)
    assert "0.5" in rows(initialize(model, residual="scale"))["blocks.3.norm2"].scheme
    assert (model.blocks[3].norm2.weight == 0.5).all()


def test_a_branch_that_ends_in_a_normalization_without_weight_keeps_its_last_layer():
    model = ResNet()
    model.blocks[0].norm2 = nn.BatchNorm2d(16, affine=False)
    table = rows(initialize(model))
    assert not is_zero(model.blocks[0].conv2.weight) and table["blocks.0.norm2"].scheme == "none"


ACTIVATIONS = [
    ("relu", F.relu),
    ("leaky_relu", lambda x: F.leaky_relu(x, 0.3)),
    ("gelu", F.gelu),
    ("silu", lambda x: x * torch.sigmoid(x)),
    ("mish", A.mish),
    ("selu", F.selu),
    ("elu", F.elu),
]


class Deep(nn.Module):
    def __init__(self, function, width=256, depth=12):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.function = function

    def forward(self, x):
        for layer in self.layers[:-1]:
            x = self.function(layer(x))
        return self.layers[-1](x)


@pytest.mark.parametrize(("name", "function"), ACTIVATIONS, ids=[name for name, _ in ACTIVATIONS])
def test_the_variance_is_kept_through_depth(name, function):
    torch.manual_seed(0)
    model = Deep(function)
    x = torch.randn(128, 256)
    before = torch.stack([model.layers[0](x), model(x)]).std((1, 2))
    table = initialize(model)
    assert table[0].activation == name
    # The pre-activations start with variance 1; each layer changes it by a factor 1 +- sqrt(2 / width) or so.
    assert 1 / 3 < model(x / table[0].gain).std().item() * table[-2].gain < 3
    if name in ("relu", "gelu", "silu"):
        assert before[1] / before[0] < 0.2  # as torch leaves it, it vanishes


def test_hidden_sigmoids_recurrent_layers_attention_and_embeddings():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(7, 8, padding_idx=0)
            self.attention = nn.MultiheadAttention(8, 2, add_bias_kv=True, batch_first=True)
            self.other = nn.MultiheadAttention(8, 2, kdim=6, vdim=5, batch_first=True)
            self.lstm = nn.LSTM(8, 5, num_layers=2, batch_first=True, proj_size=3)
            self.cell = nn.GRUCell(3, 4)
            self.hidden, self.slope, self.head = nn.Linear(4, 6), nn.PReLU(), nn.Linear(6, 2)
            self.token = nn.Parameter(torch.full((3,), 0.5))

        def forward(self, tokens):
            x = self.embedding(tokens)
            x = x + self.attention(x, x, x)[0]
            return self.head(self.slope(self.hidden(self.cell(self.lstm(x)[0][:, -1] + self.token))))

    model = Mixed()
    table = rows(initialize(model, example=torch.ones(2, 3, dtype=torch.int64)))
    assert is_zero(model.embedding.weight[0]) and table["embedding"].scheme == "normal"
    assert is_zero(model.attention.out_proj.weight) and table["attention"].note == "residual: zero"
    assert not is_zero(model.other.out_proj.weight) and not is_zero(model.attention.bias_k)
    gates = model.lstm.weight_hh_l1.view(4, 5, 3)
    for gate in gates:
        torch.testing.assert_close(gate.T @ gate, torch.eye(3), atol=1e-5, rtol=0)
    assert (model.lstm.bias_ih_l0.view(4, 5)[1] == 1).all() and model.lstm.bias_ih_l0.sum() == 5
    assert is_zero(model.lstm.bias_hh_l0) and is_zero(model.cell.bias_ih)
    assert model.cell.weight_ih.abs().max() <= math.sqrt(6 / (3 + 4))  # by gate: 3 inputs, 4 outputs
    assert "forget" in table["lstm"].scheme and "forget" not in table["cell"].scheme
    assert table["hidden"].gain == pytest.approx(calculate_gain("prelu"))
    assert table["token"].scheme == table["slope.weight"].scheme == "kept"
    assert (model.token == 0.5).all() and model.slope.weight == 0.25


def test_adaptive_activations_count_as_what_they_start_as():
    for module, like in ((A.DynamicReLU(4), "relu"), (A.FReLU(4), "relu"), (A.MetaAconC(4), "silu")):
        table = rows(initialize(nn.Sequential(nn.Conv2d(1, 4, 3), module, nn.Conv2d(4, 1, 1))))
        assert table["0"].gain == pytest.approx(calculate_gain(like)), module
    glu = rows(initialize(nn.Sequential(nn.Linear(4, 8), nn.GLU(), nn.Linear(4, 2))))
    assert glu["0"].gain == 1 and "no gain for glu" in glu["0"].note


@pytest.mark.parametrize("scheme", ["kaiming_uniform", "xavier_uniform", "lecun_uniform", "orthogonal"])
def test_one_scheme_for_all(scheme):
    torch.manual_seed(0)
    layer = nn.ConvTranspose2d(64, 64, 4, stride=2, groups=2)
    table = initialize(nn.Sequential(layer, nn.ReLU(), nn.Conv2d(64, 2, 1)), scheme)
    assert {row.scheme for row in table} == {scheme}
    found = fans(layer)
    expected = {
        "kaiming_uniform": 2 / found.fan_in,
        "xavier_uniform": 4 / sum(found),
        "lecun_uniform": 1 / found.fan_in,
        "orthogonal": 2 / max(64, 32 * 16),
    }[scheme]
    assert layer.weight.var().item() == pytest.approx(expected, rel=0.05)


def test_delta_orthogonal_where_it_fits():
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.Tanh(), nn.Conv2d(4, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(8, 2)
    )
    assert [row.scheme for row in initialize(model, "delta_orthogonal")] == [
        "delta_orthogonal",
        "orthogonal",
        "orthogonal",
    ]
    assert (model[0].weight != 0).sum() == 8


def test_shared_weights_are_drawn_once():
    tied, layer = nn.Embedding(50, 16), nn.Linear(16, 50, bias=False)
    layer.weight = tied.weight
    table = rows(initialize(nn.Sequential(tied, nn.Linear(16, 16), nn.ReLU(), layer)))
    assert table["0"].scheme == "kept" and table["3"].scheme == "lecun_normal"
    assert table["3"].std == pytest.approx(1 / 4, rel=0.15)
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    assert "shared with 0" in rows(initialize(nn.Sequential(first, nn.ReLU(), second)))["2"].note
    computed = nn.utils.parametrizations.weight_norm(nn.Linear(3, 3))
    assert "computed" in rows(initialize(nn.Sequential(computed)))["0"].note


def test_the_generator_decides_and_nothing_else_changes():
    models = [ResNet().train(), ResNet().eval()]
    before = torch.get_rng_state()
    for model in models:
        initialize(model, generator=torch.Generator().manual_seed(4), example=IMAGES)
    assert torch.equal(torch.get_rng_state(), before)
    states = [model.state_dict() for model in models]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert models[0].training and not models[1].blocks[0].training
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    model(torch.randn(8, 2) + 5)
    initialize(model)
    assert is_zero(model[1].running_mean) and model[1].num_batches_tracked == 0


def test_the_table_prints_aligned_and_as_html():
    table = initialize(ResNet())
    lines = repr(table).split("\n")
    assert isinstance(table, Assignments) and len(lines) == len(table) + 1
    assert {line.index("kind") for line in lines[:1]} == {lines[1].index("convolution")}
    assert table._repr_html_().count("<tr>") == len(lines) and "&lt;" not in repr(table)


class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.norm = nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8)
        self.b, self.drop, self.c = nn.ConvTranspose2d(8, 4, 3, bias=False), nn.Dropout(0.5), nn.Linear(4, 2)

    def forward(self, x):
        x = self.drop(F.relu(self.b(F.relu(self.norm(self.a(x))))))
        return self.c(x.mean((2, 3)))


def test_lsuv_gives_each_layer_unit_variance_and_leaves_the_rest():
    model, outputs = Noisy().train(), {}
    model.norm.eval()
    images = 3 * torch.rand(32, 1, 8, 8)
    state, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    steps = lsuv_(model, images, generator=torch.Generator().manual_seed(0))
    assert torch.equal(torch.get_rng_state(), random) and model.training and not model.norm.training
    assert [step.layer for step in steps] == ["a", "b", "c"] and "std before" in repr(steps)
    assert all(abs(step.after - 1) <= 0.01 and step.iterations >= 1 for step in steps)
    for key in ("a.bias", "norm.weight", "norm.running_mean", "norm.num_batches_tracked", "c.bias"):
        assert torch.equal(model.state_dict()[key], state[key]), key
    assert all(p.grad is None for p in model.parameters()) and not model.a._forward_hooks
    for name in "abc":
        hook = lambda module, inputs, output, name=name: outputs.update({name: output.std(correction=0)})  # noqa: E731
        getattr(model, name).register_forward_hook(hook)
    model.norm.train(), model.drop.eval()
    model(images)
    assert all(abs(value.item() - 1) <= 0.0101 for value in outputs.values())


def test_lsuv_can_start_from_the_weights_that_are_there():
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.ReLU(), nn.Linear(4, 2))
    weight, batch = model[0].weight.detach().clone(), {"input": torch.randn(64, 4)}
    random = torch.get_rng_state()
    lsuv_(model, batch, orthonormal=False)
    assert torch.equal(torch.get_rng_state(), random)
    ratio = model[0].weight / weight
    torch.testing.assert_close(ratio, ratio[0, 0].expand(4, 4))


def test_lsuv_restores_the_weights_when_it_fails():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    state = copy.deepcopy(model.state_dict())
    for batch in (torch.zeros(8, 4), torch.full((8, 4), math.inf), torch.ones(8, 5)):
        with pytest.raises(ConvcraftError):
            lsuv_(model, batch)
        assert all(torch.equal(model.state_dict()[key], state[key]) for key in state)


SMALL = nn.Sequential(nn.Linear(2, 2))
ERRORS = [
    (
        lambda: lsuv_(SMALL, torch.full((3, 2), math.nan)),
        r"lsuv_: batch must .* vary, got standard deviation nan",
    ),
    (
        lambda: initialize(SMALL, "kaimng_normal"),
        r"argument scheme 'kaimng_normal': did you mean 'kaiming_normal'",
    ),
    (lambda: initialize(SMALL, residual="zeros"), r"argument residual 'zeros': did you mean 'zero'"),
    (lambda: initialize(nn.Sequential(nn.ReLU())), r"initialize: model must have layers, found none"),
    (
        lambda: initialize(nn.Sequential(nn.LazyLinear(2))),
        r"initialize: model must have shapes, but 0.weight",
    ),
    (lambda: initialize("model"), r"model must be a torch.nn.Module, got str"),
    (lambda: initialize(SMALL, skip="0.wieght"), r"argument skip '0.wieght': did you mean '0.weight'"),
    (
        lambda: initialize(SMALL, skip=nn.Linear(2, 2)),
        r"skip must hold modules .* of this model, .* got Linear",
    ),
    (lambda: initialize(SMALL, skip=[3]), r"skip must hold modules and parameters .* got int"),
    (lambda: initialize(nn.LSTM(2, 2), memory=1.5), r"memory must be a finite number of at least 2, got 1.5"),
    (lambda: initialize(SMALL, memory=9), r"memory=9 must find LSTM or GRU layers with biases, got none"),
    (lambda: initialize(nn.GRU(2, 2, bias=False), memory=9), r"with biases, got those without biases"),
    (
        lambda: initialize(nn.Linear(2, 2, device="meta")),
        r"initialize: model must have values to set, but weight is on the meta device; call model.to_empty",
    ),
    (lambda: lsuv_(nn.ReLU(), torch.ones(2)), r"lsuv_: model must have a linear or convolution layer"),
    (lambda: lsuv_(SMALL, torch.ones(3, 2), tol=0), r"lsuv_: tol must be a finite number above 0, got 0"),
    (lambda: lsuv_(SMALL, torch.ones(3, 2), max_iterations=0), r"lsuv_: max_iterations must be"),
    (lambda: lsuv_(SMALL, torch.zeros(3, 2)), r"lsuv_: batch must make the output of 0 vary, got .*"),
    (lambda: lsuv_(SMALL, torch.ones(3, 5)), r"lsuv_: model must run on batch, but it raised RuntimeError"),
]


@pytest.mark.parametrize(("call", "message"), ERRORS, ids=[str(i) for i in range(len(ERRORS))])
def test_misuse_is_refused_with_the_argument_named(call, message):
    with pytest.raises(ConvcraftError, match=message):
        call()


def test_lsuv_of_a_model_that_is_one_layer():
    layer, x = nn.Linear(8, 16), 3 * torch.randn(256, 8)
    (step,) = lsuv_(layer, x)
    assert step.layer == "" and abs(layer(x).std().item() - 1) < 0.02
