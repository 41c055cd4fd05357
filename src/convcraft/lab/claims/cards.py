"""Settling a claim in a notebook: a call shows a card and leaves a machine-readable record in the output."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from convcraft.errors import ConvcraftError

from .ledger import CHAPTERS, VERDICTS, Claim, chapter_number, find
from .style import CARD_CSS, COLOURS, badge, label, rich, sources

RECORD = "convcraft_claim"  # key of the record in the metadata of an output

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
            return {"id": claim.id, "verdict": None, "study": claim.study}
        record: dict[str, Any] = {"id": claim.id, "verdict": claim.verdict, "evidence": claim.evidence}
        if self.correction_given:
            record["correction"] = claim.correction
        return record

    def rows(self) -> list[tuple[str, str]]:
        """Name and text of what stands below the claim."""
        claim, rows = self.claim, []
        if claim.verdict is None:
            rows += [("Waits for", f"{claim.waits_for}."), ("Test", claim.test)]
        elif claim.evidence:
            rows.append(("Evidence", claim.evidence))
        if claim.correction and claim.verdict not in (None, "holds"):
            rows.append((correction_name(claim.verdict), claim.correction))
        if claim.verdict and claim.verdict != claim.expected:
            rows.append(("Expected", f"{label(claim.expected)}, before the experiment; the evidence stands."))
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
        return (
            f"<style>{CARD_CSS}</style>"
            f'<article class="cc-claim tex2jax_ignore" id="claim-{claim.id}" data-claim="{claim.id}"'
            f' data-verdict="{state}" style="--cc:{COLOURS[state]}">'
            f'<p class="cc-top">{badge(claim.verdict)}'
            f'<a class="cc-id" href="claims.html#ledger-{claim.id}" title="This claim in the ledger">'
            f"{claim.id}</a></p>"
            f'<p class="cc-say">{rich(claim.claim)}</p>'
            f'<dl>{rows}<dt>Articles</dt><dd class="cc-src">{sources(claim.sources)}</dd></dl></article>'
        )

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Bundle:
        return {"text/plain": repr(self), "text/html": self._repr_html_()}, {RECORD: self.data}


def correction_name(verdict: str | None) -> str:
    """What the correction of a claim is called under its verdict."""
    return {"holds-with-conditions": "Conditions", "untestable": "Remark"}.get(verdict or "", "Correction")


def settle(
    claim_id: str,
    holds: bool | Literal["with conditions"] | None,
    evidence: str,
    *,
    correction: str | None = None,
) -> None:
    """Settle one claim of the ledger here: show its card and leave a record in the output of the cell.

    ``holds`` is what the evidence says: ``True``, ``False``, ``"with conditions"``, or ``None`` for a claim
    that no experiment can decide. For a claim about a code sample ``False`` means that the code is broken.
    ``evidence`` is one or two sentences with the numbers (or, for ``None``, the reason); text between
    backticks is set as code. ``correction`` replaces the correction of the ledger where the evidence differs
    from what was expected; ``""`` removes it.

    Raises :class:`~convcraft.ConvcraftError` when the id is unknown, when ``holds`` disagrees with the
    verdict that the ledger already has, and when the evidence is empty or has no number.

    >>> settle("relu-definition", True, "Equal to torch.relu on all of 100,000 values.")  # doctest: +ELLIPSIS
    [Holds] relu-definition
      Claim: ReLU is max(0,x): identity (hence linear growth) for positive input and 0 for x <= 0.
      Evidence: Equal to torch.relu on all of 100,000 values.
      Sources: a1 §2.1, a3 §3, a4 §2.3

    Chapter: the claims ledger.
    """
    claim = find(claim_id)
    verdict = _verdict(claim, holds)
    _check_evidence(claim_id, verdict, evidence)
    if claim.verdict is not None and claim.verdict != verdict:
        raise ConvcraftError(
            f"holds: the ledger says {claim.verdict!r} for {claim_id!r}, the evidence says {verdict!r} "
            f"(holds={holds!r}); find out which is right, then change the call or run "
            f"`python -m convcraft claims reopen {claim_id}`"
        )
    settled = replace(claim, verdict=verdict, evidence=" ".join(evidence.split()), study=None)
    if correction is not None:
        settled = replace(settled, correction=" ".join(correction.split()) or None)
    _show(Card(settled, correction_given=correction is not None))


def open_claim(claim_id: str) -> None:
    """Show a claim that this chapter leaves open, with the study that it waits for and what will decide it.

    Raises :class:`~convcraft.ConvcraftError` when the id is unknown, the claim is settled already, or the
    ledger names no study for it.

    >>> open_claim("relu-definition")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    convcraft.errors.ConvcraftError: claim_id: expected an open claim, got 'relu-definition', which ...

    Chapter: the claims ledger.
    """
    claim = find(claim_id)
    if claim.verdict is not None:
        raise ConvcraftError(
            f"claim_id: expected an open claim, got {claim_id!r}, which the ledger has settled "
            f"({claim.verdict!r}); call settle instead"
        )
    if not claim.study:
        raise ConvcraftError(
            f"claim_id: expected a claim that waits for a study, got {claim_id!r}, for which the ledger "
            f"names none; settle it in chapter {chapter_number(claim.chapter)} "
            f"({CHAPTERS[claim.chapter]}) or give it a `study` in claims.yml"
        )
    _show(Card(claim))


def _verdict(claim: Claim, holds: object) -> str:
    if holds is True:
        return "holds"
    if holds is False:
        return "code-broken" if claim.kind == "code" else "false"
    if holds == "with conditions":
        return "holds-with-conditions"
    if holds is None:
        return "untestable"
    raise ConvcraftError(
        f"holds: expected True, False, 'with conditions' or None, got {holds!r} for {claim.id!r}"
    )


def _check_evidence(claim_id: str, verdict: str, evidence: object) -> None:
    if not isinstance(evidence, str) or not evidence.strip():
        raise ConvcraftError(
            f"evidence: expected a sentence, got {evidence!r} for {claim_id!r}; "
            "say what was measured, with the numbers"
        )
    if verdict != "untestable" and not any(character.isdigit() for character in evidence):
        raise ConvcraftError(
            f"evidence: expected at least one number, got {evidence!r} for {claim_id!r}; "
            f"a verdict ({VERDICTS[verdict]}) rests on a measurement"
        )


def _show(card: Card) -> None:
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:  # the lab works without IPython, with plain text
        print(card)
        return
    if get_ipython() is None:
        print(card)
    else:
        display(card)
