"""The ledger itself: its entries, their vocabulary, and how its two files are read.

`claims.yml` is written by hand: what is claimed, how strongly, and what decides it. `verdicts.json` is
generated from the notebooks by `tools/claims_record.py`.
"""

import argparse
import json
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from convcraft._checks import check_known
from convcraft.errors import ConvcraftError

from .criteria import Condition, Setting

LEDGER = Path(__file__).resolve().parent / "claims.yml"

_WORDS = tomllib.loads(LEDGER.with_name("vocabulary.toml").read_text(encoding="utf-8"))
ARTICLES: Mapping[str, str] = _WORDS["articles"]
#: original title and date of publication (None: not known)
ORIGINALS: Mapping[str, tuple[str, str | None]] = {
    key: (title, date[0] if date else None) for key, (title, *date) in _WORDS["originals"].items()
}
CHAPTERS: Mapping[str, str] = _WORDS["chapters"]
VERDICTS: Mapping[str, str] = _WORDS["verdicts"]
CAUSES: Mapping[str, str] = _WORDS["causes"]
STRENGTHS: Mapping[str, str] = _WORDS["strengths"]
KINDS = ("mathematical", "empirical", "code", "advice")
_REQUIRED = ("id", "chapter", "claim", "sources", "strength", "kind", "expected", "test", "criterion")


@dataclass(frozen=True)
class Amendment:
    """A declared change of a test: what it was, what it is now, when and why it changed."""

    date: str
    old: str
    new: str
    reason: str


@dataclass(frozen=True)
class Claim:
    """One assertion of the articles: its strength, its criterion and, once settled, its verdict.

    `test` is the test as it was written before the first experiment; `criterion` states it as settings that
    code evaluates, and `amendments` say where the two differ. Where nothing can be tested, `criterion` is
    empty and `untestable` says why. `verdict` is ``None`` while the claim is open; `outcomes` holds value and
    result of each setting; `literal` says that the verdict was still written by hand. `where` is the page and
    anchor that settle the claim, such as ``activations#claim-relu-definition``.
    """

    id: str
    chapter: str
    claim: str
    sources: tuple[str, ...]
    strength: str
    kind: str
    expected: str
    test: str
    criterion: tuple[Setting, ...]
    untestable: str | None = None
    wording: str | None = None
    correction: str | None = None
    remark: str | None = None
    studies: tuple[str, ...] = ()
    amendments: tuple[Amendment, ...] = ()
    first_edition: str | None = None
    cause: str | None = None
    changed: str | None = None
    verdict: str | None = None
    evidence: str | None = None
    where: str | None = None
    outcomes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    literal: bool = False

    @property
    def articles(self) -> tuple[str, ...]:
        """Keys of the articles that make this claim, in order: ``("a1", "a3")``."""
        return tuple(sorted({source.split()[0] for source in self.sources}))

    @property
    def label(self) -> str:
        """The verdict in words: ``"Holds with conditions"``, or ``"Open"``."""
        return VERDICTS[self.verdict] if self.verdict else "Open"

    @property
    def rule(self) -> str:
        """Key of the rule in `STRENGTHS` that decides: the strength, or "code" for a sample."""
        return "code" if self.kind == "code" else self.strength

    @property
    def waits_for(self) -> str:
        """What an open claim waits for, in words."""
        return f"the chapter {CHAPTERS[self.chapter]!r}"


_GENERATED = ("verdict", "evidence", "where", "outcomes", "literal")


def load(path: str | Path | None = None, verdicts: bool = True) -> dict[str, Claim]:
    """Return the whole ledger as a new dict from claim id to :class:`Claim`, in the order of the file.

    ``path`` is another ledger file, with its ``verdicts.json`` beside it; ``None`` reads the package's.
    ``verdicts=False`` leaves every claim open, as `claims.yml` has it.

    Raises :class:`~convcraft.ConvcraftError` when the file is missing or an entry does not fit the schema.
    Chapter: the claims ledger.

    >>> ledger = load()
    >>> len(ledger)
    152
    >>> ledger["relu-definition"].sources
    ('a1 §2.1', 'a3 §3', 'a4 §2.3')
    """
    file = Path(path) if path is not None else LEDGER
    if not file.is_file():
        raise ConvcraftError(
            f"path: expected a claims ledger (YAML), got {file}, which does not exist; "
            "leave path out to read the ledger of the package"
        )
    generated = verdicts_file(file)
    modified = generated.stat().st_mtime_ns if verdicts and generated.is_file() else 0
    return dict(_parse(file, file.stat().st_mtime_ns, modified))


def verdicts_file(ledger: str | Path | None = None) -> Path:
    """The generated file beside a ledger."""
    return Path(ledger if ledger is not None else LEDGER).with_name("verdicts.json")


def find(claim_id: str, ledger: Mapping[str, Claim] | None = None) -> Claim:
    """Return one claim; an unknown id is a :class:`~convcraft.ConvcraftError` that lists near matches."""
    ledger = load() if ledger is None else ledger
    check_known("claim", claim_id, ledger)
    return ledger[claim_id]


@lru_cache(maxsize=4)
def _parse(file: Path, modified: int, generated: int) -> dict[str, Claim]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    entries = yaml.load(file.read_text(encoding="utf-8"), Loader=loader)
    if not isinstance(entries, list):
        raise ConvcraftError(f"path: expected a YAML list, got {type(entries).__name__} in {file.name}")
    verdicts = json.loads(verdicts_file(file).read_text(encoding="utf-8")) if generated else {}
    ledger: dict[str, Claim] = {}
    for entry in entries:
        name = entry.get("id", "?") if isinstance(entry, dict) else repr(entry)
        try:
            claim = _entry(entry, verdicts.get(name, {}))
        except ConvcraftError as error:
            raise ConvcraftError(f"claims ledger: entry {name}: {error}") from None
        if claim.id in ledger:
            raise ConvcraftError(f"claims ledger: id {claim.id!r} occurs twice; each claim has one entry")
        ledger[claim.id] = claim
    return ledger


def _entry(entry: Any, generated: Mapping[str, Any]) -> Claim:
    known = {field.name for field in fields(Claim)} - {"untestable", *_GENERATED}
    if not isinstance(entry, dict) or set(entry) - known:
        extra = sorted(set(entry) - known) if isinstance(entry, dict) else []
        raise ConvcraftError(f"expected fields among {sorted(known)}, got {extra or entry!r}")
    missing = [key for key in _REQUIRED if not entry.get(key)]
    if missing:
        raise ConvcraftError(f"expected a value for {missing}, got none; fill it in")
    allowed = {
        "chapter": CHAPTERS,
        "strength": [name for name in STRENGTHS if name != "code"],
        "kind": KINDS,
        "expected": VERDICTS,
        "first_edition": (None, *VERDICTS),
        "cause": (None, *CAUSES),
    }
    for key, values in allowed.items():
        if entry.get(key) not in values:
            raise ConvcraftError(f"{key}: expected one of {tuple(values)}, got {entry.get(key)!r}")
    criterion = entry["criterion"]
    reason = criterion if isinstance(criterion, str) else None
    read = {
        **entry,
        "sources": tuple(entry["sources"]),
        "studies": tuple(entry.get("studies", ())),
        "criterion": () if reason else tuple(_setting(setting) for setting in criterion),
        "untestable": reason,
        "amendments": tuple(Amendment(**{**a, "date": str(a["date"])}) for a in entry.get("amendments", ())),
    }
    return Claim(**{**read, **generated})


def _setting(entry: Any) -> Setting:
    known = {"setting", "measure", "shows", "opposite", "unit", "at_scale"}
    if not isinstance(entry, dict) or not {"setting", "measure", "shows"} <= set(entry) <= known:
        raise ConvcraftError(f"criterion: expected settings with fields among {sorted(known)}, got {entry!r}")
    if entry.get("unit", "") not in ("", "points", "share"):
        raise ConvcraftError(f"criterion: unit: expected 'points' or 'share', got {entry['unit']!r}")
    read = {**entry, "shows": Condition.parse(entry["shows"])}
    if entry.get("opposite") is not None:
        read["opposite"] = Condition.parse(entry["opposite"])
    return Setting(read.pop("setting"), **read)


def main(argv: Sequence[str] | None = None) -> int:
    """Print how many claims there are of each verdict, and those that are open or settled by hand."""
    parser = argparse.ArgumentParser(
        prog="python -m convcraft claims",
        description="Count the claims of the book. The ledger is brought into step with the notebooks by "
        "`python tools/claims_record.py` in the repository.",
    )
    parser.parse_args(argv)
    claims = load().values()
    tally = Counter(claim.verdict for claim in claims)
    parts = [f"{tally[verdict]} {words.lower()}" for verdict, words in VERDICTS.items() if tally[verdict]]
    print(f"{len(claims)} claims: " + ", ".join([*parts, f"{tally[None]} open"]))
    for claim in claims:
        if claim.verdict is None or claim.literal:
            state = "open" if claim.verdict is None else "verdict by hand"
            print(f"  {state:15}  {claim.chapter:16} {claim.id}")
    return 0
