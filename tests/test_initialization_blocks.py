"""Generated residual blocks: after `initialize` every parameter learns, and no branch jumps at first.

A block is composed of an inner part, a gate, a normalization and the place of the normalization.
"""

import itertools
import random
import time

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from convcraft.initialization import initialize
from zoo import Attention, Fn, RMSNorm, parameter, swiglu

WIDTH, LENGTH = 8, 6


def transposed(module):
    """A module over (n, channels, length) for values (n, length, channels)."""
    return Fn(lambda m, x: m.inner(x.mT).mT, inner=module)


class StandardizedConv1d(nn.Conv1d):
    def forward(self, x):
        w = self.weight - self.weight.mean((1, 2), keepdim=True)
        return F.conv1d(x, w / (w.square().sum((1, 2), keepdim=True) + 1e-8).sqrt(), self.bias, padding=1)


class OwnLinear(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(WIDTH, WIDTH))

    def forward(self, x):
        w = self.weight / (self.weight.norm(dim=1, keepdim=True) + 1e-8)
        return x @ w.T


def two(last):
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), last)


def selective():
    def forward(m, x):
        b, c = m.project(x).chunk(2, -1)  # both (n, length, width)
        return (b * c).cumsum(1) / LENGTH + m.skip * x

    return Fn(forward, project=nn.Linear(WIDTH, 2 * WIDTH), skip=parameter(WIDTH, value=1.0))


weight_norm, spectral_norm = nn.utils.parametrizations.weight_norm, nn.utils.parametrizations.spectral_norm
INNER = {
    "linear": lambda: two(nn.Linear(WIDTH, WIDTH)),
    "convolution": lambda: two(transposed(nn.Conv1d(WIDTH, WIDTH, 3, padding=1))),
    "attention": lambda: Attention(WIDTH),
    "swiglu": lambda: swiglu(WIDTH, WIDTH),
    "selective": selective,
    "weight-norm": lambda: two(weight_norm(nn.Linear(WIDTH, WIDTH))),
    "spectral-norm": lambda: two(spectral_norm(nn.Linear(WIDTH, WIDTH))),
    "standardized": lambda: two(transposed(StandardizedConv1d(WIDTH, WIDTH, 3))),
    "normalized": lambda: two(OwnLinear()),
    "gated": lambda: Fn(
        lambda m, x: torch.tanh(m.a(x)) * torch.sigmoid(m.b(x)), a=nn.Linear(WIDTH, WIDTH), b=nn.Linear(WIDTH, WIDTH)
    ),
}
GATES = {
    "none": lambda: Fn(lambda m, y: y * 1.0),
    "rezero": lambda: Fn(lambda m, y: m.alpha * y, alpha=parameter(1)),
    "layer-scale": lambda: Fn(lambda m, y: y * m.gamma, gamma=parameter(WIDTH, value=1e-6)),
    "shaped": lambda: Fn(lambda m, y: y * m.gamma.view(1, 1, -1), gamma=parameter(WIDTH, 1, 1)),
    "tanh": lambda: Fn(lambda m, y: y * torch.tanh(m.gate), gate=parameter(1)),
    "inner": lambda: nn.Sequential(nn.Dropout(0.1), Fn(lambda m, y: torch.mul(y, m.alpha), alpha=parameter(1))),
    "squeeze-excite": lambda: Fn(
        lambda m, y: y * torch.sigmoid(m.gate(y.mean(1, keepdim=True))), gate=nn.Linear(WIDTH, WIDTH)
    ),
    "softmax": lambda: Fn(lambda m, y: y * m.gate(y).softmax(-1)[..., :1], gate=nn.Linear(WIDTH, 2)),
}
NORMS = {
    "none": lambda: nn.Identity(),
    "batch": lambda: transposed(nn.BatchNorm1d(WIDTH)),
    "batch-without-scale": lambda: transposed(nn.BatchNorm1d(WIDTH, affine=False)),
    "layer": lambda: nn.LayerNorm(WIDTH),
    "layer-without-scale": lambda: nn.LayerNorm(WIDTH, elementwise_affine=False),
    "group": lambda: transposed(nn.GroupNorm(2, WIDTH)),
    "rms": lambda: RMSNorm(WIDTH),
    "functional": lambda: Fn(lambda m, x: F.layer_norm(x, (WIDTH,))),
    "by-hand": lambda: Fn(lambda m, x: x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()),
}
PLACES = ("before", "end", "after")


def block(inner, gate, norm, place):
    parts = [INNER[inner](), GATES[gate]()]
    if place != "after":
        parts.insert(0 if place == "before" else 1, NORMS[norm]())
    after = NORMS[norm]() if place == "after" else nn.Identity()
    return Fn(lambda m, x: m.after(x + m.branch(x)), branch=nn.Sequential(*parts), after=after)


def highway(inner, norm, place):
    """The gate weighs the branch against its input."""

    def forward(m, x):
        t = torch.sigmoid(m.gate(x))
        return t * m.branch(x) + (1 - t) * x

    order = [NORMS[norm](), INNER[inner]()]
    branch = nn.Sequential(*(order if place == "before" else order[::-1]))
    return Fn(forward, gate=nn.Linear(WIDTH, WIDTH), branch=branch)


def network(*recipe):
    blocks = [highway(*recipe[1:]) if recipe[0] == "highway" else block(*recipe) for _ in "ab"]
    return nn.Sequential(nn.Linear(4, WIDTH), *blocks, Fn(lambda m, x: x.mean(1)), nn.Linear(WIDTH, 3))


def first_steps(model, optimizer, steps):
    """Root mean square of each branch's output beside that of its input, before and after the steps."""
    x, y = torch.randn(64, LENGTH, 4), torch.randint(3, (64,))
    x[:, :, 0] += y[:, None]
    found = []

    def look(module, inputs, output):
        found[-1].append((output.square().mean().sqrt().item(), inputs[0].square().mean().sqrt().item()))

    for block in model[1:3]:
        block.branch.register_forward_hook(look)
    for _ in range(steps + 1):
        found.append([])
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    return found


def judge(recipe):
    """What is wrong with the first steps of a network of two such blocks; None when nothing is."""
    for kind, rate in ((torch.optim.SGD, 0.05), (torch.optim.Adam, 2e-3)):
        torch.manual_seed(0)
        model = network(*recipe)
        initialize(model, example=torch.randn(2, LENGTH, 4))
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        found = first_steps(model, kind(model.parameters(), rate), 5)
        for step in (1, 5):
            for (start, _), (now, stream) in zip(found[0], found[step], strict=True):
                if not now <= start + 0.3 * step**0.5 * stream:
                    return f"{kind.__name__}: a branch jumps from {start:.3g} to {now:.3g}"
        still = [name for name, p in model.named_parameters() if torch.equal(p, before[name])]
        if kind is torch.optim.Adam and still:
            return f"never moves: {still}"
    return None


def recipes():
    plain = [r for r in itertools.product(INNER, GATES, NORMS, PLACES) if r[2] != "none" or r[3] == "before"]
    gates = [("highway", *r) for r in itertools.product(INNER, NORMS, PLACES[:2])]
    return plain + gates


def test_every_parameter_learns_and_no_branch_jumps():
    everything = recipes()
    random.Random(0).shuffle(everything)
    for recipe in everything[:40]:
        assert judge(recipe) is None, (recipe, judge(recipe))


def wide():
    return nn.Linear(WIDTH, WIDTH)


PRODUCTS = {
    "square": lambda: Fn(lambda m, x: x + (h := m.a(x)) * h, a=wide()),
    "power": lambda: Fn(lambda m, x: x + m.a(x) ** 2, a=wide()),
    "squared relu": lambda: Fn(lambda m, x: x + m.b(F.relu(m.a(x)).square()), a=wide(), b=wide()),
    "relu times": lambda: Fn(lambda m, x: x + F.relu(m.a(x)) * m.b(x), a=wide(), b=wide()),
    "addcmul": lambda: Fn(lambda m, x: torch.addcmul(x, m.a(x), m.b(x)), a=wide(), b=wide()),
    "exponential gate": lambda: Fn(lambda m, x: x + torch.exp(m.a(x)) * m.b(x), a=wide(), b=wide()),
    "one plus": lambda: Fn(lambda m, x: x * (1 + m.b(F.relu(m.a(x)))), a=wide(), b=wide()),
    "one plus tanh": lambda: Fn(lambda m, x: (m.b(F.relu(m.a(x))).tanh() + 1) * x, a=wide(), b=wide()),
    "einsum": lambda: Fn(
        lambda m, x: x + torch.einsum("nli,nlj->nlij", m.a(x), m.b(x)).mean(2), a=wide(), b=wide()
    ),
    "three": lambda: Fn(lambda m, x: x + m.a(x) * m.b(x) * m.c(x), a=wide(), b=wide(), c=wide()),
    "gated": lambda: Fn(lambda m, x: x + m.c(F.silu(m.a(x)) * m.b(x)), a=wide(), b=wide(), c=wide()),
}  # fmt: skip


def test_products_in_a_branch_do_not_run_away_under_plain_sgd():
    for name, block in PRODUCTS.items():
        torch.manual_seed(0)
        blocks = nn.Sequential(*[block() for _ in range(6)])
        model = nn.Sequential(nn.Linear(4, WIDTH), blocks, Fn(lambda m, x: x.mean(1)), nn.Linear(WIDTH, 3))
        assert "in a product: times 0.2" in repr(initialize(model))
        before = {key: p.detach().clone() for key, p in model.named_parameters()}
        x, y = torch.randn(64, LENGTH, 4), torch.randint(3, (64,))
        x[:, :, 0] += y[:, None]
        optimizer, losses = torch.optim.SGD(model.parameters(), 0.05), []
        for _ in range(16):
            stem = model[0](x)
            assert blocks(stem).square().mean() < 10 * stem.square().mean(), name
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < losses[0], (name, losses)
        assert all(not torch.equal(p, before[key]) for key, p in model.named_parameters()), name


def hidden():
    return nn.Sequential(wide(), nn.ReLU(), wide())


def normed():
    return nn.Sequential(wide(), transposed(nn.BatchNorm1d(WIDTH)))


OWN = {
    "sigmoid": lambda: Fn(lambda m, x: x + x * torch.sigmoid(m.a(x)), a=wide()),
    "hidden": lambda: Fn(lambda m, x: x + m.g(m.a(x)) * x, a=hidden(), g=nn.Sigmoid()),
    "squeeze": lambda: Fn(
        lambda m, x: x + 0.5 * (x * torch.sigmoid(m.a(x.mean(1, keepdim=True)))), a=hidden()
    ),
    "one plus": lambda: Fn(lambda m, x: x * (1 + torch.sigmoid(m.a(x))), a=wide()),
    "minus": lambda: Fn(lambda m, x: x - x * torch.sigmoid(m.a(x)), a=hidden()),
    "hardsigmoid": lambda: Fn(lambda m, x: x + x * F.hardsigmoid(m.a(x)), a=hidden()),
    "softplus": lambda: Fn(lambda m, x: x + x * F.softplus(m.a(x)), a=wide()),
    "exponential": lambda: Fn(lambda m, x: x * (1 + m.a(x).exp()), a=wide()),
    "normalized": lambda: Fn(lambda m, x: x + x * torch.sigmoid(m.a(x)), a=normed()),
    "tanh": lambda: Fn(lambda m, x: x + x * torch.tanh(m.a(x)), a=hidden()),
    "linear": lambda: Fn(lambda m, x: x + x * m.a(x), a=hidden()),
    "square": lambda: Fn(lambda m, x: x + m.a(x) ** 2, a=wide()),
}  # fmt: skip


@pytest.mark.parametrize("name", OWN)
def test_gates_of_the_shortcuts_own_value_keep_its_scale_at_any_depth(name):
    x, y = torch.randn(64, LENGTH, 4), torch.randint(3, (64,))
    x[:, :, 0] += y[:, None]
    for depth in (2, 24):
        torch.manual_seed(0)
        blocks = nn.Sequential(*[OWN[name]() for _ in range(depth)])
        model = nn.Sequential(nn.Linear(4, WIDTH), blocks, Fn(lambda m, x: x.mean(1)), nn.Linear(WIDTH, 3))
        initialize(model)
        before = {key: p.detach().clone() for key, p in model.named_parameters()}
        optimizer, losses = torch.optim.SGD(model.parameters(), 0.05), []
        for _ in range(12):
            stem = model[0](x)
            growth = blocks(stem).square().mean().sqrt() / stem.square().mean().sqrt()
            assert 0.4 < growth < 4, growth
            optimizer.zero_grad()
            losses.append(F.cross_entropy(model(x), y))
            losses[-1].backward()
            optimizer.step()
        assert losses[-1] < losses[0]
        assert all(not torch.equal(p, before[key]) for key, p in model.named_parameters())


def test_the_table_says_what_no_start_can_keep_in_bounds():
    run_away = "may run away: normalize its input"
    for block, note in (
        (lambda: Fn(lambda m, x: x + x * m.a(x), a=wide()), run_away),
        (lambda: Fn(lambda m, x: x + x * torch.tanh(m.a(x)), a=wide()), run_away),
        (lambda: Fn(lambda m, x: x + torch.exp(m.a(x)) * m.b(x), a=wide(), b=wide()), run_away),
        (
            lambda: Fn(lambda m, x: x + x * torch.sigmoid(m.a(x)), a=nn.Linear(WIDTH, WIDTH, bias=False)),
            "its gate starts open: give it a bias",
        ),
    ):
        table = initialize(nn.Sequential(wide(), block(), wide()))
        assert note in table[1].note and note not in table[0].note + table[-1].note
    for block in (OWN["sigmoid"], lambda: Fn(lambda m, x: x + x * m.a(m.n(x)), a=wide(), n=nn.LayerNorm(WIDTH))):
        assert "run away" not in repr(initialize(nn.Sequential(wide(), block(), wide())))


def test_bounded_gates_and_normalized_branches_are_drawn_as_before():
    for block in (
        lambda: Fn(lambda m, x: x + torch.sigmoid(m.a(x)) * m.b(x), a=wide(), b=wide()),
        lambda: Fn(lambda m, x: x + m.b(m.n(x)) * m.a(m.n(x)), a=wide(), b=wide(), n=nn.LayerNorm(WIDTH)),
        lambda: Fn(lambda m, x: x + m.b(F.relu(m.a(x))), a=wide(), b=wide()),
        lambda: Fn(lambda m, x: m.a(x) * m.b(x), a=wide(), b=wide()),
    ):
        assert "in a product" not in repr(initialize(nn.Sequential(wide(), block(), wide())))


def coupled(m, x):
    x, y = x.chunk(2, -1)
    scale, shift = m.a(y).chunk(2, -1)
    return torch.cat([y, x * scale.exp() + shift], -1)


CHAINS = {
    "times itself": lambda: Fn(lambda m, x: x * m.a(x), a=wide()),
    "times a network": lambda: Fn(lambda m, x: x * m.a(x), a=nn.Sequential(wide(), nn.ReLU(), wide())),
    "two layers": lambda: Fn(lambda m, x: m.a(x) * m.b(x), a=wide(), b=wide()),
    "two and a third": lambda: Fn(lambda m, x: m.c(F.relu(m.a(x)) * m.b(x)), a=wide(), b=wide(), c=wide()),
    "exponential": lambda: Fn(lambda m, x: m.a(x).exp(), a=wide()),
    "times an exponential": lambda: Fn(lambda m, x: x * m.a(x).exp(), a=wide()),
    "plus an exponential": lambda: Fn(lambda m, x: x + m.b(m.a(x)).exp(), a=wide(), b=wide()),
    "over an exponential": lambda: Fn(lambda m, x: x + m.a(x) / m.b(x).exp(), a=wide(), b=wide()),
    "coupling": lambda: Fn(coupled, a=nn.Linear(4, 8)),
    "scale and shift": lambda: Fn(
        lambda m, x: x + m.a(x) * m.c(x) + m.b(x), a=wide(), b=wide(), c=wide()
    ),
    "matrices": lambda: Fn(lambda m, x: x + m.a(x) @ m.b(x).mT @ m.c(x), a=wide(), b=wide(), c=wide()),
    "weights that depend on the input": lambda: Fn(
        lambda m, x: x + (m.a(x).unflatten(-1, (WIDTH, WIDTH)) @ x.unsqueeze(-1)).squeeze(-1),
        a=nn.Linear(WIDTH, WIDTH * WIDTH),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHAINS)
def test_chains_of_products_start_at_their_scale_and_learn(name):
    torch.manual_seed(0)
    blocks = nn.Sequential(*[CHAINS[name]() for _ in range(8)])
    model = nn.Sequential(nn.Linear(4, WIDTH), blocks, Fn(lambda m, x: x.mean(1)), nn.Linear(WIDTH, 3))
    initialize(model)
    before = {key: p.detach().clone() for key, p in model.named_parameters()}
    x, y = torch.randn(64, LENGTH, 4), torch.randint(3, (64,))
    x[:, :, 0] += y[:, None]
    assert blocks(model[0](x)).std() < 8 * model[0](x).std()
    optimizer, losses = torch.optim.Adam(model.parameters(), 1e-3), []
    for _ in range(6):
        optimizer.zero_grad()
        losses.append(F.cross_entropy(model(x), y))
        losses[-1].backward()
        optimizer.step()
    assert max(losses) <= 1.2 * losses[0] and losses[-1] < losses[0], losses
    assert all(not torch.equal(p, before[key]) for key, p in model.named_parameters())


def test_tracing_many_products_takes_no_time():
    block = lambda: Fn(lambda m, x: m.a(x) * m.b(x) + m.c(x), a=wide(), b=wide(), c=wide())  # noqa: E731
    start = time.perf_counter()
    initialize(nn.Sequential(*[block() for _ in range(40)]))
    assert time.perf_counter() - start < 20
