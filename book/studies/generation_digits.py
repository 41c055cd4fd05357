"""Variational autoencoders of digits: output layer, hidden activation, convolution, noise.

Crossed: the output layer (sigmoid, linear, tanh, ReLU) and the hidden activation of encoder and decoder
(ReLU, tanh, SiLU), with a dense decoder and one standard deviation learned for all pixels. Besides, from ReLU
and sigmoid: a decoder of convolutions with as many parameters, and a standard deviation for each pixel.
Gaussian likelihood, 8 latent numbers, 18,099 parameters (with convolutions 18,097). Adam, each arm at its own
rate, 1,500 updates of 100 images; the weights of the lowest validation loss count.

The images have 17 grey levels; uniform noise of one level, drawn once, makes them continuous. The loss is the
negative bound on the log-probability of an image in nats (that of the density, plus 64 log 17), which any two
models of these images can be compared by. Measured on 500 test images: the bound from 100 draws of z, of each
image as float16 in base64, and the importance-weighted estimate.

Of 1,000 images drawn from each network, as means of the pixels and as draws with the noise of the pixels, cut
at 0 and 1: the share that a classifier recognizes with a confidence above 0.9, the Fréchet distance to the
test images in its last hidden layer, how many digits have 2 % of the images or more, and the mean distance to
the nearest training image, relative to that of test images. The classifier is the same for all, a
convolutional network of the training images; it has an eleventh class, trained with images whose pixels come
from different training images. "naive" is the share that a classifier without that class recognizes.

Reduced, to finish in minutes on two cores: images 8x8, one hidden layer.
"""

from __future__ import annotations

import base64
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

LATENT, LEVELS, SAMPLES, DRAWS = 8, 17, 1000, 100
SEEDS, TUNING = tuple(range(10)), tuple(range(100, 110))
OUTPUTS = {"linear": nn.Identity, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU}
SETTINGS = {"updates": 1500, "look_every": 100, "batch_size": 100, "flat": None}


def splits(arm: dict) -> data.Splits:
    """Digits with uniform noise of a grey level, in [0, 1]."""
    parts = data.load("digits")
    generator = torch.Generator().manual_seed(0)

    def continuous(part: Split) -> Split:
        noise = torch.rand(part.x.shape, generator=generator)
        return Split(((part.x * (LEVELS - 1)).round() + noise) / LEVELS, part.y)

    train, validation, test = (continuous(p) for p in (parts.train, parts.validation, parts.test))
    return data.Splits(train, validation, test, "digits", parts.classes)


def model(arm: dict) -> nn.Module:
    """The autoencoder of an arm."""
    hidden = arm["hidden"]
    if arm["decoder"] == "dense":
        decoder: nn.Module = models.MLP((LATENT, 117, 64), activation=hidden)
    else:
        decoder = models.ConvDecoder(LATENT, (32, 25), 8, activation=hidden)
    encoder = models.MLP((64, 117, 2 * LATENT), activation=hidden)
    decoder = nn.Sequential(decoder, OUTPUTS[arm["output"]]())
    return models.VAE(encoder, decoder, deviations=arm["deviations"])


def loss(bound: Tensor, y: Tensor) -> Tensor:
    """The negative bound on the log-probability of an image with 17 grey levels."""
    return 64 * math.log(LEVELS) - bound.mean()


@cache
def trained(arm: str, rate: float, seeds: tuple[int, ...]) -> dict[int, Any]:
    """The networks of all seeds, trained in one loop."""
    given = splits(json.loads(arm))
    copies = [{"seed": seed} for seed in seeds]
    found = adam_together(
        lambda: model(json.loads(arm)),
        given.train,
        given.validation,
        copies,
        learning_rate=rate,
        loss=loss,
        **SETTINGS,
    )
    return {one.seed: one for one in found}


@cache
def classifier(rejects: bool = True) -> nn.Module:
    """The network that judges the images, trained on the training images from seed 0; with `rejects` also on
    as many with shuffled pixels, as an eleventh class."""
    given = splits({})
    if rejects:
        flat = given.train.x.flatten(1)
        order = torch.rand(flat.shape, generator=torch.Generator().manual_seed(1)).argsort(0)
        shuffled = flat.gather(0, order).reshape(given.train.x.shape)
        y = torch.cat([given.train.y, torch.full((len(flat),), 10)])
        train = Split(torch.cat([given.train.x, shuffled]), y)
        given = data.Splits(train, given.validation, given.test, "digits", (*given.classes, "none"))
    judge = seeded(lambda: models.ConvNet((16, 32), classes=11 if rejects else 10, hidden=32), 0)
    fit(judge, given, epochs=30, batch_size=50, learning_rate=0.05, momentum=0.9, seed=0, progress=False)
    return judge.eval()


def seen(images: Tensor, rejects: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Last hidden layer (N, 32) and probabilities of the ten digits that a classifier has for images."""
    judge = classifier(rejects)
    with torch.no_grad():
        hidden = judge.head[:-1](judge.features(images.reshape(-1, 1, 8, 8).float()))
        return hidden.numpy(), judge.head[-1](hidden).softmax(-1)[:, :10].numpy()


def judged(images: Tensor, given: data.Splits) -> dict[str, float]:
    """What is measured of images drawn from a model."""
    images = images.reshape(len(images), -1).clamp(0, 1)
    hidden, probabilities = seen(images)
    shares = np.bincount(probabilities.argmax(1), minlength=10) / len(images)
    train, test = (part.x.flatten(1).numpy() for part in (given.train, given.test))
    return {
        "recognized": float((probabilities.max(1) > 0.9).mean()),
        "naive": float((seen(images, False)[1].max(1) > 0.9).mean()),
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
        weights = one.model.log_weights(splits.test.x, DRAWS) - 64 * math.log(LEVELS)  # (draws, images)
        kl = models.kl_to_normal(*one.model.encode(splits.test.x)).mean(0)
        means = one.model.sample(SAMPLES, LATENT)
        noisy = one.model.sample(SAMPLES, LATENT, noise=True)
    bounds = weights.mean(0)
    weighted = weights.logsumexp(0) - math.log(DRAWS)
    found |= {"bound": float(bounds.mean()), "weighted": float(weighted.mean())}
    found |= {"active": int((kl > 0.01).sum()), "kl": float(kl.sum())}
    found |= judged(means, splits)
    found |= {f"noisy_{name}": value for name, value in judged(noisy, splits).items()}
    found |= {"bounds": base64.b64encode(bounds.numpy().astype(np.float16).tobytes()).decode()}
    return found | {"updates": updates[-1], "last_quarter": last_quarter(losses, updates)}


FIRST = {"decoder": "dense", "output": "sigmoid", "hidden": "relu", "deviations": 1}
STUDY = Study(
    arms={
        "sigmoid": FIRST,
        "linear": FIRST | {"output": "linear"},
        "tanh": FIRST | {"output": "tanh"},
        "relu": FIRST | {"output": "relu"},
        "hidden tanh": FIRST | {"hidden": "tanh"},
        "hidden silu": FIRST | {"hidden": "silu"},
        **{
            f"{output}, hidden {hidden}": FIRST | {"output": output, "hidden": hidden}
            for output in ("linear", "tanh", "relu")
            for hidden in ("tanh", "silu")
        },
        "convolutional": FIRST | {"decoder": "convolutional"},
        "deviation of each pixel": FIRST | {"deviations": 64},
    },
    rates=(0.001, 0.003, 0.01),
    seeds=SEEDS,
    tuning_seeds=TUNING,
    splits=splits,
    run=run,
    select=("validation_loss", "min"),
    contrasts=(
        *(
            Contrast(output, "linear", measure="bound", claim="activations-matter-in-data-generation")
            for output in ("sigmoid", "tanh", "relu")
        ),
        *(
            Contrast(hidden, "sigmoid", measure="bound", claim="activations-matter-in-data-generation")
            for hidden in ("hidden tanh", "hidden silu")
        ),
        Contrast("convolutional", "sigmoid", measure="frechet", claim="cnns-generate-images"),
        Contrast("deviation of each pixel", "sigmoid", measure="bound"),
    ),
    quick={"rates": (0.003,), "arms": {"sigmoid": FIRST}},
)
