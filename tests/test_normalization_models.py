"""Batch normalization in whole models: folded into layers, recalibrated on data, frozen."""

import copy
import functools
import gc
import io
import pickle
import random
import re
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call
from torch.nn.utils import parametrizations, prune
from torch.utils.checkpoint import checkpoint

from convcraft import ConvcraftError
from convcraft import normalization as N
from convcraft.normalization import folding
from convcraft.normalization.folding import FoldedLinear


def settled(model, dtype=torch.float32):
    """The model in eval mode, with statistics and affine parameters far from where they start."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            with torch.no_grad():
                if module.running_mean is not None:
                    module.running_mean.normal_()
                    module.running_var.uniform_(0.1, 4)
                if module.affine:
                    module.weight.normal_()
                    module.bias.normal_()
    return model.to(dtype).eval()


def norms(model):
    return [n for n, m in model.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


LAYERS = [
    (lambda: nn.Conv1d(4, 6, 3, padding=1, groups=2), nn.BatchNorm1d, (3, 4, 9)),
    (lambda: nn.Conv2d(4, 6, 3, stride=2, bias=False), N.BatchNorm2d, (3, 4, 9, 8)),
    (lambda: nn.Conv2d(4, 8, 3, groups=4, padding=1, padding_mode="circular"), nn.BatchNorm2d, (3, 4, 9, 8)),
    (lambda: nn.Conv2d(4, 4, 3, groups=4, dilation=2), nn.SyncBatchNorm, (3, 4, 9, 8)),
    (lambda: nn.Conv3d(4, 6, 2), N.BatchNorm3d, (3, 4, 5, 4, 3)),
    (lambda: nn.ConvTranspose1d(4, 6, 3, groups=2), nn.BatchNorm1d, (3, 4, 9)),
    (lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2), N.BatchNorm2d, (3, 4, 5, 6)),
    (lambda: nn.ConvTranspose2d(4, 8, 3, groups=4, bias=False, output_padding=1, stride=2), nn.BatchNorm2d,
     (3, 4, 5, 6)),
    (lambda: nn.ConvTranspose3d(4, 6, 2), nn.BatchNorm3d, (3, 4, 4, 3, 3)),
    (lambda: nn.Linear(4, 6), N.BatchNorm1d, (5, 4)),
    (lambda: nn.Linear(4, 6, bias=False), nn.BatchNorm1d, (5, 4)),
]  # fmt: skip


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("case", range(len(LAYERS)))
def test_every_layer_is_folded_exactly(case, affine):
    build, kind, shape = LAYERS[case]
    layer = build()
    channels = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
    model = settled(nn.Sequential(layer, kind(channels, affine=affine), nn.ReLU()), torch.float64)
    before = copy.deepcopy(model.state_dict())
    folded = N.fold_batch_norm(model, strict=True)
    x = torch.randn(shape, dtype=torch.float64)
    torch.testing.assert_close(folded(x), model(x), rtol=1e-11, atol=1e-11)
    assert not norms(folded) and isinstance(folded[1], nn.Identity) and not folded.training
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    single = copy.deepcopy(model).float()
    torch.testing.assert_close(N.fold_batch_norm(single)(x.float()), single(x.float()), rtol=1e-4, atol=1e-5)


class Block(nn.Module):
    """A residual block that names its parts out of their order, with a functional activation."""

    def __init__(self, inputs=4, channels=6):
        super().__init__()
        self.second_norm = N.BatchNorm2d(channels)
        self.first = nn.Conv2d(inputs, channels, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.shortcut = nn.Sequential(nn.Conv2d(inputs, channels, 1), nn.BatchNorm2d(channels))

    def forward(self, x):
        y = F.relu(self.first_norm(self.first(x)))
        return F.relu(self.second_norm(self.second(y)) + self.shortcut(x))


def test_a_residual_network_is_traced():
    end = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)]
    model = settled(nn.Sequential(Block(), Block(6, 4), *end))
    folded = N.fold_batch_norm(model, strict=True)
    x = torch.randn(2, 4, 8, 8)
    torch.testing.assert_close(folded(x), model(x), rtol=1e-4, atol=1e-4)
    assert type(folded[0]) is Block and not norms(folded) and len(norms(model)) == 6
    torch.testing.assert_close(pickle.loads(pickle.dumps(folded))(x), folded(x))
    assert all(p.requires_grad for p in folded.parameters())


class Pair(nn.Module):
    """A convolution and a batch norm, and what else a forward pass can do with them."""

    def __init__(self, forward):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.layers = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.ReLU())
        self.spare = nn.Conv2d(4, 4, 1)
        self.shared = [self.norm]
        self._forward = forward

    def forward(self, x):
        return self._forward(self, x)


def tapped(m, x):
    outputs = []
    for layer in m.layers:
        x = layer(x)
        outputs.append(x)
    return torch.cat(outputs, 1)


def padded(m, x):
    if x.shape[-1] % 4:
        x = F.pad(x, (0, 4 - x.shape[-1] % 4))
    return m.layers(x)


def kept(m, x):
    m.last = m.conv(x)
    return m.norm(m.last)


def in_place(m, x):
    y = m.conv(x)
    y += 1
    return m.norm(y)


def counted(m, x):
    m.calls = getattr(m, "calls", 0) + 1
    return m.norm(m.conv(x)) if m.calls % 2 else m.conv(x)


def caught(m, x):
    y = m.conv(x)
    try:
        return m.norm(y) + y / int(x.shape[0])
    except Exception:
        return m.norm(y)


FOLDED = {
    "one after the other": lambda m, x: m.norm(m.conv(x)),
    "by keyword": lambda m, x: m.norm(input=m.conv(x)),
    "through a list": lambda m, x: m.shared[0](m.conv(x)),
    "a branch before it": padded,
    "on both sides of a branch": lambda m, x: m.norm(m.conv(x)) if x.sum() > 0 else m.norm(m.conv(x)) + 1,
    "on one side of a branch": lambda m, x: m.norm(m.conv(x)) if x.mean() > 0 else x,
    "constants of a layer": lambda m, x: m.norm(m.conv(x)) * m.conv.out_channels,
    "a check of the type": lambda m, x: m.norm(m.conv(x)) if isinstance(x, torch.Tensor) else x,
    "an assertion": lambda m, x: m.norm(m.conv(x)) if _asserted(x) else x,
}
NOT_FOLDED = {
    "output read twice": (lambda m, x: m.norm(y := m.conv(x)) + y, "'conv' has 2 readers"),
    "output returned": (lambda m, x: (m.norm(y := m.conv(x)), y), "'conv' has 2 readers"),
    "output kept": (kept, "changes the attribute 'last' of the model"),
    "output changed": (in_place, "it follows"),
    "calls counted": (counted, "changes the attribute 'calls' of the model"),
    "a random branch": (
        lambda m, x: m.norm(m.conv(x)) if random.random() < 2 else x, "changes Python's random state"
    ),
    "an error caught": (caught, "needs to know a value"),
    "a branch on what tensors do not have": (
        lambda m, x: m.norm(m.conv(x)) if hasattr(x, "mask") else m.conv(x), "does not call it"
    ),
    "a branch on gradients": (
        lambda m, x: m.norm(m.conv(x)) if torch.is_grad_enabled() else m.conv(x), "calls 'conv' without it"
    ),
    "weight read": (lambda m, x: m.norm(m.conv(x)) + m.conv.weight.sum(), "reads weight of 'conv'"),
    "all parameters": (lambda m, x: m.norm(m.conv(x)) + sum(map(torch.sum, m.parameters())), "reads .*weigh"),
    "layer called twice": (lambda m, x: m.conv(m.norm(m.conv(x))), "'conv' is called 2 times"),
    "norm called twice": (lambda m, x: m.norm(m.conv(x)) + m.norm(m.spare(x)), "it is called 2 times"),
    "norm read": (lambda m, x: m.norm(m.conv(x)) * m.norm.weight.mean(), "reads weight of it"),
    "eps of the norm": (lambda m, x: m.norm(m.conv(x)) + m.norm.eps, "reads eps of it"),
    "the layer alone on a branch": (
        lambda m, x: m.norm(m.conv(x)) if x.sum() > 0 else m.conv(x), "calls 'conv' without it"
    ),
    "another layer on a branch": (
        lambda m, x: m.norm(m.conv(x)) if x.sum() > 0 else m.norm(m.spare(x)), "it follows 'conv' or 'spare'"
    ),
    "through a number": (lambda m, x: m.norm(m.conv(x)) if float(x.sum()) > 0 else x, "cannot be followed"),
    "through a loop": (lambda m, x: [m.norm(m.conv(x)) for _ in range(x.shape[0])][0], "cannot be followed"),
    "something between": (lambda m, x: m.norm(F.relu(m.conv(x))), "it follows 'relu'"),
    "no layer": (lambda m, x: m.norm(x), "it follows 'input'"),
    "not at all": (lambda m, x: m.spare(x), "does not call it"),
}  # fmt: skip


@functools.singledispatch
def by_type(x, m):
    return m.conv(x)


@by_type.register
def _(x: torch.Tensor, m):
    return m.norm(m.conv(x))


def changing(name, change):
    """A forward pass that counts in an attribute of its model, and leaves the norm out every other time."""

    def forward(m, x):
        setattr(m, name, change(getattr(m, name)))
        return m.norm(m.conv(x)) if counted_in(getattr(m, name)) % 2 else m.conv(x)

    return forward


def counted_in(value):
    return len(value) if isinstance(value, list | dict) else int(value.n if hasattr(value, "n") else value)


def namespace(value):
    value.n += 1
    return value


def filled(m, x):
    m.cache["y"] = m.conv(x)
    return m.norm(m.cache["y"])


def caught_type(m, x):
    try:
        memoryview(x)
        return m.conv(x)
    except TypeError:
        return m.norm(m.conv(x))


def globally(m, x):
    global calls
    calls += 1
    return m.norm(m.conv(x)) if calls % 2 else m.conv(x)


calls = 0
NOT_SEEN = {  # by symbols alone
    "its type": (lambda m, x: m.conv(x) if type(x) is torch.Tensor else m.norm(m.conv(x)), r"type \(type\)"),
    "its class": (lambda m, x: m.norm(m.conv(x)) if x.__class__ is list else m.conv(x), "without it"),
    "an old type": (
        lambda m, x: m.conv(x) if isinstance(x, torch.FloatTensor) else m.norm(m.conv(x)), "FloatTensor"
    ),
    "a symbol": (
        lambda m, x: m.norm(m.conv(x)) if isinstance(x, torch.fx.Proxy) else m.conv(x), r"type \(Proxy\)"
    ),
    "a dispatch": (lambda m, x: by_type(x, m), "calls 'conv' without it"),
    "a list": (
        lambda m, x: m.conv(x[0]) if isinstance(x, list | tuple) else m.norm(m.conv(x)), "without it"
    ),
    "a mapping": (
        lambda m, x: m.conv(x["x"]) if isinstance(x, dict) else m.norm(m.conv(x)), "calls 'conv' without it"
    ),
    "autocast": (
        lambda m, x: m.conv(x) if torch.is_autocast_enabled("cpu") else m.norm(m.conv(x)), "asks for a mode"
    ),
    "an error of its own": (caught_type, "it catches errors|needs to know"),
    "a global count": (globally, "changes the global variable 'calls'"),
    "a buffer": (changing("count", lambda n: n.add_(1)), "changes the attribute '_buffers'"),
    "a tensor": (changing("step", lambda n: n + 1), "changes the attribute 'step'"),
    "a list of its own": (changing("log", lambda seen: [*seen, 1]), "changes the attribute 'log'"),
    "an object": (changing("state", namespace), "changes the attribute 'state'"),
    "a cache": (filled, "changes the attribute 'cache'"),
    "a number of a weight": (
        lambda m, x: m.norm(m.conv(x)) + m.held[0].flatten().tolist()[0], "reads weight of 'conv'"
    ),
    "a weight given": (
        lambda m, x: functional_call(m.layers, {"0.bias": torch.zeros(4)}, (x,)), "other parameters"
    ),
    "the kind of a layer": (
        lambda m, x: m.norm(m.conv(x)) * (2 if isinstance(m.norm, nn.BatchNorm2d) else 1), "without it"
    ),
    "the kinds of layers": (
        lambda m, x: m.norm(m.conv(x)) * sum(isinstance(k, nn.BatchNorm2d) for k in m.modules()),
        "without it",
    ),
    "a function of its own": (lambda m, x: m.norm(Doubled.apply(m.conv(x))), "cannot be followed|it follows"),
}  # fmt: skip


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, grad):
        return 2 * grad


def test_compiled_parts_and_checkpoints_stay_what_they_are():
    x = torch.randn(2, 4, 5, 5)
    compiled = torch.compile(nn.ReLU(), backend="eager")
    deep = settled(nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), compiled))
    assert torch.allclose(deep(x), _folded_or_itself(deep)(x), atol=1e-4)
    for reentrant in (True, False):
        with_blocks = settled(Pair(lambda m, x, how=reentrant: checkpoint(m.layers, x, use_reentrant=how)))
        assert torch.allclose(with_blocks(x), _folded_or_itself(with_blocks)(x), atol=1e-4)


def test_what_symbols_do_not_show_is_not_folded():
    for name, (forward, reason) in NOT_SEEN.items():
        model = Pair(forward)
        model.register_buffer("count", torch.zeros((), dtype=torch.long))
        model.step, model.log, model.state, model.cache = torch.zeros(()), [], SimpleNamespace(n=0), {}
        model.held = [model.conv.weight]
        model = settled(model)
        rows = N.folding_report(model)
        assert any(re.search(reason, row.reason) for row in rows), (name, rows)
        assert all(row.layer is None for row in rows), (name, rows)


def _folded_or_itself(model):
    try:
        return N.fold_batch_norm(model)
    except ConvcraftError:
        return model


def test_shapes_taken_apart_and_parts_of_layers_are_followed():
    def shuffled(m, x):
        n, c, h, w = m.norm(m.conv(x)).shape
        first, second = m.layers(x.view(n, c, h * w).view(n, c, h, w)).chunk(2, 1)
        return torch.cat([second, first], 1)

    for forward in (
        shuffled, lambda m, x: m.layers[:2](m.norm(m.conv(x))),
        lambda m, x: functools.reduce(lambda v, layer: layer(v), m.layers.children(), m.norm(m.conv(x))),
    ):  # fmt: skip
        model, x = settled(Pair(forward)), torch.randn(2, 4, 5, 5)
        folded = N.fold_batch_norm(model, strict=True, example=x)
        torch.testing.assert_close(folded(x), model(x), rtol=1e-4, atol=1e-4)


def _asserted(x):
    if x.shape[1] != 4:  # `assert`, which pytest would rewrite
        raise AssertionError
    return True


@pytest.mark.parametrize("name", FOLDED)
def test_what_is_proven_is_folded(name):
    model, x = settled(Pair(FOLDED[name])), torch.randn(2, 4, 5, 5)
    folded = N.fold_batch_norm(model, example=x)
    torch.testing.assert_close(folded(x), model(x), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(folded(-x), model(-x), rtol=1e-4, atol=1e-5)
    assert len(norms(folded)) == 1


@pytest.mark.parametrize("name", NOT_FOLDED)
def test_what_is_not_proven_is_left_with_the_reason(name):
    forward, reason = NOT_FOLDED[name]
    model = settled(Pair(forward))
    report = {row.norm: row for row in N.folding_report(model)}
    assert report["norm"].layer is None and re.search(reason, report["norm"].reason), report["norm"].reason
    beside = settled(nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), model))
    x = torch.randn(2, 4, 5, 5)
    try:
        folded = N.fold_batch_norm(beside)
    except ConvcraftError as error:
        assert re.search("cannot be followed|forward pass changes", str(error))
    else:
        assert norms(folded)[-1] == "2.layers.1" and "2.norm" in norms(folded) and "1" not in norms(folded)
        torch.testing.assert_close(folded(x), beside(x), rtol=1e-4, atol=1e-4)
    with pytest.raises(ConvcraftError, match="must have only batch normalizations that can be folded"):
        N.fold_batch_norm(beside, strict=True)


def test_a_sequential_whose_layers_are_taken_one_by_one_is_left():
    model = settled(Pair(tapped))
    with pytest.raises(ConvcraftError, match="got 'norm'"):
        N.fold_batch_norm(model)
    assert "'layers.0' has 2 readers" in repr(N.folding_report(model))


class Optional(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.last, self.last_norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x, skip=None, features=False):
        y = self.conv(x)
        z = self.norm(y) if skip is None else self.norm(y + skip)
        w = self.last_norm(self.last(z))
        return (w, y) if features else w


def test_both_sides_of_optional_arguments_are_followed():
    model, x = settled(Optional()), torch.randn(2, 4, 5, 5)
    folded = N.fold_batch_norm(model)
    assert norms(folded) == ["norm"]
    for arguments in ((x,), (x, x), (x, None, True), (x, x, True)):
        torch.testing.assert_close(folded(*arguments), model(*arguments), rtol=1e-4, atol=1e-5)


class Many(Pair):
    def forward(self, x, a=None, b=None, c=None, d=None, e=None):
        return self.norm(self.conv(x))


class Open(Pair):
    def forward(self, x, *more):
        return self.norm(self.conv(x))


class Loop(Pair):
    def forward(self, x):
        while x.sum() > 0:
            x = self.norm(self.conv(x))
        return x


class Repeats(Pair):
    def forward(self, x):
        for _ in range(8):
            x = x + 1 if x.sum() > 0 else x
        return self.norm(self.conv(x))


class Wrong(Pair):
    def forward(self, x):
        raise AssertionError("never")


class Fails(Pair):
    def forward(self, x):
        raise RuntimeError("out of order")


class Catches(Pair):
    def forward(self, x):
        try:
            rows = len(list(x))
        except Exception:
            rows = 0
        return self.norm(self.conv(x)) + 0 * rows


class Counts(Pair):
    seen = 0

    def forward(self, x):
        self.seen += 1
        return self.norm(self.conv(x))


class Drifts(Pair):
    calls = 0

    def forward(self, x):
        Drifts.calls += 1
        return self.norm(self.conv(x)) + Drifts.calls


def folds(kind, forward=None, **keywords):
    return lambda: N.fold_batch_norm(settled(kind(forward)), **keywords)


def ill_conditioned():
    """A model in which folding is more accurate than the layers one by one."""
    model = settled(Pair(lambda m, x: m.norm(m.conv(x))))
    with torch.no_grad():
        model.conv.bias.fill_(1e7), model.norm.running_mean.fill_(1e7), model.norm.running_var.fill_(1e-4)
    return model


class NormAct(nn.BatchNorm2d):
    """Batch norm joined with dropout and an activation, as other libraries have it."""

    def __init__(self, channels, wrong=False):
        super().__init__(channels)
        self.drop, self.act, self.wrong = nn.Identity(), nn.SiLU(), wrong

    def forward(self, x):
        y = F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, self.training, 0.1, self.eps
        )
        return self.act(self.drop(y)) + (0.1 if self.wrong else 0.0)


def test_a_layer_that_joins_norm_and_activation_keeps_the_activation():
    model = settled(nn.Sequential(nn.Conv2d(4, 4, 3), NormAct(4), nn.Conv2d(4, 4, 1), NormAct(4, wrong=True)))
    x = torch.randn(2, 4, 6, 6)
    folded = N.fold_batch_norm(model, example=x)
    torch.testing.assert_close(folded(x), model(x), rtol=1e-4, atol=1e-5)
    assert norms(folded) == ["3"] and isinstance(folded[1].act, nn.SiLU)
    assert N.folding_report(model)[1].reason == "NormAct has a forward of its own"
    torch.testing.assert_close(pickle.loads(pickle.dumps(folded))(x), folded(x))


def test_what_a_hook_between_the_two_sees_stays_the_same():
    for place, at in (("0", "register_forward_hook"), ("1", "register_forward_pre_hook")):
        parts = nn.Sequential(nn.Conv2d(4, 4, 1)), nn.Sequential(nn.BatchNorm2d(4))
        model = settled(nn.Sequential(*parts))
        assert N.folding_report(model)[0].layer == "0.0"
        getattr(model.get_submodule(place), at)(lambda *_: None)
        row = N.folding_report(model)[0]
        assert row.layer is None and "a hook is attached to a module between it and '0.0'" in row.reason
        getattr(model, at)(lambda *_: None)  # on what holds both, a hook does not matter
        model[0]._forward_hooks.clear(), model[1]._forward_pre_hooks.clear()
        assert N.folding_report(model)[0].layer == "0.0"


def test_a_weight_that_a_hook_computes_is_copied_with_the_rest():
    pruned = prune.l1_unstructured(nn.Conv2d(4, 4, 1), "weight", 0.5)
    model = settled(nn.Sequential(pruned, nn.ReLU(), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)))
    x = torch.randn(2, 4, 5, 5)
    torch.testing.assert_close(N.fold_batch_norm(model)(x), model(x), rtol=1e-4, atol=1e-5)


def test_the_outputs_on_an_example_are_compared(monkeypatch):
    model, x = settled(nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))), torch.randn(2, 4, 6, 6)
    N.fold_batch_norm(model, example=(x, torch.zeros(2)))
    exact = folding._folded
    monkeypatch.setattr(folding, "_folded", lambda layer, norm: tuple(1.01 * v for v in exact(layer, norm)))
    with pytest.raises(ConvcraftError, match="outputs on example must stay the same, got a difference of"):
        N.fold_batch_norm(model, example=x)


def test_the_report_prints_as_a_table_and_changes_nothing():
    model = settled(nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4)))
    lines = repr(N.folding_report(model)).splitlines()
    assert lines[0].split() == ["batch", "normalization", "folded", "into", "why", "not"]
    assert lines[1].split() == ["1", "0"] and lines[2].split()[:2] == ["3", "-"] and len(norms(model)) == 2


class OwnForward(nn.Conv2d):
    def forward(self, input):
        return super().forward(input) + 1


class OwnNorm(nn.BatchNorm2d):
    def forward(self, input):
        return 2 * super().forward(input)


class Halved(nn.Conv2d):
    def _conv_forward(self, input, weight, bias):
        return super()._conv_forward(input, weight / 2, bias)


def hooked():
    conv = nn.Conv2d(4, 4, 1)
    conv.register_forward_hook(lambda module, args, output: None)
    return conv


@pytest.mark.parametrize(
    ("layer", "norm", "reason"),
    [
        (lambda: OwnForward(4, 4, 1), lambda: nn.BatchNorm2d(4), "OwnForward has a forward of its own"),
        (lambda: Halved(4, 4, 1), lambda: nn.BatchNorm2d(4), "Halved has a forward of its own"),
        (lambda: parametrizations.weight_norm(nn.Conv2d(4, 4, 1)), lambda: nn.BatchNorm2d(4), "is computed"),
        (hooked, lambda: nn.BatchNorm2d(4), "hooks or parametrizations are attached"),
        (lambda: nn.Conv2d(4, 4, 1), lambda: OwnNorm(4), "OwnNorm has a forward of its own"),
        (nn.ReLU, lambda: nn.BatchNorm2d(4), "it follows .0., not a convolution"),
        (lambda: nn.Conv2d(4, 4, 1), lambda: nn.BatchNorm2d(4, track_running_stats=False), "no running stat"),
        (lambda: nn.Conv2d(4, 6, 1), lambda: nn.BatchNorm2d(4), "has 4 channels, the layer before it 6"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_what_cannot_be_folded_is_refused_with_the_reason(layer, norm, reason):
    model = settled(nn.Sequential(layer(), norm()))
    with pytest.raises(ConvcraftError, match=f"got '1': .*{reason}"):
        N.fold_batch_norm(model)


def test_a_norm_that_stands_first_stays_beside_one_that_is_folded():
    model = settled(nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)))
    folded, x = N.fold_batch_norm(model), torch.randn(2, 4, 3, 3)
    assert norms(folded) == ["0"]
    torch.testing.assert_close(folded(x), model(x), rtol=1e-4, atol=1e-5)


def test_a_shared_layer_in_a_sequential_is_left_alone():
    conv = nn.Conv2d(4, 4, 1)
    model = settled(nn.Sequential(conv, nn.BatchNorm2d(4), conv, nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1),
                                  nn.BatchNorm2d(4)))  # fmt: skip
    folded, x = N.fold_batch_norm(model), torch.randn(2, 4, 3, 3)
    assert norms(folded) == ["1", "3"]
    torch.testing.assert_close(folded(x), model(x), rtol=1e-4, atol=1e-5)


def test_a_folded_linear_layer_refuses_what_batch_norm_took_otherwise():
    model = settled(nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6)))
    folded = N.fold_batch_norm(model)
    x = torch.randn(3, 6, 4)  # (N, C, L): here the norm's channels are not the layer's outputs
    assert model(x).shape == (3, 6, 6) and isinstance(folded[0], FoldedLinear)
    with pytest.raises(ConvcraftError, match=r"FoldedLinear: .* shape \(N, 4\), got \(3, 6, 4\)"):
        folded(x)


def test_folding_half_precision_rounds_once():
    model = settled(nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)))
    half = N.fold_batch_norm(copy.deepcopy(model).bfloat16())
    assert half[0].weight.dtype == torch.bfloat16


def test_compiled_and_exported_models_can_be_folded_before():
    model = settled(nn.Sequential(nn.Conv2d(4, 4, 3), N.BatchNorm2d(4), nn.ReLU()))
    folded, x = N.fold_batch_norm(model), torch.randn(2, 4, 6, 6)
    torch.testing.assert_close(torch.export.export(folded, (x,)).module()(x), model(x), rtol=1e-4, atol=1e-5)


# recalibration


def test_statistics_are_those_of_the_whole_data():
    data = [torch.randn(n, 3, 4, 4, dtype=torch.float64) * (n / 4) + n for n in (2, 5, 9, 1)]
    model = nn.Sequential(N.BatchNorm2d(3, dtype=torch.float64)).train()
    assert N.recalibrate_batch_norm(model, iter(data)) is model
    everything = torch.cat(data).transpose(0, 1).flatten(1)
    torch.testing.assert_close(model[0].running_mean, everything.mean(1))
    torch.testing.assert_close(model[0].running_var, everything.var(1))
    assert int(model[0].num_batches_tracked) == 4


def test_statistics_are_accurate_where_the_mean_is_large():
    data = [1e4 + 0.1 * torch.randn(64, 2, 8, 8) for _ in range(4)]
    model = N.recalibrate_batch_norm(nn.Sequential(nn.BatchNorm2d(2)), data)
    exact = torch.cat(data).double().transpose(0, 1).flatten(1).var(1)
    torch.testing.assert_close(model[0].running_var.double(), exact, rtol=1e-5, atol=0)


def network():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), N.BatchNorm2d(4), nn.Dropout(0.5),
        nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4, momentum=None),
    )  # fmt: skip


def test_deeper_layers_see_batch_statistics_and_no_dropout():
    model = network()
    data = [torch.randn(8, 1, 8, 8) + k for k in range(3)]
    N.recalibrate_batch_norm(model, [(x, torch.zeros(8)) for x in data])
    with torch.no_grad():
        affine = model[1].weight, model[1].bias
        inner = [model[3](F.batch_norm(model[0](x), None, None, *affine, True)) for x in data]
    values = torch.cat(inner).transpose(0, 1).flatten(1)
    torch.testing.assert_close(model[4].running_mean, values.mean(1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model[4].running_var, values.var(1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("start", ["train", "eval", "mixed"])
def test_recalibration_leaves_everything_else(start):
    model = network().train(start == "train")
    if start == "mixed":
        model[4].train()
    modes = [m.training for m in model.modules()]
    weights = copy.deepcopy([p.detach() for p in model.parameters()])
    state, enabled = torch.get_rng_state(), torch.is_grad_enabled()
    data = [torch.ones(8, 1, 8, 8).cumsum(3)] * 2
    N.recalibrate_batch_norm(model, data)
    assert [m.training for m in model.modules()] == modes
    assert all(torch.equal(a, b) for a, b in zip(weights, model.parameters(), strict=True))
    assert torch.equal(torch.get_rng_state(), state) and torch.is_grad_enabled() == enabled
    assert all(p.grad is None for p in model.parameters())
    assert all(m.track_running_stats for m in (model[1], model[4])) and model[4].momentum is None
    assert not any(m._forward_pre_hooks for m in model.modules())


def test_an_error_on_the_way_changes_nothing():
    model = network().eval()
    before = copy.deepcopy(model.state_dict())

    def broken():
        yield torch.randn(4, 1, 8, 8)
        raise RuntimeError("disk")

    with pytest.raises(RuntimeError, match="disk"):
        N.recalibrate_batch_norm(model, broken())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert not model.training and not any(m._forward_pre_hooks for m in model.modules())


def test_layers_that_are_not_reached_and_empty_batches():
    model = nn.Sequential(nn.BatchNorm1d(2))
    model.spare = nn.Module()
    model.spare.norm = nn.BatchNorm1d(5)
    model.forward = lambda x: model[0](x)
    data = torch.randn(6, 2)
    N.recalibrate_batch_norm(model, [data[:4], data[4:], data[:0]])
    torch.testing.assert_close(model[0].running_var, data.var(0))
    assert float(model.spare.norm.running_var.sum()) == 5


# freezing


def test_recalibration_of_a_layer_that_is_called_by_keyword_and_tracks_nothing_for_now():
    class Keyword(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(2)

        def forward(self, x):
            return self.norm(input=x)

    model, x = Keyword(), torch.randn(50, 2)
    model.norm.track_running_stats = False
    N.recalibrate_batch_norm(model, [x])
    torch.testing.assert_close(model.norm.running_mean, x.mean(0))
    assert model.norm.track_running_stats is False


def test_frozen_layers_stay_in_eval_mode_and_do_not_learn():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    assert N.freeze_batch_norm(model) is model
    model.train()
    assert model.training and model[2].training and not model[1].training and not model[4].training
    before = copy.deepcopy([model[k].state_dict() for k in (1, 4)])
    model(torch.randn(8, 1, 8, 8) + 3).square().sum().backward()
    optimizer.step()
    for old, k in zip(before, (1, 4), strict=True):
        assert all(torch.equal(value, old[key]) for key, value in model[k].state_dict().items())
        assert all(p.grad is None and not p.requires_grad for p in model[k].parameters())
    assert model[0].weight.grad is not None
    assert list(model.state_dict()) == list(network().state_dict())


def test_frozen_statistics_with_learned_scale():
    model = N.freeze_batch_norm(nn.Sequential(nn.BatchNorm1d(3)), affine=False).train()
    model(torch.randn(4, 3)).square().sum().backward()
    assert model[0].weight.grad is not None and float(model[0].running_mean.abs().sum()) == 0


def test_copies_of_frozen_layers_are_frozen_on_their_own():
    model = N.freeze_batch_norm(network())
    stream = io.BytesIO()
    torch.save(model, stream)
    stream.seek(0)
    loaded = torch.load(stream, weights_only=False)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), loaded):
        twin.train()
        assert twin.training and not twin[1].training and not twin[4].training
        twin[1].training = True
        twin.train()
        assert not twin[1].training and twin[1].train.args[0] is twin[1]
    model.load_state_dict(network().state_dict())


def test_freezing_survives_the_conversion_to_sync_batch_norm():
    model = nn.SyncBatchNorm.convert_sync_batchnorm(N.freeze_batch_norm(network())).train()
    copied = pickle.loads(pickle.dumps(model)).train()
    for net in (model, copied):
        before = net[1].running_mean.clone()
        net(torch.randn(4, 1, 8, 8) + 5)
        assert type(net[1]) is nn.SyncBatchNorm and not net[1].training and net.training
        assert torch.equal(net[1].running_mean, before) and not net[1].weight.requires_grad
    thawed = N.unfreeze_batch_norm(model)
    assert thawed[1].training and thawed[1].weight.requires_grad and "frozen" not in repr(thawed)
    other = nn.SyncBatchNorm.convert_sync_batchnorm(network()).train()
    assert other[1].training


def test_unfreezing_restores_what_freezing_changed():
    model = network().train()
    model[1].bias.requires_grad_(False)
    keys = list(model.state_dict())
    N.freeze_batch_norm(N.freeze_batch_norm(model))
    assert list(model.state_dict()) == keys
    N.unfreeze_batch_norm(model)
    assert [p.requires_grad for p in model[1].parameters()] == [True, False]
    assert all(p.requires_grad for p in model[4].parameters()) and model[1].training
    model(torch.randn(8, 1, 8, 8) + 4)
    assert float(model[1].running_mean.abs().sum()) > 0 and not model.eval()[4].training
    assert repr(model) == repr(network())


def test_recalibration_takes_every_form_of_batch():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(3)

        def forward(self, a, b):
            return self.norm(a + b)

    a, b, y = torch.randn(9, 3), torch.randn(9, 3), torch.arange(9)
    expected = (a + b).mean(0)
    for batch in ((a, b, y), ((a, b), y), {"a": a, "b": b, "labels": y}, [a, b]):
        model = N.recalibrate_batch_norm(Two(), [batch])
        torch.testing.assert_close(model.norm.running_mean, expected)


def _recalibrate_a_part(rank, path, data, results):
    torch.distributed.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=2)
    model = N.recalibrate_batch_norm(nn.Sequential(nn.BatchNorm1d(3)), data[rank])
    results.put(
        (model[0].running_mean.tolist(), model[0].running_var.tolist(), int(model[0].num_batches_tracked))
    )
    torch.distributed.destroy_process_group()


def test_recalibration_over_two_processes_gives_the_statistics_of_all(tmp_path):
    data = [[torch.randn(5, 3), torch.randn(8, 3)], [torch.randn(7, 3) + 3]]
    context = torch.multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    arguments = (str(tmp_path / "store"), data, results)
    ranks = [context.Process(target=_recalibrate_a_part, args=(rank, *arguments)) for rank in range(2)]
    for rank in ranks:
        rank.start()
    found = [results.get() for _ in ranks]
    for rank in ranks:
        rank.join()
    everything = torch.cat([x for part in data for x in part])
    for mean, variance, batches in found:
        torch.testing.assert_close(torch.tensor(mean), everything.mean(0))
        torch.testing.assert_close(torch.tensor(variance), everything.var(0))
        assert batches == 3


def test_recalibration_leaves_frozen_layers():
    model = network()
    N.freeze_batch_norm(nn.Sequential(model[1]))
    before = model[1].running_mean.clone()
    N.recalibrate_batch_norm(model, [torch.randn(8, 1, 8, 8) + 4])
    assert torch.equal(model[1].running_mean, before) and not model[1].training
    assert float(model[4].running_mean.abs().sum()) > 0


def test_frozen_models_fold():
    model = N.freeze_batch_norm(settled(network())).train().eval()
    x = torch.randn(2, 1, 8, 8)
    folded = N.fold_batch_norm(model)
    torch.testing.assert_close(folded(x), model(x), rtol=1e-4, atol=1e-5)


PLAIN = nn.Sequential(nn.Linear(2, 2)).eval()
NORM = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
HALF_EVAL = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).eval()
HALF_EVAL[1].train()
UNTRACKED = nn.Sequential(nn.BatchNorm1d(2, track_running_stats=False), nn.BatchNorm1d(2))
FROZEN = N.freeze_batch_norm(nn.Sequential(nn.BatchNorm1d(2)))
ERRORS = [
    (folds(Many), r"the forward pass has 5 optional arguments"),
    (folds(Open), r"takes any number of arguments"),
    (folds(Loop), r"repeats itself without an end"),
    (folds(Repeats), r"too many branches to follow all"),
    (folds(Wrong), r"cannot be followed .AssertionError: never"),
    (folds(Fails), r"cannot be followed .RuntimeError: out of order"),
    (folds(Catches), r"cannot be followed: it needs to know a value"),
    (folds(Counts), r"changes the attribute 'seen' of the model, on which the next one may depend"),
    (folds(Pair, NOT_FOLDED["through a number"][0]), r"cannot be followed: it needs to know a value"),
    (folds(Pair, NOT_SEEN["its type"][0]), r"it asks for a type \(type\)"),
    (folds(Pair, NOT_SEEN["a weight given"][0]), r"it gives Conv2d other parameters for a call"),
    (folds(Pair, lambda m, x: m.norm(m.conv(x)) * len(range(x.shape[0]))), r"it needs to know a value"),
    (lambda: N.fold_batch_norm(ill_conditioned(), example=torch.rand(1, 4, 2, 2)), r"outputs on example mus"),
    (folds(Drifts), r"without it the forward pass does something else"),
    (lambda: N.fold_batch_norm(NORM), r"must be in eval mode, got training mode in the model itself"),
    (lambda: N.fold_batch_norm(HALF_EVAL), r"got training mode in 1; call model.eval\(\)"),
    (lambda: N.fold_batch_norm(PLAIN), r"model must have a batch normalization to fold, got none"),
    (lambda: N.fold_batch_norm(nn.Sequential(nn.BatchNorm1d(2)).eval()), r"got '0': it follows 'input'"),
    (lambda: N.recalibrate_batch_norm(PLAIN, []), r"recalibrate_batch_norm: model must have .* got none"),
    (lambda: N.recalibrate_batch_norm(UNTRACKED[:1], []), r"got 1 without any"),
    (lambda: N.recalibrate_batch_norm(NORM, []), r"batches must yield at least one batch, got none"),
    (lambda: N.recalibrate_batch_norm(NORM, [3]), r"batch must hold a tensor, got int without one"),
    (lambda: N.recalibrate_batch_norm(NORM, [[]]), r"batch must hold a tensor, got a list of 0"),
    (lambda: N.recalibrate_batch_norm(NORM, torch.ones(3, 2)), r"batches must be an iterable of batches"),
    (lambda: N.recalibrate_batch_norm(3, []), r"recalibrate_.*: model must be a torch.nn.Module, got int"),
    (lambda: N.fold_batch_norm(3), r"fold_batch_norm: model must be a torch.nn.Module, got int"),
    (lambda: N.folding_report(nn.ReLU), r"folding_report: model must be .*, got the class ReLU"),
    (lambda: N.freeze_batch_norm(None), r"freeze_batch_norm: model must be a torch.nn.Module, got NoneType"),
    (lambda: N.unfreeze_batch_norm(PLAIN), r"unfreeze_batch_norm: model must have a frozen .* got none"),
    (
        lambda: N.recalibrate_batch_norm(NORM, [torch.ones(3, 2), torch.ones(3, 2, device="meta")]),
        r"the batch must be on the model's device cpu, got meta",
    ),
    (lambda: N.recalibrate_batch_norm(N.BatchNorm1d(2), [torch.ones(1, 2)]), r"more than 1 value"),
    (lambda: N.recalibrate_batch_norm(NORM, [torch.ones(3, 2), torch.ones(1, 2)]), r"more than 1 value"),
    (lambda: N.recalibrate_batch_norm(FROZEN, []), r"must have .* not frozen, got frozen ones only"),
    (lambda: N.freeze_batch_norm(PLAIN), r"freeze_batch_norm: model must have a batch normalization"),
    (lambda: N.freeze_batch_norm(UNTRACKED), r"running statistics in every batch .*got none in '0'"),
    (lambda: FoldedLinear(2, 2)(torch.ones(1, 2, 2)), r"FoldedLinear: input must have shape \(N, 2\)"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), ERRORS, ids=[message[:40] for _, message in ERRORS])
def test_misuse_is_refused_and_changes_nothing(call, message):
    states = [copy.deepcopy(m.state_dict()) for m in (PLAIN, NORM, UNTRACKED)]
    with pytest.raises(ConvcraftError, match=message):
        call()
    for state, model in zip(states, (PLAIN, NORM, UNTRACKED), strict=True):
        assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
    assert NORM.training and UNTRACKED.training and all(m.training for m in UNTRACKED)


def test_the_networks_of_the_lab_are_looked_into():
    from convcraft.lab.models import ConvNet

    class Normalized(ConvNet):
        pass

    Normalized.__module__ = ConvNet.__module__
    model = Normalized()
    name, conv = next((n, m) for n, m in model.named_modules() if isinstance(m, nn.Conv2d))
    parent, _, child = name.rpartition(".")
    pair = nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels))
    setattr(model.get_submodule(parent), child, pair)
    settled(model)
    assert not norms(N.fold_batch_norm(model, strict=True))


COLLECTED = 0


def test_what_others_do_at_a_garbage_collection_is_not_the_models_doing():
    """A callback that counts collections in a global variable, called at nearly every allocation."""

    def count(phase, info):
        global COLLECTED
        COLLECTED += 1

    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()
    threshold = gc.get_threshold()
    gc.callbacks.append(count)
    gc.set_threshold(1, 1, 1)
    try:
        folded = N.fold_batch_norm(model, strict=True)
    finally:
        gc.set_threshold(*threshold)
        gc.callbacks.remove(count)
    assert COLLECTED and gc.isenabled() and not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
