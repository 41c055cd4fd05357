"""How a verdict looks: icons, colours and the style sheet of the cards.

Colours are the variables of the book's theme, then JupyterLab's, so that both follow light and dark.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape

from .ledger import ARTICLES, VERDICTS

_TOKENS = {
    "$text": "var(--pst-color-text-base,var(--jp-content-font-color1,#222832))",
    "$muted": "var(--pst-color-text-muted,var(--jp-content-font-color2,#48566b))",
    "$line": "var(--pst-color-border,var(--jp-border-color2,#d1d5da))",
    "$surface": "var(--pst-color-surface,var(--jp-layout-color2,#f3f4f5))",
    "$ground": "var(--pst-color-background,var(--jp-layout-color1,#fff))",
    "$link": "var(--pst-color-link,var(--jp-content-link-color,#0a7d91))",
}

COLOURS = {
    "holds": "var(--pst-color-success,#00843f)",
    "holds-with-conditions": "var(--pst-color-warning,#d9730d)",
    "not-supported": "var(--pst-color-accent,#8045e5)",
    "false": "var(--pst-color-danger,#d72d47)",
    "code-broken": "var(--pst-color-danger,#d72d47)",
    "untestable": _TOKENS["$muted"],
    "open": "var(--pst-color-info,#276be9)",
}

_RING = '<circle cx="8" cy="8" r="6.7" fill="none" stroke="currentColor" stroke-width="1.6"'
_DISC = '<circle cx="8" cy="8" r="7.5" fill="currentColor"/>'

# Each icon has a shape of its own, so that the verdict does not rest on colour.
_ICONS = {
    "holds": _DISC + '<path class="k" d="M4.2 8.4l2.6 2.6 5-5.6"/>',
    "holds-with-conditions": _RING + '/><path d="M8 1.3a6.7 6.7 0 0 1 0 13.4z" fill="currentColor"/>',
    "not-supported": _RING + '/><path d="M3.6 12.4l8.8-8.8" stroke="currentColor" stroke-width="1.6"/>',
    "false": _DISC + '<path class="k" d="M5 5l6 6M11 5l-6 6"/>',
    "code-broken": '<rect x=".5" y="1.5" width="15" height="13" rx="2.5" fill="currentColor"/>'
    '<path class="k" d="M3.5 5.5L6 8l-2.5 2.5M9 11h3.5"/>',
    "untestable": _RING + '/><path d="M4.5 8h7" stroke="currentColor" stroke-width="1.8"/>',
    "open": _RING + ' stroke-dasharray="2.6 1.6"/>',
}

# The theme of the book paints every HTML output on a light ground in dark mode; the first rule undoes that.
_SHARED = """
html[data-theme=dark] .bd-content div.cell_output div.text_html:has(.ROOT.ROOT) {
  background: none; color: inherit; padding: 0 }
.ROOT .cc-v { display: inline-flex; gap: .4em; font-weight: 600; line-height: 1.4; color: $text }
.ROOT .cc-v svg { width: 1.1em; height: 1.1em; margin-top: .15em; flex: none }
.ROOT .cc-v .k { fill: none; stroke: $ground; stroke-width: 1.8;
  stroke-linecap: round; stroke-linejoin: round }
.ROOT abbr { text-decoration: none; border-bottom: 1px dotted; cursor: help }
"""

_CARD = """
.cc-claim { border: 1px solid $line; border-left: 4px solid var(--cc); border-radius: 6px;
  padding: .8rem 1rem; margin: .4rem 0; color: $text; font-size: .95rem; line-height: 1.5;
  scroll-margin-top: 5rem; overflow-wrap: anywhere }
.cc-claim:target { background: $surface }
.cc-claim .cc-v svg { color: var(--cc) }
.cc-claim p, .cc-claim dl, .cc-claim dd { margin: 0 }
.cc-claim .cc-top { display: flex; flex-wrap: wrap; justify-content: space-between;
  align-items: baseline; gap: .2rem 1rem }
.cc-claim .cc-id { font-size: .8rem; color: $muted; text-decoration: none }
.cc-claim .cc-id:is(:hover, :focus-visible) { color: $link; text-decoration: underline }
.cc-claim .cc-say { margin: .45rem 0 .55rem; font-size: 1.02rem }
.cc-claim dl { display: grid; grid-template-columns: 6.2rem 1fr; gap: .3rem .7rem }
.cc-claim dt { color: $muted; font-weight: 600; font-size: .85rem; padding-top: .08rem }
.cc-claim .cc-src { color: $muted; font-size: .85rem }
@media (max-width: 600px) {
  .cc-claim dl { grid-template-columns: 1fr; gap: .05rem }
  .cc-claim dd { margin-bottom: .4rem } }
"""


def sheet(root: str, rules: str) -> str:
    """A style sheet without needless white space: the shared rules for ``root``, then ``rules``."""
    css = _SHARED.replace("ROOT", root) + rules
    for token, value in _TOKENS.items():
        css = css.replace(token, value)
    css = re.sub(r"\s+", " ", css)
    return re.sub(r" ?([{};,]) ?|(?<=:) ", lambda match: match.group(1) or "", css).strip()


CARD_CSS = sheet("cc-claim", _CARD)


def label(verdict: str | None) -> str:
    """The verdict in words, ``"Open"`` for ``None``."""
    return VERDICTS[verdict] if verdict else "Open"


def badge(verdict: str | None) -> str:
    """Icon and words of a verdict; screen readers get the words."""
    name = verdict or "open"
    icon = f'<svg viewBox="0 0 16 16" aria-hidden="true">{_ICONS[name]}</svg>'
    return f'<span class="cc-v cc-v-{name}">{icon}{label(verdict)}</span>'


def rich(text: str) -> str:
    """Escape ``text`` for HTML; what stands between backticks becomes code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))


def sources(items: Iterable[str], separator: str = " · ") -> str:
    """Sections grouped by article, each article with its title as a tooltip.

    >>> print(sources(["a1 §2.1", "a1 §3"]))
    <span><abbr title="Activation functions and regularization in CNNs">a1</abbr> §2.1, §3</span>
    """
    grouped: dict[str, list[str]] = {}
    for item in items:
        article, section = item.split(maxsplit=1)
        grouped.setdefault(article, []).append(escape(section))
    return separator.join(
        f'<span><abbr title="{escape(ARTICLES[article])}">{article}</abbr> {", ".join(sections)}</span>'
        for article, sections in sorted(grouped.items())
    )
