"""What a result holds beside its runs: settings, contrasts, and where it comes from."""

import hashlib
import importlib.metadata
import json
import platform
import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

import convcraft
from convcraft.errors import ConvcraftError
from convcraft.lab.experiments.run import Record, Task, splits_of
from convcraft.lab.experiments.store import FORMAT
from convcraft.lab.experiments.study import Study
from convcraft.lab.experiments.to_json import plain
from convcraft.lab.experiments.version import version

PACKAGES = ("numpy", "scipy", "scikit-learn", "joblib", "distributed")
#: the rules by which rates are chosen and contrasts judged; results without it are of the first edition
PROTOCOL = 2


def packages() -> dict[str, str]:
    """Versions of Python and of the packages that a result depends on."""
    found = {"python": platform.python_version(), "convcraft": convcraft.__version__, "torch": torch.__version__}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def hardware(device: str, cluster: bool = False) -> str:
    """The processor, or the GPU, in a line; for a cluster, only that it was one."""
    if cluster:
        return f"workers of a Dask cluster, {device}"
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    cores = torch.multiprocessing.cpu_count()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    processor = names[0] if names else platform.processor() or platform.machine()
    return f"{processor}, {cores} {'core' if cores == 1 else 'cores'}"


def data_of(study: Study) -> list[dict[str, Any]]:
    """The data sets of a study, each with sizes, SHA-256 over all three parts, and its arms (None: all of them)."""
    found: dict[str, dict[str, Any]] = {}
    if study.splits is None:
        return []
    for arm in study.arms:
        splits, digest = splits_of(study, arm, "cpu"), hashlib.sha256()
        parts = (splits.train, splits.validation, splits.test)
        for tensor in (tensor for part in parts for tensor in (part.x, part.y)):
            digest.update(f"{tensor.dtype} {tuple(tensor.shape)} ".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        entry: dict[str, Any] = {"name": splits.name, "sizes": [len(part) for part in parts], "arms": []}
        found.setdefault(digest.hexdigest(), entry)["arms"].append(arm)
    if len(found) == 1:
        next(iter(found.values()))["arms"] = None
    return [{**entry, "sha256": sha256} for sha256, entry in found.items()]


def content_of(
    study: Study, task: Task, runs: Sequence[Record], how: Mapping[str, Any], elapsed: Sequence[float]
) -> dict[str, Any]:
    """Everything that a result holds except its checksum.

    `how` says how it was run: jobs (None on a cluster), scheduler (whether there was one), vectorized (which
    arms). `elapsed` holds the seconds of each call that contributed to it.
    """
    return {
        "study": study.name,
        "format": FORMAT,
        "version": None if study.source is None else version(study.source),
        "provenance": {
            "command": command(study.name, task, how),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "wall_seconds": round(sum(elapsed), 1),
            "cpu_seconds": round(sum(run["cpu_seconds"] for run in runs), 1),
            "calls": len(elapsed),
            **how,
            "device": task.device,
            "hardware": hardware(task.device, how["scheduler"]),
            "packages": packages(),
            "data": data_of(study),
        },
        "settings": settings_of(study),
        **stated(study),
        "runs": list(runs),
    }


def command(name: str, task: Task, how: Mapping[str, Any]) -> str:
    """The command that runs the same study in the same way."""
    words = ["python", "-m", "convcraft", "study", name or "NAME"]
    words += ["--scheduler", "tcp://HOST:PORT"] if how["scheduler"] else ["--jobs", str(how["jobs"])]
    words += [] if task.device == "cpu" else ["--device", task.device]
    words += ["--vectorized"] if task.vectorized and task.device == "cpu" else []
    return shlex.join(words)


def settings_of(study: Study) -> dict[str, Any]:
    """What the study varies and holds fixed, as far as it is plain data; for a function, its name."""
    kept = ("arms", "rates", "seeds", "tuning_seeds", "select", "diverged", "curves", "first", "extensions")
    settings: dict[str, Any] = {name: plain(getattr(study, name), name) for name in kept} | {"protocol": PROTOCOL}
    if not study.tuned:
        settings["tuning_seeds"] = []
    if study.run is None:
        rate = study.rates[0] if study.rates else None
        if callable(study.fit):
            settings["fit"] = {arm: _described(study.settings_of_fit(arm, rate)) for arm in study.arms}
            for entry in settings["fit"].values() if study.rates else ():
                entry.pop("learning_rate", None)
        else:
            settings["fit"] = _described(study.fit)
    return settings


def _described(settings: Mapping[str, Any]) -> dict[str, Any]:
    def one(value: Any) -> Any:
        try:
            return plain(value, "fit")
        except ConvcraftError:
            return getattr(value, "__name__", type(value).__name__)

    return {key: one(value) for key, value in settings.items()}


def stated(study: Study) -> dict[str, Any]:
    """What a study states beside its runs, and may restate without running again."""
    contrasts = [{k: v for k, v in vars(c).items() if k != "against" or v} for c in study.contrasts]
    entries = {"title": study.title, "short": study.short, "trains": study.trains, "contrasts": contrasts}
    found: dict[str, Any] = json.loads(json.dumps(entries))
    return found
