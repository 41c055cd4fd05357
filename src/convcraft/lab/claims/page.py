"""The whole ledger on one page: a table to search and filter without kernel or network, and the summary of counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from html import escape
from pathlib import Path

from .cards import correction_name
from .ledger import ARTICLES, CHAPTERS, VERDICTS, Claim, chapter_number, load
from .style import BORDER, LINK, MUTED, SURFACE, TEXT, badge, label, rich, shared_css, sources

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
        head = "".join(f'<th scope="col">{name}</th>' for name in ("Verdict", "Claim", "Chapter", "Articles"))
        return (
            f'<style>{_css()}</style><div class="cc-ledger tex2jax_ignore">{_filters(self.claims)}'
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
            + "".join(f"<td>{n or '<span>0</span>'}</td>" for n in numbers)
            + "</tr>"
            for chapter, numbers in self.rows()
        )
        return (
            f'<style>{_summary_css()}</style><div class="cc-sum" role="region" tabindex="0" '
            f'aria-label="Claims by chapter and verdict"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        )


def table(claims: Iterable[Claim] | None = None) -> Ledger:
    """Return the whole ledger as a table; shown in a notebook it can be searched and filtered in a static page.

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
        f"<td>{chapter_number(claim.chapter)} {escape(CHAPTERS[claim.chapter])}</td>"
        f"<td>{sources(claim.sources)}</td></tr>"
    )


def _more(claim: Claim) -> str:
    if claim.verdict is None:
        correction = f" {rich(claim.correction)}" if claim.correction else ""
        return (
            f"<p>Waits for {escape(claim.waits_for)}. <code>{claim.id}</code></p>"
            f"<details><summary>Prior and decisive test</summary><p><b>Expected:</b> {label(claim.expected).lower()}."
            f"{correction}</p><p><b>Test:</b> {rich(claim.test)}</p></details>"
        )
    page, _, anchor = (claim.where or "").partition("#")
    link = f'<a href="{page}.html#{anchor}">settled here</a>' if page else "settled"
    parts = [f"<p>{rich(claim.evidence or '')} <code>{claim.id}</code>, {link}.</p>"]
    if claim.correction and claim.verdict != "holds":
        parts.append(f"<p><b>{correction_name(claim.verdict)}:</b> {rich(claim.correction)}</p>")
    return "".join(parts)


def _filters(claims: list[Claim]) -> str:
    chapters = Counter(claim.chapter for claim in claims)
    verdicts = Counter(claim.verdict or "open" for claim in claims)
    articles = Counter(article for claim in claims for article in claim.articles)
    names = {**VERDICTS, "open": "Open"}
    return (
        '<form class="cc-filters" role="search" aria-label="Filter the ledger" hidden>'
        '<label class="cc-wide">Search<input type="search" placeholder="dead unit, softmax, 1/4 …" autocomplete="off"></label>'
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


def _css() -> str:
    control = (
        f"font:inherit;color:{TEXT};background:var(--pst-color-background,var(--jp-layout-color1,#fff));"
        f"border:1px solid {BORDER};border-radius:6px;padding:.4rem .55rem"
    )
    return (
        shared_css("cc-ledger") + f".cc-ledger{{color:{TEXT};font-size:.92rem;line-height:1.5}}"
        f".cc-filters:not([hidden]){{display:grid;grid-template-columns:2fr 1.5fr 1.2fr 2fr;gap:.6rem;padding:.8rem;"
        f"margin-bottom:1rem;background:{SURFACE};border:1px solid {BORDER};border-radius:8px}}"
        f".cc-filters label{{display:block;font-size:.8rem;font-weight:600;color:{MUTED};min-width:0;margin:0}}"
        f".cc-filters input,.cc-filters select{{{control};display:block;width:100%;min-width:0;margin-top:.2rem;height:2.4rem}}"
        f".cc-filters button{{{control};padding:.15rem .7rem;cursor:pointer}}"
        ".cc-filters :focus-visible,.cc-ledger summary:focus-visible{outline:2px solid currentColor;outline-offset:1px}"
        ".cc-filters p{grid-column:1/-1;display:flex;justify-content:space-between;align-items:center;margin:0}"
        ".cc-ledger table{border-collapse:collapse;width:100%;margin:0;table-layout:fixed}"
        f".cc-ledger thead th{{position:sticky;top:var(--pst-header-height,0);text-align:left;padding:.5rem .7rem;color:{MUTED};"
        f"border-bottom:2px solid {BORDER};background:var(--pst-color-background,var(--jp-layout-color1,#fff))}}"
        f".cc-ledger tbody td{{padding:.75rem .7rem;border-bottom:1px solid {BORDER};vertical-align:top;text-align:left;"
        "overflow-wrap:anywhere}"
        ".cc-ledger th:nth-child(1){width:20%}.cc-ledger th:nth-child(3){width:16%}.cc-ledger th:nth-child(4){width:16%}"
        f".cc-ledger tbody tr{{background:none;scroll-margin-top:6rem}}.cc-ledger tbody tr:target{{background:{SURFACE}}}"
        f".cc-ledger td p,.cc-ledger details{{margin:.3rem 0 0;color:{MUTED};font-size:.87rem}}"
        f".cc-ledger td p.cc-say{{margin:0;color:{TEXT};font-size:1em}}"
        f".cc-ledger td:nth-child(n+3){{color:{MUTED};font-size:.87rem}}"
        f".cc-ledger summary{{cursor:pointer;color:{LINK}}}.cc-ledger code{{font-size:.82em;color:inherit;background:none;"
        "border:0;padding:0}"
        ".cc-ledger td:nth-child(4) span{display:block}"
        "@media(max-width:720px){.cc-filters:not([hidden]){grid-template-columns:1fr 1fr}.cc-filters .cc-wide{grid-column:1/-1}"
        ".cc-ledger thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}"
        ".cc-ledger table,.cc-ledger tbody,.cc-ledger tr,.cc-ledger td{display:block;width:auto}"
        f".cc-ledger tbody tr{{border:1px solid {BORDER};border-radius:8px;padding:.8rem .9rem;margin-bottom:.8rem}}"
        ".cc-ledger tbody td{border:0;padding:0;margin-bottom:.35rem}.cc-ledger td:nth-child(4) span{display:inline}}"
        ".cc-ledger tbody tr[hidden]{display:none}"
    )


def _summary_css() -> str:
    return (
        shared_css("cc-sum") + f".cc-sum{{overflow-x:auto;color:{TEXT};font-size:.9rem}}"
        ".cc-sum table{border-collapse:collapse;width:100%;margin:0}"
        f".cc-sum th,.cc-sum td{{padding:.35rem .6rem;border-bottom:1px solid {BORDER};text-align:right;vertical-align:bottom}}"
        f".cc-sum th:first-child{{text-align:left;font-weight:400}}.cc-sum td span{{color:{MUTED};opacity:.45}}"
        ".cc-sum thead .cc-v{flex-direction:column;align-items:flex-end;line-height:1.25}"
        f".cc-sum .cc-all :is(th,td){{font-weight:700;border-top:2px solid {BORDER}}}"
    )
