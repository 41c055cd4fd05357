"""Results on disk: a file for each finished run, then one for the study, with the runs as columns."""

import hashlib
import json
import os
import shutil
import tempfile
import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

from convcraft.errors import ConvcraftError
from convcraft.lab.experiments.run import Key, Record

FORMAT = 3


class OtherVersionError(ConvcraftError):
    """Raised when the results belong to another version of the study."""


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all: to a temporary file beside it, flushed to disk, then moved into place.

    Raises ConvcraftError if it cannot be written; what was there before is then left unchanged.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise ConvcraftError(
            f"could not write {path}: {error.strerror or error}. What was there before is unchanged; make "
            "room or fix the folder, and call again: finished runs are kept."
        ) from error


def checksum(content: Mapping[str, Any]) -> str:
    """SHA-256 over everything in a result except its own checksum."""
    kept = {key: value for key, value in content.items() if key != "checksum"}
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def write_result(path: Path, content: Mapping[str, Any]) -> None:
    """Write the result of a study with its checksum, one line for each column of the runs."""
    kept = {key: value for key, value in content.items() if key != "checksum"}
    kept["runs"] = to_columns(content["runs"], list(content["settings"]["arms"]))
    write(path, text_of({**kept, "checksum": checksum(kept)}))


def read_result(path: Path) -> dict[str, Any]:
    """The result in a file.

    Raises ConvcraftError if it is missing, cut short, not the result of a study, in another format, or changed
    since it was written.
    """
    advice = f"Restore it, or delete it and run the study again: python -m convcraft study {path.stem}"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConvcraftError(
            f"found no result at {path}; expected that of a finished study. Run it: python -m convcraft "
            f"study {path.stem}"
        ) from None
    except OSError as error:
        raise ConvcraftError(f"could not read {path}: {error.strerror}. Fix the file.") from error
    except ValueError as error:
        raise ConvcraftError(f"{path} is not whole: expected JSON, got {error}. {advice}") from None
    if not isinstance(content, dict) or "runs" not in content or "checksum" not in content:
        raise ConvcraftError(f"{path} must be the result of a study; it has no runs or no checksum. {advice}")
    if content.get("format") != FORMAT:
        raise ConvcraftError(
            f"{path} has format {content.get('format')!r}, expected {FORMAT}. Read it with the convcraft "
            f"that wrote it, {content.get('provenance', {}).get('packages', {}).get('convcraft')}."
        )
    if content["checksum"] != checksum(content):
        raise ConvcraftError(f"{path} was changed after it was written: its checksum does not match. {advice}")
    return {**content, "runs": to_runs(content["runs"], list(content["settings"]["arms"]))}


def check_version(where: Path, found: Any, expected: str) -> None:
    """Raise OtherVersionError unless a result or a folder of runs is of this version of the study."""
    if found != expected:
        raise OtherVersionError(
            f"{where} is of another version of the study: expected version {expected[:12]}, found {str(found)[:12]}. "
            "Move or delete it to run the study again, or bring back the study that it came from."
        )


class Partial:
    """The folder of a study that is being run: how it was begun, and a file for each finished run."""

    def __init__(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        self.folder, self.manifest = folder, dict(manifest)
        self.head = folder / "study.json"

    def open(self) -> None:
        """Begin, or continue what is in the folder.

        Raises ConvcraftError if it belongs to another version, or was begun with other settings.
        """
        found = self.check()
        if found is None:
            write(self.head, json.dumps(self.manifest))
            return
        for key, value in self.manifest.items():
            if found.get(key) != value:
                raise ConvcraftError(
                    f"the runs in {self.folder} were begun with {key}={found.get(key)!r}; got {value!r}. "
                    "Go on as they were begun, or delete the folder to start over."
                )

    def check(self) -> dict[str, Any] | None:
        """What the folder was begun with (None: it is new); raises OtherVersionError for another version."""
        try:
            found: dict[str, Any] = json.loads(self.head.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        check_version(self.folder, found.get("version"), self.manifest["version"])
        return found

    def path(self, key: Key) -> Path:
        digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:20]
        return self.folder / f"{key.phase}-{digest}.json"

    def save(self, record: Record, session: str, elapsed: float) -> None:
        """Put a finished run on disk."""
        content = {"session": session, "elapsed": round(elapsed, 3), "run": record}
        write(self.path(key_of(record)), json.dumps(content, allow_nan=False))

    def read(self) -> Iterator[dict[str, Any]]:
        """The records of finished runs; a file that cannot be read counts as not run."""
        for path in sorted(self.folder.glob("*-*.json")):
            try:
                content = json.loads(path.read_text(encoding="utf-8"))
                key_of(content["run"])
            except (OSError, ValueError, KeyError, TypeError):
                continue
            yield content

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def key_of(record: Mapping[str, Any]) -> Key:
    """The run that a record is of."""
    return Key(record["phase"], record["arm"], record["rate"], record["seed"])


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Admit one process at a time (another gets a ConvcraftError); the lock goes when its process ends."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
    except OSError as error:
        raise ConvcraftError(f"could not write {path}: {error.strerror or error}. Fix that.") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConvcraftError(
                f"{path.parent.name.lstrip('.')} is being run by another process; expected one at a time. "
                "Wait for it, or stop it."
            ) from None
        except OSError:  # a file system without locks
            pass
        yield


Column = dict[str, Any] | list[Any]


def to_columns(runs: Sequence[Record], arms: Sequence[str]) -> dict[str, dict[str, Column]]:
    """{phase: {name: column}}; a column is a list with one entry for each run, {"each": values, "times": counts}
    where equal values follow one another, {"up_from": column, "times": column} where whole numbers count up,
    {"lists": column} where all are lists of one, or {"packed": text, "runs": number} for long words, such as which
    test images were right: all first letters, all second ones and so on, by zlib. An arm is its place in `arms`."""
    place = {arm: index for index, arm in enumerate(arms)}
    phases: dict[str, list[Record]] = {}
    for run in runs:
        phases.setdefault(run["phase"], []).append(run)
    return {
        phase: {
            name: _column([place[run["arm"]] if name == "arm" else run.get(name) for run in some])
            for name in dict.fromkeys(name for run in some for name in run)
            if name != "phase"
        }
        for phase, some in phases.items()
    }


def _column(values: list[Any]) -> Column:
    stretches = [(text, len(list(equal))) for text, equal in groupby(json.dumps(value) for value in values)]
    if 3 * len(stretches) < len(values):
        return {"each": [json.loads(text) for text, _ in stretches], "times": [times for _, times in stretches]}
    if all(isinstance(value, list) and len(value) == 1 for value in values):
        return {"lists": _column([value[0] for value in values])}
    if all(type(value) is int for value in values):
        counts = [[v for _, v in some] for _, some in groupby(enumerate(values), lambda pair: pair[1] - pair[0])]
        if 3 * len(counts) < len(values):
            return {"up_from": _column([some[0] for some in counts]), "times": _column([len(some) for some in counts])}
    words = [value for value in values if isinstance(value, str) and len(value) >= 20 and " " not in value]
    if words and len(words) + values.count(None) == len(values):
        padded = [(value or "").ljust(max(map(len, words))) for value in values]
        letters = "".join(map("".join, zip(*padded, strict=True)))
        return {"packed": b64encode(zlib.compress(letters.encode(), 9)).decode(), "runs": len(values)}
    return values


def to_runs(columns: Mapping[str, Mapping[str, Column]], arms: Sequence[str]) -> list[Record]:
    """The records; each has every column of its phase, None where the run lacks it."""
    runs: list[Record] = []
    for phase, table in columns.items():
        whole = {name: _values(column) for name, column in table.items()}
        whole["arm"] = [arms[index] for index in whole["arm"]]
        rows = zip(*whole.values(), strict=True)
        runs += ({"phase": phase, **dict(zip(whole, row, strict=True))} for row in rows)
    return runs


def _values(column: Column) -> list[Any]:
    if isinstance(column, list):
        return column
    if "lists" in column:
        return [[value] for value in _values(column["lists"])]
    if "up_from" in column:
        pairs = zip(_values(column["up_from"]), _values(column["times"]), strict=True)
        return [value for start, times in pairs for value in range(start, start + times)]
    if "each" in column:
        return [value for value, times in zip(column["each"], column["times"], strict=True) for _ in range(times)]
    letters = zlib.decompress(b64decode(column["packed"])).decode()
    return [letters[run :: column["runs"]].rstrip(" ") or None for run in range(column["runs"])]


def text_of(content: Mapping[str, Any]) -> str:
    """The file: everything but the runs as JSON with one entry per line, the runs with one column per line."""

    def line(value: Any) -> str:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)

    tables = []
    for phase, table in content["runs"].items():
        columns = ",\n".join(f"{line(name)}:{line(column)}" for name, column in table.items())
        tables.append(f"{line(phase)}: {{\n{columns}\n}}")
    head = [
        f"{line(key)}: " + ("{\n" + ",\n".join(tables) + "\n}" if key == "runs" else _entries(value, line))
        for key, value in content.items()
    ]
    return "{\n" + ",\n".join(head) + "\n}\n"


def _entries(value: Any, line: Any) -> str:
    """A dict of dicts with one entry per line, a list of dicts likewise, else one line."""
    if isinstance(value, Mapping) and any(isinstance(v, (Mapping, list)) for v in value.values()):
        return "{\n" + ",\n".join(f"{line(k)}: {_entries(v, line)}" for k, v in value.items()) + "\n}"
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        return "[\n" + ",\n".join(line(v) for v in value) + "\n]"
    return str(line(value))
