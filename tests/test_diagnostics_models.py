"""Good models of kinds that readers use, written with torch.nn alone: nothing severe may be found in them."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from convcraft.diagnostics import diagnose, record


class Block(nn.Module):
    """Two normalized convolutions and an identity or a projection; one ReLU for both."""

    def __init__(self, c_in, c_out, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.relu = nn.ReLU(inplace=True)
        self.down = None
        if stride != 1 or c_in != c_out:
            self.down = nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out))

    def forward(self, x):
        identity = x if self.down is None else self.down(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        x += identity
        return self.relu(x)


class ResNet(nn.Module):
    def __init__(self, zero_gamma=False):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layers = nn.Sequential(Block(16, 16), Block(16, 32, 2), Block(32, 32), Block(32, 64, 2))
        self.fc = nn.Linear(64, 10)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if zero_gamma and isinstance(module, Block):
                nn.init.zeros_(module.bn2.weight)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.adaptive_avg_pool2d(self.layers(x), 1)
        return self.fc(torch.flatten(x, 1))


class VGG(nn.Module):
    def __init__(self, widths=(16, 16, "M", 32, 32, "M", 64, 64, "M")):
        super().__init__()
        layers, channels = [], 3
        for width in widths:
            if width == "M":
                layers.append(nn.MaxPool2d(2))
            else:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
                channels = width
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Linear(64 * 4, 128), nn.ReLU(True), nn.Dropout(), nn.Linear(128, 10)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


class Squeeze(nn.Module):
    """Channels scaled by a gate."""

    def __init__(self, channels):
        super().__init__()
        self.reduce, self.expand = nn.Conv2d(channels, 8, 1), nn.Conv2d(8, channels, 1)

    def forward(self, x):
        gate = self.expand(F.relu(self.reduce(x.mean((2, 3), keepdim=True))))
        return x * torch.sigmoid(gate)


class Inverted(nn.Module):
    """Expansion, depthwise convolution, gate, projection."""

    def __init__(self, c_in, c_out, stride):
        super().__init__()
        width = 4 * c_in
        self.body = nn.Sequential(
            nn.Conv2d(c_in, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU6(inplace=True),
            nn.Conv2d(width, width, 3, stride, 1, groups=width, bias=False),
            nn.BatchNorm2d(width),
            nn.Hardswish(),
            Squeeze(width),
            nn.Conv2d(width, c_out, 1, bias=False),
            nn.BatchNorm2d(c_out),
        )
        self.residual = stride == 1 and c_in == c_out

    def forward(self, x):
        return x + self.body(x) if self.residual else self.body(x)


class MobileNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU6())
        self.blocks = nn.Sequential(Inverted(16, 16, 1), Inverted(16, 24, 2), Inverted(24, 24, 1))
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(24, 10))

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


class LSTMClassifier(nn.Module):
    def __init__(self, vocabulary=50):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, 32, padding_idx=0)
        self.lstm = nn.LSTM(32, 48, num_layers=2, batch_first=True, dropout=0.1, bidirectional=True)
        self.dropout = nn.Dropout(0.3)
        self.output = nn.Linear(96, 10)

    def forward(self, tokens):
        states, _ = self.lstm(self.embedding(tokens))
        return self.output(self.dropout(states.amax(1)))


class Transformer(nn.Module):
    def __init__(self, vocabulary=50):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, activation="gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.output = nn.Linear(32, 10)

    def forward(self, tokens):
        return self.output(self.encoder(self.embedding(tokens)).mean(1))


def pictures(n=64):
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(n) % 10
    centres = torch.randn(10, 3, 16, 16, generator=generator)
    x = centres[y] + torch.randn(n, 3, 16, 16, generator=generator)
    return (x - x.mean()) / x.std(), y


def sentences(n=64):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(1, 50, (n, 20), generator=generator), torch.arange(n) % 10


GOOD = {
    "resnet": (ResNet, pictures),
    "resnet_zero_gamma": (lambda: ResNet(zero_gamma=True), pictures),
    "vgg": (VGG, pictures),
    "mobilenet": (MobileNet, pictures),
    "lstm": (LSTMClassifier, sentences),
    "transformer": (Transformer, sentences),
}


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.AdamW], ids=["sgd", "adamw"])
def test_nothing_severe_and_no_warning_is_found_in_a_good_model(name, make):
    build, data = GOOD[name]
    for seed in range(2):
        torch.manual_seed(seed)
        model = build()
        optimizer = make(model.parameters(), 0.05 if make is torch.optim.SGD else 1e-3, weight_decay=0.0)
        report = diagnose(model, data(), "cross_entropy", optimizer)
        assert report.healthy, report
        assert report.skipped == () and report.loss == pytest.approx(2.3, abs=1.0)


@pytest.mark.parametrize("name", GOOD)
def test_a_good_model_stays_good_while_it_learns(name):
    build, data = GOOD[name]
    torch.manual_seed(3)
    model = build()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.0)
    x, y = data()
    for _ in range(8):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    report = diagnose(model, (x, y), "cross_entropy", optimizer, ignore=["batch-norm-running-statistics"])
    assert not report.severe, report


@pytest.mark.parametrize("name", GOOD)
def test_every_layer_that_runs_is_recorded(name):
    build, data = GOOD[name]
    model = build()
    with record(model) as trace:
        F.cross_entropy(model(data()[0][:8]), data()[1][:8]).backward()
    seen = {layer.name.partition(":")[0] for layer in trace}
    weighted = {
        name
        for name, module in model.named_modules()
        if any(p.dim() > 1 for p in module.parameters(recurse=False))
    }
    assert weighted <= seen and all(layer.finite for layer in trace)
    assert all(layer.weight_gradient is not None for layer in trace if layer.name in weighted)


def test_one_relu_for_both_activations_of_a_block_is_counted_per_call():
    model = ResNet()
    with record(model) as trace:
        model(pictures(8)[0])
    names = [layer.name for layer in trace if layer.kind == "relu"]
    assert names[:3] == ["relu", "layers.0.relu", "layers.0.relu:2"] and len(names) == 9


def test_gates_are_told_from_activations():
    report = diagnose(MobileNet(), pictures(), "cross_entropy")
    gates = {layer.name for layer in report.layers if layer.gate}
    assert gates == {f"blocks.{i}.body.6.sigmoid" for i in range(3)}


def test_complex_weights_are_measured_whole(recwarn):
    class Phases(nn.Module):
        def __init__(self):
            super().__init__()
            self.turn, self.out = nn.Linear(6, 6, dtype=torch.complex64), nn.Linear(6, 3)

        def forward(self, x):
            return self.out(self.turn(x.to(torch.complex64)).abs())

    torch.manual_seed(0)
    batch = (torch.randn(64, 6), torch.arange(64) % 3)
    assert not diagnose(Phases(), batch, F.cross_entropy).findings
    assert not [warning for warning in recwarn if "imaginary" in str(warning.message)]


def test_old_parametrizations_adversaries_packed_sequences_and_low_precision_are_accused_of_nothing():
    torch.manual_seed(0)
    old = nn.utils.spectral_norm
    critic = nn.Sequential(
        old(nn.Conv2d(3, 8, 3)), nn.LeakyReLU(0.2), old(nn.Conv2d(8, 16, 3)), nn.LeakyReLU(0.2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), old(nn.Linear(16, 1)),
    )  # fmt: skip
    generator = nn.Sequential(
        nn.Linear(16, 128), nn.Unflatten(1, (8, 4, 4)), nn.BatchNorm2d(8), nn.ReLU(),
        nn.ConvTranspose2d(8, 8, 4, 2, 1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.ConvTranspose2d(8, 3, 4, 2, 1), nn.Tanh(),
    )  # fmt: skip

    class Packed(nn.Module):
        def __init__(self):
            super().__init__()
            self.recurrent, self.head = nn.GRU(8, 16, batch_first=True), nn.Linear(16, 2)

        def forward(self, x, lengths):
            packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            return self.head(self.recurrent(packed)[1][0])

    images, noise, sides = torch.randn(32, 3, 16, 16), torch.randn(32, 16), torch.arange(32) % 2
    low = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))
    for model, batch, loss, rate in (
        (critic, (images, sides[:, None].float()), "binary_cross_entropy_with_logits", 2e-4),
        (critic, (images, None), lambda out, _: out[:16].mean() - out[16:].mean(), 1e-4),
        (generator, (noise, None), lambda out, _: F.softplus(-critic(out)).mean(), 2e-4),
        (Packed(), (torch.randn(32, 12, 8), torch.randint(1, 13, (32,)), sides), "cross_entropy", 1e-3),
        (low.bfloat16(), (torch.randn(64, 20).bfloat16(), torch.arange(64) % 4), "cross_entropy", 1e-3),
    ):
        optimizer = torch.optim.Adam(model.parameters(), rate)
        before = copy.deepcopy(model.state_dict())
        report = diagnose(model, batch, loss, optimizer)
        assert [str(f) for f in report.findings if f.severity != "note"] == []
        assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
