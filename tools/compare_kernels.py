"""Run notebooks under other kernels of the processor, and list the cells whose text differs.

    python tools/compare_kernels.py [--settings threads avx2] [--seeds 10] [--all] [book/NAME.ipynb ...]

Without paths: every notebook under book/. Each is executed once per setting, in a fresh kernel, and not
written.
The last digit of a float32 sum depends on the vector width and the number of threads, and training can turn
it into another first digit. The status is 1 when a compared cell (tag 'nbval-check-output') shows text other
than the stored one, or a cell raises; --all also lists the cells that are not compared.
With --seeds N each notebook runs N times with other seeds in place of all its own, and the cells that raise
are listed: an assertion whose bound some seed crosses is too tight. Cells that show one run ("seed 3 dies") may raise.
"""

from __future__ import annotations

import argparse
import configparser
import difflib
import os
import pathlib
import re
import sys
import time

import nbformat
from nbclient import NotebookClient

ROOT = pathlib.Path(__file__).resolve().parent.parent
COMPARED = "nbval-check-output"
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
# ATen and oneDNN compute for PyTorch, MKL multiplies its matrices, OpenBLAS those of NumPy and SciPy.
SETTINGS = {
    "native": ONE_THREAD,
    "threads": {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"},
    "avx512": ONE_THREAD | {"ATEN_CPU_CAPABILITY": "avx512", "ONEDNN_MAX_CPU_ISA": "AVX512_CORE"},
    "avx2": ONE_THREAD
    | {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
    | {"MKL_ENABLE_INSTRUCTIONS": "AVX2", "OPENBLAS_CORETYPE": "Haswell"},
    "baseline": ONE_THREAD
    | {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}
    | {"MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "OPENBLAS_CORETYPE": "Nehalem"},
    "rounding": ONE_THREAD,
}
# Under "rounding" a float32 output of a linear or convolutional layer is off by up to a unit in the last
# place, as on a processor that is not here. The error is a function of the value: each run has the same.
PRELUDES = {
    "rounding": """
import torch
def _off_by_a_bit(kind, name):
    exact = getattr(kind, name)
    def rounded(self, *inputs):
        out = exact(self, *inputs)
        if out.dtype != torch.float32:
            return out
        value = out.detach()
        return out + 1.2e-7 * value * torch.sin(1e5 * value)
    setattr(kind, name, rounded)
_off_by_a_bit(torch.nn.Linear, "forward")
_off_by_a_bit(torch.nn.Conv2d, "_conv_forward")
"""
}
OTHER_SEEDS = """
import convcraft.lab.randomness as _randomness
import torch as _torch
_forked, _stream, _manual_seed = _randomness.forked, _randomness.stream, _torch.manual_seed
_randomness.forked = lambda seed, device="cpu": _forked(seed + {offset}, device)
_randomness.stream = lambda seed, purpose: _stream(seed + {offset}, purpose)
_torch.manual_seed = lambda seed: _manual_seed(seed + {offset})
"""


DEFAULT = ["threads", "avx2", "baseline", "rounding"]


def sanitizers() -> list[tuple[re.Pattern, str]]:
    """The replacements that the tests make before they compare."""
    config = configparser.RawConfigParser()
    config.read(ROOT / "tests" / "nbval_sanitize.cfg", encoding="utf-8")
    return [(re.compile(config[name]["regex"]), config[name]["replace"]) for name in config.sections()]


def text_of(cell: nbformat.NotebookNode, rules: list[tuple[re.Pattern, str]]) -> str:
    """All the text that a cell shows, sanitized; no images, no tracebacks."""
    streams: dict[str, str] = {}
    parts = []
    for output in cell.outputs:
        if output.output_type == "stream":
            streams[output.name] = streams.get(output.name, "") + output.text
        elif output.output_type == "error":
            parts.append(f"{output.ename}: {output.evalue}")
        else:
            parts += [str(text) for kind, text in sorted(output.data.items()) if kind.startswith("text/")]
    text = "\n".join([*streams.values(), *parts])
    for pattern, replacement in rules:
        text = pattern.sub(replacement, text)
    return text


def execute(path: pathlib.Path, setting: str | int, timeout: int) -> tuple[nbformat.NotebookNode, ...]:
    """The notebook as stored, and as executed under a setting or with other seeds; an error does not end it."""
    stored, nb = (nbformat.read(path, as_version=4) for _ in range(2))
    code = OTHER_SEEDS.format(offset=1000 * setting) if isinstance(setting, int) else PRELUDES.get(setting)
    prelude = [nbformat.v4.new_code_cell(code)] if code else []
    nb.cells = prelude + nb.cells
    client = NotebookClient(
        nb,
        timeout=timeout,
        kernel_name="python3",
        allow_errors=True,
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute(env=os.environ | {"MPLBACKEND": "agg"} | SETTINGS.get(setting, ONE_THREAD))
    nb.cells = nb.cells[len(prelude) :]
    return stored, nb


def report(stored: nbformat.NotebookNode, run: nbformat.NotebookNode, everything: bool, compared: bool = True) -> int:
    """Print the cells that raise or differ, numbered as the tests number them; how many of them matter."""
    rules = sanitizers()
    serious = 0
    cells = [pair for pair in zip(stored.cells, run.cells, strict=True) if pair[0].cell_type == "code"]
    for number, (before, after) in enumerate(cells):
        old, new = text_of(before, rules), text_of(after, rules)
        tags = before.metadata.get("tags", [])
        raised = [output for output in after.outputs if output.output_type == "error"]
        if raised and "raises-exception" not in tags:
            kind = "RAISES"
        elif compared and old != new and (COMPARED in tags or everything):
            kind = "COMPARED" if COMPARED in tags else "differs"
        else:
            continue
        serious += kind != "differs"
        print(f"  cell {number} {kind}: {before.source.strip().splitlines()[0][:90]}")
        for output in raised:
            print(f"      {output.ename}: {output.evalue.splitlines()[0][:160] if output.evalue else ''}")
        for line in difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=0):
            if compared and not line.startswith(("---", "+++", "@@")):
                print(f"      {line[:160]}")
    return serious


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=DEFAULT)
    parser.add_argument("--seeds", type=int, default=0, metavar="N", help="other seeds instead of other kernels")
    parser.add_argument("--all", action="store_true", help="list the cells too that the tests do not compare")
    parser.add_argument("--timeout", type=int, default=1200, help="seconds for one cell")
    parser.add_argument("notebooks", nargs="*", type=pathlib.Path)
    args = parser.parse_args()
    serious = 0
    for path in args.notebooks or sorted((ROOT / "book").rglob("*.ipynb")):
        for setting in range(1, args.seeds + 1) if args.seeds else args.settings:
            start = time.perf_counter()
            stored, run = execute(path, setting, args.timeout)
            name = f"seeds + {1000 * setting}" if args.seeds else setting
            print(f"{path.name}, {name}: {time.perf_counter() - start:.0f} s", flush=True)
            serious += report(stored, run, args.all, compared=not args.seeds)
    agreed = "no cell raises" if args.seeds else "every compared cell agrees"
    print(f"{serious} compared cells differ or cells raise" if serious else agreed)
    return 1 if serious else 0


if __name__ == "__main__":
    sys.exit(main())
