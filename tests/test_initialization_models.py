"""Whole models: what `initialize` chooses for each layer, what it does to the variance, and LSUV."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses import FakeTensorMode

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


def test_skip_leaves_alone_what_it_names():
    def named(skip, unchanged):
        model = ResNet().train()
        model.blocks(torch.randn(8, 16, 4, 4) + 3)  # running statistics that are not new
        before = copy.deepcopy(model.state_dict())
        table = rows(initialize(model, skip=skip(model)))
        state = model.state_dict()
        kept = {key for key in state if torch.equal(state[key], before[key])}
        assert unchanged(kept, state) and len(kept) < len(state)
        return table

    table = named(lambda m: "blocks.0.*", lambda k, s: {key for key in s if "blocks.0." in key} <= k)
    assert {r.note for name, r in table.items() if name.startswith("blocks.0.")} == {"skip"}
    assert table["blocks.1.conv1"].scheme == "kaiming_normal"
    named(lambda m: m.blocks[1], lambda k, s: {key for key in s if "blocks.1." in key} <= k)
    table = named(lambda m: ["stem.bias", m.head.weight], lambda k, s: {"stem.bias", "head.weight"} <= k)
    assert table["stem"].scheme == "xavier_normal" and "head.bias" not in table
    named(lambda m: [m.blocks[0].norm2.weight], lambda k, s: "blocks.0.norm2.bias" in s)
    model = nn.Sequential(nn.Linear(2, 2), nn.LSTM(2, 3))
    bias = model[1].bias_ih_l0.detach().clone()
    initialize(model, skip="1.bias_ih_l0")
    assert torch.equal(model[1].bias_ih_l0, bias) and is_zero(model[1].bias_hh_l0)


def test_memory_spreads_the_biases_of_the_gates_that_keep_the_state():
    model = nn.ModuleDict(
        {
            "lstm": nn.LSTM(3, 300, bidirectional=True),
            "gru": nn.GRUCell(3, 300),
            "rnn": nn.RNN(3, 4),
            "plain": nn.LSTM(3, 4, bias=False),
        }
    )
    table = rows(initialize(model, memory=20))
    lstm, gru = model["lstm"], model["gru"]
    for bias in (lstm.bias_ih_l0, lstm.bias_ih_l0_reverse):
        ingate, forget, cell, outgate = bias.detach().chunk(4)  # torch's order of the gates
        steps = forget.exp()  # uniform from 1 to 19
        assert steps.min() >= 1 and steps.max() <= 19 and torch.equal(ingate, -forget)
        assert steps.mean().item() == pytest.approx(10, rel=0.15)
        assert steps.var().item() == pytest.approx(18**2 / 12, rel=0.3)
        assert is_zero(cell) and is_zero(outgate)
    reset, update, new = gru.bias_ih.detach().chunk(3)
    assert update.exp().mean().item() == pytest.approx(10, rel=0.15) and is_zero(reset) and is_zero(new)
    assert is_zero(lstm.bias_hh_l0) and is_zero(gru.bias_hh) and is_zero(model["rnn"].bias_ih_l0)
    assert "forget bias log U(1, 19)" in table["lstm"].scheme and "update" in table["gru"].scheme
    # the update gate of torch's GRU multiplies the old state: the larger its bias, the longer it keeps
    h = torch.ones(1, 300)
    kept = gru(torch.zeros(1, 3), h)[0]
    assert kept[update > 2.5].mean() > kept[update < 0.5].mean() + 0.2
    initialize(lstm, memory=2)
    assert is_zero(lstm.bias_ih_l0)
    first, second = nn.LSTM(3, 4), nn.LSTM(3, 4)
    for layer in (first, second):
        initialize(layer, memory=9, generator=torch.Generator().manual_seed(1))
    assert torch.equal(first.bias_ih_l0, second.bias_ih_l0)


class Gemma(nn.Module):
    """A normalization whose scale is 1 + weight."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(4))

    def forward(self, x):
        return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * (1 + self.weight)


Gemma.__name__ = "GemmaNorm"


def test_a_scale_of_one_plus_weight_stays_one():
    table = rows(initialize(nn.Sequential(nn.Linear(4, 4), Gemma(), nn.Linear(4, 2))))
    assert table["1"].note == "starts at 0" and table["1"].scheme == "kept" and table["1"].std == 0


def test_the_layer_before_a_softmax_inside_a_model_gets_gain_one():
    class Router(nn.Module):
        def __init__(self):
            super().__init__()
            self.router, self.experts, self.head = nn.Linear(9, 4), nn.Linear(9, 4), nn.Linear(4, 2)

        def forward(self, x):
            return self.head(torch.softmax(self.router(x), -1) * F.relu(self.experts(x)))

    table = rows(initialize(Router()))
    assert (table["router"].activation, table["router"].gain, table["router"].note) == ("softmax", 1, "")
    assert table["experts"].gain == pytest.approx(math.sqrt(2)) and table["router"].scheme == "lecun_normal"


def test_branches_keep_their_last_layer_before_what_would_hold_or_undo_a_zero():
    class Branch(nn.Module):
        def __init__(self, end):
            super().__init__()
            self.a, self.b, self.end = nn.Linear(4, 4), nn.Linear(4, 4), end
            self.scale = nn.Parameter(torch.zeros(4))

        def forward(self, x):
            return x + self.end(self, self.b(F.relu(self.a(x))))

    ends = {
        "nothing": (lambda m, y: y, True),
        "constant": (lambda m, y: F.dropout(y.reshape(-1, 4), 0.1) * 0.5, True),
        "mask": (lambda m, y: y * y.new_empty(4).fill_(0.5), True),
        "scale": (lambda m, y: m.scale * y, False),
        "divided": (lambda m, y: y / (1 + m.scale.exp()), False),
        "computed scale": (lambda m, y: y * torch.sigmoid(m.scale).view(1, -1), False),
        "gate": (lambda m, y: y * torch.sigmoid(y), False),
        "own norm": (lambda m, y: y / (y.norm(dim=-1, keepdim=True) + 1e-6), False),
        "functional": (lambda m, y: F.layer_norm(y, (4,)), False),
        "normalize": (lambda m, y: F.normalize(y, dim=-1), False),
        "matrix": (lambda m, y: y @ torch.eye(4), False),
        "stopped": (lambda m, y: y + 0 * y.detach(), False),
    }
    for name, (end, zero) in ends.items():
        for example in (None, torch.randn(3, 4)):
            model = nn.Sequential(nn.Linear(4, 4), Branch(end), nn.Linear(4, 2))
            initialize(model, example=example)
            assert is_zero(model[1].b.weight) == zero, name


def test_weights_on_a_fake_gpu_are_set_and_their_spread_is_left_out():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.GELU(), nn.Flatten(), nn.Linear(4, 2))
    model = model.to("meta")
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = model.to_empty(device="cuda")
        for example in (None, torch.empty(2, 3, 3, 3, device="cuda")):
            table = rows(initialize(model, example=example))
            assert table["0"].gain == pytest.approx(calculate_gain("gelu")) and math.isnan(table["0"].std)
            assert model[0].weight.device.type == "cuda"


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
    (lambda: initialize(SMALL, memory=9), r"memory=9 needs LSTM or GRU layers with biases, got none"),
    (lambda: initialize(nn.GRU(2, 2, bias=False), memory=9), r"with biases, got those without biases"),
    (
        lambda: initialize(nn.Linear(2, 2, device="meta")),
        r"initialize: model must have values to set, but weight is on the meta device; call model.to_empty",
    ),
    (lambda: lsuv_(nn.Linear(2, 2, device="meta"), torch.ones(2)), r"lsuv_: model must have values to set"),
    (lambda: lsuv_(SMALL, "batch"), r"lsuv_: batch"),
    (lambda: lsuv_(nn.ReLU(), torch.ones(2)), r"lsuv_: model must have a linear or convolution layer"),
    (lambda: lsuv_(SMALL, torch.ones(3, 2), tol=0), r"lsuv_: tol must be a finite number above 0, got 0"),
    (lambda: lsuv_(SMALL, torch.ones(3, 2), max_iterations=0), r"lsuv_: max_iterations must be"),
    (lambda: lsuv_(SMALL, torch.zeros(3, 2)), r"lsuv_: batch must make the output of 0 vary, got .*"),
    (lambda: lsuv_(SMALL, torch.ones(3, 5)), r"lsuv_: the model must run on the batch, got RuntimeError"),
]


@pytest.mark.parametrize(("call", "message"), ERRORS, ids=[str(i) for i in range(len(ERRORS))])
def test_misuse_is_refused_with_the_argument_named(call, message):
    with pytest.raises(ConvcraftError, match=message):
        call()


def test_lsuv_of_a_model_that_is_one_layer():
    layer, x = nn.Linear(8, 16), 3 * torch.randn(256, 8)
    (step,) = lsuv_(layer, x)
    assert step.layer == "" and abs(layer(x).std().item() - 1) < 0.02
