"""How a verdict looks: icons and colours (style.toml), and the style sheet of the cards."""

import re
import tomllib
from collections.abc import Iterable
from html import escape
from pathlib import Path

from .ledger import ARTICLES, VERDICTS

_FOLDER = Path(__file__).parent
_LOOK = tomllib.loads((_FOLDER / "style.toml").read_text(encoding="utf-8"))
_TOKENS, COLOURS, _ICONS = (_LOOK[name] for name in ("tokens", "colours", "icons"))


def sheet(root: str, rules: str) -> str:
    """A style sheet without needless white space: the rules of shared.css for ``root``, then ``rules``."""
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
    """Escape ``text`` for HTML; text between backticks becomes code."""
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
