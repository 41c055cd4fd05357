"""The claims ledger: every assertion of the articles, what decides it, and the verdict.

`load()` reads the ledger. `settle(id, outcomes, evidence)` settles a claim in a chapter: its criterion and
the rule in `STRENGTHS` turn what was measured into the verdict. `open_claim(id)` shows one that is open,
`sample(id)` what happened when a code sample of the articles was run. `python -m convcraft claims` counts.
"""

from .cards import RECORD, Card, open_claim, settle
from .criteria import Condition, Setting
from .ledger import ARTICLES, CHAPTERS, LEDGER, ORIGINALS, STRENGTHS, VERDICTS, Amendment, Claim, load, main
from .samples import Sample, sample, samples

__all__ = [
    "ARTICLES", "CHAPTERS", "LEDGER", "ORIGINALS", "RECORD", "STRENGTHS", "VERDICTS", "Amendment", "Card",
    "Claim", "Condition", "Sample", "Setting", "load", "main", "open_claim", "sample", "samples", "settle",
]  # fmt: skip
