"""Which activation, normalization or sum follows which layer: traced, run, and by the order of modules."""

import copy
import math
import random
import threading

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from convcraft import ConvcraftError
from convcraft import activations as A
from convcraft._trace import kinds, successors


class Basic(nn.Module):
    """A residual block with everything functional but the layers."""

    def __init__(self, n=4, m=4):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(n, m, 3, padding=1, bias=False), nn.BatchNorm2d(m)
        self.conv2, self.bn2 = nn.Conv2d(m, m, 3, padding=1, bias=False), nn.BatchNorm2d(m)
        self.shortcut = nn.Identity() if n == m else nn.Sequential(nn.Conv2d(n, m, 1), nn.BatchNorm2d(m))

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.shortcut(x)
        return out.relu_()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3)
        self.blocks = nn.Sequential(Basic(), Basic(4, 8))
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        x = self.blocks(torch.tanh(self.stem(x)))
        return self.head(F.dropout(x.mean((2, 3)), 0.5, self.training))


class Untraceable(Net):
    """Control flow on values: torch.fx cannot trace it."""

    def forward(self, x):
        return super().forward(x) if x.sum() > -1e9 else x


def names(graph):
    return {layer.name: layer.activation and layer.activation.name for layer in graph}


IMAGES = torch.randn(2, 1, 8, 8)
EXPECTED = {
    "stem": "tanh",
    "blocks.0.conv1": "relu",
    "blocks.0.bn1": "relu",
    "blocks.0.conv2": "relu",
    "blocks.0.bn2": "relu",
    "blocks.1.conv1": "relu",
    "blocks.1.bn1": "relu",
    "blocks.1.conv2": "relu",
    "blocks.1.bn2": "relu",
    "blocks.1.shortcut.0": "relu",
    "blocks.1.shortcut.1": "relu",
    "head": None,
}


@pytest.mark.parametrize(("make", "source"), [(Net, "trace"), (Untraceable, "run")], ids=["trace", "run"])
def test_functional_activations_sums_and_outputs(make, source):
    graph = successors(make(), IMAGES)
    assert graph.source == source
    assert names(graph) == EXPECTED and list(names(graph)) == list(EXPECTED)
    assert [layer.name for layer in graph if layer.output] == ["head"]
    assert [layer.name for layer in graph if layer.residual] == ["blocks.0.bn2", "blocks.1.bn2"]
    assert graph.branches == 2
    assert graph["blocks.0.conv1"].normalization == "blocks.0.bn1" and graph["stem"].normalization is None
    assert {layer.calls for layer in graph} == {1} and len(graph) == len(EXPECTED)


def test_without_an_example_the_order_of_registration_serves():
    graph = successors(Untraceable())
    assert graph.source == "order" and graph.branches == 0
    assert [layer.name for layer in graph if layer.output] == ["head"]
    assert set(names(graph).values()) == {None}
    mixed = nn.Sequential(Untraceable(), nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Mish()))
    assert names(successors(mixed))["1.0"] == "mish" and successors(mixed)["1.0"].normalization == "1.1"


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (nn.LeakyReLU(0.3), "leaky_relu"),
        (A.LeakyReLU(0.3), "leaky_relu"),
        (A.Swish(), "swish"),
        (A.AconC(4), "acon_c"),
        (A.DynamicReLU(4), "dynamic_relu"),
        (A.FReLU(4), "frelu"),
        (nn.PReLU(), "prelu"),
        (nn.Hardtanh(), "hardtanh"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_activation_modules(module, name):
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.Dropout(), module)
    graph = successors(model)
    assert graph.source == "trace"
    assert names(graph) == {"0": name, "1": name}
    assert graph["0"].activation.function is module and not graph["0"].output


class Call(nn.Module):
    """A linear layer and then any function."""

    def __init__(self, function):
        super().__init__()
        self.fc, self.function, self.slope = nn.Linear(3, 3), function, nn.Parameter(torch.tensor([0.4]))

    def forward(self, x):
        return self.function(self.fc(x), self)


class Forced(Call):
    def forward(self, x):
        return super().forward(x) if bool(x.isfinite().all()) else x


FUNCTIONS = [
    (lambda x, m: F.leaky_relu(x, 0.2), "leaky_relu", lambda x: F.leaky_relu(x, 0.2)),
    (
        lambda x, m: F.leaky_relu(x, negative_slope=0.2, inplace=True),
        "leaky_relu",
        lambda x: F.leaky_relu(x, 0.2),
    ),
    (lambda x, m: F.prelu(x, m.slope), "prelu", lambda x: F.leaky_relu(x, 0.4)),
    (lambda x, m: x.relu(), "relu", torch.relu),
    (lambda x, m: torch.relu_(x), "relu", torch.relu),
    (lambda x, m: x.clamp(min=0.0), "clamp", torch.relu),
    (lambda x, m: F.gelu(x, approximate="tanh"), "gelu", lambda x: F.gelu(x, approximate="tanh")),
    (lambda x, m: x * torch.sigmoid(x), "silu", F.silu),
    (lambda x, m: F.hardsigmoid(x) * x, "hardswish", F.hardswish),
    (lambda x, m: torch.sin(x), "sin", torch.sin),
    (lambda x, m: A.tanh(x), "tanh", torch.tanh),
]


@pytest.mark.parametrize("make", [Call, Forced], ids=["trace", "run"])
@pytest.mark.parametrize(("function", "name", "same"), FUNCTIONS, ids=[str(i) for i in range(len(FUNCTIONS))])
def test_functional_activations_can_be_called(make, function, name, same):
    graph = successors(make(function), torch.randn(2, 3))
    activation = graph["fc"].activation
    assert activation.name == name and not graph["fc"].output
    x = torch.randn(5)
    torch.testing.assert_close(activation.function(x.clone()), same(x))


@pytest.mark.parametrize(
    "readout", [nn.Softmax(1), nn.LogSoftmax(1), nn.Sigmoid()], ids=lambda m: type(m).__name__
)
def test_probabilities_follow_an_output_layer(readout):
    graph = successors(nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3), readout))
    assert [layer.output for layer in graph] == [False, True]
    assert graph["2"].activation.function is readout


class SqueezeExcite(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.first, self.last = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 1)

    def forward(self, x):
        y = self.bn(self.conv(F.relu(self.first(x))))
        y = y * torch.sigmoid(self.last(y.mean((2, 3), keepdim=True)))
        return torch.add(x, y)


class Multiplied(nn.Module):
    def __init__(self, combine):
        super().__init__()
        self.a, self.b, self.combine = nn.Linear(4, 4), nn.Linear(4, 4), combine

    def forward(self, x):
        return self.combine(self.a(x), self.b(x), x)


def test_one_factor_of_a_product_ends_a_branch():
    for combine, ends in (
        (lambda a, b, x: x + a * b, ["a"]),
        (lambda a, b, x: x + a.exp() * b, ["b"]),
        (lambda a, b, x: x + torch.sigmoid(a) * b, ["b"]),
        (lambda a, b, x: x + x * b, ["b"]),
        (lambda a, b, x: x + b * b, []),
        (lambda a, b, x: x + a.tanh() * b.tanh(), []),
        (lambda a, b, x: a.sigmoid() * b + (1 - a.sigmoid()) * x, []),  # the shortcut is not whole
    ):
        graph = successors(Multiplied(combine))
        assert [layer.name for layer in graph if layer.residual] == ends


def test_nothing_before_a_gate_ends_a_branch():
    graph = successors(SqueezeExcite())
    assert graph.branches == 1 and not any(layer.residual for layer in graph)
    assert graph["last"].activation.name == "sigmoid" and graph["first"].activation.name == "relu"


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.gamma = nn.Linear(4, 4), nn.Parameter(torch.zeros(4))

    def forward(self, x):
        return x + self.gamma * self.fc(x)


def test_nothing_before_a_learned_scale_ends_a_branch():
    """Where the scale starts at zero too, as here, neither would ever get a gradient."""
    graph = successors(Scaled())
    assert graph.branches == 1 and not graph["fc"].residual


class Towers(nn.Module):
    """Two origins, equally deep sides, and a learned position: no residual sums."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c, self.d = (nn.Linear(3, 3) for _ in range(4))
        self.position = nn.Parameter(torch.zeros(3))

    def forward(self, x, y):
        return self.c(F.relu(self.a(x)) + self.b(y) + self.position) - self.d(F.relu(y))


class Unrolled(nn.Module):
    def __init__(self):
        super().__init__()
        self.w, self.u = nn.Linear(3, 4), nn.Linear(4, 4)

    def forward(self, x):
        h = torch.tanh(self.w(x[0]))
        for t in range(1, 3):
            h = torch.tanh(self.w(x[t]) + self.u(h))
        return h


class Parallel(nn.Module):
    """A sum of layers side by side, all on one input."""

    def __init__(self, count):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(3, 3) for _ in range(count))

    def forward(self, x):
        return sum((layer(x) for layer in self.layers[1:]), self.layers[0](x))


class LowRank(nn.Module):
    """A layer and a correction of low rank, whose second factor begins at zero."""

    def __init__(self):
        super().__init__()
        self.base = nn.Linear(4, 4)
        self.a, self.b = nn.Parameter(torch.randn(2, 4)), nn.Parameter(torch.zeros(4, 2))

    def forward(self, x):
        return self.base(x) + x @ self.a.T @ self.b.T


class SoftTree(nn.Module):
    """Three leaves, mixed by two gates."""

    def __init__(self):
        super().__init__()
        self.gates, self.leaves = nn.Linear(4, 2), nn.ModuleList(nn.Linear(4, 4) for _ in range(3))

    def forward(self, x):
        a, b, c = (leaf(x) for leaf in self.leaves)
        first, second = self.gates(x).sigmoid().chunk(2, -1)
        return first * a + (1 - first) * (second * b + (1 - second) * c)


class Modulated(nn.Module):
    """Features that a second path scales and shifts."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.film = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 8)

    def forward(self, x):
        scale, shift = self.film(x).chunk(2, -1)
        return self.b(F.relu(self.a(x))) * (1 + scale) + shift


def test_sums_that_are_not_residual():
    for model in (SoftTree(), Modulated()):
        assert not any(layer.residual or layer.growing for layer in successors(model))
    for count in (2, 3, 4, 5):
        graph = successors(Parallel(count))
        assert [operation.kind for operation in graph.operations].count("sum") == count - 1
        assert graph.branches == 0 and not any(layer.residual for layer in graph)
    assert not successors(LowRank())["base"].residual  # nothing would learn
    graph = successors(Towers())
    assert graph.branches == 0 and {layer.name for layer in graph if layer.output} == {"c", "d"}
    graph = successors(Unrolled())
    assert graph.branches == 0 and names(graph) == {"w": "tanh", "u": "tanh"}
    assert (graph["w"].calls, graph["u"].calls) == (3, 2)


class Routed(nn.Module):
    """A residual mixture of experts, each for the rows that are sent to it."""

    def __init__(self, put, zeros, deep=True):
        super().__init__()

        def expert():
            return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4)) if deep else nn.Linear(4, 4)

        self.put, self.zeros = put, zeros
        self.router, self.experts = nn.Linear(4, 3), nn.ModuleList(expert() for _ in range(3))

    def forward(self, x):
        weights, chosen = self.router(x).softmax(-1).topk(2, -1)
        mixed = self.zeros(x)
        for number, expert in enumerate(self.experts):
            rows, place = torch.where(chosen == number)
            self.put(mixed, rows, weights[rows, place, None] * expert(x[rows]))
        return x + mixed


def sized(x):
    return torch.zeros(x.shape[0], 4)


def set_rows(y, rows, value):
    y[rows] = value


def add_rows(y, rows, value):
    y[rows] += value


@pytest.mark.parametrize("zeros", [torch.zeros_like, sized, lambda x: x.new_zeros(6, 4)])
@pytest.mark.parametrize("put", [
    set_rows, add_rows, lambda y, rows, value: y.index_add_(0, rows, value),
    lambda y, rows, value: y.scatter_add_(0, rows[:, None].expand(-1, 4), value),
], ids=["set", "add", "index_add", "scatter_add"])  # fmt: skip
def test_experts_whose_rows_are_put_in_place_are_treated_alike(put, zeros):
    for deep, ends in ((True, ["0.2", "1.2", "2.2"]), (False, ["0", "1", "2"])):
        graph = successors(Routed(put, zeros, deep), torch.randn(6, 4))
        symbolic = put not in (set_rows, add_rows) and zeros is not sized  # an fx.Proxy takes neither
        assert graph.source == ("trace" if symbolic else "run") and graph.branches == 1
        assert [layer.name for layer in graph if layer.residual] == [f"experts.{end}" for end in ends]


@pytest.mark.parametrize("values", [False, True], ids=["symbols", "example"])
def test_what_changes_its_argument_is_seen_where_the_result_is_not_used(values):
    def forward(block, x):
        h = block.a(x)
        h.relu_()
        x = x.clone() if values and x.sum() > -1e9 else x * 1
        x.add_(block.b(h))
        return x

    block = Multiplied(None)
    block.forward = forward.__get__(block)
    graph = successors(block, torch.randn(2, 4))
    assert graph.source == ("run" if values else "trace") and names(graph) == {"a": "relu", "b": None}
    assert [layer.name for layer in graph if layer.residual] == ["b"]


def test_a_shared_layer_has_no_normalization_of_its_own():
    shared = nn.Linear(3, 3)
    graph = successors(nn.Sequential(shared, nn.BatchNorm1d(3), nn.ReLU(), shared, nn.BatchNorm1d(3)))
    assert graph["0"].calls == 2 and graph["0"].normalization is None and graph["0"].output


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)
        self.unused = nn.Linear(2, 2)

    def forward(self, x):
        y = self.conv(x)
        return self.bn(y), y


def test_values_used_elsewhere_have_no_normalization_and_unused_layers_are_listed_last():
    graph = successors(Twice())
    assert graph["conv"].normalization is None and graph["conv"].output
    assert graph.layers[-1].name == "unused" and graph["unused"].calls == 0
    with pytest.raises(KeyError):
        graph["nonsense"]


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(4, 4) for _ in range(4))

    def forward(self, x):
        return self.out(torch.softmax(self.q(x) @ self.k(x).mT, -1) @ self.v(x))


def test_products_of_features_part_the_layers():
    graph = successors(Attention())
    assert set(names(graph).values()) == {None}
    assert [layer.name for layer in graph if layer.output] == ["out"]


class Texts(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.lstm, self.fc = (
            nn.Embedding(9, 4),
            nn.LSTM(4, 5, batch_first=True),
            nn.Linear(5, 2),
        )

    def forward(self, tokens, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(self.embedding(tokens), lengths, batch_first=True)
        return self.fc(torch.relu(self.lstm(packed)[1][0][-1]))


@pytest.mark.parametrize("form", [tuple, lambda pair: dict(zip(("tokens", "lengths"), pair, strict=True))])
def test_several_inputs_and_recurrent_layers(form):
    example = form((torch.ones(2, 3, dtype=torch.int64), torch.tensor([3, 2])))
    graph = successors(Texts(), example)
    assert {layer.name: layer.kind for layer in graph} == {
        "embedding": "embedding",
        "lstm": "recurrent",
        "fc": "linear",
    }
    assert graph["fc"].output


def test_a_transformer_is_seen_through_its_fast_path():
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    graph = successors(model, torch.randn(2, 3, 8))
    assert graph.source == "run"
    assert [layer.name for layer in graph] == ["self_attn", "norm1", "linear1", "linear2", "norm2"]
    assert graph["linear1"].activation.name == "relu" and graph.branches == 2
    assert [layer.name for layer in graph if layer.residual] == ["self_attn", "linear2"]


def random_states():
    """Of torch, NumPy and Python."""
    return torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()


class Stateful(Untraceable):
    """Counts, keeps an activation, replaces a buffer and draws random numbers in its forward pass."""

    def __init__(self):
        super().__init__()
        self.calls, self.kept = 0, None
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        self.kept, self.steps = x, self.steps + 1
        return super().forward(x + 0 * torch.rand(()) + 0 * np.random.rand() + 0 * random.random())


@pytest.mark.parametrize("make", [Net, Stateful], ids=["trace", "run"])
def test_the_model_is_left_as_it_was(make):
    model = make().train()
    model.blocks[0].eval()
    state, modes = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
    drawn, hooks = random_states(), sum(len(m._forward_hooks) for m in model.modules())
    successors(model, IMAGES)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), state.values(), strict=True))
    assert [m.training for m in model.modules()] == modes and random_states() == drawn
    assert sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()) == hooks
    assert getattr(model, "calls", 0) == 0 and getattr(model, "kept", None) is None


@pytest.mark.parametrize("make", [Net, Stateful], ids=["trace", "run"])
def test_other_threads_keep_serving_while_a_model_is_traced(make):
    """The model that is traced and another one, both in eval mode, give the same outputs as before."""
    model, other = make().eval(), nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.LSTM(4, 3)).eval()
    x, wrong, stop = torch.randn(2, 4), [], threading.Event()
    expected, served = (Net.forward(model, IMAGES), other(x)[0]), [0, 0]

    def serve(which):
        while not stop.is_set() or not served[which]:
            try:
                result = (Net.forward(model, IMAGES), other(x)[0])[which]
                same = torch.allclose(result, expected[which], atol=1e-6)
                wrong.extend([] if same else [f"{which}: another output"])
            except Exception as error:
                wrong.append(f"{type(error).__name__}: {error}")
            served[which] += 1

    threads = [threading.Thread(target=serve, args=(which,)) for which in (0, 1)]
    for thread in threads:
        thread.start()
    graphs = [successors(model, IMAGES) for _ in range(10)]
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong and all(names(graph) == EXPECTED for graph in graphs)


def test_two_threads_trace_one_model_at_once():
    model, found = Net(), []
    threads = [threading.Thread(target=lambda: found.append(names(successors(model)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [EXPECTED] * 4


class Uncopied(Net):
    """Holds what cannot be copied, and a tensor that was computed."""

    def __init__(self):
        super().__init__()
        self.lock, self.computed = threading.Lock(), 2 * self.head.weight

    def forward(self, x):
        return super().forward(x) + 0 * self.computed.sum()


def test_a_model_that_cannot_be_copied_is_traced_and_left_as_it_was():
    model = Uncopied()
    before = {name: dict(vars(module)) for name, module in model.named_modules()}
    for example in (None, IMAGES):
        assert names(successors(model, example)) == EXPECTED
    assert {name: dict(vars(module)) for name, module in model.named_modules()} == before


class Reading(nn.Module):
    """Reads parameters of its layers, scales by one, and has an optional argument."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)
        self.gamma = nn.Parameter(torch.ones(2, 1, 1))

    def forward(self, x, mask=None):
        y = self.bn(self.conv(x)) * torch.tanh(self.gamma) / math.sqrt(x.shape[-1])
        y = y + self.bn.weight.view(-1, 1, 1) - self.bn.running_mean.view(-1, 1, 1)
        return y if mask is None else y * mask


def test_reads_of_parameters_scales_and_optional_arguments_are_noted():
    for graph in (successors(Reading()), successors(Reading(), (IMAGES,))):
        kinds_of = {(o.kind, o.name) for o in graph.operations}
        assert {("parameter", "gamma"), ("parameter", "bn.weight"), ("scale", "mul")} <= kinds_of
        assert ("constant", "bn.running_mean") in kinds_of and graph["bn"].calls == 1
    assert successors(Reading()).optional == ("mask",)


class Own(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Dense(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3, 3))

    def forward(self, x):
        return x @ self.weight.T


class ChannelNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, 3, 1, 1))

    def forward(self, x):
        return x * self.weight


def test_modules_of_the_users_own():
    assert kinds.is_elementwise(Own(lambda x: x * torch.tanh(F.softplus(x))))
    for function in (lambda x: 2 * x + 1, lambda x: x.softmax(1), lambda x: x.flatten(1), lambda x: x > 0):
        assert not kinds.is_elementwise(Own(function))
    assert not kinds.is_elementwise(Own(lambda x, y: x + y)) and not kinds.is_elementwise(nn.PReLU())
    assert kinds.layer_kind(Dense()) == "other" and kinds.layer_kind(ChannelNorm()) == "normalization"
    model = nn.Sequential(Dense(), Own(lambda x: x.flatten(1)), Own(torch.erf), Dense())
    graph = successors(model)
    assert graph.source == "trace" and names(graph) == {"0": "own", "3": None}


def test_modules_of_this_package_are_traced():
    pytest.importorskip("convcraft.dropout")
    from convcraft import dropout, normalization

    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=False),
        normalization.BatchNorm2d(4),
        dropout.Dropout2d(0.5),
        A.Mish(),
        dropout.DropPath(0.2),
        nn.Conv2d(4, 4, 1),
        normalization.GroupNorm(2, 4),
        dropout.Dropout(0.1),
        nn.ReLU(),
    )
    graph = successors(model)
    assert graph.source == "trace" and graph["0"].normalization == "1"
    assert names(graph) == {"0": "mish", "1": "mish", "5": "relu", "6": "relu"}
    assert [layer.kind for layer in graph] == ["convolution", "normalization"] * 2


def test_repeated_modules_hold_their_first_name():
    act = nn.ReLU()
    graph = successors(nn.Sequential(nn.Linear(2, 2), act, nn.Linear(2, 2), act))
    assert names(graph) == {"0": "relu", "2": "relu"} and not any(layer.output for layer in graph)


ERRORS = [
    (lambda: successors([nn.Linear(2, 2)]), r"model must be a torch.nn.Module, got list"),
    (
        lambda: successors(Untraceable(), torch.randn(2, 3, 8, 8)),
        r"can neither be traced .* nor run on the example: RuntimeError: .* pass as example a batch",
    ),
]


@pytest.mark.parametrize(("call", "message"), ERRORS, ids=["model", "example"])
def test_misuse_is_refused(call, message):
    with pytest.raises(ConvcraftError, match="(?s)" + message):
        call()


def test_a_model_that_is_one_layer():
    graph = successors(nn.Linear(2, 3))
    assert [(layer.name, layer.calls, layer.output) for layer in graph] == [("", 1, True)]
    assert graph.source == "trace" and [o.kind for o in graph.operations] == ["input", "layer", "output"]
    assert not len(successors(nn.ReLU()))
