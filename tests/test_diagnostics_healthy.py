"""No false alarm: healthy models of every kind, as their authors leave them and after initialize."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from convcraft.diagnostics import diagnose
from convcraft.initialization import initialize
from zoo import ZOO, Fn, mlp


def alarms(name, initialized, stops):
    """Findings above a note on fresh batches, after so many steps of training."""
    case = ZOO[name]
    model = case.model()
    if initialized:
        initialize(model)
    optimizer, done, found = case.optimizer(model), 0, []
    for stop in stops:
        for step in range(done, stop):
            inputs, target = case.batch(step)
            optimizer.zero_grad()
            case.loss(case.call(model, inputs), target).backward()
            optimizer.step()
        done = stop
        report = diagnose(model, case.batch(1000 + stop), case.loss, optimizer)
        assert report.skipped == (), report
        found += [(initialized, stop, str(f)) for f in report.findings if f.severity != "note"]
    return found


@pytest.mark.parametrize("name", ZOO)
def test_a_healthy_model_is_accused_of_nothing(name):
    even = list(ZOO).index(name) % 2 == 0  # every second one is trained on, from either start
    assert alarms(name, even, (0, 1, 3, 10)) == []
    assert alarms(name, not even, (0, 1)) == []


@pytest.mark.parametrize("name", list(ZOO)[::4])
def test_a_model_that_has_learned_is_accused_of_nothing(name):
    assert alarms(name, list(ZOO).index(name) % 8 == 0, (100,)) == []


def test_there_are_many_kinds():
    assert len(ZOO) >= 40


def sampler():
    return Fn(
        lambda m, x: m.decode((mu := m.encode(x)) + 0.5 * torch.randn_like(mu)),
        encode=nn.Linear(16, 4),
        decode=nn.Linear(4, 16),
    )


def critic():
    norm = nn.utils.parametrizations.spectral_norm
    return nn.Sequential(norm(nn.Linear(16, 32)), nn.LeakyReLU(0.2), norm(nn.Linear(32, 1)))


def experts():
    def forward(m, x):
        h = torch.relu(m.lift(x))
        weights = m.gate(h).softmax(-1).unsqueeze(1)  # (n, 1, experts)
        return m.head((weights @ torch.stack([e(h) for e in m.experts], 1)).squeeze(1))

    parts = {"lift": nn.Linear(16, 32), "gate": nn.Linear(32, 4), "head": nn.Linear(32, 4)}
    return Fn(forward, experts=nn.ModuleList(mlp(32, 32, 32) for _ in range(4)), **parts)


def switched():
    """Each example goes to one expert alone, and some experts get none."""

    def forward(m, x):
        h = torch.relu(m.lift(x))
        weight, chosen = m.gate(h).softmax(-1).max(-1)
        out = torch.zeros_like(h)
        for i, expert in enumerate(m.experts):
            rows = (chosen == i).nonzero().flatten()
            out = out.index_add(0, rows, expert(h[rows]) * weight[rows, None])
        return m.head(h + out)

    parts = {"lift": nn.Linear(16, 32), "gate": nn.Linear(32, 8), "head": nn.Linear(32, 4)}
    return Fn(forward, experts=nn.ModuleList(mlp(32, 32, 32) for _ in range(8)), **parts)


def gated():
    block = lambda: Fn(lambda m, x: x + x * torch.sigmoid(m.gate(x)), gate=nn.Linear(32, 32))  # noqa: E731
    model = nn.Sequential(nn.Linear(16, 32), *[block() for _ in range(8)], nn.Linear(32, 4))
    initialize(model)
    return model


def cosines():
    return Fn(
        lambda m, x: 16 * F.linear(F.normalize(m.body(x)), F.normalize(m.weight)),
        body=mlp(16, 32, 16),
        weight=nn.Parameter(torch.randn(4, 16)),
    )


def timed():
    """A denoiser whose frequencies change little, and whose branch and output begin at zero."""

    def forward(m, x, t):
        angle = t * torch.exp(-torch.arange(8) / 1.2)
        h = F.silu(m.lift(x) + m.second(F.silu(m.first(torch.cat([angle.sin(), angle.cos()], -1)))))
        return m.out(F.silu(m.norm(h + m.branch(F.silu(m.norm(h))))))

    parts = {"first": nn.Linear(16, 32), "second": nn.Linear(32, 32), "lift": nn.Linear(16, 32)}
    parts |= {"norm": nn.LayerNorm(32), "branch": nn.Linear(32, 32), "out": nn.Linear(32, 16)}
    model = Fn(forward, **parts)
    nn.init.zeros_(model.branch.weight), nn.init.zeros_(model.out.weight)
    return model


def noisy():
    x, t = torch.randn(32, 16), 10 * torch.rand(32, 1)
    return (x, t), x / 2


def classes():
    return torch.randn(32, 16), torch.arange(32) % 4


MEANT = {
    "noise in evaluation": (sampler, lambda: (torch.randn(32, 16),) * 2, F.mse_loss),
    "critic whose last bias cancels": (
        critic,
        lambda: (torch.randn(32, 16), torch.ones(32, 1) - 2 * (torch.arange(32)[:, None] % 2)),
        lambda output, side: (output * side).mean(),
    ),
    "experts beside one another": (experts, classes, F.cross_entropy),
    "experts by turns": (switched, classes, F.cross_entropy),
    "gates of the shortcut": (gated, classes, F.cross_entropy),
    "cosines with a scale": (cosines, classes, F.cross_entropy),
    "frequencies and ends at zero": (timed, noisy, F.mse_loss),
}  # fmt: skip


@pytest.mark.parametrize("name", MEANT)
@pytest.mark.parametrize("initialized", [False, True])
def test_what_is_meant_is_not_accused(name, initialized):
    make, data, loss = MEANT[name]
    torch.manual_seed(0)
    model = make()
    if initialized and make is not switched:  # whose router sends single examples elsewhere at any step
        initialize(model)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for step in range(4):
        inputs, target = data()
        report = diagnose(model, (inputs, target), loss, optimizer)
        assert [f for f in report.findings if f.severity != "note"] == [], (step, report)
        optimizer.zero_grad()
        loss(model(*inputs) if isinstance(inputs, tuple) else model(inputs), target).backward()
        optimizer.step()


def test_a_mask_of_ones_own_in_evaluation_is_an_illness():
    model = Fn(lambda m, x: m.head(x * torch.bernoulli(torch.full_like(x, 0.8))), head=nn.Linear(16, 4))
    report = diagnose(model, (torch.randn(32, 16), torch.arange(32) % 4), F.cross_entropy)
    assert [(f.name, f.severity) for f in report.findings] == [("random-evaluation", "warning")]


def test_small_positions_may_move_by_their_own_size():
    model = Fn(lambda m, x: m.head(x[:, :, None] + m.positions).mean(1), head=nn.Linear(32, 4))
    model.positions = nn.Parameter(0.02 * torch.randn(1, 16, 32, generator=torch.Generator().manual_seed(0)))
    report = diagnose(model, classes(), F.cross_entropy, torch.optim.Adam(model.parameters(), 0.01))
    assert report.healthy, report


class ScaledStandardizedConv2d(nn.Conv2d):
    """As in timm: batch_norm standardizes the weight, and a gain of shape (C, 1, 1, 1) scales it."""

    def __init__(self, *args):
        super().__init__(*args)
        self.gain = nn.Parameter(torch.ones(self.out_channels, 1, 1, 1))

    def forward(self, x):
        rows, gain = self.weight.flatten(1)[None], self.gain.flatten() / self.weight[0].numel() ** 0.5
        weight = F.batch_norm(rows, None, None, gain, training=True, momentum=0.0)
        return self._conv_forward(x, weight.view_as(self.weight), self.bias)


def test_scales_inside_of_a_convolution_and_standardized_weights():
    body = ScaledStandardizedConv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    batch = torch.randn(32, 3, 8, 8), torch.arange(32) % 4
    model = nn.Sequential(*body, nn.Linear(8, 4))
    report = diagnose(model, batch, F.cross_entropy, torch.optim.Adam(model.parameters()))
    assert report.healthy and not report.skipped, report
