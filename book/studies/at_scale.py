"""At scale: eleven verdicts of small networks, checked on a residual network on Fashion-MNIST.

One network for all arms: a convolution with stride 2, three residual blocks of two convolutions at 32, 64 and 128
channels, the mean over the image and a linear layer; batch normalization before each activation, He initialization,
random crops and horizontal flips, SGD with momentum 0.9 and a rate that falls to 0 along a cosine, update by
update. An arm changes one thing: the activation, the initialization, the normalization (none, or noise put back
behind it), the augmentation, dropout before the last layer, the three techniques of a recipe at once, the budget.

Measured: test accuracy and loss; accuracy with the image shifted by one pixel (mean of four directions),
with Gaussian noise of 0.2 and at half the brightness; the updates until three of four validation images are
right (the whole budget where that never happens), in steps of 20 and, from 200 on, of a tenth of the budget.

Reduced, to take about half an hour of two cores: 10,000 training images, 2,000 for validation and
10,000 for the test; 10 epochs (1,000 updates of 100 images), 3 and 30 where the budget is varied; three rates
from one tuning seed; three seeds; bfloat16 arithmetic in the convolutions. With CONVCRAFT_FULL=1 in the
environment: all 58,000 images, 30 epochs (9 and 90), 64 channels, five seeds; give it `--device cuda`.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cache

import torch
from torch import Tensor, nn

from convcraft import augmentation, penalties
from convcraft.initialization import kaiming_normal_, xavier_normal_
from convcraft.lab import data
from convcraft.lab.experiments import Contrast, Study, train_and_score
from convcraft.lab.models import activation_layer
from convcraft.lab.randomness import forked
from convcraft.lab.training import evaluate, seeded

FULL = bool(os.environ.get("CONVCRAFT_FULL"))
IMAGES, WIDTH, EPOCHS = (58_000, 64, 30) if FULL else (10_000, 32, 10)
VALIDATION, BATCH, TARGET = 2_000, 100, 0.75


class Noise(nn.Module):
    """In training a random mean and scale for each channel at every step, as in Santurkar et al. (2018)."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        channel = (1, x.shape[1], 1, 1)
        scale = 1 + 0.5 * (2 * torch.rand(channel, device=x.device) - 1)
        return x * scale + 2 * torch.rand(channel, device=x.device) - 1


def normalization(arm: dict, width: int) -> list[nn.Module]:
    return [nn.BatchNorm2d(width)] * arm["bn"] + [Noise()] * arm["noise"]


class Block(nn.Module):
    """Two convolutions and a way around them, which strides or widens where they do."""

    def __init__(self, arm: dict, width_in: int, width: int, stride: int) -> None:
        super().__init__()

        def conv(channels: int, step: int, size: int = 3) -> nn.Module:
            return nn.Conv2d(channels, width, size, step, size // 2, bias=not arm["bn"])

        self.body = nn.Sequential(
            conv(width_in, stride), *normalization(arm, width), activation(arm),
            conv(width, 1), *normalization(arm, width),
        )  # fmt: skip
        same = stride == 1 and width_in == width
        self.around = nn.Identity() if same else conv(width_in, stride, 1)
        self.act = activation(arm)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.body(x) + self.around(x))


def activation(arm: dict) -> nn.Module:
    name = arm["activation"]
    return nn.Identity() if name == "none" else activation_layer(name)


class Residual(nn.Module):
    """The network of all arms; it augments in training, and takes images from 0 to 1."""

    def __init__(self, arm: dict) -> None:
        super().__init__()
        transforms = {"crop": augmentation.RandomShift(2), "flip": augmentation.RandomHorizontalFlip()}
        self.augment = nn.Sequential(*(transforms[name] for name in arm["augmentation"]))
        width = arm["width"]
        self.layers = nn.Sequential(
            nn.Conv2d(1, width, 3, stride=2, padding=1, bias=not arm["bn"]),
            *normalization(arm, width), activation(arm),
            Block(arm, width, width, 1), Block(arm, width, 2 * width, 2), Block(arm, 2 * width, 4 * width, 2),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )  # fmt: skip
        self.head = nn.Sequential(nn.Dropout(arm["dropout"]), nn.Linear(4 * width, 10))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                if arm["initialization"] == "he":
                    kaiming_normal_(module.weight)
                else:
                    xavier_normal_(module.weight)
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        x = self.augment(x) if self.training else x
        x = ((x - 0.286) / 0.353).contiguous(memory_format=torch.channels_last)
        with torch.autocast(x.device.type, torch.bfloat16):
            features = self.layers(x)
        return self.head(features.float())


@cache
def fashion() -> data.Splits:
    """The images of the study: training and validation from the training part, the whole test part."""
    whole = data.load("fashion-mnist")
    pool = data.Split(torch.cat([whole.train.x, whole.validation.x]), torch.cat([whole.train.y, whole.validation.y]))
    order = torch.randperm(len(pool.x), generator=torch.Generator().manual_seed(0))
    train, validation = order[:IMAGES], order[-VALIDATION:]
    return replace(
        whole,
        train=data.Split(pool.x[train], pool.y[train]),
        validation=data.Split(pool.x[validation], pool.y[validation]),
    )


def splits(arm: dict) -> data.Splits:
    return fashion()


def looks(updates: int) -> list[int]:
    """The updates after which the validation part is looked at."""
    tenth = updates // 10
    return sorted({*range(20, min(updates, 200) + 1, 20), *range(tenth, updates + 1, tenth)})


def run(arm: dict, rate: float, seed: int, splits: data.Splits, final: bool) -> dict:
    """Train one network; in the final phase look at it under shifts, noise and half the light."""
    updates = arm["updates"]
    at = looks(updates) if final else [updates]
    net = seeded(lambda: Residual(arm), seed).to(splits.train.x.device)
    sgd = torch.optim.SGD(penalties.decay_groups(net, 2 * arm["l2"]), lr=rate, momentum=0.9)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, updates)
    sgd.register_step_post_hook(lambda *_: cosine.step())
    found = train_and_score(
        net, splits, seed=seed, final=final, updates=updates, batch_size=BATCH, evaluate_at=at,
        optimizer=lambda _: sgd, curves=("validation_accuracy",),
    )  # fmt: skip
    if not final:
        return found
    reached = (look for look, accuracy in zip(at, found["validation_accuracy"], strict=False) if accuracy >= TARGET)
    return found | {"updates_to_target": next(reached, updates)} | tested(net, splits.test, seed)


def tested(net: nn.Module, test: data.Split, seed: int) -> dict:
    """Accuracy on test images that were changed."""
    x = test.x
    with forked(seed):
        noisy = x + 0.2 * torch.randn_like(x)
    changed = {"noisy": [noisy], "dim": [x / 2]}
    changed["shifted"] = [augmentation.shift(x, *by) for by in ((1, 0), (-1, 0), (0, 1), (0, -1))]
    return {
        f"{name}_accuracy": sum(evaluate(net, data.Split(i, test.y)).accuracy for i in images) / len(images)
        for name, images in changed.items()
    }


BASE = {
    "activation": "relu", "initialization": "he", "bn": True, "noise": False,
    "augmentation": ["crop", "flip"], "dropout": 0.0, "l2": 0.0,
    "updates": EPOCHS * IMAGES // BATCH, "width": WIDTH, "images": IMAGES,
}  # fmt: skip
SHORT, LONG = ({"updates": BASE["updates"] * tenths // 10} for tenths in (3, 30))
ACTIVATIONS = ("leaky_relu", "elu", "silu", "gelu", "tanh")
PLAIN, RECIPE = {"augmentation": []}, {"augmentation": [], "dropout": 0.5, "l2": 5e-4}
CHANGES: dict[str, dict] = {
    "base": {},
    **{name: {"activation": name} for name in (*ACTIVATIONS, "none")},
    "xavier": {"initialization": "xavier"},
    "no bn": {"bn": False},
    "xavier, no bn": {"initialization": "xavier", "bn": False},
    "noise behind bn": {"noise": True},
    "no augmentation": PLAIN,
    "crop": {"augmentation": ["crop"]},
    "flip": {"augmentation": ["flip"]},
    "short": SHORT,
    "no augmentation, short": PLAIN | SHORT,
    "long": LONG,
    "no augmentation, long": PLAIN | LONG,
    "dropout 0.2": {"dropout": 0.2},
    "dropout 0.5": {"dropout": 0.5},
    "recipe": RECIPE,
    "recipe, no bn": RECIPE | {"bn": False},
    "no augmentation, no bn": PLAIN | {"bn": False},
}
ARMS = {name: BASE | change for name, change in CHANGES.items()}
AUGMENTATION, FLIPS = "augmentation-improves-generalization", "flips-and-rotations-are-generally-valid"
STABLE, SHIFT = "bn-makes-model-stable-to-input-changes", "bn-works-by-reducing-internal-covariate-shift"
DEFAULT = "relu-as-hidden-default-in-convnets"
DROPOUT, RECIPE_ID = "dropout-prevents-overfitting", "relu-l2-dropout-recipe-is-best-and-most-stable"

STUDY = Study(
    arms=ARMS,
    rates=(0.03, 0.1, 0.3),
    seeds=range(5 if FULL else 3),
    tuning_seeds=range(100, 101),
    first=1,
    short=("short", "no augmentation, short"),
    splits=splits,
    run=run,
    contrasts=(
        *(Contrast(n, "base", claim=DEFAULT, family="activation") for n in ACTIVATIONS),
        Contrast("none", "base", claim="cnn-must-have-activation-functions", family="none"),
        Contrast("base", "xavier", claim="xavier-suits-relu", family="initialization"),
        Contrast("no bn", "xavier, no bn", claim="xavier-suits-relu", family="initialization"),
        Contrast("crop", "no augmentation", claim=AUGMENTATION, family="augmentation"),
        Contrast("flip", "no augmentation", claim=FLIPS, family="augmentation"),
        Contrast("short", "no augmentation, short", claim=AUGMENTATION, family="augmentation"),
        Contrast("base", "no augmentation", claim=AUGMENTATION, family="augmentation"),
        Contrast("long", "no augmentation, long", claim=AUGMENTATION, family="augmentation"),
        Contrast("dropout 0.2", "base", claim=DROPOUT, family="dropout"),
        Contrast("dropout 0.5", "base", claim=DROPOUT, family="dropout"),
        Contrast("recipe", "no augmentation", claim=RECIPE_ID, family="recipe"),
        Contrast("recipe, no bn", "no augmentation, no bn", claim=RECIPE_ID, family="recipe"),
        *(Contrast("base", "no bn", measure, STABLE) for measure in ("noisy_accuracy", "dim_accuracy")),
        *(Contrast(n, "no bn", "updates_to_target", SHIFT) for n in ("base", "noise behind bn")),
        Contrast("base", "no augmentation", "shifted_accuracy", "cnn-is-translation-invariant"),
    ),
    quick={
        "arms": {
            name: ARMS[name] | {"updates": 20, "width": 4} for name in ("base", "recipe, no bn", "noise behind bn")
        },
        "seeds": range(1),
        "rates": (0.1,),
    },
)
