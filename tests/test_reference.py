"""The NumPy reference: derivatives by finite differences, limits, and torch as a second opinion."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from convcraft import ConvcraftError, reference
from convcraft.activations.definitions import DEFINITIONS

KINKS = np.array([-3.0, 0.0, 3.0, 6.0])
NAMES = list(reference.ACTIVATIONS)


def grid():
    x = np.linspace(-25, 25, 4001) + 1.7e-3
    return x[np.abs(x[:, None] - KINKS).min(1) > 1e-3]


def test_covers_every_definition():
    assert set(NAMES) == set(DEFINITIONS)


@pytest.mark.parametrize("name", NAMES)
def test_derivative_equals_finite_differences(name):
    f, df = reference.ACTIVATIONS[name]
    x, h = grid(), 1e-5
    np.testing.assert_allclose(df(x), (f(x + h) - f(x - h)) / (2 * h), atol=2e-9, rtol=1e-6)


def test_derivative_of_gelu_by_tanh_equals_finite_differences():
    df = reference.ACTIVATIONS["gelu"][1]
    x, h = grid(), 1e-5
    slope = (reference.gelu(x + h, "tanh") - reference.gelu(x - h, "tanh")) / (2 * h)
    np.testing.assert_allclose(df(x, "tanh"), slope, atol=2e-9, rtol=1e-6)
    expected = F.gelu(torch.from_numpy(x), approximate="tanh").numpy()
    np.testing.assert_allclose(reference.gelu(x, "tanh"), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", NAMES)
def test_equals_the_definition_in_torch(name):
    x = np.concatenate([grid(), [0.0, -0.0, 3.0, -3.0, 6.0, 1e4, -1e4]])
    for ours, theirs in zip(reference.ACTIVATIONS[name], DEFINITIONS[name], strict=True):
        expected = theirs(torch.from_numpy(x)).numpy()
        # softplus becomes the identity above its threshold 20: by 2e-9
        np.testing.assert_allclose(ours(x), expected, rtol=1e-11, atol=1e-13)


LIMITS = {  # f(-inf), f'(-inf), f'(inf); f(inf) is inf unless the range says otherwise
    "relu": (0, 0, 1), "relu6": (0, 0, 0), "leaky_relu": (-np.inf, 0.01, 1), "prelu": (-np.inf, 0.25, 1),
    "elu": (-1, 0, 1), "celu": (-1, 0, 1), "selu": (-1.7580993408473766, 0, 1.0507009873554805),
    "gelu": (0, 0, 1),
    "silu": (0, 0, 1), "swish": (0, 0, 1), "mish": (0, 0, 1), "sigmoid": (0, 0, 0), "hardsigmoid": (0, 0, 0),
    "hardswish": (0, 0, 1), "tanh": (-1, 0, 0), "softplus": (0, 0, 1), "softsign": (-1, 0, 0),
}  # fmt: skip
TOPS = {"relu6": 6, "sigmoid": 1, "hardsigmoid": 1, "tanh": 1, "softsign": 1}


@pytest.mark.parametrize("name", NAMES)
def test_limits_at_infinity_and_nan(name):
    f, df = reference.ACTIVATIONS[name]
    low, slope_low, slope_high = LIMITS[name]
    with np.errstate(over="raise", divide="raise"):
        assert float(f(-np.inf)) == low
        assert float(f(np.inf)) == TOPS.get(name, np.inf)
        assert float(df(-np.inf)) == slope_low and float(df(np.inf)) == slope_high
        assert np.isnan(f(np.nan))
        assert np.isfinite([f([-1e4, 1e4]), df([-1e4, 1e4])]).all()


def test_relative_accuracy_near_zero():
    x = 10.0 ** -np.arange(5, 300, 20)
    for name in ("tanh", "elu", "celu", "softsign"):
        for sign in (1, -1):
            np.testing.assert_allclose(reference.ACTIVATIONS[name][0](sign * x), sign * x, rtol=2e-5)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(("stride", "padding", "dilation"), [(1, 0, 1), (2, 1, 1), ((2, 1), (0, 2), (1, 2))])
def test_conv2d_equals_torch(stride, padding, dilation, groups):
    x, w, b = torch.randn(2, 4, 9, 8), torch.randn(6, 4 // groups, 3, 2), torch.randn(6)
    arguments = (stride, padding, dilation, groups)
    expected = F.conv2d(x.double(), w.double(), b.double(), *arguments).numpy()
    np.testing.assert_allclose(reference.conv2d(x, w, b, *arguments), expected, rtol=1e-12, atol=1e-12)
    plain = F.conv2d(x.double(), w.double(), None, *arguments).numpy()
    np.testing.assert_allclose(reference.conv2d(x, w, None, *arguments), plain, rtol=1e-12, atol=1e-12)


def test_convolution_of_an_impulse_is_the_flipped_kernel():
    impulse, kernel = np.zeros((1, 1, 5, 5)), np.arange(9.0).reshape(1, 1, 3, 3)
    impulse[0, 0, 2, 2] = 1
    np.testing.assert_array_equal(reference.conv2d(impulse, kernel)[0, 0], kernel[0, 0, ::-1, ::-1])


@pytest.mark.parametrize(("size", "stride", "padding"), [(2, None, 0), (3, 2, 1), ((2, 3), (1, 2), (0, 1))])
def test_pooling_equals_torch(size, stride, padding):
    x = -torch.rand(2, 3, 7, 8, dtype=torch.float64)
    ours = reference.max_pool2d(x, size, stride, padding)
    np.testing.assert_array_equal(ours, F.max_pool2d(x, size, stride, padding).numpy())
    ours = reference.avg_pool2d(x, size, stride, padding)
    np.testing.assert_allclose(ours, F.avg_pool2d(x, size, stride, padding).numpy(), rtol=1e-12)


def test_softmax_and_cross_entropy_equal_torch_and_survive_large_scores():
    scores = torch.randn(6, 4, dtype=torch.float64) * 300
    labels = torch.randint(4, (6,))
    np.testing.assert_allclose(
        reference.softmax(scores), F.softmax(scores, -1).numpy(), rtol=1e-10, atol=1e-300
    )
    np.testing.assert_allclose(
        reference.softmax(scores, 0), F.softmax(scores, 0).numpy(), rtol=1e-10, atol=1e-300
    )
    np.testing.assert_allclose(reference.log_softmax(scores), F.log_softmax(scores, -1).numpy(), rtol=1e-12)
    assert reference.cross_entropy(scores, labels) == pytest.approx(F.cross_entropy(scores, labels).item())


def test_receptive_field_is_what_the_gradient_touches():
    layers = [(3, 1), (2, 2), (3, 1, 2), (5,)]
    x = torch.zeros(1, 1, 64, 64, requires_grad=True)
    y = x
    for layer in layers:
        kernel, stride, dilation = (*layer, 1, 1)[:3]
        y = F.conv2d(y, torch.ones(1, 1, kernel, kernel), stride=stride, dilation=dilation)
    (touched,) = torch.autograd.grad(y[0, 0, 3, 3], x)
    assert int((touched[0, 0].sum(0) > 0).sum()) <= reference.receptive_field(layers)
    columns = touched[0, 0].sum(0).nonzero()
    assert int(columns[-1] - columns[0]) + 1 == reference.receptive_field(layers)
    assert reference.receptive_field([]) == 1


@pytest.mark.parametrize("n", [1, 7, 28])
def test_output_size_equals_torch(n):
    for k, s, p, d in [(1, 1, 0, 1), (3, 1, 1, 1), (3, 2, 1, 1), (3, 1, 2, 2), (2, 2, 0, 1)]:
        if n + 2 * p >= d * (k - 1) + 1:
            y = F.conv1d(torch.zeros(1, 1, n), torch.zeros(1, 1, k), stride=s, padding=p, dilation=d)
            assert reference.output_size(n, k, s, p, d) == y.shape[-1]


IMAGE, KERNEL = np.zeros((1, 2, 4, 4)), np.zeros((3, 2, 3, 3))
ERRORS = [
    (lambda: reference.output_size(0, 1), r"output_size: n must be at least 1, got 0"),
    (lambda: reference.output_size(2, 3), r"kernel reaches over 3 positions but the padded input has 2"),
    (lambda: reference.receptive_field([(0,)]), r"receptive_field: each layer must be .* got \(0,\)"),
    (lambda: reference.receptive_field([()]), r"receptive_field: each layer must be"),
    (lambda: reference.conv2d(IMAGE[0], KERNEL), r"conv2d: x must have the four axes .* \(2, 4, 4\)"),
    (lambda: reference.conv2d(IMAGE, KERNEL, groups=2), r"conv2d: w must have shape .* groups=2"),
    (lambda: reference.conv2d(IMAGE, KERNEL, np.zeros(2)), r"conv2d: b must have shape \(3,\), got \(2,\)"),
    (
        lambda: reference.conv2d(IMAGE, KERNEL, stride=0),
        r"conv2d: stride must be one or two whole numbers .* got 0",
    ),
    (lambda: reference.max_pool2d(IMAGE, (2, 2, 2)), r"max_pool2d: kernel_size must be one or two"),
    (lambda: reference.avg_pool2d(IMAGE, 2, padding=2), r"avg_pool2d: padding must be at most half"),
    (
        lambda: reference.cross_entropy([[0.0, 1.0]], [0.5]),
        r"cross_entropy: logits must have shape .* float64",
    ),
    (lambda: reference.cross_entropy([[0.0, 1.0]], [2]), r"labels must lie between 0 and 1, got 2 to 2"),
]


@pytest.mark.parametrize(("call", "message"), ERRORS, ids=[message[:40] for _, message in ERRORS])
def test_misuse_is_refused(call, message):
    with pytest.raises(ConvcraftError, match=message):
        call()
