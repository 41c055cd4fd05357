"""Where a result comes from: versions, hardware, data."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from pathlib import Path
from typing import Any

import torch

import convcraft
from convcraft.lab.data.splits import Splits
from convcraft.lab.experiments.runs import splits_of
from convcraft.lab.experiments.study import Study

PACKAGES = ("numpy", "scipy", "scikit-learn", "joblib", "distributed")


def packages() -> dict[str, str]:
    """Versions of Python and of the packages that a result depends on."""
    found = {
        "python": platform.python_version(),
        "convcraft": convcraft.__version__,
        "torch": torch.__version__,
    }
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def hardware(device: str, cluster: bool = False) -> str:
    """The processor, or the GPU, in a line; of a cluster only that it was one."""
    if cluster:
        return f"workers of a Dask cluster, {device}"
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    cores = torch.multiprocessing.cpu_count()
    return f"{_processor()}, {cores} {'core' if cores == 1 else 'cores'}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def data_hash(splits: Splits) -> str:
    """SHA-256 over the bytes of all three parts."""
    digest = hashlib.sha256()
    for part in (splits.train, splits.validation, splits.test):
        for tensor in (part.x, part.y):
            digest.update(f"{tensor.dtype} {tuple(tensor.shape)} ".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def data_of(study: Study) -> list[dict[str, Any]]:
    """The data sets of a study, each with sizes, hash and its arms (None: all of them)."""
    found: dict[str, dict[str, Any]] = {}
    if study.splits is None:
        return []
    for arm in study.arms:
        splits = splits_of(study, arm, "cpu")
        entry = {
            "name": splits.name,
            "sizes": [len(p) for p in (splits.train, splits.validation, splits.test)],
        }
        found.setdefault(data_hash(splits), {**entry, "arms": []})["arms"].append(arm)
    if len(found) == 1:
        next(iter(found.values()))["arms"] = None
    return [{**entry, "sha256": digest} for digest, entry in found.items()]
