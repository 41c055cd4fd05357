"""Sharpness and the largest stable rate: against exact eigenvalues, and against descent itself."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from convcraft.learning_rates import Sharpness, largest_stable_rate, sharpness


class Quadratic(nn.Module):
    """w^T A w / 2 as the output."""

    def __init__(self, matrix):
        super().__init__()
        self.register_buffer("matrix", matrix)
        self.first = nn.Parameter(torch.randn(2, dtype=matrix.dtype))
        self.rest = nn.Parameter(torch.randn(len(matrix) - 2, dtype=matrix.dtype))

    def forward(self, _):
        w = torch.cat([self.first, self.rest])
        return 0.5 * w @ self.matrix @ w


def with_eigenvalues(values, seed=0):
    g = torch.Generator().manual_seed(seed)
    q, _ = torch.linalg.qr(torch.randn(len(values), len(values), generator=g, dtype=torch.float64))
    return q @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ q.T


def identity_loss(output, target):
    return output


@pytest.mark.parametrize(
    ("values", "shifted"),
    [
        ([5.0, 3.0, 1.0, 0.5, -1.0], False),
        ([2.0, 1.0, 0.5, 0.0, -7.0], True),
        ([3.0, 1.0, 0.5, 0.2, -3.0], True),
        ([-1.0, -2.0, -3.0, -4.0, -8.0], True),
        ([4.0, 4.0, 4.0, 1.0, 0.0], False),
        ([1e-6, 1e-7, 0.0, 0.0, 0.0], False),
        ([1e6, 1e3, 1.0, 0.0, -1e3], False),
    ],
)
def test_sharpness_of_a_quadratic(values, shifted):
    model = Quadratic(with_eigenvalues(values))
    result = sharpness(model, (None, None), identity_loss, iterations=500, tolerance=1e-6)
    size = max(map(abs, values))
    assert result.converged and result.shifted == shifted
    assert result.value == pytest.approx(max(values), abs=1e-5 * size)
    assert result.residual <= 1e-6 * size * 1.001 and 1 <= result.iterations <= 500
    assert float(result) == result.value


def test_sharpness_starts_from_the_generator_and_says_when_it_has_not_converged():
    model = Quadratic(with_eigenvalues([5.0, 4.9, 4.8, 1.0, 0.0]))
    short = [
        sharpness(model, (None, None), identity_loss, 3, 1e-9, torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    ]
    assert short[0] == short[1] != short[2]
    assert not short[0].converged and short[0].iterations == 3
    assert sharpness(model, (None, None), identity_loss, 3) == sharpness(
        model, (None, None), identity_loss, 3
    )
    # mostly negative, clustered: the half of the iterations that is left is spent with a shift
    late = sharpness(
        Quadratic(with_eigenvalues([1.0, -4.0, -4.01, -4.02, -4.03])), (None, None), identity_loss, 60, 1e-7
    )
    assert late.shifted and late.value == pytest.approx(1.0, abs=1e-5)


def test_sharpness_sees_a_tie_in_size_at_once():
    """+3 and -3: power iteration alone stays between the two for ever, whatever the start."""
    model = Quadratic(with_eigenvalues([3.0, 1.0, 0.5, 0.2, -3.0]))
    for seed in range(20):
        result = sharpness(model, (None, None), identity_loss, 400, 1e-5, torch.Generator().manual_seed(seed))
        assert result.converged and result.shifted and result.iterations < 100
        assert result.value == pytest.approx(3.0, abs=1e-6)


def test_sharpness_of_what_has_no_curvature_is_zero():
    model = nn.Linear(3, 1)
    result = sharpness(model, (torch.randn(4, 3), None), lambda output, _: output.mean())
    assert result.value == 0 and result.converged and result.iterations == 1


@pytest.mark.parametrize("seed", range(3))
def test_sharpness_of_a_small_net_equals_the_exact_eigenvalue(seed):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    x, y = torch.randn(20, 4, dtype=torch.float64), torch.randint(0, 3, (20,))
    names = dict(model.named_parameters())
    shapes = [(name, p.shape, p.numel()) for name, p in names.items()]

    def value(flat):
        parts = flat.split([count for *_, count in shapes])
        given = {name: part.view(shape) for (name, shape, _), part in zip(shapes, parts, strict=True)}
        return F.cross_entropy(torch.func.functional_call(model, given, x), y)

    flat = torch.cat([p.detach().flatten() for p in names.values()])
    exact = torch.linalg.eigvalsh(torch.func.hessian(value)(flat))
    result = sharpness(model, (x, y), iterations=1000, tolerance=1e-6)
    assert result.converged
    assert result.value == pytest.approx(exact[-1].item(), rel=1e-6)


def test_sharpness_is_bounded_by_the_part_that_learns():
    matrix = torch.diag(torch.tensor([9.0, 8.0, 2.0, 1.0], dtype=torch.float64))
    model = Quadratic(matrix)
    model.first.requires_grad_(False)
    assert sharpness(model, (None, None), identity_loss).value == pytest.approx(2.0, rel=1e-3)


EDGES = [
    {},
    {"momentum": 0.9},
    {"momentum": 0.5, "dampening": 0.5},
    {"momentum": 0.9, "nesterov": True},
    {"weight_decay": 0.7},
    {"momentum": 0.8, "nesterov": True, "weight_decay": 0.5},
]


@pytest.mark.parametrize("settings", EDGES, ids=str)
def test_below_the_largest_stable_rate_descent_converges_and_above_it_diverges(settings):
    matrix = with_eigenvalues([4.0, 2.0, 1.0, 0.5])
    edge = largest_stable_rate(
        sharpness(Quadratic(matrix), (None, None), identity_loss, tolerance=1e-8), **settings
    )
    sizes = []
    for factor in (0.95, 1.05):
        torch.manual_seed(0)
        model = Quadratic(matrix)
        optimizer = torch.optim.SGD(model.parameters(), lr=factor * edge, **settings)
        for _ in range(500):
            optimizer.zero_grad()
            model(None).backward()
            optimizer.step()
        sizes.append(torch.cat([model.first, model.rest]).norm().item())
    assert sizes[0] < 1e-3 and sizes[1] > 1e3


def test_largest_stable_rate_without_curvature_is_infinite():
    assert largest_stable_rate(0.0) == largest_stable_rate(-3.0) == math.inf
    assert largest_stable_rate(-3.0, weight_decay=4.0) == 2.0
    assert largest_stable_rate(Sharpness(8.0, 0.0, 1, True, False)) == 0.25
