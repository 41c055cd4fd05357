"""Keeping notebooks and ledger in step: tools/claims_record.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import claims_record
from convcraft import ConvcraftError
from convcraft.lab import claims
from convcraft.lab.claims import cards

SMALL = (Path(__file__).parent / "lab" / "three_claims.yml").read_text(encoding="utf-8")
MEASURED = {"values": {"value": "0 points", "result": "shows"}}


@pytest.fixture
def small(tmp_path) -> Path:
    """A ledger of three entries."""
    path = tmp_path / "claims.yml"
    path.write_text(SMALL, encoding="utf-8")
    return path


def notebook(folder: Path, name: str, *records: dict | None) -> None:
    """A notebook whose first cells carry these records."""
    outputs = [{"output_type": "display_data", "data": {}, "metadata": {cards.RECORD: r}} for r in records]
    cells = [{"cell_type": "markdown", "source": ""}, {"cell_type": "code", "source": "", "outputs": outputs}]
    path = folder / f"{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"cells": cells}), encoding="utf-8")


def record(claim_id: str, verdict: str | None, evidence: str = "Equal on 5 values.", **more) -> dict:
    return {"id": claim_id, "verdict": verdict, "evidence": evidence, **more}


def test_record_writes_one_file_and_leaves_the_claims_alone(small, tmp_path):
    book = tmp_path / "book"
    notebook(book, "evidence/relu", record("relu-definition", "holds", outcomes=MEASURED))
    notebook(book, "dropout", record("sample-runs", "code-broken", correction="It stops."))
    notebook(book, ".ipynb_checkpoints/dropout", record("sample-runs", "holds"))
    assert claims_record.record(book, small) == ["relu-definition", "sample-runs"]
    assert small.read_text(encoding="utf-8") == SMALL
    entries = claims.load(small)
    assert entries["relu-definition"].evidence == "Equal on 5 values."
    assert entries["relu-definition"].where == "evidence/relu#claim-relu-definition"
    assert entries["relu-definition"].outcomes == MEASURED and not entries["relu-definition"].literal
    assert entries["sample-runs"].correction == "It stops."
    written = small.with_name("verdicts.json").read_bytes()
    assert claims_record.record(book, small) == []
    assert small.with_name("verdicts.json").read_bytes() == written
    assert list(json.loads(written)) == ["relu-definition", "sample-runs"], "in the order of the ledger"


def test_record_marks_what_was_settled_by_hand(small, tmp_path):
    book = tmp_path / "book"
    notebook(
        book,
        "02_x",
        record("relu-definition", "holds"),
        record("sample-runs", "holds"),
        record("future", "untestable"),
    )
    claims_record.record(book, small)
    assert [claim.id for claim in claims.load(small).values() if claim.literal] == ["relu-definition"]


def test_record_renews_everything_and_forgets_what_no_notebook_settles(small, tmp_path):
    book = tmp_path / "book"
    notebook(book, "02_x", record("relu-definition", "holds"), record("future", "untestable"))
    claims_record.record(book, small)
    notebook(book, "02_x", record("relu-definition", "false", "Differs on 6 values."))
    assert claims_record.record(book, small) == ["relu-definition", "future"]
    entries = claims.load(small)
    assert (entries["relu-definition"].verdict, entries["future"].verdict) == ("false", None)
    notebook(book, "02_x", record("sample-runs", "holds", correction=None))
    claims_record.record(book, small)
    assert claims.load(small)["sample-runs"].correction is None, "a correction that is taken back"


def test_record_refuses_two_cards_and_unknown_ids(small, tmp_path):
    book = tmp_path / "book"
    notebook(book, "01_x", record("future", "untestable"))
    notebook(book, "02_x", record("future", "untestable"))
    with pytest.raises(ConvcraftError, match=r"settled twice, in 01_x#claim-future and in 02_x#claim-future"):
        claims_record.record(book, small)
    assert "settled twice" in claims_record.check(book, small)[0]
    notebook(book, "02_x", record("futur", "untestable"))
    with pytest.raises(ConvcraftError, match="unknown claim 'futur'"):
        claims_record.record(book, small)
    with pytest.raises(ConvcraftError, match="expected the folder of the notebooks"):
        claims_record.collect(tmp_path / "nothing")


def test_check_says_every_difference(small, tmp_path):
    book = tmp_path / "book"
    notebook(book, "02_x", record("relu-definition", "holds", outcomes=MEASURED), record("sample-runs", None))
    problems = claims_record.check(book, small)
    assert "02_x#claim-relu-definition: verdict: the ledger says None, the notebook 'holds'" in problems
    claims_record.record(book, small)
    assert claims_record.check(book, small) == []
    notebook(book, "02_x", record("relu-definition", "false", "Other 1."))
    fields = {problem.split(": ")[1] for problem in claims_record.check(book, small)}
    assert fields == {"verdict", "evidence", "outcomes", "literal"}
    notebook(book, "02_x", record("relu-definition", None))
    assert claims_record.check(book, small) == [
        "relu-definition: the ledger says 'holds', but no notebook settles it"
    ]


def test_command_line(small, tmp_path, capsys):
    def run(*arguments: str) -> int:
        return claims_record.main(["--ledger", str(small), "--book", str(tmp_path / "book"), *arguments])

    notebook(tmp_path / "book", "02_x", record("relu-definition", "holds"))
    assert run("--check") == 1
    assert run() == 0
    assert run("--check") == 0
    printed = capsys.readouterr().out
    assert "relu-definition: Open -> Holds\n1 entries changed." in printed
    assert "Notebooks and ledger agree." in printed
