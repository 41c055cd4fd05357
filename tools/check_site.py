"""Find what is wrong with the pages of a built site, without a browser.

    python tools/check_site.py [_build/html]

Reported: whatever a page would load from another host; links, images and scripts that are not there; anchors
that no element of the target page carries; markup that the builder gave up on; images without words in alt;
pages that weigh too much (the first page 4 MB with everything it loads, each further one 1 MB beyond what the
first one brought).
"""

from __future__ import annotations

import pathlib
import re
import sys
import urllib.parse
from dataclasses import dataclass, field
from html.parser import HTMLParser

FIRST_PAGE = 4_000_000
NEXT_PAGE = 1_000_000
NOT_LOADED = {"canonical", "next", "prev", "search", "index", "author", "license", "copyright", "alternate"}
LOADING = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src",
           "embed": "src", "object": "data"}  # fmt: skip


@dataclass
class Page:
    """What a page loads, where it leads, and which anchors it offers."""

    path: pathlib.Path
    loads: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)
    unnamed: list[str] = field(default_factory=list)
    unresolved: list[str] = field(default_factory=list)


class Reader(HTMLParser):
    """Fill a page from its HTML."""

    def __init__(self, page: Page) -> None:
        super().__init__()
        self.page = page
        self.in_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        a = {name: value or "" for name, value in attrs}
        self.in_style = tag == "style"
        self.page.anchors.update(
            value for name, value in a.items() if name == "id" or (tag == "a" and name == "name")
        )
        if a.get(LOADING.get(tag, "")):
            self.page.loads.append(a[LOADING[tag]])
        elif tag == "link" and a.get("href") and not set(a.get("rel", "").split()) & NOT_LOADED:
            self.page.loads.append(a["href"])
        elif tag in ("a", "area") and a.get("href"):
            self.page.links.append(a["href"])
        if "problematic" in a.get("class", "").split():
            self.page.unresolved.append(a.get("id", ""))
        if tag == "img" and not a.get("alt", "").strip() and a.get("role") != "presentation":
            self.page.unnamed.append(a.get("src", "")[:80])
        self.page.loads += css_loads(a.get("style", ""))

    def handle_data(self, data: str) -> None:
        if self.in_style:
            self.page.loads += css_loads(data)

    def handle_endtag(self, tag: str) -> None:
        self.in_style = False


def css_loads(text: str) -> list[str]:
    """The addresses that a piece of CSS names."""
    return [m.strip("'\" ") for m in re.findall(r"url\(([^)]*)\)", text)]


def read(path: pathlib.Path) -> Page:
    page = Page(path)
    Reader(page).feed(path.read_text(encoding="utf-8"))
    return page


def is_outside(address: str) -> bool:
    url = urllib.parse.urlsplit(address)
    return bool(url.netloc) or url.scheme not in ("", "data", "blob", "mailto", "javascript")


def target(page: Page, address: str) -> tuple[pathlib.Path, str]:
    """The file and the anchor that an address within the site means."""
    url = urllib.parse.urlsplit(address)
    path = page.path
    if url.path:
        path = (page.path.parent / urllib.parse.unquote(url.path)).resolve()
        path = path / "index.html" if path.is_dir() else path
    return path, urllib.parse.unquote(url.fragment)


def wrong_links(page: Page, pages: dict[pathlib.Path, Page]) -> list[str]:
    """What a page loads or links to that is elsewhere or nowhere."""
    wrong = []
    for kind, addresses in (("loads", page.loads), ("links to", page.links)):
        for address in dict.fromkeys(addresses):
            if is_outside(address):
                if kind == "loads":
                    wrong.append(f"loads {address} from elsewhere")
                continue
            if urllib.parse.urlsplit(address).scheme:
                continue
            path, anchor = target(page, address)
            if not path.exists():
                wrong.append(f"{kind} {address}, which is not there")
            elif kind == "links to" and anchor and path in pages and anchor not in pages[path].anchors:
                wrong.append(f"links to {address}, and nothing there carries the name {anchor!r}")
    return wrong


def files_of(page: Page, site: pathlib.Path) -> dict[pathlib.Path, int]:
    """The files that a page brings, with their sizes; with MathJax and its fonts where the page has maths."""
    files = {target(page, a)[0] for a in page.loads if not is_outside(a) and not a.startswith("data:")}
    for sheet in [f for f in files if f.suffix == ".css" and f.exists()]:
        for address in css_loads(sheet.read_text(encoding="utf-8")):
            if address.endswith((".woff2", ".svg", ".png")) and not is_outside(address):
                files.add((sheet.parent / address).resolve())
    if any(f.name == "tex-chtml.js" for f in files):
        files |= set((site / "_static" / "mathjax" / "output" / "chtml" / "fonts" / "woff-v2").glob("*.woff"))
    return {f: f.stat().st_size for f in {page.path, *files} if f.exists()}


def wrong_weights(pages: dict[pathlib.Path, Page], site: pathlib.Path) -> tuple[list[str], list[str]]:
    """Pages over the budget, and a line on each that says what it weighs."""
    weights = {path: files_of(page, site) for path, page in pages.items() if path.parent.name == "book"}
    if not weights:
        return [], []
    shared = set.intersection(*(set(files) for files in weights.values()))
    wrong, lines = [], []
    for path, files in sorted(weights.items()):
        first = sum(files.values())
        further = sum(
            size for file, size in files.items() if file not in shared and "mathjax" not in file.parts
        )
        name = path.relative_to(site)
        lines.append(
            f"{name}: {first / 1e6:.2f} MB as the first page, {further / 1e6:.2f} MB as a further one"
        )
        if first > FIRST_PAGE:
            wrong.append(
                f"{name}: weighs {first / 1e6:.2f} MB as the first page, more than {FIRST_PAGE / 1e6:g} MB"
            )
        if further > NEXT_PAGE:
            wrong.append(f"{name}: weighs {further / 1e6:.2f} MB beyond what all pages share, more than 1 MB")
    return wrong, lines


def check(site: pathlib.Path) -> tuple[list[str], list[str]]:
    """Everything that is wrong with a site, and the weights of its pages."""
    site = site.resolve()
    pages = {p: read(p) for p in sorted(site.rglob("*.html")) if "_static" not in p.relative_to(site).parts}
    wrong = [] if pages else [f"{site.name}: no page found"]
    for path, page in pages.items():
        name = path.relative_to(site)
        wrong += [f"{name}: {what}" for what in wrong_links(page, pages)]
        wrong += [
            f"{name}: no alternative text on {src or 'an image without source'}" for src in page.unnamed
        ]
        wrong += [f"{name}: markup that the builder could not read, at #{where}" for where in page.unresolved]
    heavy, lines = wrong_weights(pages, site)
    return wrong + heavy, [*lines, f"{len(pages)} pages"]


def main() -> int:
    site = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "_build/html")
    wrong, lines = check(site)
    print("\n".join(lines))
    print(
        "\n".join(wrong)
        or "Nothing loaded from elsewhere, nothing missing, nothing without words, nothing too heavy."
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
