"""Small healthy models, one of each kind that people train, each with batches that it can learn and a loss.

`ZOO[name]` is a `Case`: `case.model(seed)` is fresh, as its author leaves it; `case.batch(seed)` is
`(inputs, target)`, with a tuple as inputs where the model takes several; `case.loss(output, target)` is a
scalar; `case.optimizer(model)` is one that suits it. `case.call(model, inputs)` runs the model.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CLASSES, WORDS, LENGTH = 4, 11, 8
N = 32  # examples of a batch


@dataclass(frozen=True)
class Case:
    """A model, its data and its loss."""

    name: str
    make: Callable[[], nn.Module]
    data: Callable[[torch.Generator], tuple[Any, Any]]
    loss: Callable[[Any, Any], Tensor]
    rate: float = 2e-3

    def model(self, seed: int = 0) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return self.make()

    def batch(self, seed: int = 0) -> tuple[Any, Any]:
        return self.data(torch.Generator().manual_seed(seed))

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam([p for p in model.parameters() if p.requires_grad], self.rate)

    @staticmethod
    def call(model: nn.Module, inputs: Any) -> Any:
        return model(*inputs) if isinstance(inputs, tuple) else model(inputs)


# Data: class prototypes with noise, and sequences that follow a rule -------------------------------

_FIXED = torch.Generator().manual_seed(1234)
_VECTORS = torch.randn(CLASSES, 16, generator=_FIXED)
_IMAGES = F.interpolate(torch.randn(CLASSES, 3, 4, 4, generator=_FIXED), scale_factor=4.0, mode="bilinear")
_SERIES = torch.randn(CLASSES, LENGTH, 6, generator=_FIXED)
_TEACHER = torch.randn(16, 1, generator=_FIXED) / 4


def _labelled(prototypes: Tensor) -> Callable[[torch.Generator], tuple[Tensor, Tensor]]:
    def data(g: torch.Generator) -> tuple[Tensor, Tensor]:
        y = torch.randint(CLASSES, (N,), generator=g)
        x = prototypes[y]
        return x + torch.randn(x.shape, generator=g), y

    return data


vectors, images, series = _labelled(_VECTORS), _labelled(_IMAGES), _labelled(_SERIES)


def regression(g: torch.Generator) -> tuple[Tensor, Tensor]:
    x = torch.randn(N, 16, generator=g)
    return x, torch.tanh(x @ _TEACHER) + 0.1 * torch.randn(N, 1, generator=g)


def tokens(g: torch.Generator) -> tuple[Tensor, Tensor]:
    """The next token is the last one plus a step that a sequence keeps: (N, L) -> (N, L)."""
    first, step = (torch.randint(1, WORDS, (N, 1), generator=g) for _ in "ab")
    whole = (first + step * torch.arange(LENGTH + 1)) % WORDS
    return whole[:, :-1], whole[:, 1:]


def sentences(g: torch.Generator) -> tuple[Tensor, Tensor]:
    x, _ = tokens(g)
    return x, x[:, 0] % CLASSES


def masks(g: torch.Generator) -> tuple[Tensor, Tensor]:
    x, _ = images(g)
    return x, (F.avg_pool2d(x.mean(1, keepdim=True), 3, 1, 1) > 0).float()


def reconstruction(g: torch.Generator) -> tuple[Tensor, Tensor]:
    x = vectors(g)[0]
    return x, x


def cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(output.flatten(0, -2), target.flatten())


# Blocks --------------------------------------------------------------------------------------------


class Fn(nn.Module):
    """A module from a function and submodules: forward is `function(self, *inputs)`."""

    def __init__(self, function: Callable[..., Any], **parts: nn.Module | nn.Parameter) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Any, *others: Any) -> Any:
        return self.function(self, x, *others)


def parameter(*shape: int, value: float = 0.0) -> nn.Parameter:
    return nn.Parameter(torch.full(shape, value))


def residual(*layers: nn.Module) -> nn.Module:
    return Fn(lambda m, x: x + m.branch(x), branch=nn.Sequential(*layers))


def mlp(*widths: int, act: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in zip(widths, widths[1:], strict=False):
        layers += [nn.Linear(a, b), act()]
    return nn.Sequential(*layers[:-1])


def conv(a: int, b: int, k: int = 3, norm: bool = True, act: Callable[[], nn.Module] = nn.ReLU, **kw: Any):
    layers = [nn.Conv2d(a, b, k, padding=k // 2, bias=not norm, **kw)]
    return nn.Sequential(*layers, *([nn.BatchNorm2d(b)] if norm else []), act())


def head(width: int) -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, CLASSES))


class RMSNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * self.weight


class LayerNorm2d(nn.LayerNorm):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Attention(nn.Module):
    """Multi-head self-attention, causal and with rotary positions if so wished."""

    def __init__(self, width: int, heads: int = 2, causal=False, rotary=False, bias=True) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(width, 3 * width, bias=bias), nn.Linear(width, width, bias=bias)
        self.heads, self.causal, self.rotary = heads, causal, rotary

    def forward(self, x: Tensor) -> Tensor:
        b, t, c = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        if self.rotary:
            angle = torch.arange(t)[:, None] / 10.0 ** torch.arange(c // self.heads // 2)
            q, k = (self.rotate(z, angle.cos(), angle.sin()) for z in (q, k))
        a = q @ k.mT / math.sqrt(q.size(-1))  # (b, heads, t, t)
        if self.causal:
            a = a.masked_fill(torch.ones(t, t, dtype=torch.bool).triu(1), -math.inf)
        return self.proj((a.softmax(-1) @ v).transpose(1, 2).reshape(b, t, c))

    @staticmethod
    def rotate(z: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        a, b = z.chunk(2, -1)
        return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


def swiglu(width: int, hidden: int) -> nn.Module:
    return Fn(
        lambda m, x: m.down(F.silu(m.gate(x)) * m.up(x)),
        gate=nn.Linear(width, hidden, bias=False),
        up=nn.Linear(width, hidden, bias=False),
        down=nn.Linear(hidden, width, bias=False),
    )


def block(width: int, norm: Callable[[int], nn.Module] = nn.LayerNorm, **kw: Any) -> nn.Sequential:
    """A pre-norm transformer block."""
    return nn.Sequential(
        residual(norm(width), Attention(width, **kw)),
        residual(norm(width), mlp(width, 2 * width, width, act=nn.GELU)),
    )


def post_norm(width: int) -> nn.Module:
    return Fn(
        lambda m, x: m.norm2((y := m.norm1(x + m.attention(x))) + m.mlp(y)),
        attention=Attention(width),
        mlp=mlp(width, 2 * width, width, act=nn.GELU),
        norm1=nn.LayerNorm(width),
        norm2=nn.LayerNorm(width),
    )


def language_model(
    *blocks: nn.Module, width: int = 16, norm: Any = nn.LayerNorm, positions=True
) -> nn.Module:
    return Fn(
        lambda m, x: m.head(m.norm(m.blocks(m.embedding(x) + m.positions[: x.size(1)]))),
        embedding=_embedding(width),
        positions=nn.Parameter(0.02 * torch.randn(LENGTH, width) * positions, requires_grad=bool(positions)),
        blocks=nn.Sequential(*blocks),
        norm=norm(width),
        head=nn.Linear(width, WORDS, bias=False),
    )


def _embedding(width: int) -> nn.Embedding:
    embedding = nn.Embedding(WORDS, width)
    nn.init.normal_(embedding.weight, std=0.5)
    return embedding


def vision_transformer(*blocks: nn.Module, width: int = 16) -> nn.Module:
    return Fn(
        lambda m, x: m.head(m.norm(m.blocks(m.patches(x).flatten(2).mT + m.positions)).mean(1)),
        patches=nn.Conv2d(3, width, 4, stride=4),
        positions=nn.Parameter(0.02 * torch.randn(16, width)),
        blocks=nn.Sequential(*blocks),
        norm=nn.LayerNorm(width),
        head=nn.Linear(width, CLASSES),
    )


# Image models --------------------------------------------------------------------------------------


def basic_block(a: int, b: int, stride: int = 1) -> nn.Module:
    return Fn(
        lambda m, x: F.relu(m.bn2(m.conv2(F.relu(m.bn1(m.conv1(x))))) + m.shortcut(x)),
        conv1=nn.Conv2d(a, b, 3, stride, 1, bias=False),
        bn1=nn.BatchNorm2d(b),
        conv2=nn.Conv2d(b, b, 3, 1, 1, bias=False),
        bn2=nn.BatchNorm2d(b),
        shortcut=nn.Identity()
        if a == b
        else nn.Sequential(nn.Conv2d(a, b, 1, stride, bias=False), nn.BatchNorm2d(b)),
    )


def preactivation_block(width: int) -> nn.Module:
    norm = nn.BatchNorm2d
    return residual(
        *(norm(width), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1, bias=False)),
        *(norm(width), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1, bias=False)),
    )


def squeeze_excite(width: int) -> nn.Module:
    return Fn(
        lambda m, x: x * torch.sigmoid(m.expand(F.silu(m.reduce(x.mean((2, 3), keepdim=True))))),
        reduce=nn.Conv2d(width, width // 2, 1),
        expand=nn.Conv2d(width // 2, width, 1),
    )


def inverted_residual(width: int, act: Callable[[], nn.Module], se: bool) -> nn.Module:
    wide = 2 * width
    return residual(
        conv(width, wide, 1, act=act),
        conv(wide, wide, 3, act=act, groups=wide),
        squeeze_excite(wide) if se else nn.Identity(),
        nn.Conv2d(wide, width, 1, bias=False),
        nn.BatchNorm2d(width),
    )


def convnext_block(width: int) -> nn.Module:
    return Fn(
        lambda m, x: x + m.gamma * m.b(F.gelu(m.a(m.norm(m.depthwise(x))))),
        depthwise=nn.Conv2d(width, width, 3, padding=1, groups=width),
        norm=LayerNorm2d(width),
        a=nn.Conv2d(width, 2 * width, 1),
        b=nn.Conv2d(2 * width, width, 1),
        gamma=parameter(width, 1, 1, value=1e-6),
    )


def dense_block(width: int, growth: int, count: int) -> nn.Module:
    def layer(w: int) -> nn.Module:
        inner = nn.Sequential(nn.BatchNorm2d(w), nn.ReLU(), nn.Conv2d(w, growth, 3, padding=1, bias=False))
        return Fn(lambda m, x: torch.cat([x, m.layer(x)], 1), layer=inner)

    return nn.Sequential(*(layer(w) for w in range(width, width + growth * count, growth)))


def unet(norm: Callable[[int], nn.Module]) -> nn.Module:
    def double(a: int, b: int) -> nn.Sequential:
        pairs = ((nn.Conv2d(i, b, 3, padding=1), norm(b), nn.ReLU()) for i in (a, b))
        return nn.Sequential(*(layer for pair in pairs for layer in pair))

    def forward(m: Any, x: Tensor) -> Tensor:
        a = m.down1(x)
        b = m.down2(F.max_pool2d(a, 2))
        c = m.up2(torch.cat([b, m.transposed2(m.middle(F.max_pool2d(b, 2)))], 1))
        return m.out(m.up1(torch.cat([a, m.transposed1(c)], 1)))

    return Fn(
        forward,
        **{"down1": double(3, 8), "down2": double(8, 16), "middle": double(16, 32)},
        **{"transposed2": nn.ConvTranspose2d(32, 16, 2, 2), "up2": double(32, 16)},
        **{"transposed1": nn.ConvTranspose2d(16, 8, 2, 2), "up1": double(16, 8), "out": nn.Conv2d(8, 1, 1)},
    )


def inception(width: int) -> nn.Module:
    pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), conv(width, 4, 1))
    branches = [conv(width, 8, 1), conv(width, 8, 3), nn.Sequential(conv(width, 4, 1), conv(4, 4, 5)), pool]
    return Fn(lambda m, x: torch.cat([b(x) for b in m.branches], 1), branches=nn.ModuleList(branches))


class StandardizedConv2d(nn.Conv2d):
    """A convolution whose weight is standardized for each output channel."""

    def forward(self, x: Tensor) -> Tensor:
        w = self.weight
        w = (w - w.mean((1, 2, 3), keepdim=True)) / (
            w.var((1, 2, 3), keepdim=True) * w[0].numel() + 1e-6
        ).sqrt()
        return self._conv_forward(x, w, self.bias)


def norm_free_block(width: int) -> nn.Module:
    return Fn(
        lambda m, x: x + m.gain * 0.5 * m.b(F.relu(m.a(F.relu(x) * 1.71)) * 1.71),
        a=StandardizedConv2d(width, width, 3, padding=1),
        b=StandardizedConv2d(width, width, 3, padding=1),
        gain=parameter(1),
    )


def window_block(width: int, shift: int) -> nn.Module:
    """Attention in windows of 2 x 2 patches of a grid of 4 x 4, shifted or not, and an MLP."""

    def forward(m: Any, x: Tensor) -> Tensor:
        grid = torch.roll(m.norm1(x).unflatten(1, (4, 4)), (-shift, -shift), (1, 2))
        windows = grid.view(-1, 2, 2, 2, 2, width).transpose(2, 3).reshape(-1, 4, width)
        grid = m.attention(windows).view(-1, 2, 2, 2, 2, width).transpose(2, 3).reshape(-1, 4, 4, width)
        x = x + torch.roll(grid, (shift, shift), (1, 2)).flatten(1, 2)
        return x + m.mlp(m.norm2(x))

    return Fn(
        forward,
        norm1=nn.LayerNorm(width),
        attention=Attention(width),
        norm2=nn.LayerNorm(width),
        mlp=mlp(width, 2 * width, width, act=nn.GELU),
    )


def mixer_block(width: int) -> nn.Module:
    tokens_mixed = Fn(lambda m, x: m.mlp(x.mT).mT, mlp=mlp(16, 32, 16, act=nn.GELU))
    return nn.Sequential(
        residual(nn.LayerNorm(width), tokens_mixed),
        residual(nn.LayerNorm(width), mlp(width, 2 * width, width, act=nn.GELU)),
    )


# Sequence models -----------------------------------------------------------------------------------


class SelectiveScan(nn.Module):
    """A state-space layer whose step, input and output matrices depend on the input."""

    def __init__(self, width: int, states: int = 4) -> None:
        super().__init__()
        self.in_proj, self.out_proj = nn.Linear(width, 2 * width), nn.Linear(width, width)
        self.x_proj, self.dt_proj = nn.Linear(width, 1 + 2 * states, bias=False), nn.Linear(1, width)
        self.A_log = nn.Parameter(torch.arange(1.0, states + 1).log().repeat(width, 1))
        self.D, self.states = nn.Parameter(torch.ones(width)), states

    def forward(self, u: Tensor) -> Tensor:
        x, z = self.in_proj(u).chunk(2, -1)
        x = F.silu(x)
        dt, b, c = self.x_proj(x).split([1, self.states, self.states], -1)
        dt = F.softplus(self.dt_proj(dt))  # (n, t, width)
        decay = torch.exp(-dt.unsqueeze(-1) * self.A_log.exp())  # (n, t, width, states)
        drive = (dt * x).unsqueeze(-1) * b.unsqueeze(2)
        h, outputs = torch.zeros_like(drive[:, 0]), []
        for t in range(LENGTH):
            h = decay[:, t] * h + drive[:, t]
            outputs.append((h * c[:, t].unsqueeze(1)).sum(-1))
        y = torch.stack(outputs, 1) + self.D * x
        return self.out_proj(y * F.silu(z))


def recurrent(kind: type[nn.RNNBase], **kw: Any) -> nn.Module:
    directions = 2 if kw.get("bidirectional") else 1
    return Fn(
        lambda m, x: m.head(m.rnn(x)[0].mean(1)),
        rnn=kind(6, 16, batch_first=True, **kw),
        head=nn.Linear(16 * directions, CLASSES),
    )


def temporal_block(width: int, dilation: int) -> nn.Module:
    weight_norm = nn.utils.parametrizations.weight_norm
    layers = [weight_norm(nn.Conv1d(width, width, 3, dilation=dilation)) for _ in "ab"]
    pad = nn.ConstantPad1d((2 * dilation, 0), 0.0)
    return residual(pad, layers[0], nn.ReLU(), pad, layers[1], nn.ReLU())


def wavenet_block(width: int, dilation: int) -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        a, b = m.dilated(F.pad(x, (dilation, 0))).chunk(2, 1)
        return x + m.out(torch.tanh(a) * torch.sigmoid(b))

    dilated = nn.Conv1d(width, 2 * width, 2, dilation=dilation)
    return Fn(forward, dilated=dilated, out=nn.Conv1d(width, width, 1))


def seq2seq() -> nn.Module:
    def forward(m: Any, source: Tensor, target: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(target.size(1))
        embedded = [m.embedding(x) + m.positions for x in (source, target)]
        return m.head(m.transformer(*embedded, tgt_mask=mask))

    return Fn(
        forward,
        embedding=_embedding(16),
        positions=nn.Parameter(0.02 * torch.randn(LENGTH, 16)),
        transformer=nn.Transformer(16, 2, 1, 1, 32, dropout=0.0, batch_first=True),
        head=nn.Linear(16, WORDS),
    )


def copies(g: torch.Generator) -> tuple[tuple[Tensor, Tensor], Tensor]:
    x, y = tokens(g)
    return (x, x), y


# Others --------------------------------------------------------------------------------------------


def highway(width: int) -> nn.Module:
    gate = nn.Linear(width, width)
    nn.init.constant_(gate.bias, -1.0)
    return Fn(
        lambda m, x: (t := torch.sigmoid(m.gate(x))) * F.relu(m.layer(x)) + (1 - t) * x,
        gate=gate,
        layer=nn.Linear(width, width),
    )


def mixture_of_experts(width: int) -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        weights = torch.softmax(m.router(x), -1)
        return x + (weights.unsqueeze(-1) * torch.stack([e(x) for e in m.experts], 1)).sum(1)

    experts = nn.ModuleList(mlp(width, 2 * width, width) for _ in range(3))
    return Fn(forward, router=nn.Linear(width, 3), experts=experts)


def routed_experts(width: int) -> nn.Module:
    """Each row goes to the two of three experts with the largest weights, which add to it where it is."""

    def forward(m: Any, x: Tensor) -> Tensor:
        weights, chosen = torch.softmax(m.router(x), -1).topk(2, -1)
        mixed = torch.zeros_like(x)
        for number, expert in enumerate(m.experts):
            rows, place = torch.where(chosen == number)
            mixed[rows] += weights[rows, place, None] * expert(x[rows])
        return x + mixed

    experts = nn.ModuleList(mlp(width, 2 * width, width) for _ in range(3))
    return Fn(forward, router=nn.Linear(width, 3), experts=experts)


def attention_pooling() -> nn.Module:
    return Fn(
        lambda m, x: m.head((torch.softmax(m.score(torch.tanh(m.key(x))), 1) * m.value(x)).sum(1)),
        key=nn.Linear(6, 16),
        score=nn.Linear(16, 1),
        value=nn.Linear(6, 16),
        head=nn.Linear(16, CLASSES),
    )


def graph_network() -> nn.Module:
    ring = torch.eye(LENGTH) + torch.eye(LENGTH).roll(1, 0) + torch.eye(LENGTH).roll(-1, 0)
    return Fn(
        lambda m, x: m.head(F.relu(ring / 3 @ m.b(F.relu(ring / 3 @ m.a(x)))).mean(1)),
        a=nn.Linear(6, 16),
        b=nn.Linear(16, 16),
        head=nn.Linear(16, CLASSES),
    )


def factorization() -> nn.Module:
    def forward(m: Any, user: Tensor, item: Tensor) -> Tensor:
        return (m.users(user) * m.items(item)).sum(-1) + m.bias(user).squeeze(-1)

    parts = {"users": nn.Embedding(20, 8), "items": nn.Embedding(20, 8), "bias": nn.Embedding(20, 1)}
    for part in parts.values():
        nn.init.normal_(part.weight, std=0.3)
    return Fn(forward, **parts)


def neural_factorization() -> nn.Module:
    return Fn(
        lambda m, user, item: m.mlp(torch.cat([m.users(user), m.items(item)], -1)).squeeze(-1),
        users=nn.Embedding(20, 8),
        items=nn.Embedding(20, 8),
        mlp=mlp(16, 32, 1),
    )


def ratings(g: torch.Generator) -> tuple[tuple[Tensor, Tensor], Tensor]:
    user, item = (torch.randint(20, (4 * N,), generator=g) for _ in "ab")
    return (user, item), torch.cos(user * 0.7 + item * 1.1)


def autoencoder() -> nn.Module:
    return mlp(16, 32, 4, 32, 16, act=nn.Tanh)


class VariationalAutoencoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.mean, self.log_variance = mlp(16, 32, 32), nn.Linear(32, 4), nn.Linear(32, 4)
        self.decoder = mlp(4, 32, 16)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = F.relu(self.encoder(x))
        mean, log_variance = self.mean(h), self.log_variance(h)
        z = mean + torch.exp(log_variance / 2) * torch.randn_like(mean) if self.training else mean
        return self.decoder(z), mean, log_variance


def evidence_bound(output: tuple[Tensor, Tensor, Tensor], x: Tensor) -> Tensor:
    y, mean, log_variance = output
    divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
    return (0.5 * (y - x).square().sum(1) + divergence).mean()


def generator() -> nn.Module:
    """A generator before a discriminator that is not trained with it."""
    discriminator = mlp(16, 32, 1, act=lambda: nn.LeakyReLU(0.2)).requires_grad_(False)
    made = nn.Sequential(nn.Linear(4, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 16), nn.Tanh())
    return Fn(lambda m, z: m.discriminator(m.generator(z)), generator=made, discriminator=discriminator)


def latent(g: torch.Generator) -> tuple[Tensor, Tensor]:
    return torch.randn(N, 4, generator=g), torch.ones(N, 1)


def real_and_fake(g: torch.Generator) -> tuple[Tensor, Tensor]:
    x, _ = images(g)
    x[N // 2 :] = torch.randn(N // 2, *x.shape[1:], generator=g)
    return x, (torch.arange(N) < N // 2).float().unsqueeze(1)


def discriminator() -> nn.Module:
    spectral, act = nn.utils.parametrizations.spectral_norm, nn.LeakyReLU(0.2)
    layers = [spectral(nn.Conv2d(a, b, 4, 2, 1)) for a, b in ((3, 8), (8, 16))]
    return nn.Sequential(layers[0], act, layers[1], act, nn.Flatten(), spectral(nn.Linear(256, 1)))


def two_views(g: torch.Generator) -> tuple[tuple[Tensor, Tensor], Tensor]:
    a, _ = vectors(g)
    return (a, a + 0.3 * torch.randn(a.shape, generator=g)), torch.arange(N)


def contrastive() -> nn.Module:
    def forward(m: Any, a: Tensor, b: Tensor) -> Tensor:
        a, b = F.normalize(m.encoder(a), dim=-1), F.normalize(m.encoder(b), dim=-1)
        return a @ b.T / 0.2

    encoder = nn.Sequential(nn.Linear(16, 32, bias=False), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 8))
    return Fn(forward, encoder=encoder)


def denoiser() -> nn.Module:
    """Predicts the noise in x at time t, which modulates the hidden layer."""

    def forward(m: Any, x: Tensor, t: Tensor) -> Tensor:
        scale, shift = m.time(t).chunk(2, -1)
        h = F.silu(m.a(x))
        return m.c(F.silu(m.norm(m.b(h)) * (1 + scale) + shift) + h)

    time = mlp(1, 16, 64, act=nn.SiLU)
    parts = {"a": nn.Linear(16, 32), "b": nn.Linear(32, 32), "norm": nn.LayerNorm(32), "c": nn.Linear(32, 16)}
    return Fn(forward, time=time, **parts)


def noisy(g: torch.Generator) -> tuple[tuple[Tensor, Tensor], Tensor]:
    x, t = vectors(g)[0], torch.rand(N, 1, generator=g)
    noise = torch.randn(x.shape, generator=g)
    return ((1 - t).sqrt() * x + t.sqrt() * noise, t), noise


def flow() -> nn.Module:
    """Two affine couplings: the negative log-likelihood of each row, up to a constant."""

    def forward(m: Any, x: Tensor) -> Tensor:
        a, b = x.chunk(2, -1)
        total = torch.zeros(len(x))
        for net in m.nets:
            scale, shift = net(a).chunk(2, -1)
            scale = torch.tanh(scale)
            a, b = b * scale.exp() + shift, a
            total = total + scale.sum(-1)
        return 0.5 * (a.square() + b.square()).sum(-1) - total

    return Fn(forward, nets=nn.ModuleList(mlp(8, 32, 16) for _ in "ab"))


def backcast() -> nn.Module:
    """Doubly residual blocks: each explains a part of the input and adds its share of the forecast."""

    def forward(m: Any, x: Tensor) -> Tensor:
        forecast: Any = 0
        for net, ahead, back in itertools.zip_longest(m.nets, m.aheads, m.backs):
            h = torch.relu(net(x))
            forecast = forecast + ahead(h)
            x = x - back(h) if back is not None else x
        return forecast

    nets, aheads = (nn.ModuleList(nn.Linear(*shape) for _ in "ab") for shape in ((16, 32), (32, 1)))
    backs = nn.ModuleList([nn.Linear(32, 16)])  # the last block explains nothing to another one
    return Fn(forward, nets=nets, backs=backs, aheads=aheads)


def transformer(norm_first: bool, layers: int = 2) -> nn.Module:
    layer = nn.TransformerEncoderLayer(16, 2, 32, 0.0, batch_first=True, norm_first=norm_first)
    encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
    return Fn(
        lambda m, x: m.head(m.encoder(m.lift(x)).mean(1)),
        lift=nn.Linear(6, 16),
        encoder=encoder,
        head=nn.Linear(16, CLASSES),
    )


def rezero_block(width: int) -> nn.Module:
    return Fn(
        lambda m, x: x + m.alpha * m.mlp(x),
        alpha=parameter(1),
        mlp=mlp(width, 2 * width, width, act=nn.GELU),
    )


def twice(make: Callable[..., nn.Module], *args: Any, **kw: Any) -> list[nn.Module]:
    return [make(*args, **kw) for _ in "ab"]


def resnext_block() -> nn.Module:
    branch = (conv(16, 8, 1), conv(8, 8, 3, groups=4), nn.Conv2d(8, 16, 1, bias=False), nn.BatchNorm2d(16))
    return nn.Sequential(residual(*branch), nn.ReLU())


def llama_block() -> nn.Module:
    attention = Attention(16, causal=True, rotary=True, bias=False)
    return nn.Sequential(residual(RMSNorm(16), attention), residual(RMSNorm(16), swiglu(16, 32)))


def over_time(*layers: nn.Module) -> nn.Module:
    """Layers over (n, channels, time) between a lift and a head."""
    lift = Fn(lambda m, x: m.lift(x.mT), lift=nn.Conv1d(6, 16, 1))
    return nn.Sequential(lift, *layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(16, CLASSES))


def text_cnn() -> nn.Module:
    return Fn(
        lambda m, x: m.head(F.relu(m.conv(m.embedding(x).mT)).amax(-1)),
        embedding=nn.Embedding(WORDS, 16),
        conv=nn.Conv1d(16, 32, 3),
        head=nn.Linear(32, CLASSES),
    )


def bag_of_words() -> nn.Module:
    return nn.Sequential(nn.EmbeddingBag(WORDS, 16), nn.ReLU(), nn.Linear(16, CLASSES))


def deep_sets() -> nn.Module:
    return Fn(lambda m, x: m.after(m.each(x).mean(1)), each=mlp(6, 32, 16), after=mlp(16, 32, CLASSES))


def between(width: int, *layers: nn.Module) -> nn.Module:
    """Layers of one width between a linear lift and a linear head."""
    return nn.Sequential(nn.Linear(16, width), *layers, nn.Linear(width, CLASSES))


# fmt: off
S, C = nn.Sequential, nn.Conv2d
_CLASSIFIERS: dict[Callable, dict[str, Callable[[], nn.Module]]] = {
    vectors: {
        "logistic-regression": lambda: nn.Linear(16, CLASSES),
        "mlp-relu": lambda: mlp(16, 32, 32, CLASSES),
        "mlp-tanh": lambda: mlp(16, 32, 32, CLASSES, act=nn.Tanh),
        "mlp-selu": lambda: mlp(16, 32, 32, 32, CLASSES, act=nn.SELU),
        "mlp-batch-norm": lambda: between(32, nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2)),
        "mlp-residual": lambda: between(32, *(residual(*mlp(32, 32, 32)) for _ in "ab")),
        "highway": lambda: between(32, *twice(highway, 32)),
        "rezero": lambda: between(32, *twice(rezero_block, 32)),
        "mixture-of-experts": lambda: between(32, mixture_of_experts(32)),
        "routed-experts": lambda: between(32, routed_experts(32)),
    },
    images: {
        "lenet": lambda: S(C(3, 6, 5), nn.Tanh(), nn.AvgPool2d(2), C(6, 16, 3), nn.Tanh(), nn.AvgPool2d(2),
                           nn.Flatten(), *mlp(64, 32, CLASSES, act=nn.Tanh)),
        "vgg": lambda: S(conv(3, 8, norm=False), conv(8, 8, norm=False), nn.MaxPool2d(2),
                         conv(8, 16, norm=False), nn.MaxPool2d(2), nn.Flatten(),
                         nn.Dropout(0.3), *mlp(256, 32, CLASSES)),
        "vgg-batch-norm": lambda: S(conv(3, 8), conv(8, 8), nn.MaxPool2d(2), conv(8, 16), head(16)),
        "resnet": lambda: S(conv(3, 8), basic_block(8, 8), basic_block(8, 16, 2), head(16)),
        "resnet-preactivation": lambda: S(C(3, 8, 3), *twice(preactivation_block, 8), nn.BatchNorm2d(8),
                                          nn.ReLU(), head(8)),
        "resnext": lambda: S(conv(3, 16), resnext_block(), head(16)),
        "resnet-norm-free": lambda: S(StandardizedConv2d(3, 8, 3),
                         *twice(norm_free_block, 8), nn.ReLU(), head(8)),
        "densenet": lambda: S(C(3, 8, 3), dense_block(8, 4, 3), nn.BatchNorm2d(20), nn.ReLU(), head(20)),
        "inception": lambda: S(conv(3, 8), inception(8), head(24)),
        "mobilenet": lambda: S(conv(3, 8, act=nn.ReLU6),
                         *twice(inverted_residual, 8, nn.ReLU6, False), head(8)),
        "efficientnet": lambda: S(conv(3, 8, act=nn.SiLU),
                         *twice(inverted_residual, 8, nn.SiLU, True), head(8)),
        "convnext": lambda: S(C(3, 16, 4, 4), LayerNorm2d(16), *twice(convnext_block, 16), head(16)),
        "vit": lambda: vision_transformer(*twice(block, 16)),
        "swin": lambda: vision_transformer(window_block(16, 0), window_block(16, 1)),
        "mixer": lambda: vision_transformer(*twice(mixer_block, 16)),
    },
    series: {
        "rnn": lambda: recurrent(nn.RNN),
        "lstm": lambda: recurrent(nn.LSTM),
        "gru": lambda: recurrent(nn.GRU, num_layers=2),
        "lstm-bidirectional": lambda: recurrent(nn.LSTM, bidirectional=True),
        "tcn": lambda: over_time(temporal_block(16, 1), temporal_block(16, 2)),
        "wavenet": lambda: over_time(wavenet_block(16, 1), wavenet_block(16, 2), nn.ReLU()),
        "attention-pooling": attention_pooling,
        "deep-sets": deep_sets,
        "graph-network": graph_network,
        "transformer-post-norm": lambda: transformer(False),
        "transformer-pre-norm": lambda: transformer(True),
    },
    sentences: {"text-cnn": text_cnn, "bag-of-words": bag_of_words},
}
_LANGUAGE: dict[str, Callable[[], nn.Module]] = {
    "bert": lambda: language_model(*twice(post_norm, 16)),
    "gpt2": lambda: language_model(*twice(block, 16, causal=True)),
    "llama": lambda: language_model(*twice(llama_block), norm=RMSNorm, positions=False),
    "mamba": lambda: language_model(*(residual(RMSNorm(16), SelectiveScan(16)) for _ in "ab"), norm=RMSNorm),
}
_BCE = F.binary_cross_entropy_with_logits
_OTHERS: tuple[Case, ...] = (
    Case("mlp-regression", lambda: mlp(16, 32, 32, 1, act=nn.GELU), regression, F.mse_loss),
    Case("backcast", backcast, regression, F.mse_loss),
    Case("unet", lambda: unet(nn.BatchNorm2d), masks, _BCE),
    Case("unet-group-norm", lambda: unet(lambda n: nn.GroupNorm(4, n)), masks, _BCE),
    Case("fully-convolutional", lambda: S(conv(3, 8), conv(8, 8), C(8, 1, 1)), masks, _BCE),
    Case("seq2seq", seq2seq, copies, cross_entropy),
    Case("factorization", factorization, ratings, F.mse_loss),
    Case("neural-factorization", neural_factorization, ratings, F.mse_loss),
    Case("autoencoder", autoencoder, reconstruction, F.mse_loss),
    Case("vae", VariationalAutoencoder, reconstruction, evidence_bound),
    Case("gan-generator", generator, latent, _BCE),
    Case("gan-discriminator", discriminator, real_and_fake, _BCE),
    Case("contrastive", contrastive, two_views, F.cross_entropy),
    Case("denoiser", denoiser, noisy, F.mse_loss),
    Case("flow", flow, reconstruction, lambda output, _: output.mean()),
)
# fmt: on
ZOO: dict[str, Case] = {
    case.name: case
    for case in (
        *(
            Case(n, make, data, F.cross_entropy)
            for data, group in _CLASSIFIERS.items()
            for n, make in group.items()
        ),
        *(Case(name, make, tokens, cross_entropy) for name, make in _LANGUAGE.items()),
        *_OTHERS,
    )
}
