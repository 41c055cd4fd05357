"""The runs of an arm trained together: all rates and seeds at once, by `fit_many`."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from typing import Any

import torch

from convcraft.lab import training
from convcraft.lab.experiments.runs import (
    Key,
    Record,
    Unit,
    diverged_measures,
    measure_final,
    record_of,
    splits_of,
)
from convcraft.lab.experiments.study import Study
from convcraft.lab.experiments.withheld import withhold
from convcraft.lab.randomness import forked
from convcraft.lab.training import fit_many, seeded

#: how many seeds of an arm are one unit of work
SEEDS = 16
_KNOWN = ("epochs", "momentum", "weight_decay", "batch_size", "loss", "learning_rate")


def reason_against(study: Study, arm: str) -> str:
    """Why the runs of an arm cannot be trained together; "" where they can."""
    if study.run is not None or study.model is None:
        return "the study has a run of its own"
    rates = study.rates or (None,)
    settings = [study.settings_of_fit(arm, rate) for rate in rates]
    others = [name for name in settings[0] if name not in _KNOWN and settings[0][name] is not None]
    if others:
        return f"fit has {', '.join(others)}"
    if any({**one, "learning_rate": 0} != {**settings[0], "learning_rate": 0} for one in settings):
        return "fit differs from rate to rate"
    model = seeded(lambda: study.model(study.arms[arm]), 0)  # type: ignore[misc]
    buffers = [name for name, _ in model.named_buffers()]
    if buffers:
        return f"its network has buffers ({buffers[0]})"
    if _draws(model, splits_of(study, arm, "cpu").train.x[:2]):
        return "its network draws random numbers while it is trained"
    loss = settings[0].get("loss") or "cross_entropy"
    return training.reason_against(model, splits_of(study, arm, "cpu").train, loss)


def _draws(model: torch.nn.Module, x: torch.Tensor) -> bool:
    """Whether a pass in training mode moves torch's generator: then a run would depend on its neighbours."""

    with forked(0), torch.no_grad():
        before = torch.get_rng_state()
        copy.deepcopy(model).train()(x)
        return not torch.equal(before, torch.get_rng_state())


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


def run_together(study: Study, unit: Unit) -> list[Record]:
    """Train the runs of a unit (one phase of one arm) at once; one record each, in their order."""
    wall, cpu = time.perf_counter(), time.process_time()
    keys = unit.keys
    arm, final = keys[0].arm, keys[0].phase == "final"
    splits = splits_of(study, arm, unit.device)
    settings = study.settings_of_fit(arm, keys[0].rate)
    settings = {name: value for name, value in settings.items() if value is not None}
    given = settings.pop("learning_rate", 0.1)
    rates = list(dict.fromkeys(given if key.rate is None else key.rate for key in keys))
    seeds = list(dict.fromkeys(key.seed for key in keys))
    sweep = fit_many(
        lambda: study.model(study.arms[arm]),  # type: ignore[misc]
        withhold(splits),
        learning_rates=rates,
        seeds=seeds,
        progress=False,
        device=unit.device,
        **{"epochs": 20, **settings},
    )
    models = sweep.models(0) if final else []
    share = len(keys)
    trained = (time.perf_counter() - wall) / share, (time.process_time() - cpu) / share
    records = []
    for key in keys:
        wall, cpu = time.perf_counter(), time.process_time()
        place = rates.index(given if key.rate is None else key.rate), seeds.index(key.seed)
        if sweep.diverged[place]:
            measures, error = diverged_measures(study, key, splits), "training stopped: a loss was not finite"
        else:
            names = ("train_loss", "validation_loss", "validation_accuracy")
            measures, error = {name: getattr(sweep, name)[place] for name in names}, ""
            if final:
                measures |= measure_final(study, key, splits, models[place[1]])
        spent = time.perf_counter() - wall + trained[0], time.process_time() - cpu + trained[1]
        records.append(record_of(key, measures, error, *spent))
    return records
