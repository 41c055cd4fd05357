"""The runs of a study as columns, one on each line of the result file, and back."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

Record = dict[str, Any]
Column = dict[str, Any] | list[Any]


def to_columns(runs: Sequence[Record], arms: Sequence[str]) -> dict[str, dict[str, Column]]:
    """{phase: {name: column}}; a column is a list with one entry for each run, {"same": value} where all
    agree, or {"mostly": value, "but": {row: value}} where nearly all do. An arm is its place in `arms`."""
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
    texts = [json.dumps(value) for value in values]
    common, times = Counter(texts).most_common(1)[0]
    if times == len(texts):
        return {"same": values[0], "runs": len(values)}
    if times > 0.9 * len(texts):
        but = {str(i): v for i, (v, text) in enumerate(zip(values, texts, strict=True)) if text != common}
        return {"mostly": json.loads(common), "but": but, "runs": len(values)}
    return values


def to_runs(columns: Mapping[str, Mapping[str, Column]], arms: Sequence[str]) -> list[Record]:
    """The records; each has every column of its phase, None where the run lacks it."""
    runs: list[Record] = []
    for phase, table in columns.items():
        whole = {name: _values(column) for name, column in table.items()}
        whole["arm"] = [arms[index] for index in whole["arm"]]
        for row in zip(*whole.values(), strict=True):
            runs.append({"phase": phase, **dict(zip(whole, row, strict=True))})
    return runs


def _values(column: Column) -> list[Any]:
    if isinstance(column, list):
        return column
    values = [column.get("same", column.get("mostly"))] * column["runs"]
    for row, value in column.get("but", {}).items():
        values[int(row)] = value
    return values


def text_of(content: Mapping[str, Any]) -> str:
    """The file: everything but the runs as JSON with one entry a line, the runs with one column a line."""

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
    """A dict of dicts with one entry a line, a list of dicts likewise, else one line."""
    if isinstance(value, Mapping) and any(isinstance(v, (Mapping, list)) for v in value.values()):
        return "{\n" + ",\n".join(f"{line(k)}: {_entries(v, line)}" for k, v in value.items()) + "\n}"
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        return "[\n" + ",\n".join(line(v) for v in value) + "\n]"
    return str(line(value))
