"""The built pages, without a browser; and their checker, on pages that are wrong on purpose."""

from __future__ import annotations

import importlib.util
import re
import sys

import pytest
from pages import NOTEBOOKS, PAGES, ROOT
from PIL import Image


def load(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


check_site = load("check_site")
build_book = load("build_book")


def test_nothing_is_wrong_with_the_pages(site):
    wrong, _ = check_site.check(site)
    assert wrong == []


def test_every_page_of_the_contents_is_built(site):
    for page in PAGES:
        assert (site / f"{page}.html").stat().st_size > 2_000, page


def test_every_notebook_is_in_the_contents():
    missing = {p.relative_to(ROOT).with_suffix("").as_posix() for p in NOTEBOOKS} - set(PAGES)
    assert missing == set()


def test_the_front_page_leads_to_the_book(site):
    assert "book/index.html" in (site / "index.html").read_text(encoding="utf-8")


def test_the_search_index_knows_the_chapters(site):
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    assert index.startswith("Search.setIndex(")
    for page in PAGES:
        assert f'"{page}"' in index, page


def test_mathematics_comes_from_the_site(site):
    assert (site / "_static" / "mathjax" / "tex-chtml.js").exists()
    for page in site.glob("book/*.html"):
        assert "cdn." not in page.read_text(encoding="utf-8"), page.name


def test_a_percent_sign_stays_with_its_number(site):
    page = (site / "book" / "dropout.html").read_text(encoding="utf-8")
    prose = re.findall(r"<p>.*?</p>", re.sub(r"<(pre|code|details).*?</\1>", "", page, flags=re.S), re.S)
    assert any("95\u00a0%" in p for p in prose)
    assert [p for p in prose if re.search(r"\d %", p)] == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('<img alt="a" src="https://example.org/a.png">', "from elsewhere"),
        ('<script src="//example.org/a.js"></script>', "from elsewhere"),
        ('<div style="background: url(https://example.org/a.png)"></div>', "from elsewhere"),
        ('<a href="nowhere.html">there</a>', "which is not there"),
        ('<a href="#nowhere">there</a>', "nothing there carries the name"),
        ('<a href="other.html#nowhere">there</a>', "nothing there carries the name"),
        ('<img src="data:image/png;base64,AAAA">', "no alternative text"),
        ('<img alt=" " src="data:image/png;base64,AAAA">', "no alternative text"),
        ('<span class="problematic" id="id1">|x|</span>', "could not read"),
        ('<p id="a"></p>' + "x" * 1_100_000, "beyond what all pages share"),
    ],
)
def test_the_checker_sees(tmp_path, body, message):
    book = tmp_path / "book"
    book.mkdir()
    (book / "page.html").write_text(f"<html><body>{body}</body></html>", encoding="utf-8")
    (book / "other.html").write_text('<html><body><p id="here">x</p></body></html>', encoding="utf-8")
    wrong, _ = check_site.check(tmp_path)
    assert len(wrong) == 1 and message in wrong[0], wrong


def test_the_checker_passes_what_is_right(tmp_path):
    (tmp_path / "a.html").write_text(
        '<a href="b.html#here">b</a><a href="https://example.org">out</a><a href="#top" id="top">up</a>'
        '<img alt="a dot" src="data:image/png;base64,AAAA">',
        encoding="utf-8",
    )
    (tmp_path / "b.html").write_text('<p id="here">x</p>', encoding="utf-8")
    assert check_site.check(tmp_path)[0] == []


def test_an_empty_site_is_wrong(tmp_path):
    assert len(check_site.check(tmp_path)[0]) == 1


def test_icons_that_no_page_names_are_left_out(tmp_path):
    scripts = tmp_path / "_static" / "scripts"
    scripts.mkdir(parents=True)
    moon, sun = 'moon:[384,512,[127769],"f186","M0 0"]', 'sun:[1,2,[],"f185",["M2","M3"]]'
    icons = f'p={{{moon},"trash-can":[448,512,[61460,"trash-alt"],"f2ed","M1 1"],{sun}}}'
    (scripts / "fontawesome.js").write_text(icons, encoding="utf-8")
    (tmp_path / "a.html").write_text(
        '<i class="fa-solid fa-moon"></i><i class="fas fa-trash-alt"></i>', encoding="utf-8"
    )
    build_book.trim_icons(tmp_path)
    left = (scripts / "fontawesome.js").read_text(encoding="utf-8")
    assert "moon" in left and "trash-can" in left and "sun" not in left


def test_pages_are_slimmed(tmp_path):
    style = "<style>p{color:red}</style>"
    code = (
        '<pre><span></span><span class="n">x</span> <span class="o">=</span> <span class="mi">1</span></pre>'
    )
    text = '<pre><span class="sa">f</span><span class="s2">"a </span><span class="si">{</span>x</pre>'
    page = tmp_path / "a.html"
    page.write_text(
        f'{style}<span class="n">kept</span>{code}<script src="a.js"></script>{text}{style}', encoding="utf-8"
    )
    build_book.slim_pages(tmp_path)
    slim = ('<pre>x = <span class="mi">1</span></pre>', '<pre><span class="s2">f"a {</span>x</pre>')
    assert (
        page.read_text(encoding="utf-8")
        == f'{style}<span class="n">kept</span>{slim[0]}<script src="a.js"></script>{slim[1]}'
    )


def test_pictures_become_smaller_and_stay_the_same_to_the_pixel(tmp_path):
    (tmp_path / "_images").mkdir()
    ramp = Image.linear_gradient("L").resize((300, 200)).convert("RGB").quantize(100)
    ramp.save(tmp_path / "_images" / "a.png")
    page = tmp_path / "a.html"
    page.write_text('<img src="../_images/a.png" alt="a"> <img src="../_images/b.png">', encoding="utf-8")
    build_book.slim_pages(tmp_path)
    assert page.read_text("utf-8") == '<img src="../_images/a.webp" alt="a"> <img src="../_images/b.png">'
    assert [picture.name for picture in (tmp_path / "_images").iterdir()] == ["a.webp"]
    webp = Image.open(tmp_path / "_images" / "a.webp")
    assert webp.convert("RGB").tobytes() == ramp.convert("RGB").tobytes()


def test_docstrings_link_to_the_chapters_that_are_written():
    chapter_links = load("chapter_links")
    known = chapter_links.pages(["book/activations", "book/convolutional_networks", "book/claims"])
    linked = chapter_links.link("Some (2010). Chapter:\nActivations. Chapter: Unwritten.", known)
    assert linked == "Some (2010). Chapter: :doc:`Activations </book/activations>`. Chapter: Unwritten."
    linked = chapter_links.link("Chapter: Convolutional networks.", known)
    assert linked == "Chapter: :doc:`Convolutional networks </book/convolutional_networks>`."
    linked = chapter_links.link("Chapter: the claims ledger.", known)
    assert linked == "Chapter: :doc:`the claims ledger </book/claims>`."


def test_the_reference_leads_to_the_chapters(site):
    page = (site / "book" / "api.html").read_text(encoding="utf-8")
    assert page.count('href="activations.html"><span class="doc">Activations') > 20
    assert "Alias for field number" not in "".join(p.read_text("utf-8") for p in site.rglob("book/*.html"))
