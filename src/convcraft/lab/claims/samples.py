"""What happened when the code samples of the articles were run: the record of ``tools/run_samples.py``."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any

from convcraft._checks import check_known
from convcraft._table import table_html
from convcraft.errors import ConvcraftError

from .ledger import LEDGER

NAME = "article_samples.json"


@dataclass(frozen=True)
class Sample:
    """One code sample of an article: how it was run, how it ended, and the checks made on its result."""

    record: Mapping[str, Any]

    #: id of the claim that this sample decides
    claim = property(lambda self: str(self.record["claim"]))
    #: ``"ran"``, the name of the exception that stopped the sample, or ``"not run"``
    outcome = property(lambda self: str(self.record["outcome"]))
    #: message of the exception, or the reason why the sample was not run; empty when it ran
    message = property(lambda self: str(self.record["message"]))
    #: category and message of every warning that the sample gave while it ran as printed
    warnings = property(lambda self: tuple(self.record["warnings"]))
    #: interpreter and libraries that it ran on: ``{"python": "3.11.7", "numpy": …}``
    versions = property(lambda self: dict(self.record["versions"]))

    @property
    def checks(self) -> dict[str, Any]:
        """Name of every check and the number (or the exception) that it gave."""
        return {check["name"]: check["value"] for check in self.record["checks"]}

    #: whether every check came out as the ledger's test asks
    passed = property(lambda self: all(check["passed"] for check in self.record["checks"]))

    @property
    def headline(self) -> str:
        """Outcome in one line: ``"ran"`` or ``"NameError: name 'nn' is not defined"``."""
        return f"{self.outcome}: {self.message}" if self.message else self.outcome

    @property
    def lines_restored(self) -> bool:
        """Whether the article had lost the line breaks of the sample, which were put back to run it."""
        return bool(self.record.get("lines_restored", {}).get("changed"))

    @property
    def title(self) -> str:
        """Article and section, whether line breaks were restored, and what it ran on."""
        how = "with its line breaks restored" if self.lines_restored else "as printed"
        place = f"{self.record['article']} §{self.record['section']}"
        return f"{place}, {how}, on {self.platform}" if self.versions else place

    @property
    def platform(self) -> str:
        """Versions in one line."""
        return ", ".join(f"{name} {version}" for name, version in self.versions.items())

    def __repr__(self) -> str:
        lines = [f"{self.title}: {self.headline}"]
        lines += [f"  warning: {warning}" for warning in self.warnings]
        width = max((len(name) for name in self.checks), default=0)
        for check in self.record["checks"]:
            mark = "✓" if check["passed"] else "✗"
            lines.append(f"  {mark} {check['name']:{width}}  {number(check['value'])}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = [("✓" if c["passed"] else "✗", c["name"], number(c["value"])) for c in self.record["checks"]]
        warned = "".join(f"<br>Warning: <code>{escape(warning)}</code>" for warning in self.warnings)
        caption = f"{escape(self.title)}: <strong>{escape(self.headline)}</strong>{warned}"
        return f"<p>{caption}</p>{table_html(('', 'check', 'value'), rows) if rows else ''}"


def number(value: Any) -> str:
    """A number with four significant digits, anything else as text."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def samples(path: str | Path | None = None) -> dict[str, Sample]:
    """Return the record of every code sample, by claim id.

    ``path`` is the JSON file; ``None`` looks for ``results/article_samples.json`` in the current folder, in
    ``book/`` below it, and in the repository that holds the package.

    Raises :class:`~convcraft.ConvcraftError` when no record is found. Chapter: the claims ledger.
    """
    repository = LEDGER.parents[4]
    places = [Path("results"), Path("book/results"), repository / "book/results"]
    candidates = [Path(path)] if path is not None else [place / NAME for place in places]
    for file in candidates:
        if file.is_file():
            return dict(_read(file.resolve(), file.stat().st_mtime_ns))
    raise ConvcraftError(
        f"path: expected the record of the code samples, got none at {', '.join(map(str, candidates))}; "
        "it is in the repository of the book as book/results/article_samples.json"
    )


def sample(claim_id: str, path: str | Path | None = None) -> Sample:
    """Return the record of one code sample; at the end of a cell it shows outcome, warnings and checks.

    Raises :class:`~convcraft.ConvcraftError` when no sample belongs to ``claim_id``. Chapter: the claims ledger.
    """
    known = samples(path)
    check_known("code sample", claim_id, known)
    return known[claim_id]


@lru_cache(maxsize=2)
def _read(file: Path, modified: int) -> dict[str, Sample]:
    content = json.loads(file.read_text(encoding="utf-8"))
    return {entry["claim"]: Sample(entry) for entry in content["samples"]}
