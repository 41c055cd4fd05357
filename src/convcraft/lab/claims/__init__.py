"""The claims ledger: every assertion of the articles, what decides it, and the verdict.

`load()` reads the ledger. `settle(id, outcomes, evidence)` settles a claim in a chapter: its criterion and
the rule in `STRENGTHS` turn what was measured into the verdict. `open_claim(id)` shows one still open,
`sample(id)` what happened when a code sample of the articles was run; `table()`, `summary()` and `changes()`
draw the ledger. `python -m convcraft claims` counts; its `record` and `check` keep the notebooks and the
ledger in step.
"""

from .cards import RECORD, Card, open_claim, settle
from .criteria import STRENGTHS, Condition, Setting
from .ledger import ARTICLES, CHAPTERS, LEDGER, ORIGINALS, VERDICTS, Amendment, Claim, chapter_number, load
from .page import Changes, Ledger, Summary, changes, summary, table
from .records import check, collect, main, record
from .samples import Sample, sample, samples

__all__ = [
    "ARTICLES",
    "CHAPTERS",
    "LEDGER",
    "ORIGINALS",
    "RECORD",
    "STRENGTHS",
    "VERDICTS",
    "Amendment",
    "Card",
    "Changes",
    "Claim",
    "Condition",
    "Ledger",
    "Sample",
    "Setting",
    "Summary",
    "changes",
    "chapter_number",
    "check",
    "collect",
    "load",
    "main",
    "open_claim",
    "record",
    "sample",
    "samples",
    "settle",
    "summary",
    "table",
]
