"""The whole ledger on one page: a table to search and filter without kernel or network, and its summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from html import escape
from pathlib import Path

from .cards import correction_name
from .ledger import ARTICLES, CHAPTERS, VERDICTS, Claim, chapter_number, load
from .style import LEDGER_CSS, SUMMARY_CSS, badge, label, rich, sources

_SCRIPT = Path(__file__).resolve().parent.parent / "claims.js"


class Ledger:
    """The table of claims: HTML with search and filters, and plain text."""

    def __init__(self, claims: Iterable[Claim]) -> None:
        self.claims = list(claims)

    def __repr__(self) -> str:
        width = max((len(claim.id) for claim in self.claims), default=0)
        return "\n".join(
            f"{chapter_number(claim.chapter):2}  {claim.id:{width}}  {label(claim.verdict)}"
            for claim in self.claims
        )

    def _repr_html_(self) -> str:
        rows = "".join(_row(claim) for claim in self.claims)
        head = "".join(f'<th scope="col">{name}</th>' for name in ("Verdict", "Claim", "Chapter, articles"))
        return (
            f'<style>{LEDGER_CSS}</style><div class="cc-ledger tex2jax_ignore">{_filters(self.claims)}'
            f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
            f"<script>{_SCRIPT.read_text(encoding='utf-8').strip()}</script></div>"
        )


class Summary:
    """Counts of claims by chapter and verdict: HTML and plain text."""

    def __init__(self, claims: Iterable[Claim]) -> None:
        self.counts: dict[str, Counter[str | None]] = {chapter: Counter() for chapter in CHAPTERS}
        for claim in claims:
            self.counts[claim.chapter][claim.verdict] += 1

    def rows(self) -> list[tuple[str, list[int]]]:
        """Chapter and its counts (one a verdict, then open, then all), the last row for the whole book."""
        keys: list[str | None] = [*VERDICTS, None]
        rows = []
        for chapter, tally in self.counts.items():
            numbers = [tally[key] for key in keys]
            rows.append((f"{chapter_number(chapter)} {CHAPTERS[chapter]}", [*numbers, sum(numbers)]))
        total = [sum(column) for column in zip(*(numbers for _, numbers in rows), strict=True)]
        return [*rows, ("All", total)]

    def __repr__(self) -> str:
        names = [*VERDICTS.values(), "Open", "All"]
        lines = [f"{'Chapter':30}" + "".join(f"{name:>{len(name) + 2}}" for name in names)]
        for chapter, numbers in self.rows():
            cells = (f"{n:>{len(name) + 2}}" for n, name in zip(numbers, names, strict=True))
            lines.append(f"{chapter:30}" + "".join(cells))
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        names = [badge(verdict) for verdict in [*VERDICTS, None]]
        head = "".join(f'<th scope="col">{name}</th>' for name in ["Chapter", *names, "All"])
        body = "".join(
            f'<tr{" class=cc-all" if chapter == "All" else ""}><th scope="row">{escape(chapter)}</th>'
            + "".join(f"<td>{n}</td>" if n else '<td class="cc-0">0</td>' for n in numbers)
            + "</tr>"
            for chapter, numbers in self.rows()
        )
        return (
            f'<style>{SUMMARY_CSS}</style><div class="cc-sum" role="region" tabindex="0" '
            f'aria-label="Claims by chapter and verdict"><table><thead><tr>{head}</tr></thead>'
            f"<tbody>{body}</tbody></table></div>"
        )


def table(claims: Iterable[Claim] | None = None) -> Ledger:
    """Return the whole ledger as a table, which a reader of the static page can search and filter.

    >>> print(str(table()).splitlines()[0])  # doctest: +ELLIPSIS
     1  cnn-is-conv-pool-fc-stack ...

    Chapter: the claims ledger.
    """
    return Ledger(load().values() if claims is None else claims)


def summary(claims: Iterable[Claim] | None = None) -> Summary:
    """Return the counts of claims by chapter and verdict.

    >>> summary().rows()[-1][1][-1]
    152

    Chapter: the claims ledger.
    """
    return Summary(load().values() if claims is None else claims)


def _row(claim: Claim) -> str:
    return (
        f'<tr id="ledger-{claim.id}" data-c="{claim.chapter}" data-v="{claim.verdict or "open"}"'
        f' data-a="{" ".join(claim.articles)}"><td>{badge(claim.verdict)}</td>'
        f'<td><p class="cc-say">{rich(claim.claim)}</p>{_more(claim)}</td>'
        f"<td>{chapter_number(claim.chapter)} {escape(CHAPTERS[claim.chapter])}"
        f"<p>{sources(claim.sources, ' ')}</p></td></tr>"
    )


def _more(claim: Claim) -> str:
    if claim.verdict is None:
        correction = f" {rich(claim.correction)}" if claim.correction else ""
        return (
            f"<p>Waits for {escape(claim.waits_for)}.<br><code>{claim.id}</code></p>"
            "<details><summary>Prior and decisive test</summary>"
            f"<p><b>Expected:</b> {label(claim.expected).lower()}."
            f"{correction}</p><p><b>Test:</b> {rich(claim.test)}</p></details>"
        )
    parts = [f"<p>{rich(claim.evidence or '')}</p>"]
    if claim.correction and claim.verdict != "holds":
        parts.append(f"<p><b>{correction_name(claim.verdict)}:</b> {rich(claim.correction)}</p>")
    return "".join([*parts, f"<p>{_link(claim.where)}<br><code>{claim.id}</code></p>"])


def _link(where: str | None) -> str:
    """Link to the card that settles a claim, from its place in the ledger: ``02_activations#claim-…``."""
    if not where:
        return "Settled."
    page, _, anchor = where.partition("#")
    number, _, name = page.partition("_")
    place = f"chapter {int(number)}" if number.isdigit() else page
    return f'<a href="{page}.html#{anchor}" title="{escape(name or page)}">Settled in {place}</a>'


def _filters(claims: list[Claim]) -> str:
    chapters = Counter(claim.chapter for claim in claims)
    verdicts = Counter(claim.verdict or "open" for claim in claims)
    articles = Counter(article for claim in claims for article in claim.articles)
    names = {**VERDICTS, "open": "Open"}
    return (
        '<form class="cc-filters" role="search" aria-label="Filter the ledger" hidden>'
        '<label class="cc-wide">Search<input type="search" placeholder="dead, softmax, 1/4 …"'
        ' autocomplete="off"></label>'
        + _select(
            "Chapter", "c", [(c, f"{chapter_number(c)} {CHAPTERS[c]} ({chapters[c]})") for c in CHAPTERS]
        )
        + _select("Verdict", "v", [(v, f"{names[v]} ({verdicts[v]})") for v in names])
        + _select("Article", "a", [(a, f"{a} {ARTICLES[a]} ({articles[a]})") for a in ARTICLES])
        + '<p><output aria-live="polite"></output> <button type="reset">Show all</button></p></form>'
    )


def _select(name: str, key: str, options: list[tuple[str, str]]) -> str:
    items = "".join(f'<option value="{value}">{escape(text)}</option>' for value, text in options)
    return f'<label>{name}<select name="{key}"><option value="">All</option>{items}</select></label>'
