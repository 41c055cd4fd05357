"""The content of a result file: settings, provenance, contrasts, runs."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from convcraft.errors import ConvcraftError
from convcraft.lab.experiments import provenance
from convcraft.lab.experiments.plain import plain
from convcraft.lab.experiments.runs import Record, Unit
from convcraft.lab.experiments.sources import version
from convcraft.lab.experiments.store import FORMAT
from convcraft.lab.experiments.study import Study


def content_of(
    study: Study, unit: Unit, runs: Sequence[Record], how: Mapping[str, Any], elapsed: Sequence[float]
) -> dict[str, Any]:
    """All that a result holds but its checksum.

    `how` says how it was run: jobs (None on a cluster), scheduler (whether), vectorized (which arms).
    `elapsed` are the seconds of each call that had a part in it.
    """
    return {
        "study": study.name,
        "title": study.title,
        "format": FORMAT,
        "version": None if study.source is None else version(study.source),
        "provenance": {
            "command": command(study.name, unit, how),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "wall_seconds": round(sum(elapsed), 1),
            "cpu_seconds": round(sum(run["cpu_seconds"] for run in runs), 1),
            "calls": len(elapsed),
            **how,
            "device": unit.device,
            "hardware": provenance.hardware(unit.device, how["scheduler"]),
            "packages": provenance.packages(),
            "data": provenance.data_of(study),
        },
        "settings": settings_of(study),
        "contrasts": contrasts_of(study),
        "runs": list(runs),
    }


def command(name: str, unit: Unit, how: Mapping[str, Any]) -> str:
    """The command that does the same."""
    words = ["python", "-m", "convcraft", "study", name or "NAME"]
    words += ["--scheduler", "tcp://HOST:PORT"] if how["scheduler"] else ["--jobs", str(how["jobs"])]
    words += [] if unit.device == "cpu" else ["--device", unit.device]
    words += ["--vectorized"] if unit.vectorized and unit.device == "cpu" else []
    return shlex.join(words)


def settings_of(study: Study) -> dict[str, Any]:
    """What the study varies and holds fixed, as far as it is plain data; of a function its name."""
    settings: dict[str, Any] = {
        "arms": study.arms,
        "rates": list(study.rates),
        "seeds": list(study.seeds),
        "tuning_seeds": list(study.tuning_seeds) if study.tuned else [],
        "select": list(study.select),
        "diverged": study.diverged,
    }
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


def contrasts_of(study: Study) -> list[dict[str, Any]]:
    """The contrasts as they stand in a result."""
    return [dict(vars(contrast)) for contrast in study.contrasts]
