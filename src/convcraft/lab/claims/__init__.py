"""The claims ledger: every assertion of the articles, what decides it, and the verdict.

`load()` reads the ledger; `settle(id, holds, evidence)` settles a claim in a chapter, `open_claim(id)` shows
one that waits for a study, `sample(id)` shows what happened when a code sample of the articles was run;
`table()` and `summary()` draw the whole ledger. `python -m convcraft claims` counts; its `record` and `check`
keep the notebooks and the ledger in step.
"""

from .cards import RECORD, Card, open_claim, settle
from .ledger import ARTICLES, CHAPTERS, LEDGER, VERDICTS, Claim, chapter_number, load
from .page import Ledger, Summary, summary, table
from .records import check, collect, main, record, reopen
from .samples import Sample, sample, samples

__all__ = [
    "ARTICLES",
    "CHAPTERS",
    "LEDGER",
    "RECORD",
    "VERDICTS",
    "Card",
    "Claim",
    "Ledger",
    "Sample",
    "Summary",
    "chapter_number",
    "check",
    "collect",
    "load",
    "main",
    "open_claim",
    "record",
    "reopen",
    "sample",
    "samples",
    "settle",
    "summary",
    "table",
]
