"""Ills that people have, planted one by one, and next to each the same model without it."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from convcraft import ConvcraftError
from convcraft.diagnostics import diagnose, record
from convcraft.lab import clinic

G = torch.Generator().manual_seed(0)
X, Y = torch.randn(64, 16, generator=G), torch.arange(64) % 4
S = torch.randn(64, 60, 16, generator=G)  # sequences
T = X[:, :1] + X[:, 1:2].relu()
T = (T - T.mean()) / T.std()


def net(*last, out=4, width=32):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, width), nn.ReLU(), nn.Linear(width, out), *last)


def sgd(model, lr=0.05, **settings):
    return torch.optim.SGD(model.parameters(), lr, **settings)


def examined(model, batch=(X, Y), loss="cross_entropy", optimizer=None):
    return diagnose(model, batch, loss, optimizer or sgd(model))


class Reads(nn.Module):
    """A recurrent layer or cell over a sequence; the last state or the mean of all is read."""

    def __init__(self, make, last=True):
        super().__init__()
        torch.manual_seed(0)
        self.rnn, self.out, self.last = make(), nn.Linear(24, 4), last

    def forward(self, x):
        if isinstance(self.rnn, nn.RNNBase):
            states = self.rnn(x)[0]
        else:
            state, states = x.new_zeros(len(x), 24), []
            for step in x.unbind(1):
                state = self.rnn(step, state)
                states.append(state)
            states = torch.stack(states, 1)
        return self.out(states[:, -1] if self.last else states.mean(1))


class Attends(nn.Module):
    def __init__(self, scale, fused):
        super().__init__()
        torch.manual_seed(0)
        self.q, self.k, self.v = (nn.Linear(16, 64) for _ in range(3))
        self.out, self.scale, self.fused, self.drop = nn.Linear(64, 4), scale, fused, nn.Dropout(0.1)
        for layer in (self.q, self.k):
            nn.init.normal_(layer.weight, std=0.25)

    def forward(self, x):
        q, k, v = self.q(x), self.k(x), self.v(x)  # (n, 60, 64)
        if self.fused:
            h = F.scaled_dot_product_attention(q, k, v, scale=self.scale)
        else:
            h = self.drop(torch.softmax(q @ k.mT * self.scale, dim=-1)) @ v
        return self.out(h.mean(1))


class Scaled(nn.Module):
    """x + gamma * f(x)."""

    def __init__(self, gamma, zero):
        super().__init__()
        self.f = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 32))
        self.gamma = nn.Parameter(torch.full((32,), gamma))
        if zero:
            nn.init.zeros_(self.f[2].weight)
            nn.init.zeros_(self.f[2].bias)

    def forward(self, x):
        return x + self.gamma * self.f(x)


def gated(gamma, zero):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 32), Scaled(gamma, zero), Scaled(gamma, zero), nn.Linear(32, 4))


def negated(output, target):
    return -F.cross_entropy(output, target)


def squares(output, target):
    return ((output - target) ** 2).mean()


class Uphill(torch.optim.SGD):
    """Adds the gradient."""

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.add_(p.grad, alpha=group["lr"])


def made(model, optimizer):
    return {"model": model, "optimizer": optimizer(model)}


ILLS = {
    "rate of 0": ("update-too-small", lambda ill: made(net(), lambda m: sgd(m, 0.0 if ill else 0.05))),
    "rate of 1e-9": ("update-too-small", lambda ill: made(net(), lambda m: sgd(m, 1e-9 if ill else 0.05))),
    "runaway rate": ("step-raises-loss", lambda ill: made(net(), lambda m: sgd(m, 1e3 if ill else 0.05))),
    "maximized": ("step-raises-loss", lambda ill: made(net(), lambda m: sgd(m, maximize=ill))),
    "Adam, maximized": (
        "step-raises-loss",
        lambda ill: made(net(), lambda m: torch.optim.Adam(m.parameters(), maximize=ill)),
    ),
    "added gradient": (
        "step-raises-loss",
        lambda ill: made(net(), lambda m: (Uphill if ill else torch.optim.SGD)(m.parameters(), 0.05)),
    ),
    "negated loss": ("step-raises-loss", lambda ill: {"loss": negated if ill else "cross_entropy"}),
    "mse of (n, 1) and (n,)": (
        "broadcast-loss",
        lambda ill: {"model": net(out=1), "batch": (X, T[:, 0] if ill else T), "loss": "mse"},
    ),
    "squares by hand": (
        "broadcast-loss",
        lambda ill: {"model": net(out=1), "batch": (X, T[:, 0] if ill else T), "loss": squares},
    ),
    "Huber's loss of (n,) and (n, 1)": (
        "broadcast-loss",
        lambda ill: {
            "model": net(nn.Flatten(0), out=1),
            "batch": (X, T if ill else T[:, 0]),
            "loss": F.huber_loss,
        },
    ),
    **{
        f"{type(last).__name__} at the output": (
            "output-range",
            lambda ill, last=last, low=low: {
                "model": net(last, out=1),
                "batch": (X, T * 3 if ill else low),
                "loss": "mse",
            },
        )
        for last, low in (
            (nn.Sigmoid(), (T - T.min()) / (T.max() - T.min())),
            (nn.Tanh(), T / T.abs().max()),
            (nn.ReLU(), T - T.min()),
            (nn.Softplus(), T - T.min()),
            (nn.Hardtanh(-2, 2), T.clamp(-2, 2)),
        )
    },
    "RNN over 60 steps": (
        "gradient-vanishes-in-time",
        lambda ill: {"model": Reads(lambda: nn.RNN(16, 24, batch_first=True), ill), "batch": (S, Y)},
    ),
    "LSTM over 60 steps": (
        "gradient-vanishes-in-time",
        lambda ill: {"model": Reads(lambda: nn.LSTM(16, 24, batch_first=True), ill), "batch": (S, Y)},
    ),
    "cell over 60 steps": (
        "gradient-vanishes-in-time",
        lambda ill: {"model": Reads(lambda: nn.RNNCell(16, 24), ill), "batch": (S, Y)},
    ),
    "attention without a scale": (
        "saturated-attention",
        lambda ill: {"model": Attends(1.0 if ill else 0.125, False), "batch": (S, Y)},
    ),
    "fused attention without a scale": (
        "saturated-attention",
        lambda ill: {"model": Attends(1.0 if ill else None, True), "batch": (S, Y)},
    ),
    "gate and branch of zero": ("dead-branch", lambda ill: {"model": gated(0.0, ill)}),
    "branch of zero and gate of zero": (
        "dead-branch",
        lambda ill: {"model": gated(0.0 if ill else 1.0, True)},
    ),
}


@pytest.mark.parametrize("name", ILLS)
def test_a_planted_ill_is_found_and_its_absence_is_not(name):
    kind, make = ILLS[name]
    sick, well = (examined(**{"model": net(), **make(ill)}) for ill in (True, False))
    found = [f for f in sick.findings if f.name == kind]
    assert len(found) == 1 and found[0].severity != "note", sick
    assert well.healthy, well


def test_severities_of_what_is_certain():
    for name in ("mse of (n, 1) and (n,)", "maximized", "negated loss", "gate and branch of zero"):
        kind, make = ILLS[name]
        report = examined(**{"model": net(), **make(True)})
        assert kind in {f.name for f in report.severe}, report


def test_a_rate_that_a_schedule_begins_with_is_a_note():
    model = net()
    optimizer = sgd(model)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, step / 10))
    (finding,) = [f for f in examined(model, optimizer=optimizer).findings if f.name == "update-too-small"]
    assert finding.severity == "note"


def test_a_reward_may_be_maximized():
    model = net(out=1)
    report = diagnose(model, (X, T), lambda o, t: (o * t).tanh().mean(), sgd(model, maximize=True))
    assert report.healthy


class Variational(nn.Module):
    def __init__(self, shift=1.0):
        super().__init__()
        torch.manual_seed(0)
        self.encode, self.mean, self.log, self.decode = (nn.Linear(16, 16) for _ in range(4))
        self.shift = shift

    def forward(self, x):
        h = F.relu(self.encode(x))
        mean, log = self.mean(h), self.log(h)
        if self.training:
            mean = mean + (log / 2).exp() * torch.randn_like(mean)
            return self.shift * self.decode(mean)
        return self.decode(mean)


def test_sampling_in_training_is_not_a_mismatch_and_a_factor_is():
    assert diagnose(Variational(), (X, X), "mse").healthy
    assert "train-eval-mismatch" in diagnose(Variational(30.0), (X, X), "mse")


def test_a_model_with_spectral_norm_is_as_it_was_bit_by_bit():
    torch.manual_seed(0)
    layers = [spectral_norm(nn.Linear(16, 16)), nn.LeakyReLU(0.2), spectral_norm(nn.Linear(16, 4))]
    model = nn.Sequential(*layers)
    model(X)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for loss in ("cross_entropy", None):
        report = diagnose(model, (X, Y), loss)
        assert report.healthy
        assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())


def test_running_statistics_that_still_hold_their_start_are_no_ill():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 4))
    model[0].weight.data.mul_(5)
    for steps in (1, 2, 4, 8):
        model[1].reset_running_stats()
        for _ in range(steps):
            model(X)
        assert "batch-norm-running-statistics" not in diagnose(model, (X, Y), "cross_entropy"), steps
    for _ in range(60):
        model(3 * X + 4)
    (finding,) = [f for f in diagnose(model, (X, Y)).findings if "running" in f.name]
    assert finding.severity == "warning"


def test_layers_are_grouped_into_one_finding_a_kind():
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Sequential(nn.Linear(16, 16), nn.ReLU()) for _ in range(4)), nn.Linear(16, 4))
    for i in (1, 3):
        nn.init.constant_(model[i][0].bias, -20.0)
    (finding,) = [f for f in diagnose(model, [(X, Y), (X, Y)]).findings if f.name == "dead-units"]
    assert finding.layer == "1.1" and "Also at" in finding.message and "3.1" in finding.message


def test_dead_units_are_dead_over_all_batches_also_when_nothing_is_read_between():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 0], [0, 1], [0, 0]]))
        model[0].bias.copy_(torch.tensor([0.0, 0, -1]))
    with record(model) as trace:
        model(torch.tensor([[0.1, -1.0]]))
        model(torch.tensor([[-1.0, 0.1]]))
    assert trace["1"].dead_units == (2,)


def test_the_gradients_of_all_batches_count():
    """The first batch alone reaches the first layer."""

    class Switching(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.first, self.second = nn.Linear(16, 4), nn.Linear(16, 4)

        def forward(self, x):
            gate = (x[0, 0] > 0).to(x.dtype)
            return gate * self.first(x) + self.second(x)

    on = X.clone()
    on[0, 0] = 1.0
    batches = [(on, Y), (-on, Y)]
    assert "no-gradient" not in diagnose(Switching(), batches, "cross_entropy")
    assert "no-gradient" in diagnose(Switching(), batches[::-1][:1], "cross_entropy")


def test_what_is_frozen_in_eval_mode_stays_there():
    seen = []

    class Loud(nn.Linear):
        def forward(self, x):
            if torch.is_grad_enabled():
                seen.append(self.training)
            return super().forward(x)

    model = nn.Sequential(Loud(16, 4), nn.ReLU())
    model[0].eval()
    diagnose(model, (X, Y), "cross_entropy")
    assert seen and not any(seen) and not model[0].training and model.training


class Compiled(nn.Module):
    def __init__(self, make):
        super().__init__()
        self.body, self.out = make(nn.Sequential(nn.Linear(16, 8), nn.ReLU())), nn.Linear(8, 4)

    def forward(self, x):
        return self.out(self.body(x))


def in_place(module):
    module.compile(backend="eager")
    return module


@pytest.mark.parametrize("make", [lambda m: torch.compile(m, backend="eager"), in_place])
def test_compiled_parts_are_refused(make):
    model = Compiled(make)
    with pytest.raises(ConvcraftError, match="must not hold compiled modules.* got body"):
        record(model).__enter__()
    with pytest.raises(ConvcraftError, match="diagnose: model must not hold compiled modules"):
        diagnose(model, (X, Y), "cross_entropy")


ERRORS = [
    (lambda m: diagnose(m, (X, Y), "cross_entropy", torch.optim.SGD), "got the class SGD; make an instance"),
    (lambda m: diagnose(m, (X, Y), "cross_entropy", "adam"), "got str; pass for example torch.optim.SGD"),
    (lambda m: diagnose(m, (X, Y), "cross_entropy", m), "got Sequential; pass for example"),
    (
        lambda m: diagnose(m, (X, Y), "cross_entropy", torch.optim.lr_scheduler.StepLR(sgd(m), 1)),
        "got a StepLR; pass its optimizer",
    ),
    (lambda m: diagnose(m, (X, Y + 5), "cross_entropy"), "number the classes from 0 to 3"),
    (lambda m: diagnose(m, (X, Y.float()), "cross_entropy"), "use target.long"),
    (lambda m: diagnose(m, (X, Y), nn.CrossEntropyLoss), "got the class CrossEntropyLoss; make an instance"),
]


def test_misuse_is_explained():
    for call, message in ERRORS:
        with pytest.raises(ConvcraftError, match=message):
            call(net())


def test_waits_for_the_device_are_at_most_one_a_pass(monkeypatch):
    """Tensors are folded off the device in turns, one series a pass, once enough of them wait."""
    waits = []
    original = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda self: waits.append(1) or original(self))
    model = net()
    optimizer = sgd(model)
    most = 0
    with record(model) as trace:
        for _ in range(300):
            waits.clear()
            F.cross_entropy(model(X[:4]), Y[:4]).backward()
            optimizer.step()
            most = max(most, len(waits))
        assert most == 1
    assert len(trace.history("1", "std")) == 300 and all(v == v for v in trace.history("0", "gradient"))


def test_the_clinic_covers_what_is_listed_here():
    assert {kind for kind, _ in ILLS.values()} <= set(clinic.names())
