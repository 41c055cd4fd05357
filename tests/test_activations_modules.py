"""Modules: arguments, state, repr and errors as torch.nn has them; adaptive ones against their formulas."""

import inspect

import pytest
import torch
from torch import nn

from convcraft import ConvcraftError
from convcraft import activations as A

PAIRS = [
    (name, {})
    for name in (
        "ReLU ReLU6 LeakyReLU PReLU ELU CELU SELU GELU SiLU Mish Sigmoid Hardsigmoid "
        "Hardswish Tanh Softplus Softsign"
    ).split()
] + [
    ("ReLU", {"inplace": True}),
    ("LeakyReLU", {"negative_slope": 0.3, "inplace": True}),
    ("PReLU", {"num_parameters": 3, "init": 0.1, "dtype": torch.float64}),
    ("ELU", {"alpha": 0.5, "inplace": True}),
    ("CELU", {"alpha": 0.5}),
    ("GELU", {"approximate": "tanh"}),
    ("Softplus", {"beta": 2, "threshold": 10}),
    ("Softmax", {"dim": 1}),
    ("LogSoftmax", {"dim": 1}),
]


@pytest.mark.parametrize(("name", "kwargs"), PAIRS, ids=str)
def test_drop_in_for_torch(name, kwargs):
    ours, theirs = getattr(A, name)(**kwargs), getattr(nn, name)(**kwargs)
    x = torch.randn(2, 3, 4, 4, dtype=kwargs.get("dtype", torch.float32))
    torch.testing.assert_close(ours(x.clone()), theirs(x.clone()))
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())


@pytest.mark.parametrize("name", sorted({name for name, _ in PAIRS}))
def test_constructor_takes_the_arguments_of_torch_in_its_order(name):
    ours, theirs = (inspect.signature(getattr(module, name).__init__).parameters for module in (A, nn))
    if name in ("Sigmoid", "Tanh", "Softsign"):
        assert list(ours)[1:] == list(theirs)[1:] or [p.kind for p in ours.values()][1:] == [
            inspect.Parameter.VAR_POSITIONAL,
            inspect.Parameter.VAR_KEYWORD,
        ]
    else:
        assert [(p.name, p.default) for p in ours.values()] == [(p.name, p.default) for p in theirs.values()]


@pytest.mark.parametrize(
    "name", "relu relu6 leaky_relu elu celu selu silu mish hardsigmoid hardswish".split()
)
def test_functions_take_the_arguments_of_torch_in_its_order(name):
    ours, theirs = (
        inspect.signature(getattr(module, name)).parameters for module in (A, torch.nn.functional)
    )
    assert [(p.name, p.default) for p in ours.values()] == [(p.name, p.default) for p in theirs.values()]


def test_learned_slope_and_beta_train():
    x = torch.randn(64, 3)
    for module in (A.PReLU(3), A.Swish(num_parameters=3), A.AconC(3), A.AconC(1), A.Swish()):
        module(x).square().sum().backward()
        assert all(p.grad is not None and p.grad.abs().max() > 0 for p in module.parameters())


def test_swish_with_a_constant_beta_has_no_parameter_but_keeps_it_in_the_state():
    module = A.Swish(2.0, learnable=False)
    assert not list(module.parameters()) and module.state_dict()["beta"].item() == 2.0
    torch.testing.assert_close(module(torch.ones(())), A.swish(torch.ones(()), 2.0))
    assert "learnable=False" in repr(module)


def test_swish_has_one_beta_for_each_channel():
    module = A.Swish(num_parameters=2)
    with torch.no_grad():
        module.beta.copy_(torch.tensor([0.0, 50.0]))
    y = module(torch.full((1, 2, 3), -1.0))
    torch.testing.assert_close(y[0, 0], torch.full((3,), -0.5))
    torch.testing.assert_close(y[0, 1], torch.zeros(3))


def test_reset_parameters_restores_the_start():
    module = A.PReLU(2, init=0.7)
    nn.init.zeros_(module.weight)
    module.reset_parameters()
    assert module.weight.tolist() == pytest.approx([0.7, 0.7])


def test_acon_is_swish_relu_and_a_line_in_its_limits():
    x = torch.linspace(-4, 4, 41, dtype=torch.float64)
    torch.testing.assert_close(A.acon_c(x, 1.0, 0.0, 1.0), A.silu(x))
    torch.testing.assert_close(A.acon_c(x, 1.0, 0.0, 1e6), A.relu(x))
    torch.testing.assert_close(A.acon_c(x, 1.0, 0.25, 1e6), A.leaky_relu(x, 0.25))
    torch.testing.assert_close(A.acon_c(x, 1.0, 0.5, 0.0), 0.75 * x)


def test_meta_acon_computes_its_beta_from_each_sample():
    module = A.MetaAconC(4, 2).eval()
    x = torch.randn(3, 4, 5, 5)
    beta = torch.sigmoid(module.bn2(module.fc2(module.bn1(module.fc1(x.mean((2, 3)))))))[:, :, None, None]
    p1, p2 = (p.view(1, -1, 1, 1) for p in (module.p1, module.p2))
    torch.testing.assert_close(module(x), (p1 - p2) * x * torch.sigmoid(beta * (p1 - p2) * x) + p2 * x)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("pieces", [2, 3])
def test_dynamic_relu_is_the_largest_of_its_lines_and_starts_as_relu(pieces, shared):
    module = A.DynamicReLU(4, 2, pieces=pieces, shared=shared)
    x = torch.randn(3, 4, 5, 5)
    torch.testing.assert_close(module(x), torch.relu(x))
    nn.init.normal_(module.fc2.weight)
    slopes, intercepts = module.coefficients(x)
    assert slopes.shape == (3, 1 if shared else 4, pieces)
    lines = x.unsqueeze(-1) * slopes[:, :, None, None] + intercepts[:, :, None, None]
    torch.testing.assert_close(module(x), lines.amax(-1))
    start = torch.tensor([1.0] + [0.0] * (pieces - 1))
    assert ((slopes - start).abs() <= 1).all() and (intercepts.abs() <= 0.5).all()


def test_dynamic_relu_takes_rows_without_positions():
    assert A.DynamicReLU(4)(torch.randn(5, 4)).shape == (5, 4)


def test_frelu_is_the_larger_of_the_value_and_its_surroundings():
    module = A.FReLU(3).eval()
    x = torch.randn(2, 3, 6, 6)
    torch.testing.assert_close(module(x), torch.maximum(x, module.bn(module.conv(x))))
    assert module.conv.groups == 3 and module.conv.bias is None
    assert module(x).shape == A.FReLU(3, kernel_size=5)(x).shape == x.shape


@pytest.mark.parametrize("make", [A.AconC, A.MetaAconC, A.DynamicReLU, A.FReLU], ids=lambda m: m.__name__)
def test_adaptive_modules_take_dtype_and_keep_channels_last(make):
    module = make(4, dtype=torch.float64)
    assert all(p.dtype == torch.float64 for p in module.parameters())
    x = torch.randn(3, 4, 5, 5, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    assert module(x).is_contiguous(memory_format=torch.channels_last)
    assert module(x.requires_grad_()).sum().backward() is None and torch.isfinite(x.grad).all()


ERRORS = [
    (lambda: A.relu([1.0]), r"relu: input must be a torch.Tensor, got list"),
    (
        lambda: A.gelu(torch.ones(2, dtype=torch.int64)),
        r"gelu: input must have a floating-point dtype, got torch.int64",
    ),
    (lambda: A.gelu(torch.ones(2), "tahn"), r"gelu's argument approximate 'tahn': did you mean 'tanh'"),
    (lambda: A.GELU("erf"), r"GELU's argument approximate 'erf'"),
    (lambda: A.celu(torch.ones(2), 0.0), r"celu: alpha must be a number other than 0, got 0.0"),
    (lambda: A.CELU(0), r"CELU: alpha must be"),
    (lambda: A.softplus(torch.ones(2), 0), r"softplus: beta must be"),
    (lambda: A.Softplus("1"), r"Softplus: beta must be a number other than 0, got '1'"),
    (
        lambda: A.prelu(torch.ones(2), 0.25),
        r"prelu: weight must be a torch.Tensor, got float; use torch.tensor",
    ),
    (
        lambda: A.prelu(torch.ones(2), torch.ones(1, 1)),
        r"prelu: weight must have 0 or 1 dimensions, got shape \(1, 1\)",
    ),
    (
        lambda: A.prelu(torch.ones(2, 3), torch.ones(2)),
        r"prelu: weight must hold 1 slope .* 3 channels .* got 2",
    ),
    (lambda: A.prelu(torch.ones(3), torch.ones(3)), r"the input's 1 channels"),
    (lambda: A.PReLU(0), r"PReLU: num_parameters must be a whole number of at least 1, got 0"),
    (lambda: A.Swish(num_parameters=0), r"Swish: num_parameters must be"),
    (lambda: A.Swish(num_parameters=3)(torch.ones(2, 4)), r"Swish: input must have 3 channels .* \(2, 4\)"),
    (lambda: A.AconC(3)(torch.ones(2, 4)), r"AconC: input must have .* 3 channels in dimension 1"),
    (lambda: A.MetaAconC(0), r"MetaAconC: channels must be a whole number of at least 1, got 0"),
    (lambda: A.MetaAconC(3, 0), r"MetaAconC: reduction must be a whole number of at least 1"),
    (lambda: A.DynamicReLU(3, pieces=1), r"DynamicReLU: pieces must be at least 2, got 1"),
    (lambda: A.DynamicReLU(3)(torch.ones(2)), r"DynamicReLU: input must have at least 2 dimensions"),
    (lambda: A.FReLU(3, 4), r"FReLU: kernel_size must be odd, got 4"),
    (lambda: A.FReLU(3)(torch.ones(2, 3)), r"FReLU: input must have at least 4 dimensions"),
    (lambda: A.softmax([0.0], 0), r"softmax: input must be a torch.Tensor"),
]


@pytest.mark.parametrize(("call", "message"), ERRORS, ids=[message[:40] for _, message in ERRORS])
def test_misuse_is_refused_with_the_argument_named(call, message):
    with pytest.raises(ConvcraftError, match=message):
        call()
