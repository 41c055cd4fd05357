"""Build the book from the notebooks as they are, with warnings as errors, and check the pages that come out.

    python tools/build_book.py [--quiet]

The build starts from nothing each time: one that goes on from an earlier build does not look again at pages
that did not change, and so passes over broken references in them.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from PIL import Image

import learners_edition

ROOT = pathlib.Path(__file__).resolve().parent.parent
SITE = ROOT / "_build" / "html"
# Without the collector of cyclic garbage, which finds next to none in the growing trees of the pages.
BUILDER = "import gc; gc.disable(); from jupyter_book.cli.main import main; main()"
# One icon in the script of the icon font: name, size, aliases, code point, outline.
ICON = re.compile(
    r'(?P<name>"[^"]+"|[\w$]+):\[[\d.]+,[\d.]+,\[(?P<aliases>[^\]]*)\],"[0-9a-f]+",(?:"[^"]*"|\[[^\]]*\])\],?'
)
CODE = re.compile(r"<pre>.*?</pre>", re.DOTALL)
REPEATED = re.compile(r"<(style|script)\b(?![^>]*json)[^>]*>.*?</\1>", re.DOTALL)
PLAIN = re.compile(r'<span class="(?:n|p|w|o)">([^<]*)</span>')
STRINGS = re.compile(r'(?:<span class="(?:sa|s1|s2|se|si)">[^<]*</span>){2,}')
TAG = re.compile(r"<[^>]*>")
PICTURE = re.compile(r"_images/[\w.-]+\.png")


def build(quiet: bool = False) -> int:
    """Build the HTML; the exit status of the builder."""
    shutil.rmtree(ROOT / "_build", ignore_errors=True)
    command = [sys.executable, "-c", BUILDER, "build", ".", "--all", "-W", "-n", "--keep-going", "-q"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "MPLBACKEND": "agg"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode or not quiet:
        complaints = [line for line in done.stdout.splitlines() if "WARNING" in line or "ERROR" in line]
        print("\n".join(complaints) if complaints else done.stdout if done.returncode else "No warnings.")
    return done.returncode


def trim_icons(site: pathlib.Path) -> None:
    """Leave in the theme's icon script, 1.5 MB that each page loads, the icons that some page names."""
    script = site / "_static" / "scripts" / "fontawesome.js"
    if not script.exists():
        return
    pages = [p for p in site.rglob("*.html") if "_static" not in p.parts]
    scripts = [
        p for p in (site / "_static").rglob("*.js") if p.name != script.name and "mathjax" not in p.parts
    ]
    used = {name for p in pages + scripts for name in re.findall(r"fa-([a-z0-9-]+)", p.read_text("utf-8"))}

    def keep(icon: re.Match[str]) -> str:
        names = {icon["name"].strip('"'), *re.findall(r'"([^"]+)"', icon["aliases"])}
        return icon[0] if names & used else ""

    script.write_text(ICON.sub(keep, script.read_text("utf-8")), "utf-8")


def slim(page: str) -> str:
    """A page without what it can spare.

    In code, the spans of names, punctuation, operators and blanks, which keep the plain colour of code, and
    all but one of the spans of a string, whose parts have one colour; and a style sheet or script that an
    output brings again and again, after its first time.
    """
    seen: set[str] = set()

    def once(part: re.Match[str]) -> str:
        again = part[0] in seen
        seen.add(part[0])
        return "" if again else part[0]

    def whole(parts: re.Match[str]) -> str:
        return f'<span class="s2">{TAG.sub("", parts[0])}</span>'

    def plain(code: re.Match[str]) -> str:
        return STRINGS.sub(whole, PLAIN.sub(r"\1", code[0]).replace("<span></span>", ""))

    return REPEATED.sub(once, CODE.sub(plain, page))


def slim_picture(picture: pathlib.Path) -> tuple[str, str] | None:
    """Store a picture as lossless WebP, a quarter smaller, if it is; its old and new name."""
    smaller = picture.with_suffix(".webp")
    Image.open(picture).convert("RGBA").save(smaller, lossless=True, quality=100, method=4)
    heavier, lighter = sorted((picture, smaller), key=lambda file: file.stat().st_size, reverse=True)
    heavier.unlink()
    return (f"_images/{picture.name}", f"_images/{smaller.name}") if lighter is smaller else None


def slim_pictures(site: pathlib.Path) -> dict[str, str]:
    """Slim the pictures of the notebooks, on all cores; their old and new names."""
    with ThreadPoolExecutor() as pool:
        return dict(filter(None, pool.map(slim_picture, site.glob("_images/*.png"))))


def slim_pages(site: pathlib.Path) -> None:
    """Slim every page of the book, and its pictures."""
    names = slim_pictures(site)
    for page in site.rglob("*.html"):
        if "_static" not in page.parts:
            text = PICTURE.sub(lambda name: names.get(name[0], name[0]), slim(page.read_text("utf-8")))
            page.write_text(text, "utf-8")


def offer_notebooks(site: pathlib.Path) -> None:
    """Put the learner's edition behind the download button of each page."""
    texts, unknown = learners_edition.convert_all(outputs=False)
    if unknown:
        raise SystemExit("\n".join(f"the learner's edition does not know {what}" for what in unknown))
    for name, text in texts.items():
        (site / "_sources" / "book" / name).write_text(text, "utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quiet", action="store_true", help="say only what is wrong")
    parser.add_argument(
        "--no-check", action="store_true", help="build only; the tests check the pages one by one"
    )
    args = parser.parse_args()
    start = time.perf_counter()
    if status := build(args.quiet):
        print("The build failed: each warning above counts as an error.", file=sys.stderr)
        return status
    trim_icons(SITE)
    slim_pages(SITE)
    offer_notebooks(SITE)
    seconds = time.perf_counter() - start
    if args.no_check:
        return 0
    status = subprocess.call([sys.executable, str(ROOT / "tools" / "check_site.py"), str(SITE)])
    if not args.quiet:
        print(f"Built in {seconds:.0f} s. Open {SITE.relative_to(ROOT)}/index.html in a browser:")
        print(f"  {SITE / 'index.html'}")
    return status


if __name__ == "__main__":
    sys.exit(main())
