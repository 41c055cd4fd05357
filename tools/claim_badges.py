"""Sphinx extension: a claim of the ledger as a badge, one line with its verdict and a link to its entry.

    {claim}`Dropout divides by the keep rate <dropout-scaling-preserves-expected-output>`

The verdict is read from the ledger when the book is built, so that a page cannot drift from it. Without a
sentence of its own the badge shows the claim as the ledger words it. An unknown claim is a warning, which the
strict build turns into an error.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole

from convcraft.lab import claims
from convcraft.lab.claims.style import badge

LEDGER = "book/claims"


class claim_badge(nodes.Inline, nodes.TextElement):
    """The badge in the document; its text is what a builder without HTML shows."""


class ClaimRole(SphinxRole):
    """`{claim}`: a sentence and the id of a claim, or the id alone."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        sentence, _, rest = self.text.partition("<")
        known, name = claims.load(), (rest.rstrip("> ") if rest else self.text).strip()
        if name not in known:
            logging.getLogger(__name__).warning("unknown claim %r", name, location=self.get_location())
            return [nodes.literal(self.text, self.text)], []
        found = known[name]
        shown = sentence.strip() or found.claim
        return [claim_badge(shown, f"{found.label}: {shown}", claim=name, verdict=found.verdict)], []


def visit_html(visitor: Any, node: nodes.Element) -> None:
    builder = visitor.builder
    page = builder.get_relative_uri(builder.current_docname, LEDGER)
    verdict = node["verdict"] or "open"
    sentence = visitor.encode(node.rawsource)
    visitor.body.append(
        f'<a class="cc-badge" data-verdict="{verdict}" href="{page}#ledger-{node["claim"]}">'
        f'{badge(node["verdict"])}<span class="cc-badge-says">{sentence}</span></a>'
    )
    raise nodes.SkipNode


def visit_plain(visitor: Any, node: nodes.Element) -> None:
    """Any other builder shows the text."""


def setup(app: Any) -> dict[str, bool]:
    plain = (visit_plain, visit_plain)
    app.add_node(claim_badge, html=(visit_html, None), latex=plain, text=plain)
    app.add_role("claim", ClaimRole())
    return {"parallel_read_safe": True, "parallel_write_safe": True}
