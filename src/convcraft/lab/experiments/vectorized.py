"""The runs of an arm trained together: all rates and seeds at once, by `fit_together`."""

import time
from collections.abc import Sequence
from typing import Any

from convcraft.lab import training
from convcraft.lab.experiments.run import Key, Record, Task, diverged_measures, measure_final, record_of, splits_of
from convcraft.lab.experiments.score import of_training, withhold
from convcraft.lab.experiments.study import Study
from convcraft.lab.training import fit_together, seeded

#: how many seeds of an arm make one task
SEEDS = 16
_OF_COPIES = ("learning_rate", "momentum", "weight_decay", "l1")
_OF_ALL = ("epochs", "updates", "evaluate_at", "flat", "batch_size", "loss", "decayed")


def reason_against(study: Study, arm: str) -> str:
    """Why the runs of an arm cannot be trained together; "" where they can."""
    if study.run is not None or study.model is None:
        return "the study has a run of its own"
    settings = [study.settings_of_fit(arm, rate) for rate in study.rates or (None,)]
    others = [n for n, v in settings[0].items() if n not in (*_OF_COPIES, *_OF_ALL) and v is not None]
    if others:
        return f"fit has {', '.join(others)}"
    if any(one.get(name) != settings[0].get(name) for one in settings for name in _OF_ALL):
        return "fit differs from rate to rate"
    model = seeded(lambda: study.model(study.arms[arm]), 0)  # type: ignore[misc]
    loss = settings[0].get("loss") or "cross_entropy"
    return training.reason_against(model, splits_of(study, arm, "cpu").train, loss)


def groups(keys: Sequence[Key]) -> list[tuple[Key, ...]]:
    """The runs in groups that are trained together: one phase of one arm, all rates, some seeds."""
    found: dict[Any, list[Key]] = {}
    seeds: dict[Any, list[int]] = {}
    for key in keys:
        known = seeds.setdefault(key[:2], [])
        if key.seed not in known:
            known.append(key.seed)
        found.setdefault((key[:2], known.index(key.seed) // SEEDS), []).append(key)
    return [tuple(group) for group in found.values()]


def run_together(study: Study, task: Task) -> list[Record]:
    """Train the runs of a task (one phase of one arm) at once; one record each, in their order."""
    cpu = time.process_time()
    keys = task.keys
    arm, final = keys[0].arm, keys[0].phase == "final"
    settings = [study.settings_of_fit(arm, key.rate) for key in keys]
    copies = [
        {"seed": key.seed} | {n: own[n] for n in _OF_COPIES if own.get(n) is not None}
        for key, own in zip(keys, settings, strict=True)
    ]
    shared = {name: settings[0][name] for name in _OF_ALL if settings[0].get(name) is not None}
    found = fit_together(
        lambda: study.model(study.arms[arm]),  # type: ignore[misc]
        lambda seed: withhold(splits_of(study, arm, task.device, seed)),
        copies,
        progress=False,
        device=task.device,
        **{"epochs": 20, **shared},
    )
    trained = (time.process_time() - cpu) / len(keys)
    records = []
    for key, one in zip(keys, found, strict=True):
        cpu = time.process_time()
        splits = splits_of(study, arm, task.device, key.seed)
        if one.diverged:
            measures, error = diverged_measures(study, key, splits), "training stopped: a loss was not finite"
        else:
            measures, error = of_training(one.history, final, study.curves), ""
            if final:
                measures |= measure_final(study, key, splits, one.model)
        records.append(record_of(key, measures, error, trained + time.process_time() - cpu))
    return records
