"""The kinds of finding, read from kinds.toml: why each matters, what to do, the chapter that explains it."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from ..finding import Finding


@dataclass(frozen=True)
class Kind:
    """What is the same for every finding of one name."""

    why: str
    remedy: str
    chapter: str


_TEXT = Path(__file__).with_name("kinds.toml").read_text(encoding="utf-8")
KINDS = {name: Kind(**entry) for name, entry in tomllib.loads(_TEXT).items()}


def names() -> list[str]:
    """The names of all kinds of finding.

    >>> "dead-units" in names()
    True
    """
    return list(KINDS)


def listed(names: list[str]) -> str:
    """The first five names, and how many more there are."""
    return ", ".join(names[:5]) + (f", and {len(names) - 5} more" if len(names) > 5 else "")


def find(name: str, severity: str | bool, layer: str, message: str, **numbers: float) -> Finding:
    """A finding with the words that its kind always has; True is severe, False a warning."""
    kind = KINDS[name]
    if isinstance(severity, bool):
        severity = "severe" if severity else "warning"
    plain = {key: float(value) for key, value in numbers.items()}
    return Finding(name, severity, layer, message, plain, kind.why, kind.remedy, kind.chapter)
