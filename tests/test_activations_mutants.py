"""Known wrong implementations, each of which the checks of this suite must reject."""

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

EXTREME = torch.tensor([-1e4, -100.0, -1.0, -1e-6, 0.0, 1e-6, 1.0, 100.0, 1e4])


def shifted_relu_in_place(x):
    """Subtracts from ReLU's result in place, which the backward pass still needs."""
    y = F.relu(x)
    y -= 0.4
    return y


def tanh_by_exponentials(x):
    return (torch.exp(x) - torch.exp(-x)) / (torch.exp(x) + torch.exp(-x))


def elu_by_where(x):
    """The unused branch overflows, and its gradient 0 * inf is NaN."""
    return torch.where(x > 0, x, torch.exp(x) - 1)


def elu_without_alpha(x):
    return torch.where(x > 0, x, torch.expm1(x.clamp(max=0)))


def tanh_by_sigmoid(x):
    """All relative accuracy near 0 is lost."""
    return 2 * torch.sigmoid(2 * x) - 1


def mish_without_a_bound(x):
    e = torch.exp(x)
    n = e * (e + 2)
    return x * n / (n + 2)


class TanhWithDetachedOutput(torch.autograd.Function):
    """Right gradient, wrong second derivative: the output is treated as a constant."""

    @staticmethod
    def forward(ctx, x):
        y = torch.tanh(x)
        ctx.y = y.detach()
        return y

    @staticmethod
    def backward(ctx, grad):
        return grad * (1 - ctx.y**2)


def check_values(function, reference, x=EXTREME):
    torch.testing.assert_close(function(x), reference(x), rtol=1e-6, atol=0)


def check_gradient(function, reference, x=EXTREME):
    slopes = []
    for f in (function, reference):
        leaf = x.clone().requires_grad_(True)
        slopes.append(torch.autograd.grad(f(leaf).sum(), leaf)[0])
    torch.testing.assert_close(*slopes, rtol=1e-5, atol=1e-6)


def test_in_place_on_a_saved_result_is_caught():
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        gradcheck(shifted_relu_in_place, torch.randn(5, dtype=torch.float64, requires_grad=True))


@pytest.mark.parametrize("check", [check_values, check_gradient])
def test_tanh_by_exponentials_is_caught(check):
    with pytest.raises(AssertionError):
        check(tanh_by_exponentials, torch.tanh)


def test_elu_by_where_is_caught_by_its_gradient_alone():
    check_values(elu_by_where, F.elu, EXTREME[EXTREME.abs() >= 1])
    with pytest.raises(AssertionError):
        check_gradient(elu_by_where, F.elu)


def test_elu_that_ignores_alpha_is_caught():
    check_values(elu_without_alpha, F.elu)
    with pytest.raises(AssertionError):
        check_values(elu_without_alpha, lambda x: F.elu(x, 0.5))


def test_tanh_by_sigmoid_is_caught_near_zero_only():
    check_values(tanh_by_sigmoid, torch.tanh, EXTREME[EXTREME.abs() >= 1])
    with pytest.raises(AssertionError):
        check_values(tanh_by_sigmoid, torch.tanh)


@pytest.mark.parametrize("check", [check_values, check_gradient])
def test_mish_that_overflows_is_caught(check):
    with pytest.raises(AssertionError):
        check(mish_without_a_bound, F.mish)


def test_lost_second_derivative_is_caught_by_gradgradcheck_alone():
    x = torch.randn(4, dtype=torch.float64, requires_grad=True)
    assert gradcheck(TanhWithDetachedOutput.apply, x)
    with pytest.raises(RuntimeError, match="Jacobian mismatch|does not require grad"):
        torch.autograd.gradgradcheck(TanhWithDetachedOutput.apply, x)


@pytest.mark.parametrize("name", ["tanh", "elu", "mish", "relu"])
def test_our_own_pass_the_same_checks(name):
    from convcraft import activations

    ours = getattr(activations, name)
    check_values(ours, getattr(F, name))
    check_gradient(ours, getattr(F, name))
    x = torch.randn(4, dtype=torch.float64, requires_grad=True)
    assert gradcheck(ours, x) and torch.autograd.gradgradcheck(ours, x)
