"""Interactive figures in a browser: keyboard, themes, the width of a phone, print, and no script at all."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the still needs matplotlib: pip install 'convcraft[plot]'")

from convcraft.lab import interactive
from convcraft.plotting.style import THEMES

X = np.linspace(-3, 3, 61)


def frame(function: str, slope: float | None, shift: float) -> dict:
    y = np.tanh(X) if function == "tanh" else np.where(X > 0, X, (slope or 0.0) * X)
    height = np.exp(-((X - shift) ** 2))
    return {
        "panels": [
            {
                "title": "f",
                "series": [{"name": "f", "y": y}, {"name": "g", "y": -y}],
                "xlabel": "z",
                "ylabel": "value",
            },
            {
                "title": "h",
                "kind": "bar",
                "ylim": (0, 0.5),
                "digits": 2,
                "series": [{"name": "", "y": height}],
            },
        ],
        "text": f"{function} {shift:g} <b>",
    }


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    figure = interactive.figure(
        frame,
        {
            "function": ["tanh", "leaky"],
            "slope": {"leaky": ("negative slope", [0.0, 0.1, 0.5], 0.1)},
            "shift": [-1.0, 0.0, 1.0],
        },
        x=X,
        alt='A "curve" and <bars>.',
        start={"shift": 0.0},
    )
    path = tmp_path_factory.mktemp("page") / "index.html"

    # A second figure is parsed when the element is known already.
    def spans(more):
        y = [[0.5], [0.4], [0.6]] + np.array([[0.0], [0.1], [0.2]]) * (more == "on")
        panel = {"kind": "interval", "x": [0, 1], "xticks": ["BN", "L2"], "ylim": (0, 1)}
        return {"panels": [panel | {"series": [{"name": "gain", "y": np.hstack([y, y + 0.1])}]}]}

    other = interactive.figure(spans, {"more": ["off", "on"]}, x=[0, 1], alt="Another.")
    path.write_text(
        f'<!doctype html><html lang="en" data-theme="light"><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>Figures</title>'
        f'<body style="margin:0 8px">{figure.html()}{other.html()}</body></html>',
        encoding="utf-8",
    )
    return path.as_uri()


@pytest.fixture(scope="module")
def window(browser):
    """One for all tests, of which each has a page of its own."""
    context = browser.new_context(viewport={"width": 1000, "height": 800})
    context.new_page()  # which keeps the window open
    yield context
    context.close()


@pytest.fixture
def opened(window, page_file):
    """Open the page; afterwards nothing has been logged as an error or asked of the network."""
    page = window.new_page()
    errors: list[str] = []
    requests: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "console",
        lambda message: errors.append(message.text) if message.type in ("error", "warning") else None,
    )
    page.on("request", lambda request: requests.append(request.url))
    page.goto(page_file)
    page.wait_for_selector("convcraft-figure.on >> nth=1")
    yield page
    assert errors == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    page.close()


def path_of(page, panel=0, series=0):
    return (
        page.locator("convcraft-figure >> nth=0")
        .locator(".panel")
        .nth(panel)
        .locator("path.line, path.bar")
        .nth(series)
        .get_attribute("d")
    )


def control(page, label):
    return page.locator("convcraft-figure >> nth=0").get_by_label(label, exact=True)


def test_the_slider_moves_by_keyboard_and_redraws(opened):
    slider = control(opened, "shift")
    assert slider.evaluate("e => [e.type, e.min, e.max, e.value]") == ["range", "0", "2", "1"]
    slider.focus()
    seen = [path_of(opened, panel=1)]
    for key, value, word in (
        ("ArrowRight", "2", "1"),
        ("Home", "0", "-1"),
        ("End", "2", "1"),
        ("ArrowLeft", "1", "0"),
    ):
        opened.keyboard.press(key)
        assert slider.input_value() == value
        assert slider.get_attribute("aria-valuetext") == f"shift {word}"
        assert opened.locator("output").nth(1).inner_text() == word.replace("-", "−")
        seen.append(path_of(opened, panel=1))
    first, right, home, end, back = seen
    assert first == back and right == end and len({first, right, home}) == 3


def test_a_switch_moves_intervals_by_keyboard(opened):
    second = opened.locator("convcraft-figure >> nth=1")
    switch, lines = second.get_by_role("switch", name="more"), second.locator("path.line")
    assert second.locator("text").filter(has_text="BN").count() == 1 and lines.count() == 2
    before = lines.first.get_attribute("d")
    switch.focus()
    opened.keyboard.press("Space")
    assert switch.is_checked() and lines.first.get_attribute("d") != before
    second.get_by_role("button", name="Reset").click()
    assert not switch.is_checked() and lines.first.get_attribute("d") == before


def test_the_choice_redraws_and_wakes_the_slider_that_depends_on_it(opened):
    slope = control(opened, "negative slope")
    assert slope.is_disabled()
    before = path_of(opened)
    control(opened, "function").select_option("leaky")
    assert path_of(opened) != before
    assert slope.is_enabled() and slope.get_attribute("aria-valuetext") == "negative slope 0.1"
    one = path_of(opened)
    slope.focus()
    opened.keyboard.press("End")
    assert path_of(opened) not in (one, before)
    assert slope.get_attribute("aria-valuetext") == "negative slope 0.5"


def test_reset_goes_back_to_the_start(opened):
    button = opened.get_by_role("button", name="Reset").first
    assert button.is_disabled()
    before = path_of(opened)
    control(opened, "function").select_option("leaky")
    button.click()
    assert path_of(opened) == before and button.is_disabled()
    assert control(opened, "function").input_value() == "tanh"


def test_the_text_is_announced_and_is_only_text(opened):
    text = opened.locator("p.text").first
    assert text.get_attribute("aria-live") == "polite"
    assert text.inner_text() == "tanh 0 <b>"
    control(opened, "function").select_option("leaky")
    assert text.inner_text() == "leaky 0 <b>"


def test_what_is_drawn_are_the_numbers_of_the_frame(opened):
    points = [tuple(map(float, part.split(" "))) for part in path_of(opened)[1:].split("L")]
    assert len(points) == len(X)
    x, y = np.array(points).T
    correlation = np.corrcoef(-y, np.tanh(X))[0, 1]
    assert correlation > 0.9999
    np.testing.assert_allclose(np.diff(x), np.diff(x).mean(), atol=0.11)


def test_a_bar_beyond_the_axis_says_its_height(opened):
    panel = opened.locator("convcraft-figure >> nth=0").locator(".panel").nth(1)
    assert "↑ 1.00" in panel.locator("svg text").all_inner_texts() or "↑ 1.00" in panel.inner_html()


def test_each_panel_is_an_image_with_alt_text_and_state(opened):
    label = opened.locator("svg[role=img]").first.get_attribute("aria-label")
    assert label == 'A "curve" and <bars>. f; function tanh, shift 0.'
    assert opened.locator("convcraft-figure").first.get_attribute("aria-label") == 'A "curve" and <bars>.'


def test_the_pointer_reads_values(opened):
    box = opened.locator("svg[role=img]").first.bounding_box()
    opened.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert opened.locator(".head span").first.inner_text().startswith("z ")
    assert "f " in opened.locator(".head span").first.inner_text()
    opened.mouse.move(0, 0)
    assert opened.locator(".head span").first.inner_text() == "value"


def test_controls_are_large_enough_for_a_finger(opened):
    for item in opened.locator("convcraft-figure :is(select, input, button)").all():
        assert item.bounding_box()["height"] >= 44


def test_the_still_gives_way_to_the_figure_and_comes_back_in_print(opened):
    still, live = opened.locator("img.still").first, opened.locator(".live").first
    assert not still.is_visible() and live.is_visible()
    opened.emulate_media(media="print")
    assert still.is_visible() and not live.is_visible()


def rgb(colour: str) -> str:
    return "rgb(" + ", ".join(str(int(colour[i : i + 2], 16)) for i in (1, 3, 5)) + ")"


@pytest.mark.parametrize(
    "set_theme, theme",
    [
        ("document.documentElement.dataset.theme = 'light'", "light"),
        ("document.documentElement.dataset.theme = 'dark'", "dark"),
        ("document.body.dataset.jpThemeLight = 'false'", "dark"),
    ],
)
def test_colours_follow_the_theme(opened, set_theme, theme):
    opened.evaluate(set_theme)
    line = opened.locator("path.line").first
    assert line.evaluate("e => getComputedStyle(e).stroke") == rgb(THEMES[theme].series[0])
    ink = opened.locator("convcraft-figure").first.evaluate("e => getComputedStyle(e).color")
    assert ink == rgb(THEMES[theme].ink)


@pytest.mark.parametrize("width", [320, 390, 768])
def test_a_narrow_page_does_not_scroll_sideways(opened, width):
    opened.set_viewport_size({"width": width, "height": 844})
    opened.wait_for_function(f"document.querySelector('.panels svg').clientWidth <= {width}")
    assert opened.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    # in one call, for a picture that is drawn again between two has other texts
    boxes = opened.eval_on_selector_all(
        "svg[role=img] text", "texts => texts.slice(0, 12).map(text => text.getBoundingClientRect().toJSON())"
    )
    assert boxes and all(box["left"] >= 0 and box["right"] <= width for box in boxes)
    assert all(9 <= box["height"] <= 24 for box in boxes)


def test_without_script_the_still_is_shown(browser, page_file):
    context = browser.new_context(java_script_enabled=False, viewport={"width": 390, "height": 800})
    page = context.new_page()
    page.goto(page_file)
    still = page.locator("img.still").first
    assert still.is_visible() and still.get_attribute("alt") == 'A "curve" and <bars>.'
    assert page.locator("input, select, svg[role=img]").count() == 0
    context.close()


def test_a_figure_put_in_later_comes_to_life(opened):
    # JupyterLab inserts an output as HTML after the page has loaded.
    opened.evaluate(
        "() => { const f = document.querySelector('convcraft-figure');"
        " const copy = document.createElement('div');"
        " copy.innerHTML = f.querySelector('script').outerHTML + f.querySelector('img.still').outerHTML;"
        " const made = document.createElement('convcraft-figure'); made.id = 'later';"
        " document.body.append(made); setTimeout(() => made.append(...copy.childNodes), 50); }"
    )
    opened.wait_for_selector("#later.on")
    assert opened.locator("#later path.line").count() == 2
