"""Monte-Carlo prediction: the numbers, and everything that it must leave as it was."""

import collections
import copy
import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from convcraft import ConvcraftError
from convcraft import dropout as D


def network(p=0.5):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), D.Dropout2d(p), nn.Flatten(), D.Dropout(p),
        nn.Linear(8 * 36, 3),
    )  # fmt: skip


def test_mean_and_variance_of_one_dropped_number():
    """y = 2 m with m = 0 or 1 alike: mean 1, variance 1."""
    mean, variance = D.mc_predict(D.Dropout(0.5), torch.ones(2000), samples=50)
    assert abs(float(mean.mean()) - 1) < 5 / (2000 * 50) ** 0.5
    assert abs(float(variance.mean()) - 1) < 0.02


def test_mean_and_variance_are_those_of_the_passes():
    model, x = network().eval(), torch.randn(4, 1, 8, 8)
    torch.manual_seed(5)
    mean, variance = D.mc_predict(model, x, samples=7)
    for layer in (model[3], model[5]):
        layer.train()
    torch.manual_seed(5)
    with torch.no_grad():
        passes = torch.stack([model(x) for _ in range(7)])
    torch.testing.assert_close(mean, passes.mean(0))
    torch.testing.assert_close(variance, passes.var(0))


def test_large_mean_does_not_cost_the_variance():
    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop = D.Dropout(0.5)

        def forward(self, x):
            return self.drop(x) + 1e4

    _, variance = D.mc_predict(Shifted(), torch.full((1000,), 0.1), samples=40)
    assert float(variance.mean()) == pytest.approx(0.01, rel=0.1)


@pytest.mark.parametrize("start", ["train", "eval", "mixed"])
def test_everything_is_as_it_was(start):
    model, x = network(), torch.randn(4, 1, 8, 8)
    model.train(start == "train")
    if start == "mixed":
        model[1].train()
        model[5].train()
    modes = [m.training for m in model.modules()]
    state = copy.deepcopy(model.state_dict())
    D.mc_predict(model, x, samples=3)
    assert [m.training for m in model.modules()] == modes
    assert all(torch.equal(a, b) for a, b in zip(state.values(), model.state_dict().values(), strict=True))
    assert all(p.grad is None for p in model.parameters())


def test_modes_and_generators_come_back_after_an_error():
    class Failing(nn.Module):
        def forward(self, x):
            raise RuntimeError("no")

    own = torch.Generator()
    model = nn.Sequential(D.Dropout(0.5, generator=own), Failing()).train()
    model[0].eval()
    state = torch.get_rng_state()
    with pytest.raises(ConvcraftError, match="must run on the batch, got RuntimeError: no"):
        D.mc_predict(model, torch.ones(2), 3, generator=torch.Generator())
    assert [m.training for m in model.modules()] == [True, False, True]
    assert model[0].generator is own and torch.equal(torch.get_rng_state(), state)


def test_generator_decides_alone_and_the_global_state_stays():
    model, x = network(), torch.randn(4, 1, 8, 8)
    model[5].generator = torch.Generator().manual_seed(1)
    own = model[5].generator.get_state()
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = D.mc_predict(model, x, 5, generator=torch.Generator().manual_seed(3))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(99)
    second = D.mc_predict(model, x, 5, generator=torch.Generator().manual_seed(3))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert torch.equal(model[5].generator.get_state(), own)
    third = D.mc_predict(model, x, 5, generator=torch.Generator().manual_seed(4))
    assert not torch.equal(first.mean, third.mean)


def test_without_a_generator_the_global_one_moves_on():
    model, x = network(), torch.randn(4, 1, 8, 8)
    assert not torch.equal(D.mc_predict(model, x, 5).mean, D.mc_predict(model, x, 5).mean)


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (nn.Sequential(nn.Dropout(0.5)), (5, 4)),
        (nn.Sequential(D.DropPath(0.5)), (5, 4)),
        (nn.Sequential(D.DropBlock2d(0.5, 2)), (2, 3, 6, 6)),
        (nn.Sequential(D.GaussianDropout(0.5)), (5, 4)),
        (nn.TransformerEncoderLayer(8, 2, 16, 0.5, batch_first=True), (2, 5, 8)),
        (nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, 0.5, batch_first=True), 2), (2, 5, 8)),
    ],
    ids=lambda v: type(v).__name__ if isinstance(v, nn.Module) else "",
)
def test_every_kind_of_dropout_is_switched_on(model, shape):
    assert bool((D.mc_predict(model.eval(), torch.randn(shape), 10).variance > 0).any())


def test_recurrent_dropout_and_several_inputs():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(3, 4, 2, dropout=0.5)

        def forward(self, x, shift):
            return self.lstm(x)[0] + shift

    prediction = D.mc_predict(Net(), (torch.randn(5, 2, 3), torch.tensor(10.0)), 10)
    assert bool((prediction.variance[1:] > 0).all()) and float(prediction.mean.mean()) > 5


def test_half_precision_is_summed_in_single():
    mean, variance = D.mc_predict(D.Dropout(0.5), torch.ones(8, dtype=torch.bfloat16), 9)
    assert mean.dtype == variance.dtype == torch.float32


class Functional(nn.Module):
    """Dropout as a function, beside a layer with a smaller p."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = nn.Linear(4, 64), nn.Linear(64, 64), nn.Linear(64, 1)
        self.drop, self.norm = nn.Dropout(0.05), nn.BatchNorm1d(64)

    def forward(self, x):
        y = F.relu(self.second(self.drop(self.norm(F.relu(self.first(x))))))
        return self.third(F.dropout(y, 0.5, self.training))


def test_functional_dropout_is_sampled_and_batch_norm_is_not():
    model, x = Functional(), torch.ones(1, 4)
    variance = D.mc_predict(model, x, 500).variance.item()
    model.train().norm.eval()
    with torch.no_grad():
        expected = torch.stack([model(x) for _ in range(500)]).var(0).item()
    assert variance == pytest.approx(expected, rel=0.4)
    assert int(model.norm.num_batches_tracked) == 0


class Attention(nn.Module):
    def forward(self, x):
        return F.scaled_dot_product_attention(x, x, x, dropout_p=0.5 if self.training else 0.0)


class OtherDropPath(nn.Module):
    """As of another library."""

    def forward(self, x):
        return x * torch.bernoulli(torch.full((len(x), 1), 0.5)) if self.training else x


class Counts(nn.Module):
    """Keeps a running mean of its own in training mode, and centres by it."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(4))

    def forward(self, x):
        if self.training:
            self.mean.mul_(0.9).add_(0.1 * x.mean(0))
            return x - x.mean(0)
        return x - self.mean


def test_dropout_of_every_origin_is_sampled():
    attention = nn.MultiheadAttention(8, 2, dropout=0.5, batch_first=True)

    class Self(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = attention

        def forward(self, x):
            return self.attention(x, x, x)[0]

    for model, shape in (
        (Attention(), (2, 1, 5, 8)), (Self(), (2, 5, 8)), (OtherDropPath(), (9, 4)),
        (nn.Sequential(nn.RReLU(), nn.Linear(4, 4)), (9, 4)),
    ):  # fmt: skip
        assert float(D.mc_predict(model, torch.randn(shape), 10).variance.max()) > 0


def test_what_changes_a_buffer_stays_in_eval_mode():
    model = nn.Sequential(Counts(), nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4)), D.Dropout(0.5)).train()
    x = torch.randn(50, 4) + 3
    state = copy.deepcopy(model.state_dict())
    mean = D.mc_predict(model, x, 400).mean
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items()) and model[0].training
    torch.testing.assert_close(mean, model.eval()(x), rtol=0.5, atol=0.5)


@dataclasses.dataclass
class Answer:
    logits: torch.Tensor
    loss: torch.Tensor | None = None


class Mapped(collections.OrderedDict):
    """As the outputs of other libraries are."""


@pytest.mark.parametrize("form", [lambda y: Answer(y), lambda y: Mapped(loss=None, logits=y)])
def test_dataclasses_and_mappings_of_other_libraries_come_out_as_dictionaries(form):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop = D.Dropout(0.5)

        def forward(self, x):
            return form(self.drop(x))

    mean, variance = D.mc_predict(Net(), torch.ones(3, 4), 20)
    assert mean["logits"].shape == (3, 4) and mean["loss"] is None and float(variance["logits"].min()) > 0


def test_dicts_and_tuples_go_in_and_come_out():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop = D.Dropout(0.5)

        def forward(self, a, b):
            y = self.drop(a) + b
            return {"y": y, "parts": (a, y.argmax(-1)), "name": "net"}

    a, b = torch.ones(3, 4), torch.zeros(3, 4)
    for x in ((a, b), {"a": a, "b": b}, (a, b, torch.arange(3)), ((a, b), torch.arange(3))):
        mean, variance = D.mc_predict(Net(), x, 20)
        assert mean["y"].shape == variance["y"].shape == (3, 4) and float(variance["y"].min()) > 0
        assert torch.equal(mean["parts"][0], a) and mean["parts"][1] is None and mean["name"] is None
