"""Batch normalization: what has to be tuned, does it regularize, what about shifted input.

ReLU perceptrons with three hidden layers on 300 digits, a subset of its own for every seed.

Varied: settings: batch size (2, 8, 32, 128) and, at 8 to 128, epsilon (1e-8, 1e-5, 1e-3, 0.1), width 32,
about 300 updates or ten epochs; every network keeps running statistics with momentum 0.01, 0.1, 0.5 and 0.9
side by side, since the momentum does not touch the training. Regularizing: batch size (8, 32, 128, all 300
images) with and without batch normalization (BN), and BN frozen at the statistics of the training images
before the first update (batches of 32), width 64, each trained until the training loss in evaluation mode is
at most 0.05.

Measured: settings: test accuracy by momentum (accuracy_m0.1 ...), and with the statistics of all training
images (accuracy_population). Regularizing: gap (train accuracy - test accuracy), loss_gap, test accuracy and
loss, at the tuned rate and again at 0.01 (names with _fixed), epochs. There, at batches of 32, the accuracy
on changed test images in evaluation mode and with the statistics taken anew from the changed test images
(again_ ...): input doubled, one deviation added, Gaussian noise of half a deviation, brightness halved.

Reduced: four rates, tuned on two seeds by the validation accuracy at momentum 0.1.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from convcraft.lab import data
from convcraft.lab.experiments import Contrast, Study
from convcraft.lab.randomness import forked
from convcraft.lab.training import evaluate, fit, seeded
from convcraft.normalization import BatchNorm1d, freeze_batch_norm, recalibrate_batch_norm

N, GOAL, FIXED, MOMENTA = 300, 0.05, 0.01, (0.01, 0.1, 0.5, 0.9)

CHANGED: dict[str, Callable[[Tensor], Tensor]] = {
    "doubled": lambda x: 2 * x,
    "offset": lambda x: x + 1,
    "noise": lambda x: x + 0.5 * torch.randn_like(x),
    "dark": lambda x: x / 2 - 0.406,  # half of the pixel value, on the standardized scale
}


class Momenta(BatchNorm1d):
    """Batch normalization that keeps running statistics for several momenta; `chosen` is in use."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__(width, eps=eps, momentum=1.0)  # its own statistics are those of the last batch
        self.chosen = MOMENTA.index(0.1)
        self.register_buffer("means", torch.zeros(len(MOMENTA), width))
        self.register_buffer("variances", torch.ones(len(MOMENTA), width))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            y, weight = super().forward(x), torch.tensor(MOMENTA)[:, None]
            self.means += weight * (self.running_mean - self.means)
            self.variances += weight * (self.running_var - self.variances)
            return y
        self.running_mean.copy_(self.means[self.chosen])
        self.running_var.copy_(self.variances[self.chosen])
        return super().forward(x)


def model(arm: dict) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Flatten()]
    for before in (64, arm["width"], arm["width"]):
        layers.append(nn.Linear(before, arm["width"]))
        if arm["part"] == "settings":
            layers.append(Momenta(arm["width"], arm["eps"]))
        elif arm["bn"] != "none":
            layers.append(BatchNorm1d(arm["width"]))
        layers.append(nn.ReLU())
    net = nn.Sequential(*layers, nn.Linear(arm["width"], 10))
    for layer in net:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    return net


def trained(arm: dict, rate: float, seed: int, parts: data.Splits) -> tuple[nn.Module, int]:
    """The network, and the epochs that it took; one optimizer throughout."""
    net = seeded(lambda: model(arm), seed)
    if arm.get("bn") == "frozen":
        freeze_batch_norm(recalibrate_batch_norm(net, [parts.train.x]), affine=False)
    optimizer = torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9)
    common = {"learning_rate": rate, "batch_size": arm["batch"], "optimizer": lambda _: optimizer}
    for epoch in range(arm["epochs"]):
        fit(net, parts, epochs=1, seed=1000 * seed + epoch, progress=False, **common)
        if arm["part"] == "regularizing" and evaluate(net, parts.train).loss <= GOAL:
            break
    return net, epoch + 1


def run(arm: dict, rate: float, seed: int, splits: data.Splits, final: bool) -> dict:
    """Train one network (two in the final phase of the regularizing arms)."""
    train, validation = splits.train.subset(N, seed), splits.validation
    parts = data.Splits(train, validation, validation, splits.name, splits.classes)  # no test part to train
    net, epochs = trained(arm, rate, seed, parts)
    chosen = evaluate(net, validation)
    found = {"validation_accuracy": chosen.accuracy, "validation_loss": chosen.loss}
    if not final:
        return found
    if arm["part"] == "settings":
        return found | by_momentum(net, train, splits.test)
    found |= {"epochs": epochs} | compared(net, train, splits.test, "")
    if arm["batch"] == 32:
        found |= changed(net, splits.test, arm["bn"] == "bn", seed)
    net, epochs = trained(arm, FIXED, seed, parts)
    return found | {"epochs_fixed": epochs} | compared(net, train, splits.test, "_fixed")


def by_momentum(net: nn.Module, train: data.Split, test: data.Split) -> dict[str, float]:
    norms, found = [layer for layer in net if isinstance(layer, Momenta)], {}
    for index, momentum in enumerate(MOMENTA):
        for norm in norms:
            norm.chosen = index
        found[f"accuracy_m{momentum:g}"] = evaluate(net, test).accuracy
    with torch.no_grad():
        net.train()(train.x)  # momentum 1: the statistics of all training images
    for norm in norms:
        norm.means[:], norm.variances[:] = norm.running_mean, norm.running_var
    net.eval()
    return found | {"accuracy_population": evaluate(net, test).accuracy}


def compared(net: nn.Module, train: data.Split, test: data.Split, name: str) -> dict[str, float]:
    fitted, tested = evaluate(net, train), evaluate(net, test)
    return {
        f"train_loss{name}": fitted.loss,
        f"test_accuracy{name}": tested.accuracy,
        f"test_loss{name}": tested.loss,
        f"gap{name}": fitted.accuracy - tested.accuracy,
        f"loss_gap{name}": tested.loss - fitted.loss,
    }


def changed(net: nn.Module, test: data.Split, normalized: bool, seed: int) -> dict[str, float]:
    """Accuracy on changed test images, as it is and with statistics of these images."""
    found = {}
    for name, change in CHANGED.items():
        with forked(seed):
            part = data.Split(change(test.x), test.y)
        found[f"under_{name}"] = evaluate(net, part).accuracy
        if normalized:
            state = {key: value.clone() for key, value in net.state_dict().items()}
            found[f"again_{name}"] = evaluate(recalibrate_batch_norm(net, [part.x]), part).accuracy
            net.load_state_dict(state)
    return found


def splits(arm: dict) -> data.Splits:
    return data.load("digits").standardized()


EPOCHS = {2: 10, 8: 10, 32: 30, 128: 100}
LIMITS = {8: 20, 32: 60, 128: 150, 300: 300}
ARMS = {
    f"eps{eps:g}_b{batch}": {
        "part": "settings",
        "eps": eps,
        "batch": batch,
        "width": 32,
        "epochs": EPOCHS[batch],
    }
    for batch in EPOCHS
    for eps in (1e-5, 1e-8, 1e-3, 0.1)
    if eps == 1e-5 or batch > 2
} | {
    f"{bn}_b{batch}": {"part": "regularizing", "bn": bn, "batch": batch, "width": 64, "epochs": LIMITS[batch]}
    for bn in ("none", "bn", "frozen")
    for batch in LIMITS
    if bn != "frozen" or batch == 32
}

STUDY = Study(
    arms=ARMS,
    rates=(0.003, 0.012, 0.05, 0.2),
    seeds=range(10),
    tuning_seeds=range(100, 102),
    splits=splits,
    run=run,
    contrasts=(
        *(
            Contrast(
                f"eps{eps}_b{b}",
                f"eps1e-05_b{b}",
                "accuracy_m0.1",
                "bn-parameters-must-be-tuned",
                0.01,
                "eps",
            )
            for b in (8, 32, 128)
            for eps in ("1e-08", "0.001", "0.1")
        ),
        *(
            Contrast(f"bn_b{b}", f"none_b{b}", measure, "bn-regularizes", family=measure)
            for measure in ("gap", "test_loss", "test_accuracy", "gap_fixed", "test_loss_fixed")
            for b in LIMITS
        ),
        *(
            Contrast("bn_b32", "frozen_b32", measure, "bn-regularizes", family="frozen")
            for measure in ("gap", "test_loss", "test_accuracy", "gap_fixed", "test_loss_fixed")
        ),
        *(
            Contrast(
                "bn_b32", "none_b32", f"under_{c}", "bn-makes-model-stable-to-input-changes", 0.01, "changed"
            )
            for c in CHANGED
        ),
    ),
    quick={"seeds": range(1), "tuning_seeds": range(100, 101), "rates": (0.05,)},
)
