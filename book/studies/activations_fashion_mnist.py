"""Five activations in one convolutional network on Fashion-MNIST: the record behind "At scale" of chapter 2.

Run from the root of the repository; about twelve minutes of one core:

    OMP_NUM_THREADS=1 CONVCRAFT_DATA=DIR python book/studies/activations_fashion_mnist.py

Varied: the activation, the learning rate, the seed (initialization and order of the batches). Measured:
validation accuracy of every run; test accuracy, once, of the runs at the rate with the best mean validation
accuracy of their activation. Reduced, to be within minutes of one core: 10,000 of the 55,000 training images,
2,000 of the 5,000 validation images, three epochs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

import convcraft
from convcraft import ConvcraftError, activations
from convcraft.lab import data, models
from convcraft.lab.data.files import FASHION_MNIST
from convcraft.lab.training import evaluate, fit, seeded

RESULT = Path(__file__).parents[1] / "results" / "activations_fashion_mnist.json"
ACTIVATIONS = ("relu", "tanh", "gelu", "silu", "sigmoid")
SETTINGS = {
    "model": "ConvNet((16, 32), size=28, hidden=64)",
    "initialization": "normal, variance 1 / (fan_in E[f(z)^2]); first layer 1 / fan_in; biases 0",
    "rates": [0.01, 0.03, 0.1, 0.3],
    "seeds": [0, 1, 2, 3, 4],
    "epochs": 3,
    "batch_size": 64,
    "momentum": 0.9,
    "train": 10_000,
    "validation": 2_000,
    "test": 10_000,
}


def network(name: str) -> nn.Module:
    """The network, each layer at the scale that keeps the second moment of its own activation."""
    net = models.ConvNet((16, 32), size=28, hidden=64, activation=name)
    moment = 1.0
    for layer in net.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.normal_(layer.weight, std=(layer.weight[0].numel() * moment) ** -0.5)
            nn.init.zeros_(layer.bias)
            moment = activations.catalog()[name].second_moment
    return net


def run(name: str, rate: float, seed: int, splits: data.Splits) -> tuple[nn.Module, dict]:
    """Train one network; a run that diverges counts as chance."""
    net = seeded(lambda: network(name), seed)
    record = {"activation": name, "rate": rate, "seed": seed, "diverged": False, "test_accuracy": None}
    start = time.perf_counter()
    try:
        how = {key: SETTINGS[key] for key in ("epochs", "batch_size", "momentum")}
        history = fit(net, splits, learning_rate=rate, seed=seed, progress=False, **how)
        for key in ("train_loss", "validation_loss", "validation_accuracy"):
            record[key] = getattr(history, key)
    except ConvcraftError as error:
        record |= {"diverged": True, "error": str(error), "validation_accuracy": [splits.chance]}
    return net, record | {"seconds": round(time.perf_counter() - start, 2)}


def study(splits: data.Splits) -> list[dict]:
    """All runs; the test part is used for the chosen rate of each activation only."""
    records = []
    for name in ACTIVATIONS:
        runs = [run(name, rate, seed, splits) for rate in SETTINGS["rates"] for seed in SETTINGS["seeds"]]
        accuracy = np.array([record["validation_accuracy"][-1] for _, record in runs])
        chosen = int(accuracy.reshape(len(SETTINGS["rates"]), -1).mean(1).argmax())
        for net, record in runs:
            if record["rate"] == SETTINGS["rates"][chosen]:
                diverged = record["diverged"]
                record["test_accuracy"] = splits.chance if diverged else evaluate(net, splits.test).accuracy
        records += [record for _, record in runs]
        print(f"{name:8} best rate {SETTINGS['rates'][chosen]:g}", flush=True)
    return records


def provenance(seconds: float, cpu_seconds: float) -> dict:
    """What is needed to judge the numbers and to make them again."""
    versions = {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}
    return {
        "study": "activations_fashion_mnist",
        "command": "OMP_NUM_THREADS=1 python book/studies/activations_fashion_mnist.py",
        "settings": SETTINGS,
        "data": {"name": "fashion-mnist",
                 "sha256": {file: remote.sha256 for file, remote in FASHION_MNIST.items()}},
        "versions": versions | {"convcraft": convcraft.__version__},
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} thread used",
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_seconds, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, default=RESULT)
    output = parser.parse_args().output
    start = time.perf_counter()
    splits = data.load("fashion-mnist").standardized()
    parts = {part: getattr(splits, part).subset(SETTINGS[part]) for part in ("train", "validation")}
    records = study(replace(splits, **parts))
    result = provenance(time.perf_counter() - start, time.process_time()) | {"runs": records}
    output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"{len(records)} runs in {result['seconds']:.0f} s, written to {output.name}")


if __name__ == "__main__":
    main()
