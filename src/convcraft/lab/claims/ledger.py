"""The ledger itself: its entries, their vocabulary, and how the file is read."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from convcraft.errors import ConvcraftError

LEDGER = Path(__file__).resolve().parent.parent / "claims.yml"

ARTICLES: Mapping[str, str] = {
    "a1": "Activation functions and regularization in CNNs",
    "a2": "CNN optimization: from weight initialization to learning-rate adjustment",
    "a3": "The role of activation functions in CNNs",
    "a4": "Choosing and optimizing activation functions",
    "a5": "Regularization and batch normalization",
}

CHAPTERS: Mapping[str, str] = {
    "convnets": "Convolutional networks",
    "activations": "Activations",
    "choosing": "Choosing an activation",
    "initialization": "Initialization",
    "learning-rates": "Learning rates",
    "l1-l2": "L1 and L2 penalties",
    "dropout": "Dropout",
    "augmentation": "Augmentation",
    "batch-norm": "Batch normalization",
    "combining": "Combining techniques",
    "case-images": "Case study: images",
    "case-speech": "Case study: speech",
    "case-text": "Case study: text",
    "case-recommender": "Case study: recommendation",
    "case-series": "Case study: time series",
    "case-generative": "Case study: generation",
    "outlook": "Outlook",
}

VERDICTS: Mapping[str, str] = {
    "holds": "Holds",
    "holds-with-conditions": "Holds with conditions",
    "false": "False",
    "code-broken": "Code broken",
    "untestable": "Cannot be tested",
}

KINDS = ("mathematical", "empirical", "code", "advice")


@dataclass(frozen=True)
class Claim:
    """One assertion of the articles, with its prior, its decisive test and, once settled, its verdict.

    ``verdict`` is ``None`` while the claim is open; ``study`` then names the longer experiment it waits for,
    if any. ``where`` is the page and anchor that settle it, such as ``02_activations#claim-relu-definition``.
    """

    id: str
    chapter: str
    claim: str
    sources: tuple[str, ...]
    kind: str
    expected: str
    test: str
    correction: str | None = None
    verdict: str | None = None
    evidence: str | None = None
    where: str | None = None
    study: str | None = None

    @property
    def articles(self) -> tuple[str, ...]:
        """Keys of the articles that make this claim, in order: ``("a1", "a3")``."""
        return tuple(sorted({source.split()[0] for source in self.sources}))

    @property
    def label(self) -> str:
        """The verdict in words: ``"Holds with conditions"``, or ``"Open"``."""
        return VERDICTS[self.verdict] if self.verdict else "Open"

    @property
    def waits_for(self) -> str:
        """What an open claim waits for, in words: a study, or its chapter."""
        if self.study:
            return f"the study {self.study}"
        return f"chapter {chapter_number(self.chapter)}, {CHAPTERS[self.chapter]}"


def chapter_number(chapter: str) -> int:
    """Number of a chapter in the book, from its key in the ledger."""
    return list(CHAPTERS).index(chapter) + 1


def load(path: str | Path | None = None) -> dict[str, Claim]:
    """Return the whole ledger as a new dict from claim id to :class:`Claim`, in the order of the file.

    ``path`` is another ledger file; ``None`` reads the one in the package.

    Raises :class:`~convcraft.ConvcraftError` when the file is missing or an entry does not fit the schema.

    >>> ledger = load()
    >>> len(ledger)
    152
    >>> ledger["relu-definition"].sources
    ('a1 §2.1', 'a3 §3', 'a4 §2.3')

    Chapter: the claims ledger.
    """
    file = Path(path) if path is not None else LEDGER
    if not file.is_file():
        raise ConvcraftError(
            f"path: expected a claims ledger (YAML), got {file}, which does not exist; "
            "leave path out to read the ledger of the package"
        )
    return dict(_parse(file, file.stat().st_mtime_ns))


def find(claim_id: str, ledger: Mapping[str, Claim] | None = None) -> Claim:
    """Return one claim; an unknown id is a :class:`~convcraft.ConvcraftError` that lists near matches."""
    ledger = load() if ledger is None else ledger
    if claim_id not in ledger:
        near = difflib.get_close_matches(str(claim_id), list(ledger), n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "no id is near to it."
        raise ConvcraftError(
            f"unknown claim {claim_id!r}: {hint} `python -m convcraft claims` lists the open ones, "
            "book/claims.ipynb all of them"
        )
    return ledger[claim_id]


@lru_cache(maxsize=4)
def _parse(file: Path, modified: int) -> dict[str, Claim]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    entries = yaml.load(file.read_text(encoding="utf-8"), Loader=loader)
    if not isinstance(entries, list):
        raise ConvcraftError(
            f"path: expected a YAML list of claims, got {type(entries).__name__} in {file.name}"
        )
    ledger: dict[str, Claim] = {}
    for entry in entries:
        claim = _entry(entry)
        if claim.id in ledger:
            raise ConvcraftError(f"claims ledger: id {claim.id!r} stands twice; each claim has one entry")
        ledger[claim.id] = claim
    return ledger


def _entry(entry: Any) -> Claim:
    known = {field.name for field in fields(Claim)}
    name = entry.get("id", "?") if isinstance(entry, dict) else repr(entry)
    if not isinstance(entry, dict) or set(entry) - known:
        extra = sorted(set(entry) - known) if isinstance(entry, dict) else []
        raise ConvcraftError(
            f"claims ledger: entry {name}: expected fields among {sorted(known)}, got {extra or entry!r}"
        )
    missing = [
        key for key in ("id", "chapter", "claim", "sources", "kind", "expected", "test") if not entry.get(key)
    ]
    if missing:
        raise ConvcraftError(
            f"claims ledger: entry {name}: expected a value for {missing}, got none; fill it in"
        )
    allowed = {
        "chapter": tuple(CHAPTERS),
        "kind": KINDS,
        "expected": tuple(VERDICTS),
        "verdict": (None, *VERDICTS),
    }
    for field, values in allowed.items():
        if entry.get(field) not in values:
            raise ConvcraftError(
                f"claims ledger: entry {name}: {field}: expected one of {values}, got {entry.get(field)!r}"
            )
    return Claim(**{**entry, "sources": tuple(entry["sources"])})
