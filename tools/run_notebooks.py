"""Execute notebooks in place, leaving nothing in them that changes from run to run.

    python tools/run_notebooks.py [-j 2] [--timeout 600] [--limit 90] [book/NAME.ipynb ...]

Without paths: every notebook under book/. A cell that raises fails the run unless it carries the tag
'raises-exception'; anything on stderr fails it too, for a reader would see it in the book. A notebook that
fails is left as it was. Two runs of the same notebook write the same bytes: no time stamps, streams merged,
cell names taken from the source, metadata of the editor dropped.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import hashlib
import os
import pathlib
import sys
import time

import nbformat
from nbclient import NotebookClient

ROOT = pathlib.Path(__file__).resolve().parent.parent
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
CELL_METADATA = {"tags", "mystnb", "raises-exception"}


def name_cells(nb: nbformat.NotebookNode) -> None:
    """Name each cell after its source, so that a name changes only with the cell."""
    seen: dict[str, int] = {}
    for cell in nb.cells:
        digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:10]
        seen[digest] = seen.get(digest, 0) + 1
        cell["id"] = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"


def copy_alt(cell: nbformat.NotebookNode) -> None:
    """Put the alternative text of a cell's figure where the book's builder reads it."""
    for output in cell.outputs:
        alt = output.get("metadata", {}).get("image/png", {}).get("alt")
        if alt:
            cell.metadata.setdefault("mystnb", {}).setdefault("image", {})["alt"] = alt


def normalize(nb: nbformat.NotebookNode) -> None:
    """Drop from a notebook whatever depends on who ran it, when and with which editor."""
    nb.metadata = nbformat.from_dict(METADATA)
    nb.nbformat, nb.nbformat_minor = 4, 5
    name_cells(nb)
    for cell in nb.cells:
        for key in set(cell.metadata) - CELL_METADATA:
            del cell.metadata[key]
        if cell.cell_type == "code":
            copy_alt(cell)
    nbformat.validate(nb)


def complaints(nb: nbformat.NotebookNode) -> list[str]:
    """What a cell wrote to stderr, with the cell that did."""
    return [
        f"cell {number} writes to stderr: {output.text.strip()[:400]}\n    {cell.source.strip()[:200]}"
        for number, cell in enumerate(nb.cells)
        for output in cell.get("outputs", [])
        if output.get("name") == "stderr"
    ]


def run(path: pathlib.Path, timeout: int) -> float:
    """Execute one notebook and write it back; the seconds that this took."""
    start = time.perf_counter()
    nb = nbformat.read(path, as_version=4)
    NotebookClient(
        nb,
        timeout=timeout,
        kernel_name="python3",
        record_timing=False,  # no time stamps in the cells' metadata
        coalesce_streams=True,  # where a stream splits into messages is chance
        resources={"metadata": {"path": str(path.parent)}},
    ).execute()
    if wrong := complaints(nb):
        raise RuntimeError("\n".join(wrong))
    normalize(nb)
    text = nbformat.writes(nb, indent=1, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8", newline="\n")
    return time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-j", "--jobs", type=int, default=1, help="notebooks at the same time")
    parser.add_argument("--timeout", type=int, default=600, help="seconds for one cell")
    parser.add_argument("--limit", type=float, help="fail when a notebook takes more than this many seconds")
    parser.add_argument("--normalize-only", action="store_true", help="execute nothing, only normalize")
    parser.add_argument("notebooks", nargs="*", type=pathlib.Path)
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["CONVCRAFT_SETTLE"] = "anew"  # a claim may come out otherwise than the ledger says
    paths = args.notebooks or sorted((ROOT / "book").rglob("*.ipynb"))
    if args.normalize_only:
        for path in paths:
            nb = nbformat.read(path, as_version=4)
            normalize(nb)
            path.write_text(
                nbformat.writes(nb, indent=1, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n"
            )
        return 0
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        jobs = {pool.submit(run, path, args.timeout): path for path in paths}
        for job in concurrent.futures.as_completed(jobs):
            name = jobs[job].name
            try:
                seconds = job.result()
            except Exception as error:  # every notebook is reported, whatever broke it
                failed += 1
                print(f"{name}: FAILED\n{error}", file=sys.stderr, flush=True)
                continue
            slow = args.limit is not None and seconds > args.limit
            failed += slow
            print(
                f"{name}: {seconds:.1f} s" + (f", over the limit of {args.limit:g} s" if slow else ""),
                flush=True,
            )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
