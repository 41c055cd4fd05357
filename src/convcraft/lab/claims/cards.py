"""Settling a claim in a notebook: a call shows a card and leaves a machine-readable record in the output."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any, Literal

from convcraft.errors import ConvcraftError

from .criteria import judge_settings, verdict
from .ledger import VERDICTS, Claim, find
from .style import CARD_CSS, COLOURS, badge, label, rich, sources

RECORD = "convcraft_claim"  # key of the record in the metadata of an output
RESULTS: Mapping[str, str] = {"shows": "shows it", "opposite": "shows the opposite", "neither": "decides nothing"}

Bundle = tuple[dict[str, Any], dict[str, Any]]


@dataclass(frozen=True)
class Card:
    """What :func:`settle` and :func:`open_claim` show: HTML, plain text, and a record for the tools."""

    claim: Claim
    correction_given: bool = False

    @property
    def data(self) -> dict[str, Any]:
        """The machine-readable record of this card."""
        claim = self.claim
        if claim.verdict is None:
            return {"id": claim.id, "verdict": None}
        record: dict[str, Any] = {"id": claim.id, "verdict": claim.verdict, "evidence": claim.evidence}
        if claim.outcomes:
            record["outcomes"] = dict(claim.outcomes)
        if self.correction_given:
            record["correction"] = claim.correction
        return record

    def rows(self) -> list[tuple[str, str]]:
        """Name and text of each row below the claim."""
        claim, rows = self.claim, []
        if claim.verdict is None:
            rows += [("Waits for", f"{claim.waits_for}."), ("Test", claim.test)]
        elif claim.evidence:
            rows.append(("Evidence", claim.evidence))
        if claim.outcomes:
            parts = (f"{name}: {o['value']} ({RESULTS[o['result']]})" for name, o in claim.outcomes.items())
            rows.append(("Settings", "; ".join(parts) + "."))
        if claim.correction and claim.verdict:
            rows.append((correction_name(claim.verdict), claim.correction))
        if claim.verdict and claim.verdict != claim.expected:
            rows.append(("Expected", f"{label(claim.expected)}, before the experiment; the evidence counts."))
        return rows

    def __repr__(self) -> str:
        claim = self.claim
        lines = [f"[{label(claim.verdict)}] {claim.id}", f"  Claim: {claim.claim}"]
        lines += [f"  {name}: {text}" for name, text in self.rows()]
        return "\n".join([*lines, f"  Sources: {', '.join(claim.sources)}"])

    def _repr_html_(self) -> str:
        claim = self.claim
        rows = "".join(f"<dt>{name}</dt><dd>{rich(text)}</dd>" for name, text in self.rows())
        state = claim.verdict or "open"
        page = "../claims.html" if Path.cwd().name == "evidence" else "claims.html"
        return (
            f"<style>{CARD_CSS}</style>"
            f'<article class="cc-claim tex2jax_ignore" id="claim-{claim.id}" data-claim="{claim.id}"'
            f' data-verdict="{state}" style="--cc:{COLOURS[state]}">'
            f'<p class="cc-top">{badge(claim.verdict)}'
            f'<a class="cc-id" href="{page}#ledger-{escape(claim.id)}" title="This claim in the ledger">'
            f"{claim.id}</a></p>"
            f'<p class="cc-say">{rich(claim.claim)}</p>'
            f'<dl>{rows}<dt>Articles</dt><dd class="cc-src">{sources(claim.sources)}</dd></dl></article>'
        )

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Bundle:
        return {"text/plain": repr(self), "text/html": self._repr_html_()}, {RECORD: self.data}


def correction_name(verdict: str | None) -> str:
    """The name that the correction of a claim goes by under its verdict."""
    names = {"holds": "Remark", "holds-with-conditions": "Conditions", "untestable": "Remark"}
    return names.get(verdict or "", "Correction")


def settle(
    claim_id: str,
    outcomes: Mapping[str, Any] | bool | Literal["with conditions"] | None,
    evidence: str,
    *,
    correction: str | None = None,
) -> None:
    """Settle one claim of the ledger here: show its card and leave a record in the output of the cell.

    ``outcomes`` maps each setting of the claim's criterion to what was measured there: a number, an interval
    (an object with ``mean``, ``low`` and ``high``, or that triple), a judged contrast (which has to survive
    Holm's correction), a test of equivalence, a truth value computed from data, or ``None`` where it was not
    measured. The criterion decides what each outcome shows, and the ledger's rule turns that into the verdict.
    For a claim that cannot be tested, and only then, pass ``None`` instead; for a code sample ``True``,
    ``False`` (the code is broken) or ``"with conditions"`` will do.

    ``evidence`` is one or two sentences with the numbers (or the reason why nothing can be tested); text
    between backticks is set as code. ``correction`` replaces the correction of the ledger; ``""`` removes it.

    Raises :class:`~convcraft.ConvcraftError` for an unknown claim or setting, a setting without an outcome,
    an outcome of the wrong kind, a verdict written by hand, one that differs from the ledger's (unless the
    environment has ``CONVCRAFT_SETTLE=anew``), and for evidence without a number. Chapter: the claims ledger.

    >>> settle("relu-definition", {"100,000 numbers and 0": True}, "Equal to torch.relu on 100,000 values.")
    ... # doctest: +ELLIPSIS
    [Holds] relu-definition
      Claim: ReLU is max(0,x): identity (hence linear growth) for positive input and 0 for x <= 0.
      Evidence: Equal to torch.relu on 100,000 values.
      Settings: 100,000 numbers and 0: yes (shows it).
      Sources: a1 §2.1, a3 §3, a4 §2.3
    """
    claim = find(claim_id)
    if isinstance(outcomes, Mapping):
        if claim.untestable:
            raise ConvcraftError(
                f"outcomes: {claim_id!r} has no settings ({claim.untestable}); pass None and the reason"
            )
        judged = judge_settings(claim_id, claim.criterion, outcomes)
        word = verdict(claim.rule, [outcome["result"] for outcome in judged.values()])
    else:
        judged, word = {}, _by_hand(claim, outcomes)
    if not isinstance(evidence, str) or not evidence.strip():
        raise ConvcraftError(
            f"evidence: expected a sentence, got {evidence!r} for {claim_id!r}; say what was measured, with the numbers"
        )
    if word != "untestable" and not any(character.isdigit() for character in evidence):
        raise ConvcraftError(
            f"evidence: expected at least one number, got {evidence!r} for {claim_id!r}; "
            f"a verdict ({VERDICTS[word]}) rests on a measurement"
        )
    converted = claim.literal and bool(judged)  # a verdict so far written by hand may come out differently
    if claim.verdict not in (None, word) and not converted and os.environ.get("CONVCRAFT_SETTLE") != "anew":
        raise ConvcraftError(
            f"outcomes: the ledger says {claim.verdict!r} for {claim_id!r}, the evidence says {word!r}; find "
            "out which is right. `python tools/run_notebooks.py NOTEBOOK` settles it again, and "
            "`python tools/claims_record.py` enters that in the ledger"
        )
    settled = replace(claim, verdict=word, evidence=" ".join(evidence.split()), outcomes=judged)
    if correction is not None:
        settled = replace(settled, correction=" ".join(correction.split()) or None)
    _show(Card(settled, correction_given=correction is not None))


def open_claim(claim_id: str) -> None:
    """Show a claim that is still open, with the chapter that it waits for and what will decide it.

    Raises :class:`~convcraft.ConvcraftError` when the id is unknown or the claim is settled already. Chapter:
    the claims ledger.

    >>> open_claim("relu-definition")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    convcraft.errors.ConvcraftError: claim_id: expected an open claim, got 'relu-definition', which ...
    """
    claim = find(claim_id)
    if claim.verdict is not None:
        raise ConvcraftError(
            f"claim_id: expected an open claim, got {claim_id!r}, which the ledger has settled "
            f"({claim.verdict!r}); call settle instead"
        )
    _show(Card(claim))


def _by_hand(claim: Claim, word: object) -> str:
    """The verdict that a cell states itself: for code samples, untestable claims and transitional ones.

    The transitional ones are marked as ``literal`` in `verdicts.json`: their cells are still those of the
    first edition. A claim leaves that list for good as soon as its cell passes outcomes and is recorded.
    """
    if claim.untestable and word is None:
        return "untestable"
    if not (claim.kind == "code" or claim.literal):
        wanted = "None, since it cannot be tested" if claim.untestable else "what was measured in each setting"
        names = "".join(f"\n  {setting.name!r}: ..." for setting in claim.criterion if not setting.at_scale)
        raise ConvcraftError(f"outcomes: expected {wanted}, got {word!r} for {claim.id!r}{names}")
    if word is True:
        return "holds"
    if word is False:
        return "code-broken" if claim.kind == "code" else "false"
    if word == "with conditions":
        return "holds-with-conditions"
    raise ConvcraftError(
        f"outcomes: expected a mapping, True, False or 'with conditions', got {word!r} for {claim.id!r}"
    )


def _show(card: Card) -> None:
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:  # the lab works without IPython, with plain text
        print(card)
    else:
        (print if get_ipython() is None else display)(card)
