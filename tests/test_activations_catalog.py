"""The catalogue: what it states of each function is measured; finding by name; moments by quadrature."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate
from torch import nn

from convcraft import ConvcraftError, reference
from convcraft import activations as A
from convcraft.activations.quadrature import Moments
from convcraft.initialization import initialize

CATALOG = A.catalog()
GRID = torch.linspace(-30, 30, 600_001, dtype=torch.float64)


@pytest.mark.parametrize("entry", CATALOG.values(), ids=list(CATALOG))
def test_stated_properties_are_those_of_the_function(entry):
    y, slope = entry(GRID), entry.slope(GRID)
    low, high = entry.range
    assert y.min() >= low - 1e-9 and y.max() <= high + 1e-9
    for end, reached in ((low, y.min()), (high, y.max())):
        if math.isfinite(end):
            assert abs(reached - end) < (0.04 if entry.name == "softsign" else 1e-6)
        else:
            assert reached.abs() > 0.29
    assert slope.abs().max() == pytest.approx(entry.lipschitz, rel=1e-4)  # on a grid, so nearly
    assert bool((slope >= -1e-12).all()) == entry.monotonic
    assert (entry.mean == pytest.approx(0, abs=1e-9) and low < 0 < high) >= entry.zero_centred
    if entry.zero_centred:
        torch.testing.assert_close(entry(-GRID), -y)
    jump = slope.diff().abs().max()
    assert (jump > 0.1) == (entry.smooth == "C0")
    assert entry.name in ("softsign", "elu", "celu") or (entry.smooth != "C1")
    assert entry.formula and entry.derivative and entry.initialization and entry.cost > 0
    author, year, title = entry.source
    assert author and 1950 < year < 2030 and title


@pytest.mark.parametrize("entry", CATALOG.values(), ids=list(CATALOG))
def test_moments_agree_with_adaptive_quadrature_of_the_numpy_reference(entry):
    f, df = reference.ACTIVATIONS[entry.name]

    def expected(g):
        def density(z):
            return g(z) * math.exp(-z * z / 2) / math.sqrt(2 * math.pi)

        return integrate.quad(density, -12, 12, points=[-3, 0, 3, 6], limit=400, epsabs=1e-12)[0]

    assert entry.mean == pytest.approx(expected(lambda z: float(f(z))), abs=1e-9)
    assert entry.second_moment == pytest.approx(expected(lambda z: float(f(z)) ** 2), abs=1e-9)
    assert entry.derivative_second_moment == pytest.approx(expected(lambda z: float(df(z)) ** 2), abs=1e-9)


def test_known_moments_in_closed_form():
    relu = A.moments(torch.relu)
    assert relu.second == relu.derivative_second == 0.5
    assert relu.mean == pytest.approx(1 / math.sqrt(2 * math.pi), abs=1e-11)
    assert relu.variance == pytest.approx(0.5 - 1 / (2 * math.pi), abs=1e-11)
    assert A.moments(lambda z: z) == pytest.approx((0, 1, 1), abs=1e-11)
    assert A.moments(lambda z: z**2) == pytest.approx((1, 3, 4), abs=1e-10)
    assert A.moments(lambda z: torch.zeros_like(z)) == (0, 0, 0)
    selu = CATALOG["selu"]
    assert selu.mean == pytest.approx(0, abs=1e-6) and selu.second_moment == pytest.approx(1, abs=1e-6)


def test_moments_do_not_depend_on_the_order_and_survive_a_kink_anywhere():
    def kinked(z):
        return torch.relu(z - 0.123456)

    few, many = A.moments(kinked, order=8), A.moments(kinked, order=64)
    assert few == pytest.approx(many, abs=1e-9)
    tail = 0.5 * math.erfc(0.123456 / math.sqrt(2))
    assert many.derivative_second == pytest.approx(tail, abs=1e-9)


def test_parameter_reaches_function_and_slope():
    entry, x = CATALOG["leaky_relu"], torch.tensor([-2.0, 3.0])
    torch.testing.assert_close(entry(x, 0.5), torch.tensor([-1.0, 3.0]))
    torch.testing.assert_close(entry.slope(x, 0.5), torch.tensor([0.5, 1.0]))
    name, default, (low, high) = entry.parameter
    assert (name, default) == ("negative_slope", 0.01) and low <= default <= high
    for entry in CATALOG.values():
        if entry.parameter is not None:
            assert not torch.equal(entry(x), entry(x, entry.parameter.bounds[1]))


@pytest.mark.parametrize("entry", CATALOG.values(), ids=list(CATALOG))
def test_derivative_by_name_equals_autograd(entry):
    x = torch.randn(100, dtype=torch.float64)
    torch.testing.assert_close(
        A.derivative(entry.name, x), A.derivative(entry.function, x), rtol=1e-7, atol=1e-9
    )
    module = entry.module().double()
    torch.testing.assert_close(module(x), entry(x))


def test_derivative_of_a_callable_leaves_no_trace():
    x = torch.tensor([0.5, -1.0])
    torch.testing.assert_close(A.derivative(lambda v: v**3, x), 3 * x**2)
    torch.testing.assert_close(A.derivative(A.leaky_relu, x, negative_slope=0.2), torch.tensor([1.0, 0.2]))
    assert not x.requires_grad and x.grad is None
    assert torch.equal(A.derivative(lambda v: torch.ones_like(v), x), torch.zeros(2))


def test_get_resolves_names_and_passes_callables():
    assert A.get("relu") is A.relu and A.get("softmax") is A.softmax
    module = A.ReLU()
    assert A.get(module) is module
    torch.testing.assert_close(A.get("prelu")(torch.tensor([-4.0])), torch.tensor([-1.0]))
    for name in CATALOG:
        assert A.get(name) is CATALOG[name].function


@pytest.mark.parametrize("name", CATALOG)
def test_the_recommended_initialization_is_what_initialize_does(name):
    schemes = {"He": "kaiming", "LeCun": "lecun", "Xavier": "xavier", "own gain": "kaiming"}
    names = {n.lower(): n for n in A.__all__ if n[0].isupper()}
    layer = getattr(A, names[name.replace("_", "")])()
    row, *_ = initialize(nn.Sequential(nn.Linear(8, 8), layer, nn.Linear(8, 2)))
    kind = CATALOG[name].initialization.split(":")[0]
    assert row.scheme == f"{schemes[kind]}_normal"
    if kind == "own gain":
        assert row.gain == pytest.approx(CATALOG[name].second_moment ** -0.5, rel=1e-4)


def test_a_moment_that_rounds_to_zero_is_printed_without_a_sign(monkeypatch):
    monkeypatch.setattr(A.Entry, "moments", property(lambda entry: Moments(-1e-17, 0.5, 0.5)))
    assert "-0.0000" not in repr(CATALOG) and " 0.0000" in repr(CATALOG)


def test_printed_as_an_aligned_table_and_as_html():
    lines = repr(CATALOG).splitlines()
    assert len(lines) == len(CATALOG) + 1
    column = lines[0].index("range")
    assert all(line[column - 1] == " " and line[column] != " " for line in lines)
    page = CATALOG._repr_html_()
    assert page.count("<tr>") == len(CATALOG) + 1 and "LeCun" in page
    assert list(CATALOG)[0] == "relu" and "relu" in CATALOG and "rleu" not in CATALOG


ERRORS = [
    (lambda: CATALOG["leaky_rellu"], r"unknown activation 'leaky_rellu': did you mean 'leaky_relu'"),
    (lambda: CATALOG[["relu"]], r"unknown activation"),
    (lambda: A.get("taanh"), r"unknown activation 'taanh': did you mean 'tanh'"),
    (lambda: A.get(3), r"activation must be a name or a callable, got int"),
    (lambda: A.derivative("rel", torch.ones(1)), r"unknown activation 'rel': did you mean"),
    (lambda: A.derivative("relu", 3.0), r"derivative: input must be a torch.Tensor, got float"),
    (
        lambda: A.derivative(lambda v: v.sum(), torch.ones(2)),
        r"same shape \(2,\), got \(\); pass an element-wise",
    ),
    (lambda: A.derivative(lambda v: 3, torch.ones(2)), r"got int; pass an element-wise"),
    (lambda: A.moments(torch.relu, order=2), r"moments: order must lie between 4 and 128, got 2"),
    (lambda: A.moments(lambda z: torch.log(z)), r"moments: function must have finite moments"),
    (lambda: CATALOG["relu"](torch.ones(1), 0.5), r"relu has no parameter, got parameter=0.5"),
]


@pytest.mark.parametrize(("call", "message"), ERRORS, ids=[message[:40] for _, message in ERRORS])
def test_misuse_is_refused(call, message):
    with pytest.raises(ConvcraftError, match=message):
        call()


def test_catalogue_values_are_plain_numbers():
    assert all(np.isfinite([e.lipschitz, e.cost, *e.moments]).all() for e in CATALOG.values())
