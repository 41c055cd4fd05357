"""The list of mistakes for tools/mutate.py goes with the source; which of them are noticed, that tool finds out."""

from pathlib import Path

import yaml

import convcraft

ROOT = Path(convcraft.__file__).parent
LIST = Path(__file__).resolve().parents[1] / "tools" / "mutants.yml"


def test_every_mistake_changes_one_place_of_the_source():
    listed = yaml.safe_load(LIST.read_text(encoding="utf-8"))
    source = {entry["file"]: (ROOT / entry["file"]).read_text(encoding="utf-8") for entry in listed}
    assert len(listed) >= 100
    assert [entry for entry in listed if source[entry["file"]].count(entry["old"]) != 1] == []
    assert all(entry["old"] != entry["new"] for entry in listed)
