"""How a verdict looks: icons, colours and the style sheet of the cards.

Colours are the variables of the book's theme, then JupyterLab's, so that both follow light and dark.
"""

import re
from collections.abc import Iterable
from html import escape
from pathlib import Path

from .ledger import ARTICLES, VERDICTS

_FOLDER = Path(__file__).parent
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


def sheet(root: str, rules: str) -> str:
    """A style sheet without needless white space: those of shared.css for ``root``, then ``rules``."""
    css = (_FOLDER / "shared.css").read_text(encoding="utf-8").replace("ROOT", root) + rules
    for token, value in _TOKENS.items():
        css = css.replace(token, value)
    css = re.sub(r"/\*.*?\*/|\s+", " ", css)
    return re.sub(r" ?([{};,]) ?|(?<=:) ", lambda match: match.group(1) or "", css).strip()


CARD_CSS = sheet("cc-claim", (_FOLDER / "card.css").read_text(encoding="utf-8"))


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
