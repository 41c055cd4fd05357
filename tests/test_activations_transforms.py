"""Autograd twice, torch.func, compile, export and autocast through every activation."""

import copy
import io
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import forward_ad

from convcraft import activations as A
from convcraft.activations import _fast

NAMES = (
    "relu relu6 leaky_relu elu celu selu gelu silu mish sigmoid hardsigmoid hardswish tanh "
    "softplus softsign swish"
).split()
SMOOTH = ("gelu", "silu", "mish", "sigmoid", "tanh", "softplus", "swish")
MODULES = [
    A.ReLU(), A.ReLU6(), A.LeakyReLU(0.2), A.PReLU(3), A.ELU(0.5), A.CELU(0.5), A.SELU(), A.GELU("tanh"),
    A.SiLU(),     A.Swish(2.0, num_parameters=3), A.Mish(), A.Sigmoid(),
    A.Hardsigmoid(), A.Hardswish(), A.Tanh(), A.Softplus(2.0),
    A.Softsign(), A.Softmax(1), A.LogSoftmax(1), A.AconC(3),
    A.MetaAconC(3, 2), A.DynamicReLU(3, 2), A.FReLU(3),
]  # fmt: skip


def reference(name):
    return F.silu if name == "swish" else getattr(F, name)


#: Names with the ways through the code that they have.
FAST = ("mish", "softsign", "elu", "celu", "selu")
WAYS = [(name, "small tensors") for name in NAMES] + [(name, "fast paths") for name in FAST]


@pytest.fixture(params=["small tensors", "fast paths"])
def paths(request, monkeypatch):
    """Both ways through the code: torch's kernels as on small tensors, and ours."""
    if request.param == "fast paths":
        for name in ("MISH_FROM", "SOFTSIGN_FROM", "RESULT_FROM"):
            monkeypatch.setattr(_fast, name, 0)


def away_from_kinks(*shape):
    x = 3 * torch.randn(*shape, dtype=torch.float64)
    for kink in (-3.0, 0.0, 3.0, 6.0):
        x = torch.where((x - kink).abs() < 0.05, x + 0.1, x)
    return x.requires_grad_(True)


@pytest.mark.parametrize(("name", "paths"), WAYS, indirect=["paths"])
def test_gradcheck_and_gradgradcheck(name, paths):
    x = away_from_kinks(3, 4)
    assert torch.autograd.gradcheck(getattr(A, name), x, check_forward_ad=True, check_batched_grad=True)
    if name != "hardsigmoid":  # torch's kernel has no second derivative
        assert torch.autograd.gradgradcheck(getattr(A, name), x, check_fwd_over_rev=True)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_gradcheck_of_softmax(name):
    x = torch.randn(2, 3, 2, 2, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    x.requires_grad_(True)
    assert torch.autograd.gradcheck(lambda v: getattr(A, name)(v, dim=1), x)
    assert torch.autograd.gradgradcheck(lambda v: getattr(A, name)(v, dim=1), x)


def test_gradcheck_of_learned_parameters():
    x = away_from_kinks(2, 3)
    three = [(0.5 + torch.rand(3, dtype=torch.float64)).requires_grad_(True) for _ in range(3)]
    assert torch.autograd.gradcheck(A.prelu, (x, three[0]))
    assert torch.autograd.gradcheck(A.swish, (x, three[0]))
    assert torch.autograd.gradcheck(A.acon_c, (x, *three))
    assert torch.autograd.gradgradcheck(A.swish, (x, three[0]))
    assert torch.autograd.gradgradcheck(A.acon_c, (x, *three))


@pytest.mark.parametrize("name", ["mish", "softsign", "celu"])
def test_third_derivative_through_the_fast_path(name, paths):
    results = []
    for module in (A, F):
        x = torch.tensor([-1.5, -0.3, 0.4, 2.0], dtype=torch.float32, requires_grad=True)
        y = getattr(module, name)(x)
        for _ in range(3):
            (y,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        results.append(y.detach())
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "paths"), WAYS, indirect=["paths"])
def test_torch_func(name, paths):
    ours, theirs = getattr(A, name), reference(name)
    x, tangent = torch.randn(3, 4), torch.randn(3, 4)
    close = torch.testing.assert_close
    close(torch.func.vmap(ours)(x), theirs(x))
    close(torch.func.vmap(ours, in_dims=1, out_dims=1)(x), theirs(x))
    for a, b in zip(
        torch.func.jvp(ours, (x,), (tangent,)), torch.func.jvp(theirs, (x,), (tangent,)), strict=True
    ):
        close(a, b)
    close(torch.func.jacrev(ours)(x[0]), torch.func.jacrev(theirs)(x[0]))
    close(torch.func.jacfwd(ours)(x[0]), torch.func.jacfwd(theirs)(x[0]))
    per_row = torch.func.vmap(torch.func.grad(lambda v: ours(v).square().sum()))(x)
    close(per_row, torch.func.vmap(torch.func.grad(lambda v: theirs(v).square().sum()))(x))
    if name == "hardsigmoid":  # torch's kernel has no second derivative
        return
    hessian = torch.func.hessian(lambda v: ours(v).square().sum())(x[0])
    close(hessian, torch.func.hessian(lambda v: theirs(v).square().sum())(x[0]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_torch_func_of_softmax_on_channels_last(name):
    x = torch.randn(5, 2, 3, 4, 4).contiguous(memory_format=torch.channels_last_3d)
    for dim in (0, 1, 2):
        ours, theirs = (lambda v, m=m: getattr(m, name)(v, dim=dim) for m in (A, F))  # noqa: B023
        torch.testing.assert_close(torch.func.vmap(ours)(x), torch.func.vmap(theirs)(x))
        batch = x[0].contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(
            torch.func.jvp(ours, (batch,), (batch,)), torch.func.jvp(theirs, (batch,), (batch,))
        )


@pytest.mark.parametrize(("name", "paths"), WAYS, indirect=["paths"])
def test_dual_numbers(name, paths):
    x, tangent = torch.randn(5), torch.randn(5)
    with forward_ad.dual_level():
        ours = forward_ad.unpack_dual(getattr(A, name)(forward_ad.make_dual(x, tangent)))
        theirs = forward_ad.unpack_dual(reference(name)(forward_ad.make_dual(x, tangent)))
        torch.testing.assert_close(ours.primal, theirs.primal)
        torch.testing.assert_close(ours.tangent, theirs.tangent)


def test_vmap_over_the_gradient_alone(paths):
    x, grads = torch.randn(4), torch.randn(6, 4)
    for name in ("mish", "softsign", "elu"):
        leaf = x.clone().requires_grad_(True)
        y = getattr(A, name)(leaf)
        rows = torch.autograd.grad(y, leaf, grads, is_grads_batched=True)[0]
        leaf = x.clone().requires_grad_(True)
        expected = torch.stack([torch.autograd.grad(getattr(F, name)(leaf), leaf, g)[0] for g in grads])
        torch.testing.assert_close(rows, expected)


class EveryFunction(torch.nn.Module):
    """All functions in one graph, so that one compilation covers them."""

    def forward(self, x):
        results = [getattr(A, name)(x) for name in NAMES]
        results += [
            A.softmax(x, 1),
            A.log_softmax(x, 1),
            A.prelu(x, x.new_tensor([0.25])),
            A.acon_c(x, 1.0, 0.2, 2.0),
        ]
        return torch.stack(results)


def test_compiles_without_a_break_forward_and_backward(paths):
    torch._dynamo.reset()
    compiled = torch.compile(EveryFunction(), fullgraph=True, backend="aot_eager")
    x = torch.randn(2, 3, 4, 4, requires_grad=True)
    expected, y = EveryFunction()(x), compiled(x)
    torch.testing.assert_close(y, expected)
    slopes = [torch.autograd.grad(result.square().sum(), x)[0] for result in (y, expected)]
    torch.testing.assert_close(*slopes, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [1, 300])
def test_exports(size):
    x = torch.randn(size, 3, 16, 16)
    program = torch.export.export(EveryFunction(), (x,))
    torch.testing.assert_close(program.module()(x), EveryFunction()(x))


def test_modules_export_and_compile_as_one(paths):
    torch._dynamo.reset()
    stack = torch.nn.Sequential(*copy.deepcopy(MODULES)).eval()
    x = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(torch.compile(stack, fullgraph=True, backend="aot_eager")(x), stack(x))
    torch.testing.assert_close(torch.export.export(stack, (x,)).module()(x), stack(x))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", FAST)
def test_autocast_gives_the_dtype_and_value_that_torch_gives(name, dtype, monkeypatch):
    for least in ("MISH_FROM", "SOFTSIGN_FROM", "RESULT_FROM"):
        monkeypatch.setattr(_fast, least, 0)
    for x in (torch.randn(4, 5), torch.randn(4, 5, dtype=dtype)):
        with torch.autocast("cpu", dtype=dtype):
            ours, theirs = getattr(A, name)(x), getattr(F, name)(x)
        assert ours.dtype == theirs.dtype
        torch.testing.assert_close(ours, theirs, rtol=2e-2, atol=1e-2)


def test_autocast_leaves_the_dtype_to_what_arrives_also_where_parameters_are_learned():
    """A layer in bfloat16 followed by an activation in float32 would need twice the memory from there on."""
    x = torch.randn(2, 3, 4, 4)
    for module in MODULES:
        if not isinstance(module, (A.Softmax, A.LogSoftmax, A.Softplus, A.PReLU)):  # float32 in torch
            with torch.autocast("cpu", torch.bfloat16):
                y = copy.deepcopy(module)(torch.nn.functional.conv2d(x, torch.eye(3).view(3, 3, 1, 1)))
            assert y.dtype == torch.bfloat16, type(module).__name__
    assert A.Swish(num_parameters=3).bfloat16()(x).dtype == torch.float32


@pytest.mark.parametrize("module", MODULES, ids=lambda m: type(m).__name__)
def test_deepcopy_and_pickle(module):
    x = torch.randn(2, 3, 4, 4)
    module = module.eval()
    stream = io.BytesIO()
    torch.save(module.state_dict(), stream)
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        torch.testing.assert_close(twin(x), module(x))
        assert repr(twin) == repr(module)


def test_second_use_of_one_output_keeps_the_graph_right(paths):
    x = torch.randn(50, requires_grad=True)
    y = A.leaky_relu(x, 0.3)
    (slope,) = torch.autograd.grad((y * y).sum() + y.sum(), x)
    z = F.leaky_relu(x, 0.3)
    torch.testing.assert_close(slope, torch.autograd.grad((z * z).sum() + z.sum(), x)[0])


def test_tracing_takes_the_kernels_of_torch(paths):
    x = torch.randn(7)
    traced = torch.jit.trace(A.mish, x)
    torch.testing.assert_close(traced(x), F.mish(x))


@pytest.mark.parametrize("name", NAMES)
def test_symbolic_tracing(name):
    class Net(torch.nn.Module):
        def forward(self, x):
            return getattr(A, name)(x)

    x = torch.randn(3)
    try:
        graph = torch.fx.symbolic_trace(Net())
    except torch.fx.proxy.TraceError:
        pytest.fail(f"{name} cannot be traced by torch.fx")
    torch.testing.assert_close(graph(x), reference(name)(x))


@pytest.mark.parametrize("module", [A.Softmax(1), A.LogSoftmax(1)])
def test_symbolic_tracing_of_softmax(module):
    x = torch.randn(2, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(torch.fx.symbolic_trace(module)(x), module(x))
