"""Keep the notebooks and the claims ledger in step.

`python tools/claims_record.py` writes what the notebooks settle into verdicts.json; with `--check` it only
compares, and ends with status 1 when they differ.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convcraft.errors import ConvcraftError
from convcraft.lab.claims.cards import RECORD
from convcraft.lab.claims.ledger import find, load, verdicts_file


@dataclass(frozen=True)
class Found:
    """One card in the output of a committed notebook."""

    page: str
    cell: int
    data: dict[str, Any]

    @property
    def id(self) -> str:
        """Id of the claim on the card."""
        return str(self.data["id"])

    @property
    def where(self) -> str:
        """Page and anchor of the card, as the ledger stores it."""
        return f"{self.page}#claim-{self.id}"


def collect(book: str | Path = "book") -> list[Found]:
    """Return every card in the outputs of the notebooks of a folder, in the order of pages and cells.

    Raises :class:`~convcraft.ConvcraftError` when the folder does not exist.
    """
    folder = Path(book)
    if not folder.is_dir():
        raise ConvcraftError(
            f"book: expected the folder of the notebooks, got {book}, which is not a folder; "
            "run from the root of the repository or pass --book"
        )
    found = []
    for path in sorted(folder.rglob("*.ipynb")):
        if any(part.startswith((".", "_")) for part in path.relative_to(folder).parts):
            continue  # checkpoints and builds
        page = path.relative_to(folder).with_suffix("").as_posix()
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        for number, cell in enumerate(cells):
            for output in cell.get("outputs", []):
                data = output.get("metadata", {}).get(RECORD)
                if data:
                    found.append(Found(page, number, data))
    return found


def _verdicts(book: str | Path, ledger: str | Path | None) -> dict[str, dict[str, Any]]:
    """What the notebooks settle, in the order of the ledger: the content of `verdicts.json`."""
    claims = load(ledger, verdicts=False)
    settled: dict[str, dict[str, Any]] = {}
    for card in collect(book):
        claim, data = find(card.id, claims), card.data
        if data["verdict"] is None:
            continue
        if card.id in settled:
            raise ConvcraftError(
                f"book: {card.id!r} is settled twice, in {settled[card.id]['where']} and in {card.where} "
                f"(cell {card.cell}); each claim is settled once"
            )
        kept = ("verdict", "evidence", "outcomes", "correction")
        entry = {"where": card.where, **{key: data[key] for key in kept if key in data}}
        if "correction" in entry and entry["correction"] == claim.correction:
            del entry["correction"]
        if "outcomes" in entry:  # a notebook is written with sorted keys: back to the order of the criterion
            names = [s.name for s in claim.criterion if s.name in entry["outcomes"]]
            entry["outcomes"] = {name: entry["outcomes"][name] for name in names}
        if "outcomes" not in entry and claim.kind != "code" and entry["verdict"] != "untestable":
            entry["literal"] = True
        settled[card.id] = entry
    return {claim_id: settled[claim_id] for claim_id in claims if claim_id in settled}


def _recorded(ledger: str | Path | None) -> dict[str, dict[str, Any]]:
    path = verdicts_file(ledger)
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def check(book: str | Path = "book", ledger: str | Path | None = None) -> list[str]:
    """Compare the notebooks with the ledger; return what differs, one sentence each (empty when in step)."""
    try:
        wanted = _verdicts(book, ledger)
    except ConvcraftError as error:
        return [str(error)]
    recorded, problems = _recorded(ledger), []
    for claim_id in [*wanted, *(recorded.keys() - wanted.keys())]:
        ours, theirs = recorded.get(claim_id, {}), wanted.get(claim_id)
        if theirs is None:
            problems.append(f"{claim_id}: the ledger says {ours['verdict']!r}, but no notebook settles it")
            continue
        problems += [
            f"{theirs['where']}: {key}: the ledger says {ours.get(key)!r}, the notebook {theirs.get(key)!r}"
            for key in sorted(ours.keys() | theirs.keys())
            if ours.get(key) != theirs.get(key)
        ]
    return problems


def record(book: str | Path = "book", ledger: str | Path | None = None) -> list[str]:
    """Write what the notebooks settle into `verdicts.json`; return the ids of the entries that changed.

    Raises :class:`~convcraft.ConvcraftError` when a notebook settles a claim twice or names an unknown one.
    """
    wanted, recorded = _verdicts(book, ledger), _recorded(ledger)
    changed = [i for i in wanted if wanted[i] != recorded.get(i)] + sorted(recorded.keys() - wanted.keys())
    text = json.dumps(wanted, indent=1, ensure_ascii=False) + "\n"
    verdicts_file(ledger).write_text(text, encoding="utf-8", newline="\n")
    return changed


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--book", default="book", help="folder of the notebooks (default: book)")
    parser.add_argument("--ledger", help="another ledger file (default: that of the package)")
    parser.add_argument("--check", action="store_true", help="compare only")
    arguments = parser.parse_args(argv)
    if arguments.check:
        problems = check(arguments.book, arguments.ledger)
        print("\n".join(problems) if problems else "Notebooks and ledger agree.")
        return 1 if problems else 0
    before = {claim.id: claim.label for claim in load(arguments.ledger).values()}
    changed = record(arguments.book, arguments.ledger)
    after = load(arguments.ledger)
    for claim_id in changed:
        now = after[claim_id].label
        print(f"  {claim_id}" + (f": {before[claim_id]} -> {now}" if now != before[claim_id] else ""))
    print(f"{len(changed)} entries changed.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
