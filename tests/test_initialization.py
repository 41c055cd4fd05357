"""Schemes against torch.nn.init, fans and gains against measured variances, the map of the variance."""

import functools
import inspect
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from convcraft import ConvcraftError
from convcraft import activations as A
from convcraft import initialization as I
from convcraft.initialization import calculate_gain, fans, variance_map

SAME = [
    ("uniform_", (5, 4), {"a": -1.0, "b": 2.0}),
    ("normal_", (5, 4), {"mean": 1.0, "std": 0.5}),
    ("xavier_uniform_", (5, 4, 3, 3), {"gain": 1.5}),
    ("xavier_normal_", (5, 4, 3), {"gain": 1.5}),
    ("kaiming_uniform_", (5, 4, 3, 3), {}),
    ("kaiming_uniform_", (5, 4), {"a": math.sqrt(5), "mode": "fan_out"}),
    ("kaiming_normal_", (5, 4), {"nonlinearity": "tanh"}),
    ("kaiming_normal_", (5, 4), {"a": 0.1, "nonlinearity": "relu"}),
    ("orthogonal_", (5, 4), {"gain": 2.0}),
    ("orthogonal_", (4, 2, 3, 3), {}),
    ("constant_", (2, 2), {"val": 0.3}),
    ("ones_", (3,), {}),
    ("zeros_", (3,), {}),
    ("eye_", (3, 5), {}),
    ("dirac_", (6, 3, 3, 3), {}),
    ("dirac_", (6, 2, 4), {"groups": 2}),
    ("dirac_", (2, 3, 3, 3, 2), {}),
]


@pytest.mark.parametrize(("name", "shape", "keywords"), SAME, ids=[f"{s[0]}{s[1]}" for s in SAME])
def test_same_numbers_as_torch_from_the_same_generator(name, shape, keywords):
    ours, theirs = getattr(I, name), getattr(nn.init, name)
    assert [(p.name, p.default) for p in inspect.signature(ours).parameters.values()] == [
        (p.name, p.default) for p in inspect.signature(theirs).parameters.values()
    ]
    random = "generator" in inspect.signature(ours).parameters
    results = []
    for function in (ours, theirs):
        weight = nn.Parameter(torch.full(shape, 9.0))
        extra = {"generator": torch.Generator().manual_seed(3)} if random else {}
        assert function(weight, **keywords, **extra) is weight and weight.requires_grad
        results.append(weight.detach())
    torch.testing.assert_close(*results, rtol=0, atol=0)
    torch.manual_seed(5)
    ours(results[0], **keywords)
    torch.manual_seed(5)
    theirs(results[1], **keywords)
    torch.testing.assert_close(*results, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize(
    "name", ["orthogonal_", "trunc_normal_", "lecun_normal_", "kaiming_uniform_", "delta_orthogonal_"]
)
def test_other_dtypes_layouts_and_empty_tensors(name, dtype):
    weight = torch.empty(8, 4, 3, 3, dtype=dtype).contiguous(memory_format=torch.channels_last)
    getattr(I, name)(weight)
    assert torch.isfinite(weight).all() and weight.is_contiguous(memory_format=torch.channels_last)
    assert weight.float().std() > 0.01
    assert getattr(I, name)(torch.empty(0, 0, 3, dtype=dtype)).numel() == 0


@pytest.mark.parametrize(("a", "b"), [(-2.0, 2.0), (-1.0, 0.5), (3.0, 4.0), (-9.0, -8.0)])
def test_truncated_normal_has_the_mean_and_variance_of_the_formula(a, b):
    from scipy.stats import truncnorm

    w = I.trunc_normal_(torch.empty(40_000, dtype=torch.float64), 0.5, 1.5, a, b)
    law = truncnorm((a - 0.5) / 1.5, (b - 0.5) / 1.5, loc=0.5, scale=1.5)
    assert a <= w.min() and w.max() <= b
    assert abs(w.mean().item() - law.mean()) < 5 * law.std() / 200
    assert abs(w.std().item() / law.std() - 1) < 0.05


def test_sparse_takes_every_random_number_from_the_generator():
    first, second = (
        I.sparse_(torch.empty(10, 4), 0.33, generator=torch.Generator().manual_seed(1)) for _ in "ab"
    )
    assert torch.equal(first, second) and ((first == 0).sum(0) == 4).all()
    torch.manual_seed(2)
    ours = I.sparse_(torch.empty(10, 4), 0.5)
    torch.manual_seed(2)
    assert torch.equal(ours, nn.init.sparse_(torch.empty(10, 4), 0.5))


@pytest.mark.parametrize("uniform", [False, True])
def test_lecun_has_variance_one_over_fan_in(uniform):
    w = (I.lecun_uniform_ if uniform else I.lecun_normal_)(nn.Conv2d(64, 128, 3, groups=2))
    assert abs(w.var().item() * 32 * 9 - 1) < 0.03
    assert (w.abs().max() <= math.sqrt(3 / 288)) == uniform


def test_drawing_with_a_generator_leaves_torchs_own_alone():
    before = torch.get_rng_state()
    generator = torch.Generator().manual_seed(0)
    for name in ("uniform_", "trunc_normal_", "xavier_normal_", "lecun_uniform_", "orthogonal_"):
        getattr(I, name)(torch.empty(3, 3), generator=generator)
    assert torch.equal(torch.get_rng_state(), before)


LAYERS = [
    nn.Linear(40, 30),
    nn.Conv2d(16, 12, 3),
    nn.Conv2d(16, 32, 3, groups=4),
    nn.Conv2d(24, 24, 5, groups=24),
    nn.Conv2d(12, 16, 3, stride=2),
    nn.Conv1d(12, 16, 5, dilation=2),
    nn.Conv2d(12, 24, 1, stride=2, groups=3),
    nn.ConvTranspose2d(12, 20, 3),
    nn.ConvTranspose2d(16, 12, 4, stride=2),
    nn.ConvTranspose2d(16, 16, 3, stride=2, groups=4),
    nn.ConvTranspose1d(10, 20, 6, stride=3, groups=2),
    nn.ConvTranspose3d(6, 6, 2, stride=2),
]


def inner(x, layer):
    """Without the border, by whole periods of the stride."""
    cut = 6
    for d in range(2, x.dim()):
        x = x.narrow(d, cut, x.size(d) - 2 * cut)
    return x


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_fans_are_the_measured_growth_of_the_variance(layer):
    """With weights of variance 1 outputs have variance fan_in and gradients fan_out, by Monte Carlo."""
    torch.manual_seed(0)
    size = {2: (), 3: (48,), 4: (36, 36), 5: (24, 24, 24)}[layer.weight.dim()]
    channels = layer.weight.size(1) if isinstance(layer, nn.Linear) else layer.in_channels
    forward, backward = [], []
    for _ in range(12):
        nn.init.normal_(layer.weight)
        nn.init.zeros_(layer.bias)
        x = torch.randn(400 if not size else 2, channels, *size, requires_grad=True)
        y = layer(x)
        (grad,) = torch.autograd.grad(y, x, torch.randn_like(y))
        forward.append(inner(y, layer).square().mean().item())
        backward.append(inner(grad, layer).square().mean().item())
    found = fans(layer)
    assert sum(forward) / len(forward) == pytest.approx(found.fan_in, rel=0.08)
    assert sum(backward) / len(backward) == pytest.approx(found.fan_out, rel=0.08)


def test_fans_of_tensors_are_those_of_torch():
    for shape in ((4, 3), (4, 3, 5), (4, 3, 5, 2)):
        assert tuple(fans(torch.empty(shape))) == nn.init._calculate_fan_in_and_fan_out(torch.empty(shape))
    assert fans(nn.Embedding(100, 8)) == (1, 8) and fans(nn.Bilinear(3, 4, 5)) == (12, 20)
    assert fans(nn.Conv2d(3, 5, 3, stride=2)) == (27, 11.25)
    assert isinstance(fans(nn.Conv2d(4, 8, 2, stride=2)).fan_out, int)


@pytest.mark.parametrize(
    "name", ["linear", "conv2d", "conv_transpose3d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"]
)
def test_gains_of_torchs_names_are_torchs(name):
    assert calculate_gain(name) == nn.init.calculate_gain(name)
    assert calculate_gain("leaky_relu", 0.3) == nn.init.calculate_gain("leaky_relu", 0.3)
    assert calculate_gain("relu", 0.3) == nn.init.calculate_gain("relu", 0.3)


@pytest.mark.parametrize("name", list(A.catalog()))
def test_gains_keep_the_second_moment_by_monte_carlo(name):
    torch.manual_seed(1)
    entry = A.catalog()[name]
    z = torch.randn(400_000, dtype=torch.float64)
    forward, backward = calculate_gain(entry.function), calculate_gain(entry.function, direction="backward")
    assert forward**2 * entry(z).square().mean().item() == pytest.approx(1, rel=0.02)
    assert backward**2 * entry.slope(z).square().mean().item() == pytest.approx(1, rel=0.02)
    if name not in ("tanh", "sigmoid", "selu"):
        assert calculate_gain(name) == pytest.approx(forward, rel=1e-9)
    assert calculate_gain(name, direction="backward") == pytest.approx(backward, rel=1e-9)


def test_gains_of_modules_functions_and_parameters():
    root = math.sqrt(2)
    assert calculate_gain(nn.ReLU(inplace=True)) == pytest.approx(root)
    assert calculate_gain(lambda x: x.clamp(min=0), direction="backward") == pytest.approx(root)
    assert calculate_gain(nn.LeakyReLU(0.5)) == pytest.approx(calculate_gain("leaky_relu", 0.5))
    assert calculate_gain("elu", 0.5) == pytest.approx(calculate_gain(nn.ELU(0.5)))
    assert calculate_gain("prelu", 0.5) == pytest.approx(calculate_gain(nn.PReLU(init=0.5)))
    assert calculate_gain(nn.PReLU(7)) == pytest.approx(calculate_gain("prelu"))
    assert calculate_gain(A.Swish(num_parameters=3)) == pytest.approx(calculate_gain("swish"))
    assert calculate_gain(functools.partial(F.gelu, approximate="tanh")) == pytest.approx(1.5335, abs=1e-3)
    assert calculate_gain(nn.SELU()) == pytest.approx(1)
    module = nn.PReLU()
    calculate_gain(module)
    assert module.training and module.weight.dtype == torch.float32


def test_kaiming_takes_any_activation_and_any_layer():
    layer = nn.ConvTranspose2d(64, 64, 4, stride=2)
    w = I.kaiming_normal_(layer, nonlinearity=F.mish)
    assert w is layer.weight
    assert w.std().item() == pytest.approx(calculate_gain("mish") / math.sqrt(64 * 4), rel=0.02)


@pytest.mark.parametrize(("rows", "columns"), [(6, 3), (3, 6), (4, 4)])
def test_orthogonal_matrices_are_orthogonal_and_uniform(rows, columns):
    w = I.orthogonal_(torch.empty(rows, columns, dtype=torch.float64), 2.0)
    product = w @ w.T if rows < columns else w.T @ w
    torch.testing.assert_close(product, 4 * torch.eye(min(rows, columns), dtype=torch.float64))
    entries = torch.stack([I.orthogonal_(torch.empty(rows, columns)) for _ in range(2000)])
    assert entries.mean(0).abs().max() < 0.06  # without the signs of R the diagonal would have a mean
    assert (entries.square().mean(0) * max(rows, columns) - 1).abs().max() < 0.2


@pytest.mark.parametrize("kind", [1, 2, 3])
def test_delta_orthogonal_keeps_the_norm_of_every_image(kind):
    layer = getattr(nn, f"Conv{kind}d")(4, 8, 3, padding=1, groups=2, bias=False).double()
    weight = I.delta_orthogonal_(layer, gain=3.0)
    x = torch.randn(2, 4, *[6] * kind, dtype=torch.float64)
    torch.testing.assert_close(layer(x).norm(), 3 * x.norm())
    assert (weight != 0).sum() == 8 * 2


def test_variance_map_of_relu_is_a_line():
    for variance in (1.0, 2.0, 3.0):
        line = variance_map("relu", variance, 0.1)
        assert line(4.0) == pytest.approx(2 * variance + 0.1) and line.chi(4.0) == pytest.approx(variance / 2)
    assert variance_map("relu", 2.0).keeps_every_variance and not variance_map("relu", 2.0).fixed_points
    (point,) = variance_map(nn.ReLU(), 1.0, 0.5).fixed_points
    assert point.q == pytest.approx(1.0) and point.chi1 == pytest.approx(0.5) and point.stable
    assert variance_map("relu", 3.0, 0.5).fixed_points == ()
    assert [p[:3] for p in variance_map("relu", 1.0).fixed_points] == [(0.0, pytest.approx(0.5), True)]


def test_variance_map_follows_a_signal_however_small():
    ends = variance_map("relu", 1.0).trajectory(1.0, 100)
    assert ends[-1] == pytest.approx(2.0**-100, rel=1e-6)
    assert variance_map("tanh", 0.25).chi(1e-20) == pytest.approx(0.25, rel=1e-6)
    assert variance_map("sigmoid", 1.0)(1e-16) == pytest.approx(0.25, rel=1e-6)


def test_variance_map_of_tanh_turns_critical_at_one():
    (zero,) = variance_map("tanh", 0.9).fixed_points
    assert (zero.q, zero.stable) == (0, True) and zero.chi1 == pytest.approx(0.9)
    zero, ordered = variance_map("tanh", 1.5).fixed_points
    assert zero.q == 0 and not zero.stable and zero.chi1 == pytest.approx(1.5)
    assert (
        ordered.stable
        and ordered.chi1 > 1
        and variance_map("tanh", 1.5)(ordered.q) == pytest.approx(ordered.q)
    )
    decay = variance_map("tanh", 1.0).trajectory(1.0, 200)
    assert len(decay) == 201 and 1 / 400 < decay[-1] * 1.05 < 1.3 / 400  # q falls as 1 / (2 l)


def test_variance_map_against_a_wide_network():
    torch.manual_seed(0)
    x, width, expected = torch.randn(64, 1500), 1500, variance_map(torch.erf, 1.7, 0.2)
    q = expected.weight_variance * x.square().mean().item() + 0.2
    h = x @ (torch.randn(1500, width) * math.sqrt(1.7 / width)) + 0.2**0.5 * torch.randn(width)
    for _ in range(4):
        h = torch.erf(h) @ (torch.randn(width, width) * math.sqrt(1.7 / width)) + 0.2**0.5 * torch.randn(
            width
        )
        q = expected(q)
    assert h.square().mean().item() == pytest.approx(q, rel=0.06)


def test_variance_map_of_a_constant_and_its_repr():
    (point,) = variance_map("sigmoid", 4.0, 0.3).fixed_points
    assert point.stable and variance_map("sigmoid", 4.0).chi(0.0) == pytest.approx(4 / 16)
    assert "chi1=" in repr(variance_map("sigmoid", 4.0)) and "every q" in repr(variance_map("relu", 2.0))
    assert "no fixed point" in repr(variance_map("relu", 3.0, 1.0))


MATRIX = torch.empty(2, 3)
OTHER = torch.Generator() if torch.cuda.is_available() else None
ERRORS = [
    (lambda: calculate_gain(A.AconC(3)), r"must be one function for all channels, got AconC"),
    (lambda: I.uniform_([1.0]), r"uniform_: tensor must be a torch.Tensor, got list"),
    (
        lambda: I.uniform_(nn.Linear(2, 2)),
        r"uniform_: tensor must be a torch.Tensor, got Linear; pass its weight",
    ),
    (lambda: I.normal_(nn.LazyLinear(2).weight), r"normal_: tensor must have a shape"),
    (lambda: I.zeros_(torch.ones(2, dtype=torch.int64)), r"zeros_: .* floating-point dtype, got torch.int64"),
    (lambda: I.eye_(torch.empty(3)), r"eye_: tensor must have 2 dimensions, got shape \(3,\)"),
    (lambda: I.dirac_(MATRIX), r"dirac_: tensor must have 3 or 4 or 5 dimensions"),
    (lambda: I.dirac_(torch.empty(4, 1, 3), groups=3), r"dirac_: groups must divide .* 4, got 3; .* \[1, 2, 4\]"),
    (lambda: I.dirac_(torch.empty(4, 1, 3), groups=0), r"dirac_: groups must divide"),
    (lambda: I.uniform_(MATRIX, 2, 1), r"uniform_: b must be a finite number of at least 2, got 1"),
    (lambda: I.normal_(MATRIX, 0, -1), r"normal_: std must be a finite number of at least 0, got -1"),
    (lambda: I.normal_(MATRIX, math.nan), r"normal_: mean must be a finite number, got nan"),
    (lambda: I.trunc_normal_(MATRIX, std=0), r"trunc_normal_: std must be a finite number above 0"),
    (lambda: I.trunc_normal_(MATRIX, 0, 1, 90, 91), r"trunc_normal_: \[a, b\] must come within 37"),
    (lambda: I.sparse_(MATRIX, 1.5), r"sparse_: sparsity must be .* in \[0, 1\], got 1.5"),
    (lambda: I.constant_(MATRIX, "1"), r"constant_: val must be a finite number, got '1'"),
    (lambda: I.xavier_uniform_(torch.empty(3)), r"fans: the weight must have at least 2 dimensions"),
    (lambda: I.xavier_normal_(MATRIX, True), r"xavier_normal_: gain must be .* got True"),
    (
        lambda: I.xavier_normal_(nn.LSTM(2, 2)),
        r"fans: module_or_tensor must be a layer with one weight.* got LSTM",
    ),
    (lambda: fans("relu"), r"fans: module_or_tensor must be a layer .* got str"),
    (lambda: fans(nn.LazyLinear(3)), r"fans: module_or_tensor must have a shape"),
    (lambda: I.kaiming_normal_(MATRIX, mode="fan_it"), r"argument mode 'fan_it': did you mean 'fan_in'"),
    (
        lambda: I.kaiming_normal_(MATRIX, nonlinearity="rleu"),
        r"unknown activation 'rleu': did you mean 'relu'",
    ),
    (
        lambda: I.delta_orthogonal_(nn.Linear(2, 2)),
        r"delta_orthogonal_: tensor must be a convolution .* Linear",
    ),
    (
        lambda: I.delta_orthogonal_(torch.empty(2, 3, 3)),
        r"at least as many output as input channels .* got 2 and 3",
    ),
    (
        lambda: I.normal_(torch.empty(2, device="meta"), generator=torch.Generator()),
        r"normal_: generator must be on",
    ),
    (
        lambda: I.normal_(torch.empty(2), generator=3),
        r"normal_: generator must be a torch.Generator .* got int",
    ),
    (lambda: calculate_gain("relu", direction="back"), r"argument direction 'back': did you mean 'backward'"),
    (lambda: calculate_gain(nn.ReLU(), 0.1), r"param must be None for a module or a function, got 0.1"),
    (lambda: calculate_gain("leaky_relu", "a"), r"param must be a finite number, got 'a'"),
    (lambda: calculate_gain("softplus", math.inf), r"param must be a finite number, got inf|no parameter"),
    (lambda: calculate_gain("mish", 1.0), r"mish has no parameter, got param=1.0"),
    (lambda: calculate_gain(3), r"nonlinearity must be a name, a module or a function, got int"),
    (lambda: calculate_gain(torch.zeros_like), r"must have E f\(z\)\^2 above 0"),
    (lambda: calculate_gain(torch.ones_like, direction="backward"), r"must have E f'\(z\)\^2 above 0"),
    (lambda: calculate_gain(lambda z: z.sort().values), "act on each element alone, but <lambda> mixes"),
    (lambda: calculate_gain(lambda z: z.cummax(0).values), "act on each element alone, but <lambda> mixes"),
    (lambda: calculate_gain(nn.Softmax(-1)), r"act on each element alone, but Softmax mixes"),
    (lambda: calculate_gain(nn.LayerNorm(4)), r"act on each element alone, but LayerNorm is a layer"),
    (lambda: calculate_gain(lambda x: x @ x), r"must act on each element .* raised RuntimeError"),
    (lambda: calculate_gain(lambda x: x.sum()), r"must map a tensor to a tensor of the same shape"),
    (lambda: calculate_gain(A.FReLU(3)), r"must be one function for all channels, got FReLU"),
    (
        lambda: variance_map(3, 1.0),
        r"variance_map: activation must be a name, a module or a function, got int",
    ),
    (lambda: variance_map("relu", -1.0), r"variance_map: weight_variance must be .* at least 0, got -1.0"),
    (lambda: variance_map("relu", 1.0)(-1.0), r"variance_map: q must be .* at least 0, got -1.0"),
    (lambda: variance_map("rellu", 1.0), r"unknown activation 'rellu'"),
]


@pytest.mark.parametrize(("call", "message"), ERRORS, ids=[str(i) for i in range(len(ERRORS))])
def test_misuse_is_refused_with_the_argument_named(call, message):
    with pytest.raises(ConvcraftError, match=message):
        call()


@pytest.mark.parametrize("layer", [nn.Linear(400, 300), nn.Conv2d(32, 300, 3)], ids=["linear", "convolution"])
def test_torchs_own_default_has_a_sixth_of_he_s_variance(layer):
    default = layer.weight.var().item()
    he = I.kaiming_uniform_(layer, nonlinearity="relu").var().item()
    assert default / he == pytest.approx(1 / 6, rel=0.05)
