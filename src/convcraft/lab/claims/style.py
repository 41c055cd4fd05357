"""How a verdict looks: icons, colours and small HTML helpers that cards and the ledger page share.

Colours come from the variables of the book's theme, then from JupyterLab's, so both follow light and dark.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape

from .ledger import ARTICLES, VERDICTS

TEXT = "var(--pst-color-text-base,var(--jp-content-font-color1,#222832))"
MUTED = "var(--pst-color-text-muted,var(--jp-content-font-color2,#48566b))"
BORDER = "var(--pst-color-border,var(--jp-border-color2,#d1d5da))"
SURFACE = "var(--pst-color-surface,var(--jp-layout-color2,#f3f4f5))"
LINK = "var(--pst-color-link,var(--jp-content-link-color,#0a7d91))"
COLOURS = {
    "holds": "var(--pst-color-success,#00843f)",
    "holds-with-conditions": "var(--pst-color-warning,#d9730d)",
    "false": "var(--pst-color-danger,#d72d47)",
    "code-broken": "var(--pst-color-accent,#c132af)",
    "untestable": MUTED,
    "open": "var(--pst-color-info,#276be9)",
}

# Each icon has a shape of its own, so that the verdict does not rest on colour.
_ICONS = {
    "holds": '<circle cx="8" cy="8" r="7.5" fill="currentColor"/><path class="k" d="M4.2 8.4l2.6 2.6 5-5.6"/>',
    "holds-with-conditions": '<circle cx="8" cy="8" r="6.7" fill="none" stroke="currentColor" stroke-width="1.6"/>'
    '<path d="M8 1.3a6.7 6.7 0 0 1 0 13.4z" fill="currentColor"/>',
    "false": '<circle cx="8" cy="8" r="7.5" fill="currentColor"/><path class="k" d="M5 5l6 6M11 5l-6 6"/>',
    "code-broken": '<rect x=".5" y="1.5" width="15" height="13" rx="2.5" fill="currentColor"/>'
    '<path class="k" d="M3.5 5.5L6 8l-2.5 2.5M9 11h3.5"/>',
    "untestable": '<circle cx="8" cy="8" r="6.7" fill="none" stroke="currentColor" stroke-width="1.6"/>'
    '<path d="M4.5 8h7" stroke="currentColor" stroke-width="1.8"/>',
    "open": '<circle cx="8" cy="8" r="6.7" fill="none" stroke="currentColor" stroke-width="1.6" stroke-dasharray="2.6 1.6"/>',
}


def label(verdict: str | None) -> str:
    """The verdict in words, ``"Open"`` for ``None``."""
    return VERDICTS[verdict] if verdict else "Open"


def icon(verdict: str | None) -> str:
    """Inline SVG of a verdict, hidden from screen readers because the words stand beside it."""
    return f'<svg viewBox="0 0 16 16" aria-hidden="true">{_ICONS[verdict or "open"]}</svg>'


def badge(verdict: str | None) -> str:
    """Icon and words of a verdict."""
    return f'<span class="cc-v cc-v-{verdict or "open"}">{icon(verdict)}{label(verdict)}</span>'


def rich(text: str) -> str:
    """Escape ``text`` for HTML; what stands between backticks becomes code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))


def sources(items: Iterable[str]) -> str:
    """``["a1 §2.1", "a1 §3", "a3 §3"]`` as ``a1 §2.1, §3 · a3 §3``, each article with its title as a tooltip."""
    grouped: dict[str, list[str]] = {}
    for item in items:
        article, section = item.split(maxsplit=1)
        grouped.setdefault(article, []).append(escape(section))
    return " · ".join(
        f'<span><abbr title="{escape(ARTICLES[article])}">{article}</abbr> {", ".join(sections)}</span>'
        for article, sections in sorted(grouped.items())
    )


# The theme of the book paints every HTML output on a light ground in dark mode; the first rule undoes that.
def shared_css(root: str) -> str:
    """CSS of badges below the element with class ``root``."""
    colours = "".join(f".{root} .cc-v-{name} svg{{color:{colour}}}" for name, colour in COLOURS.items())
    return (
        f"html[data-theme=dark] .bd-content div.cell_output div.text_html:has(.{root}.{root})"
        "{background:none;color:inherit;padding:0}"
        f".{root} .cc-v{{display:inline-flex;align-items:center;gap:.4em;font-weight:600;color:{TEXT}}}"
        f".{root} .cc-v svg{{width:1.1em;height:1.1em;flex:none}}"
        f".{root} .cc-v .k{{fill:none;stroke:var(--pst-color-background,#fff);stroke-width:1.8;"
        "stroke-linecap:round;stroke-linejoin:round}"
        f"{colours}"
        f".{root} abbr{{text-decoration:none;border-bottom:1px dotted {MUTED};cursor:help}}"
    )
