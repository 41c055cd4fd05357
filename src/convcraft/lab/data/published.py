"""What has been published: size, SHA-256 and addresses of the files that the book reads (published.toml)."""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RemoteFile:
    """A published file: its size in bytes, its SHA-256, and the addresses that serve it, in order.

    An address that ends in `#member` is that of a zip archive that holds the file under this name. With
    `members`, for example ".wav", the file is an archive, and its SHA-256 that of the names and contents of
    the members with that ending, in order of name.
    """

    size: int
    sha256: str
    addresses: tuple[str, ...] = ()
    members: str = ""


def _files(table: str, bases: Iterable[str], form: str = "{}", members: str = "") -> dict[str, RemoteFile]:
    """One file for each line "name size sha256", at the bases in order; `form` turns the name into a path.

    With `members`, a base is the whole address of the archive.
    """
    found = {}
    for name, size, sha256 in (line.split() for line in table.strip().splitlines()):
        path = form.format(name)
        addresses = tuple(base if members else base + path for base in bases)
        found[path] = RemoteFile(int(size), sha256, addresses, members)
    return found


_READ = tomllib.loads(Path(__file__).with_name("published.toml").read_text(encoding="utf-8"))
LICENCES: dict[str, str] = _READ.pop("licences")
_GROUPS = {name: _files(**group) for name, group in _READ.items()}
FASHION_MNIST, MSWEB, MSWEB_TABLES = (_GROUPS[name] for name in ("fashion-mnist", "msweb", "msweb-tables"))
REGISTRY: dict[str, dict[str, RemoteFile]] = {
    "fashion-mnist": FASHION_MNIST,
    "msweb": MSWEB | MSWEB_TABLES,
    "movielens-latest-small": _GROUPS["movielens-latest-small"],
    "free-spoken-digit-dataset": _GROUPS["free-spoken-digit-dataset"],
    "sms-spam": _GROUPS["sms-spam"],
    "nab": _GROUPS["nab-labels"] | _GROUPS["nab-known-cause"] | _GROUPS["nab-artificial"],
}
