"""Proximal steps with the optimizers of torch: exact zeros, the Lasso's solution, schedules and states."""

import copy

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso
from torch import nn

from convcraft import ConvcraftError
from convcraft.penalties import decay_groups, group_lasso, l1_penalty, proximal, sparsity

rng = np.random.default_rng(0)
INPUTS = rng.normal(size=(80, 10)) * np.linspace(0.3, 2.0, 10)
TARGETS = INPUTS @ np.array([2, 0, 0, -1, 0, 0, 0.5, 0, 1, 0.0]) + 0.3 * rng.normal(size=80)
X, Y = torch.from_numpy(INPUTS), torch.from_numpy(TARGETS)
STRENGTH = 0.2

OPTIMIZERS = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1),
    "SGD momentum": lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9),
    "SGD dampening": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.8, dampening=0.5),
    "SGD Nesterov": lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.8, nesterov=True),
    "Adam": lambda p: torch.optim.Adam(p, lr=0.05),
    "Adam for loop": lambda p: torch.optim.Adam(p, lr=0.05, foreach=False),
    "AMSGrad": lambda p: torch.optim.Adam(p, lr=0.05, amsgrad=True),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.05, weight_decay=0.0),
    "NAdam": lambda p: torch.optim.NAdam(p, lr=0.05),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=0.02),
    "RMSprop centered": lambda p: torch.optim.RMSprop(p, lr=0.01, centered=True, momentum=0.5),
    "Adagrad": lambda p: torch.optim.Adagrad(p, lr=0.5, lr_decay=1e-4),
    "Adamax": lambda p: torch.optim.Adamax(p, lr=0.05),
    "Adam fused": lambda p: torch.optim.Adam(p, lr=0.05, fused=True),
    "RAdam": lambda p: torch.optim.RAdam(p, lr=0.05),
    "Adadelta": lambda p: torch.optim.Adadelta(p, lr=1.0, eps=1e-3),
}


def loss(w):
    return 0.5 * (X @ w - Y).square().mean()


def train(optimizer, w, steps=800, decay=True):
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps) if decay else None
    for _ in range(steps):
        optimizer.zero_grad()
        loss(w).backward()
        optimizer.step()
        if schedule is not None:
            schedule.step()
    return w.detach()


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_every_optimizer_finds_the_lasso_of_scikit_learn(name):
    expected = (
        Lasso(alpha=STRENGTH, fit_intercept=False, tol=1e-10, max_iter=100_000).fit(INPUTS, TARGETS).coef_
    )
    w = nn.Parameter(torch.full((10,), 0.5, dtype=torch.float64))
    found = train(proximal(OPTIMIZERS[name]([w]), l1=STRENGTH), w).numpy()
    assert 2 <= (expected == 0).sum() <= 8
    np.testing.assert_allclose(found, expected, atol=5e-3)
    assert ((found == 0) == (expected == 0)).all()


def test_the_gradient_of_the_penalty_gives_no_exact_zero_and_the_proximal_step_does():
    zeros = []
    for wrap in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1)).double()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        if wrap:
            proximal(optimizer, l1=2e-2)
        for _ in range(300):
            optimizer.zero_grad()
            error = (model(X).squeeze(1) - Y).square().mean()
            (error if wrap else error + 2e-2 * l1_penalty(model)).backward()
            optimizer.step()
        zeros.append(sparsity(model).share)
        assert error < 0.5
    assert zeros[0] == 0 and zeros[1] > 0.3


@pytest.mark.parametrize("name", ["SGD momentum", "Adam", "RMSprop"])
def test_group_lasso_comes_to_rest_where_its_subgradient_vanishes(name):
    w = nn.Parameter(torch.full((5, 2), 0.5, dtype=torch.float64))
    optimizer = proximal(OPTIMIZERS[name]([w]), l1=0.05, group=0.15)
    for _ in range(1200):
        optimizer.zero_grad()
        loss(w.view(-1)).backward()
        optimizer.step()
        optimizer.param_groups[0]["lr"] *= 0.996
    (slope,) = torch.autograd.grad(loss(w.view(-1)), w)
    root, soft = 2**0.5, slope.sign() * (slope.abs() - 0.05).clamp(min=0)
    kept = (w != 0).any(1)
    assert 1 <= kept.sum() <= 4
    assert (soft[~kept].norm(dim=1) <= 0.15 * root * 1.02).all()
    rest = slope[kept] + 0.15 * root * w[kept] / w[kept].norm(dim=1, keepdim=True) + 0.05 * w[kept].sign()
    assert rest[w[kept] != 0].abs().max() < 0.02


def test_groups_have_their_own_strengths_and_rates():
    a, b, c = (nn.Parameter(torch.ones(3)) for _ in "abc")
    groups = [{"params": [a], "lr": 0.1}, {"params": [b], "lr": 0.01}, {"params": [c], "l1": 0.0}]
    optimizer = proximal(torch.optim.SGD(groups, lr=0.1), l1=2.0)
    for p in (a, b, c):
        p.grad = torch.zeros(3)
    optimizer.step()
    assert [p[0].item() for p in (a, b, c)] == pytest.approx([0.8, 0.98, 1.0])
    a.grad = None
    optimizer.step()
    assert [p[0].item() for p in (a, b, c)] == pytest.approx([0.8, 0.96, 1.0])
    optimizer.add_param_group({"params": [nn.Parameter(torch.ones(2))]})
    optimizer.param_groups[-1]["params"][0].grad = torch.zeros(2)
    optimizer.step()
    assert optimizer.param_groups[-1]["params"][0][0].item() == pytest.approx(0.8)


def test_decay_groups_spare_biases_from_the_threshold():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    for p in model.parameters():
        nn.init.constant_(p, 0.01)
        p.grad = torch.zeros_like(p)
    proximal(torch.optim.Adam(decay_groups(model, 0.0, l1=1.0), lr=0.1)).step()
    assert (model[0].weight == 0).all() and (model[0].bias != 0).all() and (model[1].weight != 0).all()


def test_schedulers_change_the_threshold():
    w = nn.Parameter(torch.tensor([1.0]))
    optimizer = proximal(torch.optim.SGD([w], lr=0.1), l1=1.0)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.1)
    found = []
    for _ in range(3):
        w.grad = torch.zeros(1)
        optimizer.step()
        schedule.step()
        found.append(w.item())
    assert found == pytest.approx([0.9, 0.89, 0.889])


def test_the_state_holds_the_strengths_and_continues():
    def build():
        w = nn.Parameter(torch.full((10,), 0.5, dtype=torch.float64))
        return w, torch.optim.Adam([w], lr=0.05)

    w, optimizer = build()
    proximal(optimizer, l1=STRENGTH)
    train(optimizer, w, 50, decay=False)
    state, weights = copy.deepcopy(optimizer.state_dict()), w.detach().clone()
    assert state["param_groups"][0]["l1"] == STRENGTH
    train(optimizer, w, 50, decay=False)
    other, second = build()
    with torch.no_grad():
        other.copy_(weights)
    proximal(second)
    second.load_state_dict(state)
    train(second, other, 50, decay=False)
    assert torch.equal(w, other)


def test_wrapping_twice_steps_once_and_a_copy_can_be_wrapped_again():
    w = nn.Parameter(torch.tensor([1.0]))
    optimizer = proximal(proximal(torch.optim.SGD([w], lr=0.1), l1=1.0))
    w.grad = torch.zeros(1)
    optimizer.step()
    assert w.item() == pytest.approx(0.9)
    twin = proximal(copy.deepcopy(optimizer))
    twin.param_groups[0]["params"][0].grad = torch.zeros(1)
    twin.step()
    assert twin.param_groups[0]["params"][0].item() == pytest.approx(0.8) and w.item() == pytest.approx(0.9)


def test_closures_gradient_scalers_and_rates_of_zero():
    w = nn.Parameter(torch.tensor([1.0, 0.05]))
    optimizer = proximal(torch.optim.Adam([w], lr=0.0), l1=1.0, group=1.0)

    def closure():
        optimizer.zero_grad()
        value = w.square().sum()
        value.backward()
        return value

    assert optimizer.step(closure).item() == pytest.approx(1.0025)
    assert w.tolist() == pytest.approx([1.0, 0.05])
    optimizer.param_groups[0]["lr"] = 0.1
    optimizer.step(closure)
    assert w[1] == 0
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    before = w.detach().clone()
    optimizer.zero_grad()
    scaler.scale(w.sum() * float("inf")).backward()
    scaler.step(optimizer)
    assert torch.equal(w, before)  # the step was skipped, and the threshold with it


class Plain(torch.optim.Optimizer):
    """Gradient descent as a user may write it."""

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(group["lr"] * p.grad)


def test_any_other_optimizer_takes_rates_of_the_user():
    w = nn.Parameter(torch.full((10,), 0.5, dtype=torch.float64))
    optimizer = proximal(
        Plain([w], {"lr": 0.1}),
        l1=STRENGTH,
        rates=lambda group, states: group["lr"],
    )
    expected = (
        Lasso(alpha=STRENGTH, fit_intercept=False, tol=1e-10, max_iter=100_000).fit(INPUTS, TARGETS).coef_
    )
    np.testing.assert_allclose(train(optimizer, w, decay=False).numpy(), expected, atol=5e-3)


def test_the_penalized_loss_falls():
    w = nn.Parameter(torch.full((5, 2), 0.5, dtype=torch.float64))
    optimizer = proximal(torch.optim.SGD([w], lr=0.05), group=0.15)
    last = float("inf")
    for _ in range(50):
        value = loss(w.view(-1)) + 0.15 * group_lasso(w)
        assert value <= last + 1e-12
        last = value.item()
        optimizer.zero_grad()
        loss(w.view(-1)).backward()
        optimizer.step()


def stepped(optimizer):
    for group in optimizer.param_groups:
        for p in group["params"]:
            p.grad = torch.zeros_like(p)
    optimizer.step()


def strengthened(optimizer):
    optimizer.param_groups[0]["group"] = 1.0
    stepped(optimizer)


BIAS = nn.Parameter(torch.ones(2))
ERRORS = [
    (lambda: proximal(nn.Linear(2, 2)), r"proximal: optimizer must be a torch.optim.Optimizer, got Linear"),
    (lambda: proximal(torch.optim.LBFGS([BIAS])), r"the rates of LBFGS are not known, .* pass rates="),
    (lambda: proximal(torch.optim.SGD([BIAS], lr=1.0), l1=-1.0), r"proximal: l1 must be .* got -1.0"),
    (lambda: proximal(torch.optim.SGD([BIAS], lr=1.0), group="1"), r"proximal: group must be .* got '1'"),
    (
        lambda: proximal(torch.optim.SGD([{"params": [BIAS], "l1": -2.0}], lr=1.0)),
        r"proximal: l1 of a parameter group must be .* got -2.0",
    ),
    (
        lambda: proximal(torch.optim.SGD([BIAS], lr=1.0), group=1.0, dim=1),
        r"proximal: dim must be a dimension of every parameter, got 1 for shape \(2,\)",
    ),
    (
        lambda: strengthened(proximal(torch.optim.SGD([BIAS], lr=1.0), dim=1)),
        r"proximal: dim must be a dimension of every parameter, got 1 for shape \(2,\)",
    ),
]


@pytest.mark.parametrize(("call", "message"), ERRORS, ids=[str(i) for i in range(len(ERRORS))])
def test_misuse_is_refused_with_the_argument_named(call, message):
    with pytest.raises(ConvcraftError, match=message):
        call()
