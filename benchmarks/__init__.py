"""Speed and memory as ratios against torch.nn, measured in one run: `python -m convcraft bench activations`.

Times on a busy machine mean little; a ratio of two times taken one after the other means much. So every round
runs all candidates of a case in random order, the ratio is formed within the round, and the median and the
quartiles over the rounds are reported. Values and gradients are compared in the same run. Beside ours stands
the formula as textbooks print it and, with --compile, torch.compile of torch.nn. On a GPU where there is one.
The last line counts how often a step makes the host wait for it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch

from convcraft.errors import ConvcraftError, unknown

from .cases import NAMES, case, compiled, costs
from .goals import missed
from .images import augmentations
from .layers import dropouts, measure, normalizations
from .models import penalty_ratios, record_ratios
from .report import pin_memory, processor, table, write
from .timing import Ratio, compare, device_of_new_tensors, saved_bytes
from .training import NETWORKS, per_second, throughput
from .waits import summary as host_waits

__all__ = ["Ratio", "compare", "main", "saved_bytes"]

LARGE, SMALL = (64, 64, 32, 32), (8, 16, 8, 8)
TOPICS = (
    "activations", "augmentation", "costs", "diagnostics", "dropout", "normalization", "penalties", "training"
)  # fmt: skip
BATCHES = ((256, 3, 32, 32), (256, 1, 8, 8))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m convcraft bench", description=__doc__)
    parser.add_argument(
        "topics", nargs="*", metavar="TOPIC", help=f"what to measure: {', '.join(TOPICS)} (all)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every ratio with its provenance")
    parser.add_argument("--rounds", type=int, default=15, help="rounds of each case (15); at least 5")
    parser.add_argument("--quick", action="store_true", help="small tensors and 5 rounds: does it run?")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these activations only")
    parser.add_argument(
        "--compile", action="store_true", help="torch.compile of torch.nn beside ours; takes minutes"
    )
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), help="cuda where there is one; training: always cpu"
    )
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (1)")
    parser.add_argument("--allocator", choices=("pinned", "default"), default="pinned",
                        help="pinned: freed memory stays in the process (mallopt)")  # fmt: skip
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print one table, and write the record when asked to; the ratios are ours over torch.nn's."""
    given = list(arguments or ())
    options = _parser().parse_args(given)
    for topic in options.topics:
        if topic not in TOPICS:
            raise unknown("topic of bench", topic, TOPICS)
    for name in options.only or ():
        if name not in NAMES:
            raise unknown("activation", name, NAMES)
    device = _device(options.device)
    if options.compile:
        _try_to_compile()
    allocator = pin_memory() if options.allocator == "pinned" else "default"
    before = torch.get_num_threads()
    torch.set_num_threads(options.threads)
    found: list[Ratio] = []
    try:
        with device_of_new_tensors(device):
            capability = torch.backends.cpu.get_cpu_capability()
            machine = f"{processor()} (ATen's kernels for {capability}), torch {torch.__version__}"
            print(f"{machine}, {options.threads} thread(s), allocator: {allocator}", flush=True)
            for label, measured in _measurements(options):
                print(f"measuring {label}", file=sys.stderr, flush=True)
                found += measured()
            if options.json:
                rounds = 5 if options.quick else options.rounds
                write(options.json, given, options.threads, rounds, allocator, found)
            counted = host_waits()
    finally:
        torch.set_num_threads(before)
    print(
        "ratio: ours over torch.nn, over ReLU (costs), over a loop (augmentation, penalties), over one by "
        "one (training), over no recording (diagnostics); below 1 is faster"
    )
    print(table(found))
    summaries = (per_second(found), "" if options.quick or device == "cuda" else missed(found), counted)
    print("\n".join(summary for summary in summaries if summary))
    return 0


def _device(wish: str | None) -> str:
    if wish == "cuda" and not torch.cuda.is_available():
        raise ConvcraftError("bench: device must be one that torch can use, got 'cuda'; leave --device out")
    return wish or ("cuda" if torch.cuda.is_available() else "cpu")


def _try_to_compile() -> None:
    try:
        compiled(torch.relu)(torch.zeros(2))
    except Exception as error:
        raise ConvcraftError(
            f"bench: --compile needs a torch.compile that works here, got {type(error).__name__}: "
            f"{str(error).splitlines()[0]}; leave it out"
        ) from error


def _measurements(options: argparse.Namespace) -> Iterator[tuple[str, Callable[[], list[Ratio]]]]:
    """What is measured, and how, one after the other."""
    topics, quick, compile = options.topics or TOPICS, options.quick, options.compile
    rounds = 5 if quick else options.rounds
    for shape in ((2, 4, 8, 8),) if quick else (LARGE, SMALL):
        for layout in ("contiguous", "channels_last"):
            times, where = 3 * rounds if shape == SMALL else rounds, f"{'x'.join(map(str, shape))} {layout}"
            if "activations" in topics:
                for name in options.only or NAMES:
                    yield f"{name}, {where}", partial(case, name, shape, layout, times, compile)
            if "dropout" in topics:
                yield f"dropout, {where}", partial(measure, dropouts(), shape, layout, times, compile)
            if "normalization" in topics:
                cases = normalizations(shape[1])
                yield f"normalization, {where}", partial(measure, cases, shape, layout, times, compile)
    if "costs" in topics:
        yield "costs of activations", partial(costs, rounds, *(((2, 4, 8, 8), 2) if quick else ()))
    if "penalties" in topics:
        yield "penalties", partial(penalty_ratios, rounds, *((((2, 8),),) if quick else ()))
    if "diagnostics" in topics:
        yield "diagnostics", partial(record_ratios, rounds, quick)
    if "augmentation" in topics:
        for shape in ((8, 3, 8, 8),) if quick else BATCHES:
            for layout in ("contiguous", "channels_last") if shape[1] > 1 else ("contiguous",):
                where = f"{'x'.join(map(str, shape))} {layout}"
                yield f"augmentation, {where}", partial(augmentations, shape, layout, rounds)
    if "training" in topics:
        for network in NETWORKS:
            for batch in (64,) if quick else (16, 32, 64):
                size = (4, 1, 64) if quick else ()  # models, epochs, examples
                where = f"training, {network}, batch {batch}"
                yield where, partial(throughput, network, batch, rounds, *size)
