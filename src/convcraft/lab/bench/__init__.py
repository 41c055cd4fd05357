"""Speed and memory as ratios against torch.nn, measured in one run: `python -m convcraft bench activations`.

Times on a busy machine mean little; a ratio of two times taken one after the other means much. So every round
runs all candidates of a case in random order, the ratio is formed within the round, and the median and the
quartiles over the rounds are reported. Values and gradients are compared in the same run.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from ...errors import unknown
from .cases import NAMES, case, costs
from .images import augmentations
from .layers import dropouts, measure, normalizations
from .report import pin_memory, processor, table, write
from .timing import Ratio, compare, saved_bytes
from .training import per_second, throughput

__all__ = ["Ratio", "compare", "main", "saved_bytes"]

LARGE, SMALL = (64, 64, 32, 32), (8, 16, 8, 8)
TOPICS = ("activations", "augmentation", "costs", "dropout", "normalization", "training")
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
    rounds = 5 if options.quick else options.rounds
    allocator = pin_memory() if options.allocator == "pinned" else "default"
    before = torch.get_num_threads()
    torch.set_num_threads(options.threads)
    try:
        found = _measure(options.topics or TOPICS, options.only or NAMES, rounds, options.quick)
    finally:
        torch.set_num_threads(before)
    if options.json:
        write(options.json, given, options.threads, rounds, allocator, found)
    print(f"{processor()}, torch {torch.__version__}, {options.threads} thread(s), allocator: {allocator}")
    print(
        "ratio: ours over torch.nn, over ReLU (costs), over a loop (augmentation), over one by one (training)"
        "; below 1 is faster"
    )
    print(table(found))
    print(per_second(found))
    return 0


def _measure(topics: Sequence[str], names: Sequence[str], rounds: int, quick: bool) -> list[Ratio]:
    found: list[Ratio] = []
    if "activations" in topics:
        shapes = ((2, 4, 8, 8),) if quick else (LARGE, SMALL)
        for shape in shapes:
            for layout in ("contiguous", "channels_last"):
                for name in names:
                    found += case(name, shape, layout, 3 * rounds if shape == SMALL else rounds)
    if "costs" in topics:
        found += costs(rounds, (2, 4, 8, 8), 2) if quick else costs(rounds)
    for topic in ("dropout", "normalization"):
        if topic in topics:
            for shape in ((2, 4, 8, 8),) if quick else (LARGE, SMALL):
                pairs = dropouts() if topic == "dropout" else normalizations(shape[1])
                for layout in ("contiguous", "channels_last"):
                    found += measure(pairs, shape, layout, 3 * rounds if shape == SMALL else rounds)
    if "augmentation" in topics:
        for shape in ((8, 3, 8, 8),) if quick else BATCHES:
            for layout in ("contiguous", "channels_last") if shape[1] > 1 else ("contiguous",):
                found += augmentations(shape, layout, rounds)
    if "training" in topics:
        found += throughput(rounds, 4, examples=64, batches=(64,)) if quick else throughput(rounds)
    return found
