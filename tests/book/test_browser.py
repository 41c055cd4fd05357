"""The built pages in a headless Chromium: from the disk and from a server, day and night, wide and narrow."""

from __future__ import annotations

import contextlib

import pytest
from pages import CHAPTERS, PAGES

CHAPTER_PAGES = [f"book/{path.stem}" for path in CHAPTERS]
#: searching: its chapter on learning rates has them; generation: a gallery, whose buttons need no script
WITHOUT_CONTROLS = ("book/searching_hyperparameters", "book/generation")
THEMES = ("light", "dark")
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1440, "height": 900}

pytestmark = pytest.mark.browser

# MathJax is a promise once its script has run; a page without mathematics has none.
READY = """() => !document.querySelector('script[src*=mathjax]')
  || (window.MathJax && MathJax.startup && MathJax.startup.promise
      ? MathJax.startup.promise.then(() => true) : false)"""


@pytest.fixture(params=["file", "http"])
def base(request, site):
    """The two ways to read: from the disk and from a plain web server."""
    return site.as_uri() + "/" if request.param == "file" else request.getfixturevalue("server")


class Visit:
    """A page that was opened, and what happened meanwhile.

    `received` is what came over the network until the page was ready: the bytes of each address.
    """

    def __init__(self, page):
        self.page, self.requests, self.failed, self.errors, self.received = page, [], [], [], {}
        self.heard = {
            "request": lambda r: self.requests.append(r.url),
            "requestfailed": lambda r: self.failed.append(r.url),
            "response": lambda r: self.failed.append(r.url) if r.status >= 400 else None,
            "pageerror": lambda e: self.errors.append(str(e)),
            "console": lambda m: self.errors.append(m.text) if m.type == "error" else None,
        }
        for event, hears in self.heard.items():
            page.on(event, hears)

    def open(self, address):
        network = self.page.context.new_cdp_session(self.page)
        network.send("Network.enable")
        network.send("Network.clearBrowserCache")
        names, sizes = {}, {}
        network.on("Network.requestWillBeSent", lambda e: names.update({e["requestId"]: e["request"]["url"]}))
        network.on(
            "Network.loadingFinished", lambda e: sizes.update({e["requestId"]: e["encodedDataLength"]})
        )
        self.page.goto(address, wait_until="load")
        self.page.wait_for_function(READY)
        for request, size in list(sizes.items()):
            self.received[names[request]] = self.received.get(names[request], 0) + size
        network.detach()
        return self

    def leave(self):
        """Requests that are broken off by leaving count neither against this page nor against the next one."""
        for event, hears in self.heard.items():
            self.page.remove_listener(event, hears)
        self.page.goto("about:blank")


class Windows:
    """A window by day and one by night, which all visits share: to open one costs as much as to open a page.

    Each visit finds the cache and the store empty, and a window in which a test failed is thrown away.
    """

    def __init__(self, browser):
        self.browser, self.tabs = browser, {}

    def tab(self, theme):
        if theme not in self.tabs:
            context = self.browser.new_context(color_scheme=theme, service_workers="block")
            context.add_init_script(
                "localStorage.clear(); sessionStorage.clear();"
                f"localStorage.setItem('mode', '{theme}'); localStorage.setItem('theme', '{theme}')"
            )
            self.tabs[theme] = context.new_page()
        return self.tabs[theme]

    @contextlib.contextmanager
    def visiting(self, address, viewport=DESK, theme="light"):
        page = self.tab(theme)
        page.set_viewport_size(viewport)
        visit = Visit(page)
        try:
            yield visit.open(address)
            visit.leave()
        except BaseException:
            self.tabs.pop(theme).context.close()
            raise


@pytest.fixture(scope="module")
def windows(browser):
    windows = Windows(browser)
    yield windows
    for page in windows.tabs.values():
        page.context.close()


def inside(address: str) -> bool:
    return address.startswith(("file:", "data:", "blob:", "about:", "http://127.0.0.1:"))


def nothing_left_and_nothing_broke(visit):
    assert [a for a in visit.requests if not inside(a)] == []
    assert visit.failed == []
    assert visit.errors == []


def mathematics_is_rendered(visit, page):
    raw = visit.page.eval_on_selector_all(
        ".math", "all => all.filter(e => !e.querySelector('mjx-container')).map(e => e.textContent)"
    )
    assert raw == []
    wrong = visit.page.eval_on_selector_all(
        "mjx-merror, [data-mjx-error]", "all => all.map(e => e.textContent)"
    )
    assert wrong == []
    red = visit.page.eval_on_selector_all(
        "mjx-container [style*='color: red'], mjx-mtext[style*='red']",
        "all => all.map(e => e.textContent)",
    )
    assert red == [], "a command that MathJax does not know"
    if page in CHAPTER_PAGES:
        assert visit.page.locator("mjx-container").count() > 10


def nothing_scrolls_sideways(visit):
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    # Text and figures end within the screen; what scrolls in a box of its own may be wider.
    wide = visit.page.evaluate(
        """() => [...document.querySelectorAll(
            '.bd-article :is(p, li, h1, h2, h3, figure, img, .admonition, dt)')]
        .filter(e => !e.closest('pre, table, .pst-scrollable-table-container, .text_html'))
        .filter(e => e.getBoundingClientRect().width > 0)
        .filter(e => e.getBoundingClientRect().right > innerWidth + 1)
        .map(e => e.tagName + ' ' + e.textContent.slice(0, 60))"""
    )
    assert wide == []


def every_image_has_words(visit):
    silent = visit.page.eval_on_selector_all(
        "img:not([role=presentation]), svg[role=img]:not([aria-hidden=true])",
        "all => all.filter(e => !(e.getAttribute('alt') || e.getAttribute('aria-label')"
        " || e.getAttribute('aria-labelledby')"
        " || e.querySelector('title'))).map(e => e.outerHTML.slice(0, 120))",
    )
    assert silent == []


def keyboard_reaches_the_text(visit):
    """The first stop of the tab key skips to the text, and a stop is seen."""
    visit.page.keyboard.press("Tab")
    first = visit.page.evaluate(
        "[document.activeElement.textContent.trim(), document.activeElement.getAttribute('href')]"
    )
    assert "skip" in first[0].lower() and first[1].startswith("#"), first
    assert visit.page.locator(first[1]).count() == 1
    visit.page.locator(".bd-article a[href]:visible, .bd-sidebar-primary a[href]:visible").first.focus()
    visit.page.keyboard.press("Tab")
    outline = visit.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"


def controls(page):
    return page.locator(".bd-article :is(input[type=range], input[type=checkbox], select)")


#: Whether a control has a name, its value, and the outlines in the nearest box around it that holds a drawing.
STATE = """e => {
  let box = e;
  while (box && !box.querySelector('svg path, svg polyline')) box = box.parentElement;
  const lines = [...box.querySelectorAll('svg path, svg polyline')];
  return {
    named: !!(e.labels && e.labels.length || e.getAttribute('aria-label') || e.getAttribute('aria-labelledby')),
    value: e.value,
    drawing: lines.map(p => p.getAttribute('d') || p.getAttribute('points')).join(),
  };
}"""

PUT_BACK = """(e, value) => {
  e.value = value;
  e.checked = value === 'on';
  for (const kind of ['input', 'change']) e.dispatchEvent(new Event(kind, {bubbles: true}));
}"""


def controls_move_by_keyboard_and_redraw(visit, page):
    found = controls(visit.page).element_handles()
    assert len(found) >= 1 or page in WITHOUT_CONTROLS, "no figure to interact with"
    for control in found:
        control.focus()
        before = control.evaluate(STATE)
        assert before["named"], "a control without a name"
        for key in ("ArrowRight", "ArrowLeft", "End", "Home", "ArrowDown", "ArrowUp", "Space"):
            visit.page.keyboard.press(key)
            after = control.evaluate(STATE)
            if after["drawing"] != before["drawing"] and after["value"] != before["value"]:
                break
        assert after["value"] != before["value"], "the keyboard does not move the control"
        assert after["drawing"] != before["drawing"], "the control does not redraw the figure"
        control.evaluate(PUT_BACK, before["value"])
    assert visit.errors == []


@pytest.fixture(scope="module")
def scriptless(browser):
    """A tab of a browser that runs no script."""
    context = browser.new_context(java_script_enabled=False, viewport=DESK)
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("page", CHAPTER_PAGES)
def test_without_script_a_still_is_shown(scriptless, site, page):
    scriptless.goto(f"{site.as_uri()}/{page}.html")
    assert scriptless.locator(".bd-article img").count() >= 3
    assert controls(scriptless).count() == 0


def test_search_finds_a_word_offline(windows, base):
    with windows.visiting(f"{base}book/index.html") as visit:
        visit.page.keyboard.press("Control+k")
        visit.page.keyboard.type("receptive")
        visit.page.keyboard.press("Enter")
        hits = visit.page.locator("#search-results li a")
        hits.first.wait_for(timeout=15_000)
        assert any("convolutional_networks" in hits.nth(i).get_attribute("href") for i in range(hits.count()))
        assert [a for a in visit.requests if not inside(a)] == []


def channel(value: float) -> float:
    return value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4


def luminance(rgb) -> float:
    return sum(w * channel(c / 255) for w, c in zip((0.2126, 0.7152, 0.0722), rgb, strict=True))


def contrast(one, other) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_contrast_of_known_pairs():
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast((119, 119, 119), (255, 255, 255)) == pytest.approx(4.48, abs=0.01)


COLOURS = """() => {
  const rgba = c => (c.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
  const over = (a, b) => {
    const t = a[3] === undefined ? 1 : a[3];
    return [0, 1, 2].map(i => a[i] * t + b[i] * (1 - t));
  };
  const ground = e => {
    const stack = [];
    for (; e; e = e.parentElement) {
      const c = getComputedStyle(e).backgroundColor;
      if (c.startsWith('rgb')) stack.push(rgba(c));
    }
    return stack.reverse().reduce((low, top) => over(top, low), [255, 255, 255]);
  };
  const apart = 'mjx-assistive-mml, script, style, svg, .visually-hidden, .headerlink, .copybtn';
  const seen = new Map();
  const walk = document.createTreeWalker(document.querySelector('.bd-article'), NodeFilter.SHOW_TEXT);
  for (let n; (n = walk.nextNode());) {
    const e = n.parentElement, text = n.textContent.trim();
    if (!text || e.closest(apart)) continue;
    if (!e.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
    const style = getComputedStyle(e), back = ground(e), fore = over(rgba(style.color), back);
    const size = parseFloat(style.fontSize), big = size >= 24 || (size >= 18.66 && +style.fontWeight >= 700);
    const where = e.tagName + '.' + e.className;
    seen.set([fore, back, big].join(), {fore, back, big, text: text.slice(0, 50), where});
  }
  return [...seen.values()];
}"""


def text_stands_out(visit, theme):
    """WCAG AA: 4.5 to 1, and 3 to 1 for large text, on every piece of text of the article."""
    assert visit.page.evaluate("document.documentElement.dataset.theme") == theme
    pieces = visit.page.evaluate(COLOURS)
    assert len(pieces) >= 2
    weak = [
        (round(contrast(p["fore"], p["back"]), 2), p["text"], p["where"])
        for p in pieces
        if contrast(p["fore"], p["back"]) < (3 if p["big"] else 4.5)
    ]
    assert weak == []


# The four corners of each figure as each theme shows them, side by side on a canvas of four pixels; of a figure
# that keeps its colours the filter that it is shown with.
FIGURES = """async themes => {
  const row = () => {
    const c = document.createElement('canvas'); [c.width, c.height] = [4, 1];
    const g = c.getContext('2d'); g.imageSmoothingEnabled = false;
    return g;
  };
  const all = [...document.querySelectorAll(
    '.bd-article .cell_output figure img, .bd-article .cell_output > img')];
  const corners = [];
  for (const img of all) {
    await img.decode();
    const plain = row(), [right, bottom] = [img.naturalWidth - 3, img.naturalHeight - 3];
    [[2, 2], [right, 2], [2, bottom], [right, bottom]].forEach(
      ([x, y], i) => plain.drawImage(img, x, y, 1, 1, i, 0, 1, 1));
    corners.push(plain.canvas);
  }
  const found = {};
  for (const theme of themes) {
    document.documentElement.dataset.theme = theme;
    found[theme] = all.map((img, number) => {
      const filter = getComputedStyle(img).filter;
      if (img.closest('.tag_keep-colours') || img.classList.contains('keep-colours')) return {kept: filter};
      const shown = row(); shown.filter = filter;
      shown.drawImage(corners[number], 0, 0);
      const data = [...shown.getImageData(0, 0, 4, 1).data];
      return {corners: [0, 4, 8, 12].map(i => data.slice(i, i + 3))};
    });
  }
  return found;
}"""


def figures_take_the_ground_of_the_theme(visit):
    """White by day, and by night turned round: the corners of a figure are no light box on a dark page."""
    for theme, figures in visit.page.evaluate(FIGURES, THEMES).items():
        assert len(figures) >= 3
        for number, figure in enumerate(figures):
            if "kept" in figure:
                assert figure["kept"] == "none"
                continue
            shades = sorted(luminance(corner) for corner in figure["corners"])  # one may hold a mark
            assert shades[1] > 0.8 if theme == "light" else shades[2] < 0.05, (number, theme, shades)


#: page -> what its visit from the server, with an empty cache, has received
RECEIVED: dict[str, dict[str, float]] = {}

#: Another theme without loading the page again.
SHOW = "theme => { document.documentElement.dataset.theme = theme }"

FORM = """() => {
  const page = document.querySelector('article');
  const high = e => e.getBoundingClientRect().height, seen = e => e.checkVisibility() && high(e) > 1;
  const cut = e => e.scrollWidth > e.clientWidth + 2;
  const wide = e => cut(e) || (e.parentElement && cut(e.parentElement));
  const all = query => [...page.querySelectorAll(query)].filter(seen);
  const named = e => e.textContent.trim().slice(0, 60);
  const blocks = all('pre, .cell_output table');
  const pictures = all('img, svg[role=img], figure, [data-convcraft]').filter(e => high(e) > 60);
  return {
    height: document.scrollingElement.scrollHeight,
    code: all('.cell_input').reduce((sum, e) => sum + high(e), 0) / high(page),
    pictures: pictures.length,
    cutCode: blocks.filter(e => e.closest('.cell_input') && wide(e)).map(named),
    cutOutput: blocks.filter(e => !e.closest('.cell_input') && wide(e)).map(named),
    cutEquations: all('div.math')
      .filter(e => cut(e) || [...e.querySelectorAll('mjx-container')].some(cut)).map(named),
  };
}"""


def is_read_to_the_end(visit):
    """At most 30 screens, a fifth of them code, a picture every second screen; nothing cut at the edge."""
    desk = visit.page.evaluate(FORM)
    visit.page.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)")
    opened, screens = visit.page.evaluate(FORM), desk["height"] / DESK["height"]
    assert screens <= 30
    assert desk["code"] <= 0.2
    assert opened["pictures"] >= screens / 2
    assert desk["cutCode"] == desk["cutOutput"] == [] and opened["cutOutput"] == []


def nothing_breaks_on_a_phone(visit, page):
    for theme in THEMES:
        visit.page.evaluate(SHOW, theme)
        nothing_scrolls_sideways(visit)
    if page in CHAPTER_PAGES:
        visit.page.evaluate("document.querySelectorAll('details.cc-predict').forEach(e => e.open = true)")
        form = visit.page.evaluate(FORM)
        assert form["cutOutput"] == form["cutEquations"] == []
        visit.page.evaluate("document.querySelectorAll('details.cc-predict').forEach(e => e.open = false)")
    visit.page.evaluate(SHOW, "light")


def nothing_breaks_on_the_desk(visit, page, theme):
    mathematics_is_rendered(visit, page)
    every_image_has_words(visit)
    text_stands_out(visit, theme)
    keyboard_reaches_the_text(visit)
    if page in CHAPTER_PAGES:
        controls_move_by_keyboard_and_redraw(visit, page)
    nothing_left_and_nothing_broke(visit)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_by_day(windows, site, page):
    """From the disk: opened on a phone, and made as wide as a desk."""
    with windows.visiting(f"{site.as_uri()}/{page}.html", PHONE, "light") as visit:
        nothing_breaks_on_a_phone(visit, page)
        visit.page.set_viewport_size(DESK)
        nothing_breaks_on_the_desk(visit, page, "light")
        if page in CHAPTER_PAGES:
            is_read_to_the_end(visit)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_by_night(windows, server, page):
    """From a server, opened on the desk; from the disk a canvas would not give the pixels of figures away."""
    with windows.visiting(f"{server}{page}.html", DESK, "dark") as visit:
        RECEIVED[page] = visit.received
        nothing_breaks_on_the_desk(visit, page, "dark")
        if page in CHAPTER_PAGES:
            figures_take_the_ground_of_the_theme(visit)


def test_html_outputs_follow_the_theme(windows, site):
    with windows.visiting(f"{site.as_uri()}/{CHAPTER_PAGES[-1]}.html", DESK, "dark") as visit:
        grounds = visit.page.eval_on_selector_all(
            ".cell_output .text_html", "all => all.map(e => getComputedStyle(e).backgroundColor)"
        )
        assert grounds and set(grounds) == {"rgba(0, 0, 0, 0)"}


def received(windows, server, page) -> dict[str, float]:
    """What a browser with an empty cache receives for a page; from the visit to the desk where it was made."""
    if page not in RECEIVED:
        with windows.visiting(f"{server}{page}.html") as visit:
            RECEIVED[page] = visit.received
    return RECEIVED[page]


def test_weight_of_a_first_page_and_of_the_next(windows, server):
    """4 MB for the page that a reader opens first, 1 MB for each further one, which brings what is new."""
    known, new = set(), {}
    for page in PAGES:
        sizes = received(windows, server, page)
        new[page] = sum(size for address, size in sizes.items() if address not in known)
        known |= sizes.keys()
        # Less than 1 MB would say that the cache was not empty.
        assert 1e6 < sum(sizes.values()) <= 4e6, f"{page}: {sum(sizes.values()) / 1e6:.2f} MB"
    heavy = {page: f"{size / 1e6:.2f} MB" for page, size in list(new.items())[1:] if size > 1e6}
    assert heavy == {}
