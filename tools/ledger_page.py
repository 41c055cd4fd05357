"""The page of the claims ledger: rows to open, search and filter without kernel or network.

`table()`, `summary()` and `changes()` are what book/claims.ipynb shows.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from html import escape
from pathlib import Path

from convcraft.lab.claims.cards import RESULTS, correction_name
from convcraft.lab.claims.criteria import verdict
from convcraft.lab.claims.ledger import ARTICLES, CAUSES, CHAPTERS, VERDICTS, Claim, load
from convcraft.lab.claims.style import COLOURS, badge, label, rich, sheet

_SCRIPT = Path(__file__).resolve().with_name("ledger_page.js")

_LEDGER = """
.cc-ledger { color: $text; font-size: .92rem; line-height: 1.5 }
.cc-filters:not([hidden]) { display: grid; grid-template-columns: 2fr 1.4fr 1.3fr 1.6fr; gap: .6rem;
  padding: .8rem; margin-bottom: 1rem; background: $surface; border: 1px solid $line; border-radius: 8px }
.cc-filters label { display: block; min-width: 0; margin: 0;
  font-size: .8rem; font-weight: 600; color: $muted }
.cc-filters :is(input, select, button) { font: inherit; font-weight: 400; color: $text; background: $ground;
  border: 1px solid $muted; border-radius: 6px; padding: .35rem .55rem }
.cc-filters :is(input, select) { display: block; width: 100%; min-width: 0; height: 2.3rem; margin-top: .2rem;
  font-size: .9rem }
.cc-filters button { padding: .15rem .7rem; cursor: pointer }
.cc-ledger :focus-visible { outline: 2px solid $link; outline-offset: 1px }
.cc-filters p { grid-column: 1 / -1; margin: 0;
  display: flex; justify-content: space-between; align-items: center }
.cc-row { border-bottom: 1px solid $line; scroll-margin-top: 5rem }
.cc-ledger .cc-row summary { display: grid; grid-template-columns: 1rem 13rem 1fr; gap: .2rem .6rem;
  align-items: start; padding: .55rem .4rem; cursor: pointer; list-style: none; color: $text }
.cc-ledger .cc-row summary::-webkit-details-marker { display: none }
.cc-ledger .cc-row summary::before { content: "▸"; color: $muted }
.cc-ledger .cc-row[open] summary::before { content: "▾" }
.cc-ledger .cc-row summary:hover { background: $surface }
.cc-row[open] summary .cc-say { font-weight: 600 }
.cc-row summary .cc-v { white-space: nowrap }
.cc-ledger .cc-row p { margin: .3rem 0 }
.cc-row dl { display: grid; grid-template-columns: 9.5rem 1fr; gap: .35rem .8rem; margin: 0;
  padding: .2rem .4rem 1.1rem 2rem; font-size: .9rem; overflow-wrap: anywhere; scroll-margin-top: 9rem }
.cc-row dt { color: $muted; font-weight: 600; margin: 0 }
.cc-row dd { margin: 0 }
.cc-row dd ul { margin: 0; padding-left: 1.1rem }
.cc-ledger .cc-row dd p:first-child { margin-top: 0 }
.cc-out { color: $muted }
.cc-out b { color: $text }
.cc-none { padding: 1rem .4rem; color: $muted }
.cc-ledger code { padding: 0; border: 0; background: none; color: $muted; font-size: .82em }
@media (max-width: 720px) {
  .cc-filters:not([hidden]) { grid-template-columns: 1fr 1fr }
  .cc-filters label:is(.cc-wide, :last-of-type) { grid-column: 1 / -1 }
  .cc-ledger .cc-row summary { grid-template-columns: 1rem 1fr }
  .cc-row summary .cc-say { grid-column: 2 }
  .cc-row dl { grid-template-columns: 1fr; gap: .05rem; padding-left: 1.6rem }
  .cc-row dd { margin-bottom: .5rem } }
.cc-ledger .cc-row[hidden], .cc-ledger .cc-none[hidden] { display: none }
"""

_SUMMARY = """
.cc-sum { overflow-x: auto; color: $text; font-size: .9rem }
.cc-sum table { width: 100%; margin: 0; border-collapse: collapse }
.cc-sum :is(th, td) { padding: .35rem .3rem; border-bottom: 1px solid $line; text-align: right;
  vertical-align: bottom }
.cc-sum tbody tr { background: none }
.cc-sum th:first-child { text-align: left; font-weight: 400 }
.cc-sum thead th { font-weight: 600; line-height: 1.25 }
.cc-sum td.cc-0 { color: $muted; opacity: .75 }
.cc-sum thead .cc-v { flex-direction: column; align-items: flex-end }
.cc-sum .cc-all :is(th, td) { font-weight: 700; border-top: 2px solid $line; border-bottom: 0 }
@media (max-width: 600px) {
  .cc-sum { font-size: .8rem }
  .cc-sum table { table-layout: fixed }
  .cc-sum :is(th, td) { padding: .35rem .15rem }
  .cc-sum th:first-child { width: 36%; white-space: normal }
  .cc-sum thead .cc-v { writing-mode: vertical-rl; flex-direction: row; align-items: center } }
"""


def _coloured(root: str) -> str:
    """The colour of every verdict's icon below ``root``."""
    return "".join(f".{root} .cc-v-{name} svg {{ color: {colour} }}\n" for name, colour in COLOURS.items())


# The class is doubled to weigh more than the theme's rules for tables in outputs.
LEDGER_CSS = sheet("cc-ledger", _LEDGER + _coloured("cc-ledger")).replace(
    ".cc-ledger ", ".cc-ledger.cc-ledger "
)
SUMMARY_CSS = sheet("cc-sum", _SUMMARY + _coloured("cc-sum")).replace(".cc-sum ", ".cc-sum.cc-sum ")

# Words that mean the same to someone who searches: an entry with one of a line is found by each of it.
_SYNONYMS = (
    r"batchnorm|batch[- ]?norm\w*|\bbn\b",
    r"recalibrat\w*|re-?estimat\w*|\banew\b|running statistics",
    r"co-?adapt\w*|coupl\w*|dependence between neurons",
    r"\bdead\b|dying|\bdie[sd]?\b|silent",
    r"swish|silu|sigmoid linear",
    r"kaiming|\bhe\b[' ]\w* ?(?:init|scale|rule|weights)|he's (?:init|scale|rule|weights)",
    r"xavier|glorot",
    r"lasso|\bl1\b",
    r"ridge|\bl2\b|weight[_ -]?decay",
    r"sigmoid|logistic",
    r"cnn|conv(?:olutional )?net\w*",
    r"rnn|recurrent|lstm|\bgru\b",
    r"nonlinear\w*|non-linear\w*",
    r"learning[- ]rate|step[- ]size|\blr\b",
    r"overfit\w*|generali[sz]\w*",
    r"augment\w*|flips?|crops?|mixup|cutmix",
    r"skips?|residual|shortcut",
    r"calibrat\w*|\bece\b|confiden\w*",
    r"internal covariate shift|\bics\b|covariate",
)
_SYNONYM = [(re.compile(line, re.I), line) for line in _SYNONYMS]


class Ledger:
    """The claims as rows that open: HTML with search and filters, and plain text."""

    def __init__(self, claims: Iterable[Claim]) -> None:
        self.claims = list(claims)

    def __repr__(self) -> str:
        width = max((len(claim.id) for claim in self.claims), default=0)
        return "\n".join(f"{claim.id:{width}}  {label(claim.verdict)}" for claim in self.claims)

    def _repr_html_(self) -> str:
        rows = "".join(_row(claim) for claim in self.claims)
        return (
            f'<style>{LEDGER_CSS}</style><div class="cc-ledger tex2jax_ignore">{_filters(self.claims)}'
            f'{rows}<p class="cc-none" hidden>No claim has all of these words and filters. '
            f"Fewer words, or <b>Show all</b>, bring some back.</p>"
            f"<script>{_SCRIPT.read_text(encoding='utf-8').strip()}</script></div>"
        )


class Summary:
    """Counts of claims by chapter and verdict: HTML and plain text."""

    def __init__(self, claims: Iterable[Claim]) -> None:
        self.counts: dict[str, Counter[str | None]] = {chapter: Counter() for chapter in CHAPTERS}
        for claim in claims:
            self.counts[claim.chapter][claim.verdict] += 1

    def rows(self) -> list[tuple[str, list[int]]]:
        """Chapter and its counts (by verdict, then open, then all), the last row for the whole book."""
        keys: list[str | None] = [*VERDICTS, None]
        rows = []
        for chapter, tally in self.counts.items():
            numbers = [tally[key] for key in keys]
            rows.append((CHAPTERS[chapter], [*numbers, sum(numbers)]))
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


class Changes:
    """The verdicts that the second edition changed, with cause and reason: HTML and plain text."""

    def __init__(self, claims: Iterable[Claim]) -> None:
        self.claims = [c for c in claims if c.first_edition and c.verdict and c.verdict != c.first_edition]

    def reason(self, claim: Claim) -> str:
        """Why the verdict differs: the entry's own words, or those of its amendment."""
        return claim.changed or " ".join(amendment.reason for amendment in claim.amendments[:1])

    def __repr__(self) -> str:
        lines = [
            f"{c.id}: {label(c.first_edition)} -> {label(c.verdict)} "
            f"({CAUSES.get(c.cause or '', 'no cause given')}): {self.reason(c)}"
            for c in self.claims
        ]
        return "\n".join(lines) or "No verdict of the first edition has changed."

    def _repr_html_(self) -> str:
        rows = "".join(
            '<div class="cc-row">'
            f'<p class="cc-say"><a href="claims.html#ledger-{c.id}">{rich(c.claim)}</a></p>'
            f"<p>{badge(c.first_edition)} → {badge(c.verdict)}</p>"
            f"<p><b>{CAUSES.get(c.cause or '', 'No cause given')}.</b> {rich(self.reason(c))}</p></div>"
            for c in self.claims
        )
        return f'<style>{LEDGER_CSS}</style><div class="cc-ledger tex2jax_ignore">{rows or repr(self)}</div>'


def table(claims: Iterable[Claim] | None = None) -> Ledger:
    """Return the whole ledger as rows, which a reader of the static page can open, search and filter."""
    return Ledger(load().values() if claims is None else claims)


def summary(claims: Iterable[Claim] | None = None) -> Summary:
    """Return the counts of claims by chapter and verdict."""
    return Summary(load().values() if claims is None else claims)


def changes(claims: Iterable[Claim] | None = None) -> Changes:
    """Return the verdicts of the first edition that have changed, with cause and reason."""
    return Changes(load().values() if claims is None else claims)


def keywords(text: str) -> str:
    """Search words beside those of a text: all synonyms of what it names."""
    return " ".join(_plain(line) for pattern, line in _SYNONYM if pattern.search(text))


def _plain(pattern: str) -> str:
    words = re.sub(r"\(\?:.*?\)|\[.*?\]\??|\\[bw]\*?", "", pattern).replace("|", " ")
    return re.sub(r"[-?\\]", "", words)


def what_would_change(claim: Claim) -> str:
    """Which other outcome of one setting would give the claim another verdict."""
    if claim.untestable:
        return "A way to measure it."
    if not claim.outcomes:
        return "What its settings show, once they are evaluated." if claim.verdict else ""
    results = {name: outcome["result"] for name, outcome in claim.outcomes.items()}
    found: dict[tuple[str, str], list[str]] = {}
    for name, now in results.items():
        for other in ("shows", "opposite", "neither"):
            word = verdict(claim.rule, list({**results, name: other}.values()))
            if other != now and word != claim.verdict:
                found.setdefault((other, word), []).append(name)
    says = {"shows": "showed it", "opposite": "showed the opposite", "neither": "decided nothing"}
    parts = [
        f"{VERDICTS[word]}, if {' or '.join(f'“{name}”' for name in names)} {says[other]}."
        if len(names) < len(results) or len(names) == 1
        else f"{VERDICTS[word]}, if any one setting {says[other]}."
        for (other, word), names in found.items()
    ]
    return " ".join(parts) or "No single setting; several would have to come out otherwise."


def _row(claim: Claim) -> str:
    words = " ".join(filter(None, (claim.claim, claim.evidence, claim.correction, claim.id)))
    return (
        f'<details class="cc-row" data-c="{claim.chapter}" data-v="{claim.verdict or "open"}"'
        f' data-a="{" ".join(claim.articles)}" data-k="{escape(keywords(words))}">'
        f'<summary>{badge(claim.verdict)}<span class="cc-say">{rich(claim.claim)}</span></summary>'
        f'<dl id="ledger-{claim.id}">{"".join(f"<dt>{n}</dt><dd>{t}</dd>" for n, t in _parts(claim) if t)}'
        "</dl></details>"
    )


def _parts(claim: Claim) -> list[tuple[str, str]]:
    """Name and HTML of what an open row shows."""
    changed = claim.first_edition and claim.verdict and claim.first_edition != claim.verdict
    first = label(claim.first_edition) + "." if claim.first_edition else ""
    if changed:
        first += f" {CAUSES.get(claim.cause or '', '')}. {rich(claim.changed or '')}"
    strength = f"<b>{claim.strength}</b>" + (f": {rich(claim.wording)}" if claim.wording else "")
    return [
        ("Articles", _articles(claim)),
        ("Strength", strength),
        ("Cannot be tested" if claim.untestable else "Criterion", _criterion(claim)),
        ("Test, as first written", rich(claim.test)),
        ("Amendments", "".join(f"<p>{_amendment(a)}</p>" for a in claim.amendments)),
        ("Expected", f"{label(claim.expected)}, before any experiment."),
        ("Evidence", f'<span class="s">{rich(claim.evidence)}</span>' if claim.evidence else ""),
        (
            correction_name(claim.verdict) if claim.verdict else "Literature",
            f'<span class="s">{rich(claim.correction)}</span>' if claim.correction else "",
        ),
        ("Note", rich(claim.remark or "")),
        ("What would change it", rich(what_would_change(claim))),
        ("First edition", first),
        (
            "Settled in" if claim.verdict else "Waits for",
            (_link(claim.where) if claim.verdict else f"{escape(claim.waits_for)}.")
            + f' <code class="s">{claim.id}</code>',
        ),
    ]


def _amendment(amendment: object) -> str:
    a = vars(amendment)
    old, new = a["old"].rstrip("."), a["new"].rstrip(".")
    return rich(f"{a['date']}. Before: {old}. Now: {new}.") + f" <i>Reason:</i> {rich(a['reason'])}"


def _criterion(claim: Claim) -> str:
    if claim.untestable:
        return rich(claim.untestable)
    rows = []
    for setting in claim.criterion:
        outcome = claim.outcomes.get(setting.name)
        opposite = f"; opposite: {setting.in_words(setting.opposite)}" if setting.opposite else ""
        late = "not run yet" if setting.at_scale else "not evaluated yet" if claim.verdict else "open"
        says = f"<b>{outcome['value']}</b> {RESULTS[outcome['result']]}" if outcome else late
        rows.append(
            f"<li><b>{rich(setting.name)}</b>{' (at scale)' if setting.at_scale else ''}: "
            f"{rich(setting.measure)}. Shows it: {setting.in_words(setting.shows)}{opposite}. "
            f'<span class="cc-out">{says}</span></li>'
        )
    return f"<ul>{''.join(rows)}</ul>"


def _articles(claim: Claim) -> str:
    grouped: dict[str, list[str]] = {}
    for source in claim.sources:
        article, section = source.split(maxsplit=1)
        grouped.setdefault(article, []).append(escape(section))
    return "; ".join(
        f"{escape(ARTICLES[article])} ({article}), {', '.join(sections)}"
        for article, sections in sorted(grouped.items())
    )


def _link(where: str | None) -> str:
    """Link to the card that settles a claim, from its place in the ledger: ``evidence/dropout#claim-…``."""
    if not where:
        return "an earlier edition."
    page, _, anchor = where.partition("#")
    name = re.sub(r"^\d+_", "", page.split("/")[-1]).replace("_", " ")
    kind = "evidence: " if page.startswith("evidence/") else ""
    return f'<a href="{page}.html#{anchor}">{kind}{escape(name)}</a>'


def _filters(claims: list[Claim]) -> str:
    chapters = Counter(claim.chapter for claim in claims)
    verdicts = Counter(claim.verdict or "open" for claim in claims)
    articles = Counter(article for claim in claims for article in claim.articles)
    names = {**VERDICTS, "open": "Open"}
    return (
        '<form class="cc-filters" role="search" aria-label="Filter the ledger" hidden>'
        '<label class="cc-wide">Search<input type="search" name="q" autocomplete="off"'
        ' placeholder="dead, softmax, batch norm …"></label>'
        + _select("Chapter", "c", [(c, f"{CHAPTERS[c]} ({chapters[c]})") for c in CHAPTERS])
        + _select("Verdict", "v", [(v, f"{names[v]} ({verdicts[v]})") for v in names])
        + _select("Article", "a", [(a, f"{a} {ARTICLES[a]} ({articles[a]})") for a in ARTICLES])
        + '<p><output aria-live="polite"></output> <button type="reset">Show all</button></p></form>'
    )


def _select(name: str, key: str, options: list[tuple[str, str]]) -> str:
    items = "".join(f'<option value="{value}">{escape(text)}</option>' for value, text in options)
    return f'<label>{name}<select name="{key}"><option value="">All</option>{items}</select></label>'
