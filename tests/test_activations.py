"""Values and gradients of the activations against torch.nn: dtypes, shapes, layouts, extreme input."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from convcraft import activations as A
from convcraft.activations import _fast
from convcraft.activations.definitions import DEFINITIONS
from convcraft.activations.definitions import log_softmax as defined_log_softmax
from convcraft.activations.definitions import softmax as defined_softmax

PLAIN = {
    "relu": {},
    "relu6": {},
    "leaky_relu": {"negative_slope": 0.2},
    "elu": {"alpha": 0.7},
    "celu": {"alpha": 0.7},
    "selu": {},
    "gelu": {"approximate": "tanh"},
    "silu": {},
    "mish": {},
    "sigmoid": {},
    "hardsigmoid": {},
    "hardswish": {},
    "tanh": {},
    "softplus": {"beta": 2.0, "threshold": 5.0},
    "softsign": {},
}
CASES = [(name, {}) for name in PLAIN] + [(name, kwargs) for name, kwargs in PLAIN.items() if kwargs]
FAST = ("mish", "softsign", "elu", "celu", "selu")
TOLERANCE = {
    torch.float64: {"rtol": 1e-12, "atol": 1e-13},
    torch.float32: {"rtol": 2e-6, "atol": 4e-7},
    torch.float16: {"rtol": 2e-3, "atol": 2e-3},
    torch.bfloat16: {"rtol": 1.6e-2, "atol": 8e-3},
}
DTYPES = list(TOLERANCE)
EXTREME = [0.0, -0.0, 1e-30, -1e-30, 3.0, -3.0, 6.0, 20.0, -20.0, 88.0, -104.0, 1e4, -1e4]


@pytest.fixture
def eager_paths(monkeypatch):
    """Let the fast paths run on every size."""
    for name in ("MISH_FROM", "SOFTSIGN_FROM", "RESULT_FROM"):
        monkeypatch.setattr(_fast, name, 0)


def with_gradient(function, x, grad):
    leaf = x.detach().clone(memory_format=torch.preserve_format).requires_grad_(True)
    y = function(leaf)
    (slope,) = torch.autograd.grad(y, leaf, grad)
    return y.detach(), slope


def assert_same(ours, theirs, x, grad=None):
    """Both functions give the same values and gradients on x, in the same layout."""
    grad = torch.randn_like(x) if grad is None else grad
    (y, slope), (expected, expected_slope) = with_gradient(ours, x, grad), with_gradient(theirs, x, grad)
    assert y.dtype == expected.dtype and y.shape == expected.shape
    torch.testing.assert_close(y, expected, equal_nan=True, **TOLERANCE[x.dtype])
    # torch keeps the 1/6 of hardsigmoid's derivative and CELU's 1/alpha in single precision, also for doubles
    loose = {
        torch.float64: {"rtol": 5e-7, "atol": 1e-12},
        torch.float32: {"rtol": 2e-6, "atol": 2e-6},
    }.get(x.dtype, TOLERANCE[x.dtype])
    torch.testing.assert_close(slope, expected_slope, equal_nan=True, **loose)
    assert y.stride() == expected.stride()


@pytest.mark.parametrize(("name", "kwargs"), CASES, ids=str)
def test_equals_torch_in_every_dtype_and_shape_and_at_extremes(name, kwargs, eager_paths):
    ours, theirs = (lambda v, m=m: getattr(m, name)(v, **kwargs) for m in (A, F))
    for dtype in DTYPES:
        x = torch.cat([4 * torch.randn(500), torch.tensor(EXTREME)]).to(dtype)
        assert_same(ours, theirs, x)
        assert all(torch.isfinite(result).all() for result in with_gradient(ours, x, torch.ones_like(x)))
    for shape in ((), (0,), (1,), (5, 0, 3), (2, 3, 4, 5), (2, 3, 4, 5, 6)):
        assert_same(ours, theirs, torch.randn(shape))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_equals_torch_on_cuda():
    for name, kwargs in CASES:
        for dtype in DTYPES:
            x = torch.cat([4 * torch.randn(500), torch.tensor(EXTREME)]).to("cuda", dtype)
            assert_same(
                lambda v, n=name, k=kwargs: getattr(A, n)(v, **k),
                lambda v, n=name, k=kwargs: getattr(F, n)(v, **k),
                x,
            )


@pytest.mark.parametrize("name", PLAIN)
def test_keeps_the_memory_format(name, eager_paths):
    x = torch.randn(2, 3, 4, 5)
    for laid_out in (
        x.contiguous(memory_format=torch.channels_last),
        torch.randn(2, 3, 4, 5, 6).contiguous(memory_format=torch.channels_last_3d),
    ):
        assert_same(getattr(A, name), getattr(F, name), laid_out)


@pytest.mark.parametrize("name", PLAIN)
def test_equals_torch_on_strided_input_and_expanded_gradient(name, eager_paths):
    x = torch.randn(6, 8)[::2, 1::3]
    (y, slope), (expected, expected_slope) = (
        with_gradient(getattr(module, name), x, torch.tensor(0.5).expand(x.shape)) for module in (A, F)
    )
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(slope, expected_slope)


@pytest.mark.parametrize("dtype", (torch.float32, torch.float64), ids=str)
@pytest.mark.parametrize("name", FAST)
def test_fast_path_equals_torch_and_its_definition(name, dtype, eager_paths):
    x = torch.cat([4 * torch.randn(100_000, dtype=dtype), torch.tensor(EXTREME, dtype=dtype)])
    assert_same(getattr(A, name), getattr(F, name), x)
    torch.testing.assert_close(getattr(A, name)(x), DEFINITIONS[name][0](x), **TOLERANCE[dtype])


@pytest.mark.parametrize("name", ["mish", "softsign"])
def test_fast_path_keeps_relative_accuracy_near_zero_and_far_out(name, eager_paths):
    size = torch.logspace(-30, 1.3, 20_000)
    x = torch.cat([size, -size])
    y, slope = with_gradient(getattr(A, name), x, torch.ones_like(x))
    value, derivative = (formula(x.double()) for formula in DEFINITIONS[name])
    assert ((y.double() - value) / value).abs().max() < 6e-7
    near = derivative.abs() > 1e-3
    assert ((slope.double() - derivative) / derivative)[near].abs().max() < 2e-4
    assert (slope.double() - derivative).abs().max() < 4e-7


@pytest.mark.parametrize("name", PLAIN)
def test_definition_equals_torch(name):
    x = torch.cat([4 * torch.randn(500), torch.tensor(EXTREME)]).double()
    y, slope = with_gradient(getattr(F, name), x, torch.ones_like(x))
    torch.testing.assert_close(DEFINITIONS[name][0](x), y, rtol=1e-9, atol=1e-12)
    # torch keeps the 1/6 of hardsigmoid's derivative in single precision
    rtol = 1e-7 if name == "hardsigmoid" else 1e-9
    torch.testing.assert_close(DEFINITIONS[name][1](x), slope, rtol=rtol, atol=1e-12)


@pytest.mark.parametrize("name", PLAIN)
def test_zero_infinity_and_nan_are_right_where_torch_is(name, eager_paths):
    x = torch.tensor([0.0, -0.0, math.inf, -math.inf, math.nan])
    expected = getattr(F, name)(x)
    y = getattr(A, name)(x)
    right = ~torch.isnan(expected)
    torch.testing.assert_close(y[right], expected[right])
    assert torch.isnan(y[-1])
    slopes = with_gradient(getattr(F, name), x, torch.ones_like(x))[1]
    ours = with_gradient(getattr(A, name), x, torch.ones_like(x))[1]
    right = ~torch.isnan(slopes[:4])
    torch.testing.assert_close(ours[:4][right], slopes[:4][right])


@pytest.mark.parametrize("name", ["elu", "celu"])
def test_elu_of_any_alpha_has_its_slope(name, eager_paths):
    """The output tells the slope for alpha above 0 only; for the others the input has to be kept."""
    x = torch.linspace(-3, 3, 50, dtype=torch.float64)
    for alpha in (0.3, 1.0, 2.5, -0.7, -2.0):
        y, slope = with_gradient(lambda v, a=alpha: getattr(A, name)(v, a), x, torch.ones_like(x))
        rate = alpha if name == "celu" else 1.0
        low = alpha * torch.expm1(x / rate), alpha / rate * torch.exp(x / rate)
        torch.testing.assert_close(y, torch.where(x > 0, x, low[0]))
        torch.testing.assert_close(slope, torch.where(x > 0, torch.ones_like(x), low[1]))


@pytest.mark.parametrize("name", ["elu", "celu", "selu"])
def test_the_elu_family_adds_nothing_to_what_the_next_layer_keeps(name, eager_paths):
    def kept(module):
        stored = {}
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t: stored.setdefault(t.untyped_storage().data_ptr(), t), lambda t: t
        ):
            y = getattr(module, name)(torch.randn(1000, requires_grad=True) * 2)
            y = y * y  # keeps its input, as a layer does
        return y, len(stored)

    assert kept(A)[1] == kept(F)[1] - 1


@pytest.mark.parametrize(
    "name",
    ["relu", "relu6", "leaky_relu", "elu", "celu", "selu", "silu", "mish", "hardsigmoid", "hardswish"],
)
def test_inplace_writes_over_the_input(name, eager_paths):
    x = torch.randn(10, requires_grad=True)
    middle = x * 2
    y = getattr(A, name)(middle, inplace=True)
    assert y.data_ptr() == middle.data_ptr()
    torch.testing.assert_close(y, getattr(F, name)(x * 2))
    (slope,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(slope, torch.autograd.grad(getattr(F, name)(x * 2).sum(), x)[0])


@pytest.mark.parametrize("slopes", [1, 3])
def test_prelu_equals_torch_on_input_and_weight(slopes):
    x, weight = torch.randn(4, 3, 5, 5), torch.rand(slopes)
    results = []
    for module in (A, F):
        leaves = (x.clone().requires_grad_(), weight.clone().requires_grad_())
        y = module.prelu(*leaves)
        results.append((y.detach(), *torch.autograd.grad(y.square().sum(), leaves)))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0, 3.0, torch.tensor(1.7)])
def test_swish_equals_its_definition_and_silu(beta):
    x = torch.cat([torch.randn(200), torch.tensor(EXTREME)]).double()
    y, slope = with_gradient(lambda v: A.swish(v, beta), x, torch.ones_like(x))
    torch.testing.assert_close(y, DEFINITIONS["swish"][0](x, beta))
    torch.testing.assert_close(slope, DEFINITIONS["swish"][1](x, beta))
    torch.testing.assert_close(A.swish(x), F.silu(x))


@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_equals_torch_in_every_layout(name, dtype, dim):
    defined = {"softmax": defined_softmax, "log_softmax": defined_log_softmax}[name]
    for form in (torch.contiguous_format, torch.channels_last):
        x = (10 * torch.randn(2, 3, 4, 5)).to(dtype).contiguous(memory_format=form)
        grad = torch.randn_like(x)
        y, slope = with_gradient(lambda v: getattr(A, name)(v, dim=dim), x, grad)
        expected, expected_slope = with_gradient(lambda v: getattr(F, name)(v, dim=dim), x, grad)
        torch.testing.assert_close(y, expected, **TOLERANCE[dtype])
        torch.testing.assert_close(slope, expected_slope, **TOLERANCE[dtype])
        torch.testing.assert_close(y, defined(x, dim), **TOLERANCE[dtype])
    assert getattr(A, name)(x.float(), dim=1).is_contiguous(memory_format=torch.channels_last)
    assert (
        getattr(A, name)(torch.ones(3, dtype=torch.int64), dim=0, dtype=torch.float64).dtype == torch.float64
    )


def test_softmax_without_a_dimension_warns_as_torch_does():
    x = torch.randn(2, 3)
    with pytest.warns(UserWarning, match="Implicit dimension"):
        y = A.softmax(x)
    torch.testing.assert_close(y, F.softmax(x, 1))


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool, torch.complex64], ids=str)
@pytest.mark.parametrize("name", PLAIN)
def test_other_dtypes_are_taken_where_torch_takes_them_and_refused_elsewhere(name, dtype):
    x = torch.ones(3, dtype=dtype)
    try:
        expected = getattr(F, name)(x)
    except (RuntimeError, NotImplementedError):
        with pytest.raises(ValueError, match=rf"{name}: input must have a floating-point dtype, got torch"):
            getattr(A, name)(x)
    else:
        torch.testing.assert_close(getattr(A, name)(x), expected)


values = st.floats(-50, 50, width=32)


@given(st.lists(values, min_size=2, max_size=20))
@settings(max_examples=60, deadline=None)
def test_properties_of_shape_and_bounds(numbers):
    x = torch.tensor(sorted(numbers), dtype=torch.float64)
    for name, entry in A.catalog().items():
        y = entry(x)
        low, high = entry.range
        assert y.min() >= low - 1e-9 and y.max() <= high + 1e-9, name
        steps, moves = x.diff(), y.diff()
        assert (moves.abs() <= entry.lipschitz * steps + 1e-9).all(), name
        if entry.monotonic:
            assert (moves >= -1e-12).all(), name
    torch.testing.assert_close(A.tanh(-x), -A.tanh(x))
    torch.testing.assert_close(A.sigmoid(-x), 1 - A.sigmoid(x))
    torch.testing.assert_close(A.tanh(x), 2 * A.sigmoid(2 * x) - 1)
    torch.testing.assert_close(A.relu(x) - A.relu(-x), x)
    torch.testing.assert_close(A.silu(x), x * A.sigmoid(x))
    torch.testing.assert_close(A.softplus(x) - A.softplus(-x), x)


@given(st.lists(values, min_size=1, max_size=20), values)
@settings(max_examples=60, deadline=None)
def test_softmax_sums_to_one_and_ignores_a_shift(numbers, shift):
    x = torch.tensor(numbers, dtype=torch.float64)
    p = A.softmax(x, dim=0)
    torch.testing.assert_close(p.sum(), torch.ones((), dtype=torch.float64))
    torch.testing.assert_close(A.softmax(x + shift, dim=0), p)
    torch.testing.assert_close(A.log_softmax(x, dim=0).exp(), p)
