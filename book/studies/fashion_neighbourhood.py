"""Study: what neighbourhood and position are worth on Fashion-MNIST (chapter 1, "At scale").

    CONVCRAFT_DATA=DIR python book/studies/fashion_neighbourhood.py

Varied: the network (convolutional with a dense head, the same with a global maximum, dense) and the input
(pixels in place, or in one fixed random order). Images are averaged to 14x14 pixels and stand in the middle
of a 20x20 canvas, on zeros. There are 10,000 training images, 5,000 validation images, 10,000 test images.
Each arm takes the rate that is best on validation with two seeds; then five networks are trained at it.
Measured: test accuracy, and for pixels in place the test accuracy after a shift of 1 to 3 pixels (mean over
the four directions). Writes book/results/fashion_neighbourhood.json with every raw value; three minutes on
one core.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import convcraft
from convcraft.lab import data, models
from convcraft.lab.training import fit_many
from convcraft.lab.training.sweep import Sweep

RESULT = Path(__file__).resolve().parent.parent / "results" / "fashion_neighbourhood.json"
RATES, TUNING_SEEDS, SEEDS, EPOCHS, IMAGES = (0.01, 0.03, 0.1), range(2), range(5), 5, 10_000
ARMS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "convolutional": (lambda: models.ConvNet((8, 16), size=20, hidden=32), "in place"),
    "convolutional, scrambled": (lambda: models.ConvNet((8, 16), size=20, hidden=32), "scrambled"),
    "global maximum": (lambda: models.ConvNet((8, 16), size=20, head="global_max"), "in place"),
    "dense": (lambda: models.MLP((400, 128, 10)), "in place"),
    "dense, scrambled": (lambda: models.MLP((400, 128, 10)), "scrambled"),
}


def changed(splits: data.Splits, change: Callable[[torch.Tensor], torch.Tensor]) -> data.Splits:
    """The same data set with every image changed."""
    parts = {name: getattr(splits, name) for name in ("train", "validation", "test")}
    return replace(splits, **{name: data.Split(change(part.x), part.y) for name, part in parts.items()})


def load() -> dict[str, data.Splits]:
    """The two versions of the data, scaled so that the background stays 0."""
    splits = data.load("fashion-mnist")
    splits = replace(splits, train=splits.train.subset(IMAGES, seed=0))
    half = changed(splits, lambda x: F.avg_pool2d(x, 2))
    scale = half.train.x.std()
    canvas = changed(half, lambda x: F.pad(x / scale, (3, 3, 3, 3)))
    order = torch.randperm(400, generator=torch.Generator().manual_seed(0))
    return {"in place": canvas, "scrambled": changed(canvas, lambda x: x.flatten(1)[:, order].view_as(x))}


def shifted_accuracy(sweep: Sweep, split: data.Split, shift: int) -> list[float]:
    """Test accuracy of each seed, mean over the four directions."""
    moves = ((shift, 0), (-shift, 0), (0, shift), (0, -shift))[: 4 if shift else 1]
    moved = [data.Split(split.x.roll(move, (2, 3)), split.y) for move in moves]
    return np.mean([sweep.accuracy(part) for part in moved], axis=0).tolist()


def run_arm(factory: Callable[[], nn.Module], splits: data.Splits, shifts: tuple[int, ...]) -> dict:
    """Tune, train and measure one arm."""
    same = {"epochs": EPOCHS, "progress": False}
    search = fit_many(factory, splits, learning_rates=RATES, seeds=TUNING_SEEDS, **same)
    final = fit_many(factory, splits, learning_rates=[search.best_rate], seeds=SEEDS, **same)
    return {
        "parameters": sum(p.numel() for p in factory().parameters()),
        "tuning_validation_accuracy": search.validation_accuracy[:, :, -1].tolist(),
        "learning_rate": search.best_rate,
        "diverged": int(search.diverged.sum() + final.diverged.sum()),
        "test_accuracy": {str(shift): shifted_accuracy(final, splits.test, shift) for shift in shifts},
    }


def main() -> None:
    torch.set_num_threads(1)
    start, cpu = time.perf_counter(), time.process_time()
    versions, arms = load(), {}
    for name, (factory, version) in ARMS.items():
        arms[name] = run_arm(factory, versions[version], (0, 1, 2, 3) if version == "in place" else (0,))
        mean = np.mean(arms[name]["test_accuracy"]["0"])
        print(f"{name:26} rate {arms[name]['learning_rate']:<5} test accuracy {mean:.4f}", flush=True)
    provenance = {
        "command": "python book/studies/fashion_neighbourhood.py",
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "convcraft": convcraft.__version__,
        },
        "hardware": f"{platform.machine()} CPU, one thread",
        "wall_seconds": round(time.perf_counter() - start),
        "cpu_seconds": round(time.process_time() - cpu),
        "data": f"fashion-mnist: {IMAGES} training images (stratified, seed 0) at 14x14, "
        "5000 validation, 10000 test",
        "settings": {"rates": RATES, "tuning_seeds": list(TUNING_SEEDS), "seeds": list(SEEDS),
                     "epochs": EPOCHS, "batch_size": 64, "momentum": 0.9},
    }  # fmt: skip
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(
        json.dumps({"study": "fashion_neighbourhood", **provenance, "arms": arms}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
