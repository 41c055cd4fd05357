"""Small generative adversarial networks of digits: how often do they fail with ReLU, and with leaky ReLU?

Varied: the activation of the discriminator (ReLU; leaky ReLU of slope 0.2). Generator 8-64-64-64 with ReLU
and a sigmoid output, discriminator 64-64-64-1. Non-saturating loss, Adam with a first momentum of 0.5 and a
rate of 0.003 for both networks, 4,000 updates of 100 digits, of which the last weights count. A run fails
where fewer than eight digits have 2 % of 1,000 drawn images or more among those that a classifier recognizes
with a confidence above 0.9; the classifier, with its eleventh class of shuffled pixels, is that of
`generation_digits`, and so are the data. Also measured: the share that is recognized, and the Fréchet
distance to the test images.

Reduced, to finish in minutes on two cores: one size, one length of training, ten seeds, one rate (the best of
three for both in a pilot of one other seed and half the updates). The loss of a GAN falls towards no end.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from convcraft.lab import data, models
from convcraft.lab.data import Split
from convcraft.lab.experiments import Study
from convcraft.lab.statistics import frechet_distance
from convcraft.lab.training import fit, seeded

LATENT, LEVELS, SAMPLES, UPDATES, BATCH, RATE = 8, 17, 1000, 4000, 100, 0.003
ACTIVATIONS = {"relu": nn.ReLU, "leaky relu": lambda: nn.LeakyReLU(0.2)}


def splits(arm: dict) -> data.Splits:
    """Digits with uniform noise of a grey level, in [0, 1]."""
    parts = data.load("digits")
    generator = torch.Generator().manual_seed(0)

    def continuous(part: Split) -> Split:
        noise = torch.rand(part.x.shape, generator=generator)
        return Split(((part.x * (LEVELS - 1)).round() + noise) / LEVELS, part.y)

    train, validation, test = (continuous(p) for p in (parts.train, parts.validation, parts.test))
    return data.Splits(train, validation, test, "digits", parts.classes)


@cache
def classifier() -> nn.Module:
    """The network that judges the images, as in `generation_digits`."""
    given = splits({})
    flat = given.train.x.flatten(1)
    order = torch.rand(flat.shape, generator=torch.Generator().manual_seed(1)).argsort(0)
    shuffled = flat.gather(0, order).reshape(given.train.x.shape)
    y = torch.cat([given.train.y, torch.full((len(flat),), 10)])
    train = Split(torch.cat([given.train.x, shuffled]), y)
    given = data.Splits(train, given.validation, given.test, "digits", (*given.classes, "none"))
    judge = seeded(lambda: models.ConvNet((16, 32), classes=11, hidden=32), 0)
    fit(judge, given, epochs=30, batch_size=50, learning_rate=0.05, momentum=0.9, seed=0, progress=False)
    return judge.eval()


def seen(images: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Last hidden layer (N, 32) and probabilities of the ten digits that the classifier has for images."""
    judge = classifier()
    with torch.no_grad():
        hidden = judge.head[:-1](judge.features(images.reshape(-1, 1, 8, 8)))
        return hidden.numpy(), judge.head[-1](hidden).softmax(-1)[:, :10].numpy()


def train(activation: str, x: Tensor) -> nn.Module:
    """The generator after the last update."""
    generator = nn.Sequential(models.MLP((LATENT, 64, 64, 64)), nn.Sigmoid())
    discriminator = models.MLP((64, 64, 64, 1), activation=ACTIVATIONS[activation])
    nets = generator, discriminator
    both = [torch.optim.Adam(net.parameters(), RATE, betas=(0.5, 0.999), fused=True) for net in nets]
    for _ in range(UPDATES):
        real = x[torch.randint(len(x), (BATCH,))]
        drawn = generator(torch.randn(BATCH, LATENT))
        scores = discriminator(torch.cat([real, drawn.detach()]))
        wrong = softplus(-scores[:BATCH]).mean() + softplus(scores[BATCH:]).mean()
        both[1].zero_grad()
        wrong.backward()
        both[1].step()
        both[0].zero_grad()
        softplus(-discriminator(drawn)).mean().backward()
        both[0].step()
    return generator


def run(arm: dict, rate: None, seed: int, splits: data.Splits, final: bool) -> dict[str, Any]:
    """Train one pair and count its digits."""
    classifier()
    torch.manual_seed(seed)
    generator = train(arm["activation"], splits.train.x.flatten(1))
    with torch.no_grad():
        hidden, probabilities = seen(generator(torch.randn(SAMPLES, LATENT)))
    sure = probabilities.max(1) > 0.9
    counts = np.bincount(probabilities.argmax(1)[sure], minlength=10)
    return {
        "recognized": float(sure.mean()),
        "frechet": frechet_distance(hidden, seen(splits.test.x)[0]),
        "modes": int((counts >= 0.02 * SAMPLES).sum()),
    }


STUDY = Study(
    trains=False,
    arms={activation: {"activation": activation} for activation in ACTIVATIONS},
    rates=(),
    seeds=range(10),
    splits=splits,
    run=run,
)
