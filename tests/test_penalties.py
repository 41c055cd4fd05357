"""Penalties against the textbook loop, thresholds against their definition, bounds, groups and counts."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.autograd import gradcheck, gradgradcheck

from convcraft import ConvcraftError
from convcraft import activations as A
from convcraft import penalties as P


def loop(tensors, l1, l2):
    """The textbook's formula, parameter by parameter."""
    return sum(l1 * w.abs().sum() + l2 * (w**2).sum() for w in tensors)


def group_loop(tensors, dim=0):
    total = 0
    for w in tensors:
        for i in range(w.size(dim)):
            members = w.select(dim, i)
            total = total + math.sqrt(members.numel()) * members.norm()
    return total


def weights(dtype=torch.float64, device="cpu"):
    shapes = ((3, 2, 3, 3), (3,), (4, 5), (1, 2), ())
    return [torch.randn(s, dtype=dtype, device=device, requires_grad=True) for s in shapes]


def gradients(value, tensors):
    return torch.autograd.grad(value, tensors)


STRENGTHS = [(1.0, 0.0), (0.0, 1.0), (0.3, 0.7), (0.0, 0.0)]


@pytest.mark.parametrize(("l1", "l2"), STRENGTHS)
def test_value_and_gradient_are_the_loops(l1, l2):
    tensors = weights()
    ours, theirs = P.elastic_net(tensors, l1, l2), loop(tensors, l1, l2)
    torch.testing.assert_close(ours, theirs)
    assert ours.shape == ()
    for a, b, w in zip(
        gradients(2.5 * ours, tensors), gradients(2.5 * theirs, tensors), tensors, strict=True
    ):
        torch.testing.assert_close(a, b)
        assert a.shape == w.shape
    torch.testing.assert_close(P.l1_penalty(tensors), loop(tensors, 1, 0))
    torch.testing.assert_close(P.l2_penalty(tensors), loop(tensors, 0, 1))


def test_penalties_can_be_differentiated_twice():
    tensors = weights()[:3]
    assert gradcheck(lambda *w: P.elastic_net(w, 0.3, 0.7), tensors)
    assert gradgradcheck(lambda *w: P.elastic_net(w, 0.3, 0.7), tensors)
    assert gradcheck(lambda *w: P.group_lasso(w), tensors)
    assert gradgradcheck(lambda *w: P.group_lasso(w), tensors)
    (first,) = torch.autograd.grad(P.l2_penalty(tensors[0]), tensors[0], create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), tensors[0])
    torch.testing.assert_close(second, torch.full_like(second, 2.0))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_other_dtypes_and_layouts(dtype):
    torch.manual_seed(0)
    w = torch.randn(8, 4, 3, 3).to(dtype).contiguous(memory_format=torch.channels_last).requires_grad_()
    value = P.elastic_net(w, 0.5, 0.25)
    (slope,) = gradients(value, [w])
    assert value.dtype == slope.dtype == dtype
    torch.testing.assert_close(value.float(), loop([w.float()], 0.5, 0.25), rtol=2e-2, atol=0)
    torch.testing.assert_close(slope, 0.5 * w.sign() + 0.5 * w, rtol=2e-2, atol=2e-2)


def test_mixed_dtypes_devices_and_a_model():
    mixed = [torch.randn(3, dtype=torch.float64), torch.randn(2)]
    assert P.l1_penalty(mixed).item() == pytest.approx(loop(mixed, 1, 0).item())
    assert P.group_lasso(mixed).item() == pytest.approx(loop(mixed, 1, 0).item())
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    torch.testing.assert_close(P.l2_penalty(model), loop(model.parameters(), 0, 1))
    w = torch.randn(3)
    torch.testing.assert_close(P.l1_penalty([w, w]), w.abs().sum())


@pytest.mark.parametrize("dim", [0, 1])
def test_group_lasso_is_the_loop_over_groups(dim):
    tensors = [w for w in weights() if w.dim() > dim]
    ours, theirs = P.group_lasso(tensors, dim), group_loop(tensors, dim)
    torch.testing.assert_close(ours, theirs)
    for a, b in zip(gradients(ours, tensors), gradients(theirs, tensors), strict=True):
        torch.testing.assert_close(a, b)


def test_gradients_at_zero_are_zero():
    w = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    for penalty in (P.l1_penalty, P.l2_penalty, P.group_lasso):
        (slope,) = torch.autograd.grad(penalty(w), w, create_graph=True)
        assert (slope == 0).all()
        if slope.requires_grad:
            assert torch.isfinite(torch.autograd.grad(slope.sum(), w, allow_unused=True)[0]).all()


def test_a_group_of_zeros_costs_nothing_under_torch_func():
    slope, value = torch.func.grad_and_value(P.group_lasso)(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    torch.testing.assert_close(value, torch.tensor(5 * math.sqrt(2)))
    torch.testing.assert_close(slope, math.sqrt(2) * torch.tensor([[0.6, 0.8], [0.0, 0.0]]))


def test_transforms_of_torch_func_and_compile():
    w = torch.randn(4, 3, dtype=torch.float64)
    for penalty in (P.l1_penalty, P.l2_penalty, P.group_lasso, lambda p: P.elastic_net(p, 0.1, 0.2)):
        torch.testing.assert_close(
            torch.func.grad(penalty)(w), torch.autograd.functional.jacobian(penalty, w)
        )
        each = torch.func.vmap(penalty)(w.unsqueeze(1).expand(4, 2, 3))
        torch.testing.assert_close(each, torch.stack([penalty(row.expand(2, 3)) for row in w]))
        compiled = torch.compile(penalty, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(w), penalty(w))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_soft_threshold_gives_exact_zeros(dtype):
    tensors = [
        torch.randn(50, 4).to(dtype),
        torch.tensor([0.5, -0.5, 0.0, 3.0, -math.inf, math.nan]).to(dtype),
    ]
    before = [w.clone() for w in tensors]
    P.soft_threshold_(tensors, 0.5)
    for w, old in zip(tensors, before, strict=True):
        small = old.abs() <= 0.5
        assert (w[small] == 0).all() and (w[old.abs() > 0.5] != 0).all()
        torch.testing.assert_close(w[~small], (old - 0.5 * old.sign())[~small], equal_nan=True)


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=8), st.floats(0, 10))
@settings(max_examples=60, deadline=None)
def test_one_threshold_or_one_for_each_weight(numbers, threshold):
    first = torch.tensor(numbers)
    second, steps = first.clone(), torch.full_like(first, threshold)
    P.soft_threshold_(first, threshold)
    P.soft_threshold_([second], [steps])
    assert torch.equal(first, second)


def test_the_foreach_path_of_cuda_gives_the_same(monkeypatch):
    from convcraft.penalties import steps

    w = torch.randn(100)
    first, second = w.clone(), w.clone()
    P.soft_threshold_(first, 0.3)
    steps.shrink([second], torch.tensor([0.3]).expand(100).unsqueeze(0).unbind(0))
    assert torch.equal(first, second)


@pytest.mark.parametrize("dim", [0, 1])
def test_group_threshold_minimizes_its_definition(dim):
    w = torch.randn(5, 7, dtype=torch.float64)
    w[2] *= 0.01
    t, x = 0.2, w.clone()
    P.group_soft_threshold_(x, t, dim)

    def objective(y):
        return 0.5 * (y - w).square().sum() + t * group_loop([y], dim)

    assert all(objective(x) <= objective(x + 1e-3 * torch.randn_like(x)) + 1e-12 for _ in range(50))
    if dim == 0:
        assert (x[2] == 0).all() and (x[0] != 0).all()


@pytest.mark.parametrize("dim", [0, 1])
def test_group_threshold_in_a_metric_minimizes_its_definition(dim):
    torch.manual_seed(0)
    w = torch.randn(6, 4, 3, dtype=torch.float64)
    w[1] *= 1e-8
    w[:, 2] *= 1e-8
    rates = torch.rand_like(w) * 10 ** torch.empty_like(w).uniform_(-3, 1)
    x, penalty = w.clone(), 0.15
    P.group_soft_threshold_([x], [rates * penalty], dim)
    groups = x.movedim(dim, 0).flatten(1)
    root = math.sqrt(groups.size(1))
    slope = ((w - x) / rates).movedim(dim, 0).flatten(1)  # a subgradient of the penalty at x
    zero = (groups == 0).all(1)
    assert zero.any() and not zero.all()
    assert (slope[zero].norm(dim=1) <= penalty * root * (1 + 1e-9)).all()
    expected = penalty * root * groups[~zero] / groups[~zero].norm(dim=1, keepdim=True)
    torch.testing.assert_close(slope[~zero], expected, rtol=1e-6, atol=1e-8)
    same, uniform = w.clone(), w.clone()
    P.group_soft_threshold_(same, 0.1, dim)
    P.group_soft_threshold_([uniform], [torch.full_like(w, 0.1)], dim)
    torch.testing.assert_close(same, uniform)


def test_group_threshold_of_zeros_and_of_zero_thresholds():
    w = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    for threshold in (0.0, [torch.zeros(2, 2)], [torch.tensor([[0.0, 0.0], [0.0, 0.5]])]):
        x = w.clone()
        P.group_soft_threshold_(x, threshold)
        torch.testing.assert_close(x, w)
    scalar = torch.tensor(3.0)
    P.group_soft_threshold_(scalar, 1.0)
    assert scalar.item() == pytest.approx(2)
    bias = torch.tensor([3.0, 0.5])
    P.group_soft_threshold_([bias], [torch.ones(2)])
    torch.testing.assert_close(bias, torch.tensor([2.0, 0.0]))


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_max_norm_bounds_every_unit_and_leaves_the_rest(dim):
    w = nn.Parameter(torch.randn(6, 5, 3) * torch.linspace(0.1, 2, 90).view(6, 5, 3))
    before = w.detach().clone()
    assert P.max_norm_(w, 2.0, dim) is w and w.requires_grad
    torch.testing.assert_close(w.detach(), torch.renorm(before, 2, dim, 2.0))
    norms = before.movedim(dim, 0).flatten(1).norm(dim=1)
    kept = norms <= 2
    assert kept.any() or dim != 0
    assert not kept.all()
    assert torch.equal(w.detach().movedim(dim, 0)[kept], before.movedim(dim, 0)[kept])
    assert torch.equal(P.max_norm_(torch.zeros(2, 2), 1.0), torch.zeros(2, 2))


class Everything(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.lstm = nn.Embedding(5, 4), nn.LSTM(4, 4)
        self.conv, self.norm = nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4)
        self.acon, self.frelu, self.prelu = A.AconC(4), A.FReLU(4), nn.PReLU()
        self.attention, self.head = nn.MultiheadAttention(4, 2), nn.Linear(4, 5)
        self.head.weight = self.embedding.weight
        self.scale, self.token = nn.Parameter(torch.ones(4)), nn.Parameter(torch.zeros(1, 4))


def test_decay_groups_spare_biases_normalizations_and_activations():
    model = Everything()
    names = {id(p): name for name, p in model.named_parameters()}
    groups = P.decay_groups(model, 0.1, l1=1e-3)
    decayed, spared = ([names[id(p)] for p in group["params"]] for group in groups)
    assert decayed == [
        "embedding.weight",
        "lstm.weight_ih_l0",
        "lstm.weight_hh_l0",
        "conv.weight",
        "attention.in_proj_weight",
        "attention.out_proj.weight",
    ]
    assert sorted(decayed + spared) == sorted(names.values()) and {"acon.p1", "scale", "token"} < set(spared)
    assert (groups[0]["weight_decay"], groups[1]["weight_decay"]) == (0.1, 0.0)
    assert (groups[0]["l1"], groups[1]["l1"]) == (1e-3, 0.0)
    optimizer = torch.optim.AdamW(groups, lr=1e-3)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
    assert P.decay_groups(nn.PReLU(), 0.1)[0]["params"] == []


def test_coupled_and_decoupled_decay_agree_for_sgd_and_differ_under_adam():
    def after(kind, decay, penalty, **keywords):
        w = nn.Parameter(torch.tensor([1.0, 1.0]))
        optimizer = kind([w], lr=0.1, weight_decay=decay, **keywords)
        loss = (w * torch.tensor([10.0, 0.1])).sum() + penalty / 2 * P.l2_penalty(w)
        loss.backward()
        optimizer.step()
        return w.detach() - 1

    torch.testing.assert_close(after(torch.optim.SGD, 0.5, 0.0), after(torch.optim.SGD, 0.0, 0.5))
    torch.testing.assert_close(after(torch.optim.Adam, 0.5, 0.0), after(torch.optim.Adam, 0.0, 0.5))
    plain, decoupled = after(torch.optim.Adam, 0.0, 0.0), after(torch.optim.AdamW, 0.5, 0.0)
    torch.testing.assert_close(decoupled - plain, torch.full((2,), -0.05))  # lr * decay * w for both
    torch.testing.assert_close(after(torch.optim.Adam, 0.5, 0.0), plain)  # lost in the first step's division


def test_sparsity_counts_zeros_and_zero_units():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    with torch.no_grad():
        model[0].weight[1].zero_()
        model[0].weight[2, 0] = 0
        model[0].bias.copy_(torch.tensor([1.0, 0.0, 1.0, 1.0]))
    table = P.sparsity(model)
    row = {row.name: row for row in table}["0.weight"]
    assert (row.zeros, row.total, row.zero_groups, row.groups) == (4, 12, 1, 4) and row.share == 1 / 3
    assert (table.zeros, table.total) == (4 + 1 + 4, 24) and table.share == 9 / 24
    assert "37.5%" in repr(table) and "33.3%" in repr(table) and "37.5%" in table._repr_html_()
    empty = nn.Linear(3, 1, bias=False)
    empty.weight = nn.Parameter(torch.empty(0, 3))
    assert P.sparsity(empty).share == 0


def test_nothing_is_changed_by_values_and_counts():
    model = nn.Linear(3, 2)
    state = copy.deepcopy(model.state_dict())
    P.elastic_net(model, 1.0, 1.0).backward()
    P.sparsity(model), P.decay_groups(model, 0.1), P.group_lasso(model)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), state.values(), strict=True))


W = torch.ones(2, 3)
ERRORS = [
    (lambda: P.l1_penalty(3), r"l1_penalty: p must be a model or its parameters, got int"),
    (lambda: P.l1_penalty("model"), r"l1_penalty: p must be a model .* got str"),
    (lambda: P.l2_penalty([]), r"l2_penalty: p must hold at least one parameter, got none"),
    (lambda: P.l2_penalty(nn.ReLU()), r"l2_penalty: p must hold at least one parameter"),
    (lambda: P.l1_penalty(nn.Linear(2, 2).named_parameters()), "p must be a torch.Tensor, got tuple"),
    (lambda: P.l1_penalty(nn.LazyLinear(2)), r"p must have a shape, got an uninitialized parameter"),
    (lambda: P.l1_penalty(torch.ones(2, dtype=torch.int64)), r"a floating-point dtype, got torch.int64"),
    (
        lambda: P.l2_penalty(torch.ones(2, dtype=torch.complex64)),
        r"a floating-point dtype, got torch.complex64",
    ),
    (lambda: P.elastic_net(W, -1.0, 0.0), r"elastic_net: l1 must be a finite number of at least 0, got -1.0"),
    (lambda: P.elastic_net(W, 0.0, math.nan), r"elastic_net: l2 must be .* got nan"),
    (lambda: P.elastic_net(W, True, 0.0), r"elastic_net: l1 must be .* got True"),
    (
        lambda: P.group_lasso([W, torch.ones(2)], 1),
        r"group_lasso: dim must be a dimension .* got 1 for shape \(2,\)",
    ),
    (lambda: P.group_lasso(W, 0.5), r"group_lasso: dim must be .* got 0.5"),
    (lambda: P.soft_threshold_(W, -0.1), r"soft_threshold_: threshold must be .* at least 0, got -0.1"),
    (
        lambda: P.soft_threshold_(W, [torch.ones(3)]),
        r"one tensor for each parameter of its shape .* got \[\(3,\)\]",
    ),
    (lambda: P.soft_threshold_(W, [0.1]), r"one tensor for each parameter .* got \['float'\]"),
    (lambda: P.soft_threshold_(W, -W), r"soft_threshold_: threshold must not be negative, got -1.0"),
    (lambda: P.group_soft_threshold_(W, 1.0, 2), r"group_soft_threshold_: dim must be .* got 2"),
    (lambda: P.group_soft_threshold_(W, [W, W]), r"group_soft_threshold_: threshold must be one number"),
    (lambda: P.max_norm_([1.0], 1.0), r"max_norm_: weight must be a torch.Tensor, got list"),
    (lambda: P.max_norm_(W, 0), r"max_norm_: max_norm must be above 0, got 0"),
    (lambda: P.max_norm_(W, -1.0), r"max_norm_: max_norm must be .* got -1.0"),
    (lambda: P.max_norm_(W, 1.0, 2), r"max_norm_: dim must be"),
    (lambda: P.decay_groups([W], 0.1), r"decay_groups: model must be a torch.nn.Module, got list"),
    (lambda: P.decay_groups(nn.ReLU(), 0.1), r"decay_groups: p must hold at least one parameter"),
    (lambda: P.decay_groups(nn.Linear(2, 2), -0.1), r"decay_groups: weight_decay must be .* got -0.1"),
    (lambda: P.decay_groups(nn.Linear(2, 2), 0.1, l1="a"), r"decay_groups: l1 must be .* got 'a'"),
    (
        lambda: P.decay_groups(nn.Linear(2, 2), 0.1, lr=0.1),
        r"lr and layer_decay must be given together, got lr=0.1",
    ),
    (lambda: P.decay_groups(nn.Linear(2, 2), 0.1, eps=0.1), r"options must be strengths .* 'eps'"),
    (lambda: P.decay_groups(nn.Linear(2, 2), 0.1, layer_decay=2, lr=1), r"layer_decay .* in \(0, 1\]"),
    (lambda: P.decay_groups(nn.Linear(2, 2), 0.1, layer_decay=0.5, lr=0), r"lr must be .* above 0"),
    (lambda: P.decay_groups(nn.Linear(2, 2), 0.1, spare="wieght"), r"'wieght': did you mean 'weight'"),
    (lambda: P.decay_groups(nn.Linear(2, 2), 0.1, spare=[W]), r"spare must name parameters of the model"),
    (lambda: P.decay_groups(nn.Linear(2, 2), 0.1, spare=nn.Conv2d), r"got a Conv2d that has none of them"),
    (lambda: P.decay_groups(nn.Linear(2, 2), 0.1, spare=3), r"spare must hold names, .* got 3"),
    (lambda: P.sparsity(W), r"sparsity: model must be a torch.nn.Module, got Tensor"),
]


@pytest.mark.parametrize(("call", "message"), ERRORS, ids=[str(i) for i in range(len(ERRORS))])
def test_misuse_is_refused_with_the_argument_named(call, message):
    with pytest.raises(ConvcraftError, match=message):
        call()
    assert (W == 1).all()
