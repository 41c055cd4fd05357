"""The table of a measurement, and its record with everything needed to judge it."""

from __future__ import annotations

import ctypes
import datetime
import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from convcraft import __version__
from convcraft._table import table_text

from .goals import goal
from .timing import Ratio, clock_for


def pin_memory() -> str:
    """Keep freed memory in the process (glibc), else large tensors measure page faults; says what it set."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return "default (no mallopt here)"
    settings = {"M_MMAP_MAX": (-4, 0), "M_TRIM_THRESHOLD": (-1, 2**31 - 1), "M_TOP_PAD": (-2, 256 << 20)}
    for number, value in settings.values():
        mallopt(number, value)
    return ", ".join(f"{name}={value}" for name, (_, value) in settings.items())


def processor() -> str:
    """The name of what computes."""
    if torch.get_default_device().type == "cuda":
        return torch.cuda.get_device_name()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.lower().startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def table(found: Sequence[Ratio]) -> str:
    """Aligned columns; the rivals of all rows have one each."""
    rivals = list(dict.fromkeys(who for r in found for who in r.rivals))
    heading = ("case", "what", "layout", "shape", "ratio", "quartiles", *rivals)
    rows: list[tuple[str, ...]] = [(*heading, "base ms", "kept B/el", "base B/el")]
    for r in found:
        low, high = r.quartiles
        others = [f"{np.median(r.rivals[who]):.2f}" if who in r.rivals else "" for who in rivals]
        bytes_ = [f"{v:.2f}" if v is not None else "" for v in (r.saved, r.baseline_saved)]
        shape = "x".join(map(str, r.shape))
        row = (r.case, r.what, r.layout, shape, f"{r.median:.2f}", f"{low:.2f}-{high:.2f}", *others)
        rows.append((*row, f"{r.baseline_ms:.3f}", *bytes_))
    return table_text(rows[0], rows[1:])


def write(
    path: Path, given: Sequence[str], threads: int, rounds: int, allocator: str, found: Sequence[Ratio]
) -> None:
    provenance = {
        "command": " ".join(["python -m convcraft bench", *given]).replace(str(path), path.name),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": {
            "convcraft": __version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "hardware": processor(),
        "vector_instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": threads,
        "clock": clock_for(threads).__name__,
        "rounds": rounds,
        "allocator": allocator,
    }
    record = {"provenance": provenance, "ratios": [{**r.record(), "goal": goal(r)} for r in found]}
    path.write_text(_one_line_each(record) + "\n", encoding="utf-8")


def _one_line_each(record: dict[str, Any]) -> str:
    """JSON with one line for each measurement, so that a diff shows which changed."""
    provenance = json.dumps(record["provenance"], indent=1).replace("\n", "\n ")
    lines = ",\n  ".join(json.dumps(entry) for entry in record["ratios"])
    return f'{{\n "provenance": {provenance},\n "ratios": [\n  {lines}\n ]\n}}'
