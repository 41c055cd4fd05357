"""Keeping notebooks and ledger in step: collect the cards from the notebooks, write verdicts, compare."""

from __future__ import annotations

import argparse
import json
import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convcraft.errors import ConvcraftError

from .cards import RECORD
from .ledger import LEDGER, VERDICTS, Claim, find, load

WIDTH = 120
_WRITTEN = ("correction", "verdict", "evidence", "where", "study")


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
    for path in sorted(folder.glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        for number, cell in enumerate(cells):
            for output in cell.get("outputs", []):
                data = output.get("metadata", {}).get(RECORD)
                if data:
                    found.append(Found(path.stem, number, data))
    return found


def check(book: str | Path = "book", ledger: str | Path | None = None) -> list[str]:
    """Compare the notebooks with the ledger; return what differs, one sentence each (empty when in step)."""
    claims, found = load(ledger), collect(book)
    problems = []
    settled: dict[str, Found] = {}
    for card in found:
        if card.id not in claims:
            problems.append(f"{card.where}: the ledger has no claim {card.id!r}")
        elif card.data["verdict"] is None:
            if claims[card.id].verdict is not None:
                problems.append(
                    f"{card.where}: shown as open, but the ledger says {claims[card.id].verdict!r}"
                )
        elif card.id in settled:
            problems.append(
                f"{card.where} (cell {card.cell}): settled twice, before that in "
                f"{settled[card.id].where} (cell {settled[card.id].cell})"
            )
        else:
            settled[card.id] = card
            problems += _differences(claims[card.id], card)
    for claim in claims.values():
        if claim.verdict is not None and claim.id not in settled:
            problems.append(
                f"{claim.id}: the ledger says {claim.verdict!r} in {claim.where}, but no notebook settles it"
            )
    return problems


def _differences(claim: Claim, card: Found) -> list[str]:
    pairs: list[tuple[str, Any, Any]] = [("verdict", claim.verdict, card.data["verdict"])]
    if claim.verdict is not None:
        pairs += [("evidence", claim.evidence, card.data["evidence"]), ("where", claim.where, card.where)]
        if "correction" in card.data:
            pairs.append(("correction", claim.correction, card.data["correction"]))
    return [
        f"{card.where}: {field}: the ledger says {ours!r}, the notebook {theirs!r}"
        for field, ours, theirs in pairs
        if ours != theirs
    ]


def record(book: str | Path = "book", ledger: str | Path | None = None) -> list[str]:
    """Write what the notebooks settle into the ledger; return the ids of the entries that changed.

    A verdict is written only where the ledger has none; evidence, place and a changed correction are renewed.
    Entries that nothing settles keep every byte. Raises :class:`~convcraft.ConvcraftError` when a notebook
    contradicts a verdict of the ledger, settles a claim twice, or names an unknown one.
    """
    path = Path(ledger) if ledger is not None else LEDGER
    claims = load(path)
    updates: dict[str, dict[str, Any]] = {}
    for card in collect(book):
        if card.data["verdict"] is None:
            continue
        claim = find(card.id, claims)
        if card.id in updates:
            raise ConvcraftError(
                f"book: {card.id!r} is settled twice, in {updates[card.id]['where']} and in {card.where} "
                f"(cell {card.cell}); each claim is settled once"
            )
        if claim.verdict not in (None, card.data["verdict"]):
            raise ConvcraftError(
                f"book: {card.where} says {card.data['verdict']!r}, the ledger {claim.verdict!r}; "
                f"if the notebook is right, run `python -m convcraft claims reopen {card.id}` first"
            )
        updates[card.id] = {**card.data, "where": card.where, "study": None}
    return _rewrite(path, updates)


def reopen(ids: Iterable[str], ledger: str | Path | None = None) -> list[str]:
    """Take verdict, evidence and place of some claims out of the ledger; return the ids that changed."""
    path = Path(ledger) if ledger is not None else LEDGER
    claims = load(path)
    return _rewrite(
        path, {find(i, claims).id: {"verdict": None, "evidence": None, "where": None} for i in ids}
    )


def _rewrite(path: Path, updates: dict[str, dict[str, Any]]) -> list[str]:
    text = path.read_bytes().decode("utf-8")
    blocks = re.split(r"(?m)^(?=- id: )", text)
    changed = []
    for number, block in enumerate(blocks):
        match = re.match(r"- id: (\S+)", block)
        if match and match.group(1) in updates:
            new = _edit(block, updates[match.group(1)])
            if new != block:
                blocks[number] = new
                changed.append(match.group(1))
    if changed:
        path.write_bytes("".join(blocks).encode("utf-8"))
    return changed


def _edit(block: str, update: dict[str, Any]) -> str:
    """Replace the fields of ``update`` in the text of one entry; ``None`` removes a field."""
    body = re.match(r"- id: .*\n(?:  .*\n)*", block)
    assert body is not None
    fields = re.findall(r"(?m)^(?:- |  )(\w+):(.*\n(?:    .*\n)*)", body.group(0))
    entry = {name: f"{'- ' if name == 'id' else '  '}{name}:{rest}" for name, rest in fields}
    test_last = [name for name in entry if name not in ("verdict", "evidence", "where", "study")]
    for name in _WRITTEN:
        if name in update:
            entry.pop(name, None) if update[name] is None else entry.__setitem__(
                name, _field(name, update[name])
            )
    order = [name for name in test_last if name in entry]
    if "correction" in entry and "correction" not in order:
        order.insert(order.index("test"), "correction")
    order += [name for name in ("verdict", "evidence", "where", "study") if name in entry]
    return "".join(entry[name] for name in order) + block[body.end() :]


def _field(name: str, value: str) -> str:
    if name in ("verdict", "where", "study"):
        quoted = f"'{value}'" if value == "false" or name == "where" else value
        return f"  {name}: {quoted}\n"
    lines = textwrap.wrap(value, WIDTH - 4, break_long_words=False, break_on_hyphens=False)
    return f"  {name}: >-\n" + "".join(f"    {line}\n" for line in lines)


def counts(claims: Iterable[Claim]) -> str:
    """One line: how many claims, how many of each verdict, how many open."""
    claims = list(claims)
    tally = Counter(claim.verdict for claim in claims)
    parts = [f"{tally[verdict]} {words.lower()}" for verdict, words in VERDICTS.items() if tally[verdict]]
    return f"{len(claims)} claims: " + ", ".join([*parts, f"{tally[None]} open"])


def main(argv: Sequence[str] | None = None) -> int:
    """Command line ``claims [--book DIR] [--ledger FILE] [list|record|check|reopen ID]``; exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m convcraft claims", description="The claims ledger of the book."
    )
    parser.add_argument("--book", default="book", help="folder of the notebooks (default: book)")
    parser.add_argument(
        "--ledger", default=None, help="another ledger file (default: the one of the package)"
    )
    actions = parser.add_subparsers(dest="action", metavar="action")
    actions.add_parser("list", help="print the counts and the open claims (also without an action)")
    actions.add_parser("record", help="write what the notebooks settle into the ledger")
    actions.add_parser("check", help="compare the notebooks with the ledger; exit status 1 when they differ")
    actions.add_parser("reopen", help="take the verdict of claims out of the ledger").add_argument(
        "ids", nargs="+"
    )
    arguments = parser.parse_args(argv)
    if arguments.action == "check":
        problems = check(arguments.book, arguments.ledger)
        print("\n".join(problems) if problems else "Notebooks and ledger agree.")
        return 1 if problems else 0
    if arguments.action in ("record", "reopen"):
        if arguments.action == "record":
            changed = record(arguments.book, arguments.ledger)
        else:
            changed = reopen(arguments.ids, arguments.ledger)
        print("\n".join([*(f"  {claim_id}" for claim_id in changed), f"{len(changed)} entries changed."]))
        return 0
    claims = load(arguments.ledger).values()
    print(counts(claims))
    for claim in claims:
        if claim.verdict is None:
            print(
                f"  open  {claim.chapter:16} {claim.id}" + (f"  (study {claim.study})" if claim.study else "")
            )
    return 0
