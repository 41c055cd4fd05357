"""Variational autoencoders of Fashion-MNIST at half its size: dense against convolutional decoder.

Varied: the decoder, dense or of convolutions, with as many parameters (18,187 and 18,113 in all). Sigmoid
output, hidden ReLU, Gaussian likelihood with one learned standard deviation, 8 latent numbers. Adam, each arm
at its own rate, 1,200 updates of 100 images; the weights of the lowest validation loss count. The images are
means of 2x2 pixels, 14x14 with 1,021 grey levels, made continuous by uniform noise of a level. Measured as in
`generation_digits`, on 2,000 test images and 2,000 drawn ones; the classifier has seen 10,000 training images
and 2,000 with shuffled pixels.

Reduced, to finish in minutes on two cores: half the size, 5,000 training images, three tuning seeds, five
final ones.
"""

from __future__ import annotations

import json
import math
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from convcraft.lab import data, models
from convcraft.lab.baselines import knn_distance
from convcraft.lab.data import Split
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.experiments.score import last_quarter
from convcraft.lab.statistics import frechet_distance
from convcraft.lab.training import adam_together, fit, seeded

LATENT, LEVELS, SAMPLES, DRAWS, PIXELS = 8, 1021, 2000, 100, 196
SEEDS, TUNING = tuple(range(5)), tuple(range(100, 103))
SETTINGS = {"updates": 1200, "look_every": 120, "batch_size": 100, "flat": None}


@cache
def images(count: int) -> data.Splits:
    """Some training images, 1,000 of validation and 2,000 of the test part, 14x14, continuous in [0, 1]."""
    parts = data.load("fashion-mnist")
    generator = torch.Generator().manual_seed(0)

    def continuous(part: Split, count: int) -> Split:
        sums = (nn.functional.avg_pool2d(part.x[:count], 2) * (LEVELS - 1)).round()
        return Split((sums + torch.rand(sums.shape, generator=generator)) / LEVELS, part.y[:count])

    some = continuous(parts.validation, 1000), continuous(parts.test, 2000)
    return data.Splits(continuous(parts.train, count), *some, "fashion-mnist 14x14", parts.classes)


def splits(arm: dict) -> data.Splits:
    """The 5,000 images that are trained on."""
    return images(5000)


def model(arm: dict) -> nn.Module:
    """The autoencoder of an arm."""
    decoder: nn.Module = models.MLP((LATENT, 43, PIXELS))
    if arm["decoder"] == "convolutional":
        decoder = models.ConvDecoder(LATENT, (41, 8), 14)
    encoder = models.MLP((PIXELS, 43, 2 * LATENT))
    return models.VAE(encoder, nn.Sequential(decoder, nn.Sigmoid()))


def loss(bound: Tensor, y: Tensor) -> Tensor:
    """The negative bound on the log-probability of an image with 1,021 grey levels."""
    return PIXELS * math.log(LEVELS) - bound.mean()


@cache
def trained(arm: str, rate: float, seeds: tuple[int, ...]) -> dict[int, Any]:
    """The networks of all seeds, trained in one loop."""
    given = splits(json.loads(arm))
    copies = [{"seed": seed} for seed in seeds]
    settings = {"learning_rate": rate, "loss": loss} | SETTINGS
    found = adam_together(lambda: model(json.loads(arm)), given.train, given.validation, copies, **settings)
    return {one.seed: one for one in found}


@cache
def classifier() -> nn.Module:
    """The network that judges the images; its eleventh class has shuffled pixels."""
    given = images(10_000)
    flat = given.train.x[:2000].flatten(1)
    order = torch.rand(flat.shape, generator=torch.Generator().manual_seed(1)).argsort(0)
    shuffled = flat.gather(0, order).reshape(-1, 1, 14, 14)
    y = torch.cat([given.train.y, torch.full((len(flat),), 10)])
    train = Split(torch.cat([given.train.x, shuffled]), y)
    given = data.Splits(train, given.validation, given.test, "fashion-mnist 14x14", (*given.classes, "none"))
    judge = seeded(lambda: models.ConvNet((16, 32), classes=11, size=14, hidden=32), 0)
    fit(judge, given, epochs=10, batch_size=50, learning_rate=0.05, momentum=0.9, seed=0, progress=False)
    return judge.eval()


def seen(images: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Last hidden layer (N, 32) and probabilities of the ten classes that the classifier has for images."""
    judge = classifier()
    with torch.no_grad():
        hidden = judge.head[:-1](judge.features(images.reshape(-1, 1, 14, 14).float()))
        return hidden.numpy(), judge.head[-1](hidden).softmax(-1)[:, :10].numpy()


def judged(images: Tensor, given: data.Splits) -> dict[str, float]:
    """What is measured of images drawn from a model."""
    images = images.reshape(len(images), -1).clamp(0, 1)
    hidden, probabilities = seen(images)
    shares = np.bincount(probabilities.argmax(1), minlength=10) / len(images)
    train, test = (part.x.flatten(1).numpy() for part in (given.train, given.test))
    return {
        "recognized": float((probabilities.max(1) > 0.9).mean()),
        "frechet": frechet_distance(hidden, seen(given.test.x)[0]),
        "modes": int((shares >= 0.02).sum()),
        "nearest": float(knn_distance(train, images.numpy(), 1).mean() / knn_distance(train, test, 1).mean()),
    }


def run(arm: dict, rate: float, seed: int, splits: data.Splits, final: bool) -> dict[str, Any]:
    """Train with the other seeds of the phase; of final runs bounds and images."""
    one = trained(json.dumps(arm), rate, SEEDS if seed in SEEDS else TUNING)[seed]
    losses, updates = one.history.validation_loss, one.history.updates
    found: dict[str, Any] = {"validation_loss": min(losses)}
    if not final:
        return found
    torch.manual_seed(seed)
    with torch.no_grad():
        weights = one.model.log_weights(splits.test.x, DRAWS) - PIXELS * math.log(LEVELS)  # (draws, images)
        means = one.model.sample(SAMPLES, LATENT)
        noisy = one.model.sample(SAMPLES, LATENT, noise=True)
    weighted = weights.logsumexp(0) - math.log(DRAWS)
    found |= {"bound": float(weights.mean()), "weighted": float(weighted.mean())}
    found |= judged(means, splits)
    found |= {f"noisy_{name}": value for name, value in judged(noisy, splits).items()}
    return found | {"updates": updates[-1], "last_quarter": last_quarter(losses, updates)}


STUDY = Study(
    arms={name: {"decoder": name} for name in ("dense", "convolutional")},
    rates=(0.001, 0.003, 0.01),
    seeds=SEEDS,
    tuning_seeds=TUNING,
    splits=splits,
    run=run,
    select=("validation_loss", "min"),
    contrasts=(Contrast("convolutional", "dense", measure="frechet", claim="cnns-generate-images"),),
    quick={"rates": (0.003,)},
)
