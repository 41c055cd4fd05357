"""record: the numbers, what is seen, and that nothing is changed."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from convcraft import ConvcraftError
from convcraft.diagnostics import diagnose, record


class Functions(nn.Module):
    """Activations in every form that is not a module."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 8), nn.Linear(8, 8)

    def forward(self, x, scale=1.0):
        x = F.relu(self.first(x))
        x = torch.tanh(self.second(x) * scale)
        x = F.gelu(x).relu().sigmoid()
        return x.clamp(min=0) + F.leaky_relu(x, inplace=False).clamp(0, 1)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.lstm, self.out = nn.RNNCell(4, 6), nn.LSTM(6, 5, batch_first=True), nn.Linear(5, 2)

    def forward(self, x):
        state, states = None, []
        for step in x.unbind(1):
            state = self.cell(step, state)
            states.append(state)
        return {"logits": self.out(self.lstm(torch.stack(states, 1))[0][:, -1])}


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(), nn.Linear(144, 3)
    )


def hooks(model):
    return sum(
        len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in model.modules()
    ) + sum(len(p._post_accumulate_grad_hooks or {}) for p in model.parameters())


def modes():
    return len(torch.overrides._get_current_function_mode_stack())


def test_numbers_are_those_of_the_values():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3), nn.Tanh())
    with torch.no_grad():
        model[2].weight.mul_(6)
    xs = [torch.randn(32, 5) for _ in range(3)]
    with record(model) as trace:
        outputs = [model(x) for x in xs]
    hidden = torch.cat([model[0](x) for x in xs]).relu().detach()
    final = torch.cat(outputs).detach()
    relu, tanh = trace["1"], trace["3"]
    assert relu.mean == pytest.approx(float(hidden.mean()), rel=1e-5)
    assert relu.std == pytest.approx(float(hidden.std(correction=0)), rel=1e-5)
    assert relu.zeros == pytest.approx(float((hidden == 0).float().mean()), abs=1e-6)
    assert tanh.saturated == pytest.approx(float((final.abs() > 0.975).float().mean()), abs=1e-6)
    assert relu.units == 7 and relu.seen == 96 and tanh.dead is None and relu.saturated is None
    assert (
        trace.steps == 3
        and len(trace) == 4
        and [layer.role for layer in trace][:2]
        == [
            "weights",
            "activation",
        ]
    )


def test_gradients_and_updates_are_those_of_the_step():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))
    optimizer = torch.optim.SGD(model.parameters(), 0.3)
    x, y = torch.randn(16, 5), torch.randint(0, 3, (16,))
    before = model[0].weight.detach().clone()
    with record(model) as trace:
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    change = float((model[0].weight - before).detach().norm() / before.norm())
    assert trace["0"].update == pytest.approx(change, rel=1e-5)
    assert trace["0"].weight_gradient == pytest.approx(float(model[0].weight.grad.norm()), rel=1e-5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * parameter.grad)
    hidden = model[1](model[0](x))
    logits = model[2](hidden)
    slopes = torch.autograd.grad(F.cross_entropy(logits, y), (hidden, logits))
    assert trace["1"].gradient == pytest.approx(float(slopes[0].norm()), rel=1e-4)
    assert trace["2"].gradient == pytest.approx(float(slopes[1].norm()), rel=1e-4)


def test_the_history_has_one_number_a_recorded_step_also_across_foldings():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    values = []
    with record(model) as trace:
        for i in range(300):
            optimizer.zero_grad()
            y = model(torch.randn(6, 3) * (1 + i))
            values.append(float(y.detach().std(correction=0)))
            y.mean().backward()
            optimizer.step()
    assert trace.steps == 300
    assert trace.history("1", "std") == pytest.approx(values, rel=1e-3, abs=1e-6)
    for quantity in ("gradient", "zeros", "mean"):
        assert all(math.isfinite(v) for v in trace.history("1", quantity))
    assert sum(math.isfinite(v) for v in trace.history("0", "update")) > 250
    assert all(math.isnan(v) for v in trace.history("1", "update"))


def test_dead_units_are_dead_on_all_data_and_not_on_one_batch():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 0], [0, 1], [0, 0]]))
        model[0].bias.copy_(torch.tensor([0.0, 0, -1]))
    with record(model) as trace:
        model(torch.tensor([[0.1, -1.0]]))
        assert trace["1"].dead_units == (1, 2)
        model(torch.tensor([[-1.0, 0.1]]))
    assert trace["1"].dead_units == (2,) and trace["1"].dead == pytest.approx(1 / 3)


def test_functional_activations_are_seen():
    model = Functions()
    with record(model) as trace:
        model(torch.randn(4, 6))
    names = [layer.name for layer in trace]
    expected = ["first", "relu", "second", "tanh", "gelu", "relu:2", "sigmoid", "relu:3", "leaky_relu"]
    assert sorted(names) == sorted(expected)
    with record(model, functional=False) as trace:
        model(torch.randn(4, 6))
    assert [layer.name for layer in trace] == ["first", "second"]


def test_recurrent_models_and_outputs_in_a_mapping():
    model = Recurrent()
    with record(model) as trace:
        model(torch.randn(3, 20, 4))["logits"].sum().backward()
    assert [layer.name for layer in trace][:2] == ["cell", "cell:2"]
    assert "cell:16" in [layer.name for layer in trace] and "cell:17" not in [layer.name for layer in trace]
    assert trace["lstm"].weight_gradient > 0 and trace["out"].gradient > 0


def test_units_are_channels_after_a_convolution_and_features_after_a_linear_layer():
    for layer, shape, units in (
        (nn.Conv1d(3, 5, 1), (2, 3, 9), 5),
        (nn.Conv2d(3, 5, 1), (2, 3, 4, 6), 5),
        (nn.Linear(3, 5), (2, 9, 3), 5),
        (nn.Linear(3, 5), (2, 4, 6, 3), 5),
    ):
        model = nn.Sequential(layer, nn.ReLU())
        with record(model) as trace:
            model(torch.randn(shape))
        assert trace["1"].units == units and trace["1"].seen == math.prod(shape) // 3


class Cubes(nn.Module):
    """An activation of one's own."""

    def forward(self, x):
        return x**3


def test_layers_that_only_pass_values_on_are_left_out_and_own_activations_are_not():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d(2), Cubes(), nn.Dropout(), nn.Flatten())
    with record(model) as trace:
        model(torch.randn(2, 1, 8, 8))
    assert [(layer.name, layer.kind) for layer in trace] == [("0", "convolution"), ("2", "cubes")]


def test_every_and_activations_alone():
    model = network()
    with record(model, every=3, layers="activations") as trace:
        for _ in range(7):
            model(torch.randn(4, 1, 8, 8)).sum().backward()
    assert trace.steps == 3
    assert [layer.name for layer in trace] == ["2", "0", "5"]
    assert trace["0"].mean is None and trace["0"].weight_gradient is not None


def test_a_part_of_the_model_can_be_called_alone():
    model = network()
    with record(model) as trace:
        model[0](torch.randn(2, 1, 8, 8))
    assert [layer.name for layer in trace] == ["0"] and trace.steps == 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_narrow_and_wide_dtypes(dtype):
    model = nn.Sequential(nn.Linear(4, 64), nn.ReLU()).to(dtype)
    with torch.no_grad():
        model[0].bias.fill_(40.0)
    with record(model) as trace:
        y = model(torch.randn(4096, 4, dtype=dtype))
    assert trace["1"].finite  # the sum of squares is far beyond float16
    assert trace["1"].mean == pytest.approx(float(y.detach().double().mean()), rel=1e-2)


def test_autocast_and_channels_last():
    model = network().to(memory_format=torch.channels_last)
    x = torch.randn(4, 1, 8, 8).to(memory_format=torch.channels_last)
    with record(model) as trace, torch.autocast("cpu", torch.bfloat16):
        model(x).float().sum().backward()
    assert trace["2"].gradient > 0 and 0.3 < trace["2"].zeros < 0.7


def step(model, x):
    loss = model(x).square().mean()
    loss.backward()
    return loss.detach()


@pytest.mark.parametrize("training", [True, False])
def test_a_recorded_run_is_the_same_run(training):
    plain, watched = network().train(training), network().train(training)
    x = torch.randn(6, 1, 8, 8)
    results = []
    for model, watch in ((plain, False), (watched, True)):
        torch.manual_seed(7)
        optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
        if watch:
            with record(model):
                losses = [(step(model, x), optimizer.step())[0] for _ in range(3)]
        else:
            losses = [(step(model, x), optimizer.step())[0] for _ in range(3)]
        results.append((losses, torch.get_rng_state(), model.training))
    for a, b in zip(results[0][0], results[1][0], strict=True):
        assert torch.equal(a, b)
    assert torch.equal(results[0][1], results[1][1]) and results[0][2] == results[1][2] == training
    for a, b in zip(plain.state_dict().values(), watched.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    for a, b in zip(plain.parameters(), watched.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad)


def test_entering_and_leaving_alone_changes_nothing():
    model = network().eval()
    model[1].train()
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    with record(model):
        assert hooks(model) > 0
    assert hooks(model) == 0 and modes() == 0
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(), strict=True))
    assert not model.training and model[1].training and all(p.grad is None for p in model.parameters())
    copy.deepcopy(model)


class Failing(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.error = nn.Linear(3, 3), None

    def forward(self, x):
        x = F.relu(self.layer(x))
        if self.error is not None:
            raise self.error
        return x


@pytest.mark.parametrize("error", [RuntimeError("wrong"), KeyboardInterrupt()])
def test_hooks_and_mode_go_when_the_model_fails(error):
    model = Failing()
    model.error = error
    with pytest.raises(type(error)), record(model):
        model(torch.randn(2, 3))
    assert hooks(model) == 0 and modes() == 0


@pytest.mark.parametrize("error", [RuntimeError("wrong"), KeyboardInterrupt()])
def test_recording_goes_on_after_a_failure_inside_the_block(error):
    model = Failing()
    with record(model) as trace:
        model.error = error
        with pytest.raises(type(error)):
            model(torch.randn(2, 3))
        model.error = None
        model(torch.randn(2, 3))
        model(torch.randn(2, 3))
    assert modes() == 0 and trace.steps == 3
    assert [layer.name for layer in trace] == ["layer", "relu"] and trace["relu"].seen == 6


def test_a_graph_that_outlives_the_block_can_be_used():
    model = network()
    with record(model) as trace:
        loss = model(torch.randn(4, 1, 8, 8)).sum()
    loss.backward()
    assert trace["2"].gradient is None and model[0].weight.grad is not None


def test_modules_that_run_again_in_the_backward_pass_are_counted_once():
    class Checkpointed(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.out = nn.Sequential(nn.Linear(4, 8), nn.ReLU()), nn.Linear(8, 2)

        def forward(self, x):
            return self.out(checkpoint(self.body, x, use_reentrant=False))

    model = Checkpointed()
    with record(model) as trace:
        for _ in range(2):
            model(torch.randn(5, 4)).sum().backward()
    assert trace.steps == 2 and trace["body.1"].seen == 10


def test_two_recordings_at_once_and_inference_mode():
    model = Functions()
    with record(model) as outer, record(model, layers="activations") as inner:
        with torch.inference_mode():
            model(torch.randn(4, 6))
        model(torch.randn(4, 6)).sum().backward()
    assert modes() == 0 and hooks(model) == 0 and outer.steps == inner.steps == 2
    assert outer["tanh"] == inner["tanh"] and outer["tanh"].seen == 8


def test_lazy_modules_are_recorded_once_they_have_run():
    model = nn.Sequential(nn.LazyLinear(4), nn.ReLU())
    with record(model) as trace:
        model(torch.randn(3, 5))
    assert trace["1"].units == 4


def test_printing_and_plotting():
    model = network()
    with record(model) as trace:
        for _ in range(2):
            model(torch.randn(4, 1, 8, 8)).sum().backward()
    lines = str(trace).split("\n")
    assert lines[0].split()[:2] == ["layer", "kind"] and len(lines) == 5
    assert (
        len({line.index(kind) for line, kind in zip(lines[1:4], ("conv", "norm", "relu"), strict=True)}) == 1
    )
    assert "<td>normalization</td>" in trace._repr_html_() and repr(trace) == "<Trace: 4 layers, 2 steps>"
    chart = trace.plot("std")
    assert "4 layers over 2 recorded steps" in chart.alt


def test_many_layers_are_drawn_as_rows_of_colour():
    model = nn.Sequential(*[nn.Linear(4, 4) for _ in range(9)])
    with record(model) as trace:
        for _ in range(3):
            model(torch.randn(5, 4)).sum().backward()
    for quantity in ("std", "mean", "weight_gradient"):
        chart = trace.plot(quantity)
        labels = [label.get_text() for label in chart.axes[0].get_yticklabels()]
        assert labels == [str(i) for i in range(9)], quantity


def test_the_limits_of_hardtanh_are_its_own():
    with record(model := nn.Sequential(nn.Hardtanh(0.0, 6.0))) as trace:
        model(torch.tensor([[-1.0, 3.0, 5.0, 7.0]]))
    assert trace["0"].saturated == 0.5


ERRORS = [
    (lambda: record(3).__enter__(), "model must be a torch.nn.Module"),
    (lambda: record(torch.compile(nn.Linear(2, 2))).__enter__(), "must not be compiled"),
    (lambda: record(torch.jit.script(nn.Linear(2, 2))).__enter__(), "must not be scripted"),
    (
        lambda: record(nn.Linear(2, 2), every=0).__enter__(),
        "every must be a whole number of at least 1, got 0",
    ),
    (lambda: record(nn.Linear(2, 2), every=True).__enter__(), "every must be a whole number"),
    (lambda: record(nn.Linear(2, 2), layers="activation").__enter__(), "did you mean 'activations'"),
    (lambda: nothing()["conv"], "unknown layer 'conv'"),
    (lambda: something().history("0", "sdt"), "did you mean 'std'"),
    (lambda: something().history("1"), "unknown layer '1'"),
    (lambda: nothing().plot(), "must have been recorded"),
]


def nothing():
    with record(nn.Linear(2, 2)) as trace:
        pass
    return trace


def something():
    model = nn.Sequential(nn.Linear(2, 2))
    with record(model) as trace:
        model(torch.randn(2, 2))
    return trace


@pytest.mark.parametrize(("call", "message"), ERRORS, ids=[message for _, message in ERRORS])
def test_misuse(call, message):
    with pytest.raises(ConvcraftError, match=message):
        call()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_nothing_waits_for_the_device():
    model = network().cuda()
    x = torch.randn(8, 1, 8, 8, device="cuda")
    step(model, x)
    with record(model) as trace:
        torch.cuda.set_sync_debug_mode("error")
        try:
            for _ in range(3):
                step(model, x)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert trace["2"].gradient > 0 and trace["2"].units == 4


class Lengths(nn.Module):
    """Sequences of any length, with an activation where the length stands in the second place."""

    def __init__(self):
        super().__init__()
        self.conv, self.out = nn.Conv1d(3, 8, 3, padding=1), nn.Linear(8, 2)

    def forward(self, x):
        return self.out(F.relu(self.conv(x).transpose(1, 2))).mean(1)


def test_a_length_that_changes_is_no_number_of_units():
    torch.manual_seed(0)
    model = Lengths()
    inputs = [torch.randn(4, 3, 5 + i % 3) for i in range(300)]  # more than are kept as tensors
    with record(model) as trace:
        outputs = [model(x) for x in inputs]
    assert len(outputs) == trace.steps == 300
    hidden = torch.cat([F.relu(model.conv(x)).flatten() for x in inputs])
    layer = trace["relu"]
    assert layer.dead is None and layer.units == layer.seen == 0
    assert layer.mean == pytest.approx(hidden.mean().item(), rel=1e-5)
    assert layer.zeros == pytest.approx((hidden == 0).float().mean().item(), abs=1e-6)
    report = diagnose(model, [(x, torch.zeros(4, dtype=torch.long)) for x in inputs[:3]], F.cross_entropy)
    assert "dead-units" not in {finding.name for finding in report.findings}


def test_weights_carry_hooks_only_while_a_pass_is_recorded():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    carried = []
    with record(model, every=2) as trace:
        for _ in range(4):
            loss = model(torch.randn(5, 3)).sum()
            carried.append([bool(p._post_accumulate_grad_hooks) for p in model.parameters()])
            loss.backward()
    assert carried == [[True, False] * 2, [False] * 4] * 2  # of weights, not of biases
    assert not any(p._post_accumulate_grad_hooks for p in model.parameters())
    assert trace.steps == 2 and all(row.gradient > 0 for row in trace if row.kind == "linear")
