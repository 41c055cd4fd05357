"""Normalization against torch.nn, its definition and autograd, in every layout, dtype and transform."""

import copy
import inspect
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from convcraft import ConvcraftError
from convcraft import normalization as N
from convcraft.normalization import _accuracy, definitions

SHAPES = [(6, 4), (5, 4, 7), (3, 4, 5, 6), (2, 4, 3, 4, 5)]
TOLERANCE = {
    torch.float64: {"rtol": 1e-10, "atol": 1e-10},
    torch.float32: {"rtol": 1e-5, "atol": 2e-6},
    torch.bfloat16: {"rtol": 2e-2, "atol": 2e-2},
    torch.float16: {"rtol": 3e-3, "atol": 3e-3},
}
BATCH = {2: "BatchNorm1d", 3: "BatchNorm1d", 4: "BatchNorm2d", 5: "BatchNorm3d"}
INSTANCE = {3: "InstanceNorm1d", 4: "InstanceNorm2d", 5: "InstanceNorm3d"}


@pytest.fixture(params=["torch's kernels", "the careful ones"])
def paths(request, monkeypatch):
    """Both ways through batch norm, whatever the size."""
    careful = request.param == "the careful ones"
    monkeypatch.setattr(_accuracy, "CARELESS_UP_TO", 0 if careful else 1 << 60)
    return request.param


def laid_out(x, layout):
    if layout == "channels_last" and x.dim() in (4, 5):
        form = torch.channels_last if x.dim() == 4 else torch.channels_last_3d
        return x.contiguous(memory_format=form)
    return x.transpose(0, -1).contiguous().transpose(0, -1) if layout == "transposed" else x


def randomize(module):
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.uniform_(0.5, 1.5)
    return module


def gradients(function, x, *parameters):
    leaves = [x.detach().clone(memory_format=torch.preserve_format).requires_grad_(True)]
    leaves += [p.detach().clone().requires_grad_(True) for p in parameters]
    y = function(*leaves)
    grad = torch.linspace(-1, 1, y.numel(), dtype=torch.float64).sin().to(y.dtype).view(y.shape)
    return y.detach(), torch.autograd.grad(y, leaves, grad)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "transposed"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_batch_norm_is_torchs_in_value_gradient_and_statistics(shape, layout, paths):
    x = laid_out(torch.randn(shape, dtype=torch.float64) * 2 + 1, layout)
    ours = randomize(getattr(N, BATCH[len(shape)])(4, dtype=torch.float64))
    theirs = getattr(nn, BATCH[len(shape)])(4, dtype=torch.float64)
    theirs.load_state_dict(ours.state_dict())
    for _ in range(3):
        expected = gradients(lambda v, w, b: torch.func.functional_call(theirs, {"weight": w, "bias": b}, v),
                             x, *theirs.parameters())  # fmt: skip
        got = gradients(lambda v, w, b: torch.func.functional_call(ours, {"weight": w, "bias": b}, v),
                        x, *ours.parameters())  # fmt: skip
        torch.testing.assert_close(got, expected, **TOLERANCE[torch.float64])
        assert got[0].stride() == expected[0].stride()
        x = x + 1
    torch.testing.assert_close(dict(ours.state_dict()), dict(theirs.state_dict()))
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_batch_norm_is_its_definition(shape, layout, paths):
    x = laid_out(torch.randn(shape, dtype=torch.float64), layout)
    weight, bias = torch.rand(4, dtype=torch.float64) + 0.5, torch.randn(4, dtype=torch.float64)
    dims = tuple(d for d in range(len(shape)) if d != 1)
    view = (1, -1, *(1,) * (len(shape) - 2))
    y, (of_x, of_weight, of_bias) = gradients(
        lambda v, w, b: N.batch_norm(v, None, None, w, b, True), x, weight, bias
    )
    torch.testing.assert_close(y, definitions.normalize(x, dims, 1e-5, weight.view(view), bias.view(view)))
    grad = torch.linspace(-1, 1, y.numel(), dtype=torch.float64).sin().view(shape)
    expected, product = definitions.normalize_backward(grad, x, dims, 1e-5, weight.view(view))
    torch.testing.assert_close(of_x, expected)
    torch.testing.assert_close(of_weight, product.sum(dims))
    torch.testing.assert_close(of_bias, grad.sum(dims))
    assert float(of_x.sum(dims).abs().max()) < 1e-12  # what the closed form takes away


@pytest.mark.parametrize("affine", [True, False])
def test_gradcheck_and_gradgradcheck_of_batch_norm(affine, paths):
    for shape in ((4, 2), (3, 2, 4)):
        x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
        more = [torch.rand(2, dtype=torch.float64, requires_grad=True) for _ in range(2)] if affine else []

        def function(v, *parameters):
            return N.batch_norm(v, None, None, *parameters, training=True)

        forward = len(shape) == 3
        inputs = (x, *more)
        assert torch.autograd.gradcheck(function, inputs, check_forward_ad=forward, check_batched_grad=True)
        assert torch.autograd.gradgradcheck(function, (x, *more))


def test_gradcheck_of_the_others(paths):
    x = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    w, b = (torch.rand(4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    for function in (
        lambda v, w, b: N.group_norm(v, 2, w, b),
        lambda v, w, b: N.instance_norm(v, None, None, w, b),
        lambda v, w, b: N.layer_norm(v.mT, (4,), w, b),
    ):
        assert torch.autograd.gradcheck(function, (x, w, b))
        assert torch.autograd.gradgradcheck(function, (x, w, b))


@pytest.mark.parametrize("shape", SHAPES[1:], ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "transposed"])
def test_the_others_are_torchs(shape, layout, paths):
    x = laid_out(torch.randn(shape) * 2 + 1, layout)
    w, b = torch.rand(4) + 0.5, torch.randn(4)
    pairs = [
        (lambda M: lambda v, w, b: M.group_norm(v, 2, w, b)),
        (lambda M: lambda v, w, b: M.instance_norm(v, None, None, w, b)),
        (lambda M: lambda v, w, b: M.layer_norm(v.transpose(1, -1), (4,), w, b)),
    ]
    for build in pairs:
        torch.testing.assert_close(
            gradients(build(N), x, w, b), gradients(build(F), x, w, b), **TOLERANCE[torch.float32]
        )
    torch.testing.assert_close(N.group_norm(x, 4), F.group_norm(x, 4))
    torch.testing.assert_close(
        N.group_norm(x, 2).double(),
        definitions.normalize(x.double().reshape(shape[0], 2, -1), (2,), 1e-5).view(shape),
        rtol=1e-5, atol=1e-5, check_dtype=False,
    )  # fmt: skip


@pytest.mark.parametrize("track", [True, False])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", SHAPES[1:], ids=str)
def test_instance_norm_modules(shape, affine, track, paths):
    kwargs = {"affine": affine, "track_running_stats": track}
    ours, theirs = (getattr(m, INSTANCE[len(shape)])(4, **kwargs) for m in (N, nn))
    x = torch.randn(shape) + 2
    for value in (x, x + 1, x[0]):
        torch.testing.assert_close(ours(value), theirs(value))
    torch.testing.assert_close(dict(ours.state_dict()), dict(theirs.state_dict()))
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))
    assert repr(ours) == repr(theirs)


@pytest.mark.parametrize("momentum", [0.1, 0.7, None])
@pytest.mark.parametrize("track", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_every_option_of_the_batch_norm_modules(momentum, track, affine, paths):
    kwargs = {"momentum": momentum, "track_running_stats": track, "affine": affine, "eps": 1e-3}
    ours, theirs = (m.BatchNorm2d(4, **kwargs) for m in (N, nn))
    assert repr(ours) == repr(theirs) and list(ours.state_dict()) == list(theirs.state_dict())
    for step in range(3):
        x = torch.randn(3, 4, 5, 5) * (step + 1)
        torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(dict(ours.state_dict()), dict(theirs.state_dict()))
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))
    theirs.load_state_dict(ours.state_dict())
    ours.load_state_dict(theirs.state_dict())


def test_modules_are_instances_of_torchs():
    for name in N.__all__:
        if hasattr(nn, name):
            assert issubclass(getattr(N, name), getattr(nn, name))


def strided(*shape):
    """Values with gaps between them in memory."""
    return torch.randn(*shape[:-1], 2 * shape[-1], dtype=torch.float64)[..., ::2]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "transposed", "strided"])
def test_strides_of_input_and_parameters_change_no_value(shape, layout, paths):
    x = strided(*shape) if layout == "strided" else laid_out(torch.randn(shape, dtype=torch.float64), layout)
    w, b, mean, last = strided(4), strided(4), strided(4), strided(shape[-1])
    calls = [
        (lambda x, w, b: N.batch_norm(x, None, None, w, b, True), (w, b)),
        (lambda x, w, b: N.group_norm(x, 2, w, b), (w, b)),
        (lambda x, w, b: N.layer_norm(x, (shape[-1],), w, b), (last, last)),
    ]
    if len(shape) > 2:
        calls.append((lambda x, w, b: N.instance_norm(x, None, None, w, b), (w, b)))
    for function, given in calls:
        plain = [value.clone(memory_format=torch.contiguous_format) for value in (x, *given)]
        torch.testing.assert_close(gradients(function, x, *given), gradients(function, *plain))
    running = mean, mean.square()
    expected = N.batch_norm(x.contiguous(), *(v.contiguous() for v in running))
    torch.testing.assert_close(N.batch_norm(x, *running), expected)


@pytest.mark.parametrize("arguments", [(4,), ((4,),), ((3, 4), 1e-3, False), (4, 1e-5, True, False)], ids=str)
def test_layer_norm_module(arguments):
    ours, theirs = randomize(N.LayerNorm(*arguments)), nn.LayerNorm(*arguments)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 3, 4)
    assert torch.equal(ours(x), theirs(x)) and repr(ours) == repr(theirs)


def test_group_norm_module():
    for kwargs in ({}, {"affine": False}, {"eps": 0.1}, {"bias": False}):
        if "bias" in kwargs and "bias" not in inspect.signature(nn.GroupNorm).parameters:
            continue
        ours, theirs = randomize(N.GroupNorm(2, 4, **kwargs)), nn.GroupNorm(2, 4, **kwargs)
        theirs.load_state_dict(ours.state_dict())
        for shape in SHAPES:
            x = torch.randn(shape)
            torch.testing.assert_close(ours(x), theirs(x))
        assert repr(ours) == repr(theirs)


def test_running_statistics_use_the_unbiased_variance_and_the_output_the_biased(paths):
    x = torch.tensor([1.0, 2.0, 3.0, 6.0]).view(1, 1, 4)
    norm = N.BatchNorm1d(1, eps=1e-12, momentum=1.0)
    y = norm(x)
    assert float(norm.running_var) == pytest.approx(14 / 3) and float(norm.running_mean) == 3
    assert float(y.square().mean()) == pytest.approx(1, rel=1e-5)


def test_no_graph_is_kept_in_the_buffers(paths):
    norm = N.BatchNorm2d(3)
    for _ in range(3):
        y = norm(torch.randn(4, 3, 5, 5, requires_grad=True))
        y.sum().backward()
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        assert not getattr(norm, name).requires_grad and getattr(norm, name).grad_fn is None
    for twin in (copy.deepcopy(norm), pickle.loads(pickle.dumps(norm))):
        x = torch.randn(4, 3, 5, 5)
        torch.testing.assert_close(twin.eval()(x), copy.deepcopy(norm).eval()(x))


def test_mode_is_the_modules_own_and_not_autograds(paths):
    norm, x = N.BatchNorm2d(3), torch.randn(4, 3, 5, 5) + 5
    norm.eval()
    with torch.enable_grad():
        torch.testing.assert_close(norm(x), x / (1 + 1e-5) ** 0.5)
    assert float(norm.running_mean.abs().max()) == 0
    norm.train()
    with torch.no_grad():
        assert float(norm(x).mean().abs()) < 1e-5
    assert float(norm.running_mean.min()) > 0.3


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_half_precision_keeps_float_statistics(layout, paths):
    x = laid_out(torch.randn(8, 4, 6, 6) * 3 + 2, layout)
    for dtype in (torch.bfloat16, torch.float16):
        ours, theirs = N.BatchNorm2d(4), nn.BatchNorm2d(4)
        y = ours(x.to(dtype))
        assert y.dtype == dtype and ours.running_mean.dtype == torch.float32
        torch.testing.assert_close(y.float(), theirs(x.to(dtype)).float(), **TOLERANCE[dtype])
        torch.testing.assert_close(ours.running_var, theirs.running_var, rtol=2e-3, atol=1e-3)
        for function in (lambda v: N.group_norm(v, 2), N.instance_norm, lambda v: N.layer_norm(v, (6,))):
            assert function(x.to(dtype)).dtype == dtype


def test_autocast_gives_the_dtypes_of_torch(paths):
    x = torch.randn(4, 4, 6, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for value in (x, x.bfloat16()):
            for call in (
                lambda M, v: M.batch_norm(v, None, None, training=True),
                lambda M, v: M.layer_norm(v, (6,)),
                lambda M, v: M.group_norm(v, 2),
                lambda M, v: M.instance_norm(v),
            ):
                ours, theirs = call(N, value), call(F, value)
                assert ours.dtype == theirs.dtype
                torch.testing.assert_close(ours, theirs, rtol=2e-2, atol=2e-2)


def test_empty_batches(paths):
    x = torch.zeros(0, 4, 5, 5, requires_grad=True)
    for function in (
        lambda v: N.BatchNorm2d(4).eval()(v),
        lambda v: N.BatchNorm2d(4)(v),
        lambda v: N.layer_norm(v, (5,)),
        lambda v: N.group_norm(v, 2),
        lambda v: N.instance_norm(v),
    ):
        y = function(x)
        assert y.shape == x.shape
        y.sum().backward()


def test_torch_func(paths):
    x = torch.randn(5, 3, 4, 6)
    eval_norm = randomize(N.BatchNorm1d(4)).eval()
    torch.testing.assert_close(torch.func.vmap(eval_norm)(x), torch.stack([eval_norm(v) for v in x]))
    train = lambda v: N.batch_norm(v, None, None, training=True)  # noqa: E731
    torch.testing.assert_close(torch.func.vmap(train)(x), torch.stack([train(v) for v in x]))
    slopes = torch.func.vmap(torch.func.grad(lambda v: train(v).pow(3).sum()))(x)
    expected = torch.stack([torch.func.grad(lambda v: train(v).pow(3).sum())(v) for v in x])
    torch.testing.assert_close(slopes, expected, rtol=1e-4, atol=1e-5)
    for function in (train, lambda v: N.group_norm(v, 2), lambda v: N.layer_norm(v, (6,))):
        value, tangent = torch.func.jvp(function, (x[0],), (x[1],))
        h = 1e-3
        near = [function((x[0] + s * h * x[1]).double()) for s in (1, -1)]
        torch.testing.assert_close(tangent.double(), (near[0] - near[1]) / (2 * h), rtol=1e-2, atol=1e-2)
        torch.testing.assert_close(value, function(x[0]))
    with pytest.raises(RuntimeError):  # torch cannot either: one set of buffers, many updates
        torch.func.vmap(N.BatchNorm1d(4))(x)


def test_many_gradients_at_once(paths):
    x = torch.randn(3, 4, 5, requires_grad=True)
    y = N.batch_norm(x, None, None, training=True)
    grads = torch.randn(6, 3, 4, 5)
    rows = torch.autograd.grad(y, x, grads, is_grads_batched=True, retain_graph=True)[0]
    expected = torch.stack([torch.autograd.grad(y, x, g, retain_graph=True)[0] for g in grads])
    torch.testing.assert_close(rows, expected)


class Everything(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(4, 4, 1), N.BatchNorm2d(4), N.GroupNorm(2, 4), N.InstanceNorm2d(4), N.LayerNorm(6)
        )

    def forward(self, x):
        return N.batch_norm(self.layers(x).flatten(2), None, None, training=True)


def test_compiles_without_a_break_and_exports(paths):
    torch._dynamo.reset()
    model, x = Everything(), torch.randn(3, 4, 6, 6)
    twin = copy.deepcopy(model)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), twin(x), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.layers[1].running_var, twin.layers[1].running_var)
    assert int(model.layers[1].num_batches_tracked) == 1
    model.eval()
    torch.testing.assert_close(torch.export.export(model, (x,)).module()(x), model(x), rtol=1e-4, atol=1e-5)


def test_the_batch_size_stays_free_in_export_and_compilation():
    from torch._dynamo.testing import CompileCounter

    model, size = Everything(), torch.export.Dim("n", min=2, max=4096)
    for mode in (True, False):
        x = torch.randn(3, 4, 6, 6)
        program = torch.export.export(model.train(mode), (x,), dynamic_shapes=({0: size},))
        assert program.module()(torch.randn(1000, 4, 6, 6)).shape == (1000, 4, 36)
    for norm in (N.BatchNorm2d(4), N.GroupNorm(2, 4), N.InstanceNorm2d(4), N.LayerNorm(6)):
        torch._dynamo.reset()
        counter = CompileCounter()
        compiled = torch.compile(norm, fullgraph=True, dynamic=True, backend=counter)
        for n in (3, 7, 3000):
            compiled(torch.randn(n, 4, 6, 6))
        assert counter.frame_count == 1


def test_symbolic_tracing(paths):
    model, x = Everything().eval(), torch.randn(3, 4, 6, 6)
    torch.testing.assert_close(torch.fx.symbolic_trace(model)(x), model(x))


def test_sync_batch_norm_replaces_ours():
    model = N.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(randomize(N.BatchNorm2d(3))))
    assert isinstance(model[0], nn.SyncBatchNorm)
    x = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(N.SyncBatchNorm(3).eval()(x), nn.BatchNorm2d(3).eval()(x))


def test_only_what_is_needed_is_differentiated(paths):
    x, w = torch.randn(3, 4, 5), torch.rand(4, requires_grad=True)
    y = N.batch_norm(x, None, None, w, None, True)
    (slope,) = torch.autograd.grad(y.square().sum(), w)
    assert slope.shape == (4,)
    b = torch.zeros(4, requires_grad=True)
    N.batch_norm(x.requires_grad_(True), None, None, None, b, True).sum().backward()
    torch.testing.assert_close(b.grad, torch.full((4,), 15.0))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_on_cuda(shape):
    x = torch.randn(shape, device="cuda")
    torch.testing.assert_close(
        N.batch_norm(x, None, None, training=True), N.batch_norm(x.cpu(), None, None, training=True).cuda()
    )


IMAGE = torch.ones(2, 3, 4, 4)
ERRORS = [
    (lambda: N.batch_norm(IMAGE.long(), None, None), r"batch_norm: input must have a floating-point dtype"),
    (lambda: N.batch_norm([1.0], None, None), r"batch_norm: input must be a torch.Tensor, got list"),
    (lambda: N.batch_norm(torch.ones(3), None, None, training=True), r"shape \(N, C\) or .*, got 1"),
    (lambda: N.batch_norm(IMAGE, None, None, training=True, eps=0.0), r"eps must be a finite number above 0, got 0.0"),
    (lambda: N.batch_norm(IMAGE, torch.zeros(2), torch.ones(2)), r"2 channels .* running_mean has, got 3"),
    (lambda: N.batch_norm(IMAGE, None, None, torch.ones(4), training=True), r"4 channels .* as weight has"),
    (lambda: N.batch_norm(IMAGE, None, torch.ones(3)), r"running_mean must be given with training"),
    (lambda: N.instance_norm(IMAGE, torch.ones(3), None, use_input_stats=False), r"running_var must be"),
    (lambda: N.BatchNorm2d(3)(torch.ones(1, 3, 1, 1)), r"needs more than 1 value per channel, got .*1, 1"),
    (lambda: N.BatchNorm1d(3)(torch.ones(1, 3)), r"more than 1 value per channel"),
    (lambda: N.BatchNorm2d(3)(torch.ones(2, 3, 4)), r"BatchNorm2d: .* shape \(N, C, H, W\), got 3"),
    (lambda: N.BatchNorm1d(3)(IMAGE), r"BatchNorm1d: .* \(N, C\) or \(N, C, L\), got 4"),
    (lambda: N.BatchNorm3d(3)(IMAGE), r"BatchNorm3d: .* \(N, C, D, H, W\), got 4 dimensions"),
    (lambda: N.BatchNorm2d(5)(IMAGE), r"BatchNorm2d: input must have 5 channels .* num_features to 3"),
    (lambda: N.BatchNorm2d(3)(IMAGE.to(torch.complex64)), r"floating-point dtype, got torch.complex64"),
    (lambda: N.layer_norm(IMAGE, (3,)), r"layer_norm: .* = \(3,\), got shape \(2, 3, 4, 4\)"),
    (lambda: N.layer_norm(IMAGE, ()), r"layer_norm: normalized_shape must hold sizes"),
    (lambda: N.layer_norm(IMAGE, (4,), eps=-1.0), r"layer_norm: eps must be a finite number of at least 0, got -1.0"),
    (lambda: N.LayerNorm(3)(IMAGE), r"layer_norm: input must end in"),
    (lambda: N.group_norm(IMAGE, 2), r"group_norm: .* divide .* 3, got 2; use one of \[1, 3\]"),
    (lambda: N.group_norm(torch.ones(3), 1), r"group_norm: input must have shape \(N, C, ...\)"),
    (lambda: N.GroupNorm(2, 3), r"GroupNorm: num_groups must divide the number of channels 3"),
    (lambda: N.GroupNorm(2.0, 4), r"GroupNorm: num_groups must divide the number of channels 4, got 2\.0"),
    (lambda: N.GroupNorm(2, 4)(IMAGE), r"GroupNorm: input must have 4 channels"),
    (lambda: N.instance_norm(torch.ones(2, 3)), r"instance_norm: input must have shape \(N, C, L\)"),
    (lambda: N.instance_norm(torch.ones(2, 3, 1)), r"more than 1 value per channel of a sample"),
    (lambda: N.instance_norm(IMAGE, weight=torch.ones(2)), r"instance_norm: input must have 2 channels"),
    (lambda: N.InstanceNorm2d(3)(torch.ones(2, 3)), r"InstanceNorm2d: .* or \(C, H, W\), got 2"),
    (lambda: N.InstanceNorm2d(5, affine=True)(IMAGE), r"InstanceNorm2d: input must have 5 channels"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), ERRORS, ids=[message[:40] for _, message in ERRORS])
def test_misuse_is_refused_with_the_argument_named(call, message):
    with pytest.raises(ConvcraftError, match=message):
        call()


def test_refused_input_changes_no_statistics():
    norm = N.BatchNorm2d(3)
    for bad in (torch.ones(1, 3, 1, 1), torch.ones(2, 4, 2, 2), torch.ones(2, 3)):
        before = copy.deepcopy(norm.state_dict())
        with pytest.raises(ConvcraftError):
            norm(bad)
        after = norm.state_dict()
        assert all(torch.equal(before[key], after[key]) for key in before)
