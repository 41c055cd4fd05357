"""Interactive figures without a browser: the encoding, the data in the page, the still, and misuse."""

from __future__ import annotations

import base64
import contextlib
import html as html_module
import io
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

from convcraft import ConvcraftError, activations

pytest.importorskip("matplotlib", reason="the still needs matplotlib: pip install 'convcraft[plot]'")
pytest.importorskip("PIL", reason="the still needs Pillow: pip install 'convcraft[plot]'")

from convcraft.lab import interactive
from convcraft.lab.interactive.activations import _describe, plain
from convcraft.lab.interactive.encoding import code_bytes, encode, pack
from convcraft.lab.interactive.still import draw_still
from convcraft.plotting.style import THEMES

X = np.linspace(-3, 3, 61)


def leaky(slope: float = 0.1, function: str = "f") -> dict:
    y = np.where(X > 0, X, slope * X)
    return {"panels": [{"title": function, "series": [{"name": "f", "y": y}]}], "text": f"slope {slope:g}"}


def make(frame=leaky, controls=None, **more):
    options = {"x": X, "alt": "Leaky ReLU; its slope can be moved."} | more
    return interactive.figure(frame, controls or {"slope": [0.0, 0.1, 0.5]}, **options)


def unpack(text: str) -> bytes:
    """The bytes of a packed frame."""
    short = base64.b64decode(text)
    return re.sub(rb"\x00(.)", lambda run: bytes(run.group(1)[0] + 1), short, flags=re.DOTALL)


def decode(codes: bytes, low: float, high: float, wide: int) -> np.ndarray:
    """The values of an encoded panel, as the script on the page reads them."""
    code = np.frombuffer(codes, dtype=f"<u{wide}").astype(np.float64)
    top = 256**wide - 2
    return np.where(code > top, np.nan, low + (high - low) * code / top)


def values(figure, state, panel=0, series=0):
    """Decode what the script would draw in that state."""
    data = figure.data
    at = data["index"]
    for i in state:
        at = at[i]
    codes, place = unpack(data["frames"][at]["y"]), 0
    for k, p in enumerate(data["panels"]):
        count = len(p.get("x", data["x"]))
        for j in range(len(p["names"])):
            part = codes[place : place + count * p["bytes"]]
            place += count * p["bytes"]
            if (k, j) == (panel, series):
                return decode(part, *p["range"], p["bytes"])
    raise AssertionError("no such series")


def payload(text: str) -> dict:
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', text, re.S).group(1))


# ---- the encoding


@pytest.mark.parametrize("digits", [1, 2, 3, 4])
def test_encoding_goes_round_within_its_digits(digits):
    wide = code_bytes(digits)
    y = np.random.default_rng(0).uniform(-3, 7, 1000)
    back = decode(encode(y, -3, 7, wide, digits), -3, 7, wide)
    assert np.abs(back - y).max() <= 10 * 10.0**-digits / 2
    ends = decode(encode([-3, 7, -99, 99], -3, 7, wide, digits), -3, 7, wide)
    np.testing.assert_allclose(ends, [-3, 7, -3, 7])


@pytest.mark.parametrize("wide", [1, 2])
def test_what_is_not_finite_becomes_a_gap(wide):
    back = decode(encode([0.0, np.nan, 1.0, np.inf], 0, 1, wide), 0, 1, wide)
    assert np.isnan(back).tolist() == [False, True, False, True]


@pytest.mark.parametrize("codes", [b"", b"\0", b"\0" * 1000, b"\1\0\0\2\0", bytes(range(256)) * 3, b"\0\n\0"])
def test_packing_goes_round_and_shortens_zeros(codes):
    assert unpack(pack(codes)) == codes
    assert len(base64.b64decode(pack(b"\0" * 1000))) == 8


@pytest.mark.parametrize("digits", [0, 5, 2.0])
def test_digits_are_checked(digits):
    with pytest.raises(ConvcraftError, match="digits: expected 1 to 4"):
        make(digits=digits)


# ---- the data


def test_the_page_holds_every_frame():
    figure = make()
    for i, slope in enumerate([0.0, 0.1, 0.5]):
        np.testing.assert_allclose(values(figure, [i]), np.where(X > 0, X, slope * X), atol=1e-3)
        assert figure.data["frames"][figure.data["index"][i]]["text"] == f"slope {slope:g}"
    np.testing.assert_allclose(figure.data["x"], X, atol=1e-5)


def test_a_plane_has_curves_in_any_direction_and_a_dot():
    angle = np.linspace(0, 2 * np.pi, 41)
    one = np.where(np.arange(41) == 0, 1.0, np.nan)

    def frame(radius):
        circle = {"name": "circle", "x": radius * np.cos(angle), "y": radius * np.sin(angle)}
        dot = {"name": "dot", "x": radius * one, "y": 0 * one}
        return {"panels": [{"kind": "plane", "xlim": (-3, 3), "ylim": (-2, 2), "series": [circle, dot]}]}

    figure = make(frame, {"radius": [1.0, 2.0]})
    panel = figure.data["panels"][0]
    assert panel["xlim"] == [-3, 3] and len(panel["x"]) == 41
    # the ordinates of all series come first, then the abscissas, as one series more each
    panel["names"] *= 2
    for state, radius in enumerate([1.0, 2.0]):
        x, y = values(figure, [state], series=2), values(figure, [state], series=0)
        np.testing.assert_allclose(np.hypot(x, y), radius, atol=5e-3)
        assert np.isfinite(values(figure, [state], series=1)).sum() == 1
    (axes,) = figure.still.axes
    assert axes.get_aspect() == 1 and axes.get_xlim() == (-3, 3)
    with pytest.raises(ConvcraftError, match="a plane needs xlim and ylim"):
        make(lambda slope: {"panels": [{"kind": "plane", "series": [{"y": X, "x": X}]}]})


def test_frames_that_are_the_same_are_stored_once():
    def frame(slope, repeat):
        return leaky(slope)

    figure = make(frame, {"slope": [0.0, 0.1], "repeat": ["a", "b", "c"]})
    assert len(figure.data["frames"]) == 2
    assert figure.data["index"] == [[0, 0, 0], [1, 1, 1]]


def test_numbers_make_a_slider_and_words_a_list():
    figure = make(
        lambda **k: leaky(),
        {"slope": [0.0, 0.25], "kind_of_net": ["a", "b"], "one": [1], "flag": [True, False]},
    )
    shown = [(c["label"], c["select"], c["values"]) for c in figure.data["controls"]]
    assert shown == [
        ("slope", False, ["0", "0.25"]),
        ("kind of net", True, ["a", "b"]),
        ("one", True, ["1"]),
        ("flag", True, ["True", "False"]),
    ]


def test_a_slider_may_depend_on_a_choice():
    seen = []

    def frame(function, slope):
        seen.append((function, slope))
        return leaky(slope or 0.0)

    slopes = {"leaky": ("negative slope", [0.1, 0.2, 0.3], 0.2)}
    figure = make(frame, {"function": ["relu", "leaky"], "slope": slopes}, start={"function": "leaky"})
    assert seen == [("relu", None), ("leaky", 0.1), ("leaky", 0.2), ("leaky", 0.3)]
    slider = figure.data["controls"][1]
    assert slider["by"] == 0 and slider["options"][0] is None
    assert slider["options"][1] == {"label": "negative slope", "values": ["0.1", "0.2", "0.3"], "start": 1}
    np.testing.assert_allclose(figure.still.axes[0].lines[0].get_ydata(), np.where(X > 0, X, 0.2 * X))
    other = make(frame, {"function": ["leaky", "relu"], "slope": {"leaky": [0.1, 0.3]}}, start={"slope": 0.3})
    assert other.data["controls"][1]["options"][0]["start"] == 1


def test_panels_may_have_their_own_axes():
    def frame(slope):
        bars = {
            "title": "h",
            "kind": "bar",
            "ylim": (0, 0.5),
            "digits": 2,
            "yticks": False,
            "series": [{"y": np.full(61, 0.8)}],
        }
        line = {
            "title": "s",
            "x": [1, 2, 3],
            "yscale": "log",
            "series": [{"name": "s", "y": [1e-3, 0.0, 10]}],
        }
        return {"panels": [bars, line]}

    figure = make(frame)
    bars, line = figure.data["panels"]
    assert (bars["bytes"], bars["ylim"], bars["yticks"], bars["range"]) == (1, [0.0, 0.5], False, [0.0, 0.8])
    assert line["log"] and line["x"] == [1, 2, 3] and line["range"] == [-3, 1]
    np.testing.assert_allclose(values(figure, [0], panel=1), [-3, np.nan, 1], atol=1e-3)
    assert "text" not in figure.data["frames"][0] and figure.data["text"] is False
    assert figure.still.axes[1].get_yscale() == "log" and len(figure.still.axes[0].patches) == 61


def test_intervals_have_words_below_them_and_a_switch_is_a_choice():
    def frame(more):
        spans = [[0.1, 0.5, np.nan], [0.0, 0.4, np.nan], [0.2, 0.6 + (more == "on"), np.nan]]
        panel = {"kind": "interval", "x": [0, 1, 2], "xticks": ["BN", "L2", "none"], "ylim": (0, 1)}
        return {"panels": [panel | {"series": [{"name": "gain", "y": spans}]}]}

    figure = make(frame, {"more": ["off", "on"]})
    (panel,) = figure.data["panels"]
    assert panel["xticks"] == ["BN", "L2", "none"] and figure.data["controls"][0]["select"]
    codes = unpack(figure.data["frames"][1]["y"])
    drawn = decode(codes, *panel["range"], panel["bytes"])
    np.testing.assert_allclose(drawn, [0.1, 0.5, np.nan, 0, 0.4, np.nan, 0.2, 1.6, np.nan], atol=1e-3)
    ax = figure.still.axes[0]
    assert [word.get_text() for word in ax.get_xticklabels()] == ["BN", "L2", "none"]
    assert len(ax.collections) == 1 and len(ax.lines) == 1


def test_flat_data_and_data_beyond_the_axis_are_encoded():
    flat = make(lambda slope: {"panels": [{"series": [{"name": "", "y": np.full(61, 2.0)}]}]})
    np.testing.assert_allclose(values(flat, [0]), 2.0, atol=1e-3)
    empty = make(lambda slope: {"panels": [{"series": [{"name": "", "y": np.full(61, np.nan)}]}]})
    assert np.isnan(values(empty, [0])).all()
    far = make(lambda slope: {"panels": [{"series": [{"name": "", "y": 100 * X}]}]}, ylim=(-1, 1))
    assert far.data["panels"][0]["range"] == [-3, 3]


def test_titles_that_change_are_stored_with_the_frame():
    figure = make(lambda slope: leaky(slope, f"slope {slope:g}"))
    assert [f["titles"] for f in figure.data["frames"]] == [["slope 0"], ["slope 0.1"], ["slope 0.5"]]
    assert "titles" not in make().data["frames"][0]


# ---- the page


def test_the_html_holds_data_still_alt_and_script():
    figure = make(alt='Says "a < b" & more.', caption="A <caption>.")
    text = figure.html()
    assert payload(text) == json.loads(json.dumps(figure.data))
    alt = re.search(r'<img class="still" alt="([^"]*)"', text).group(1)
    assert html_module.unescape(alt) == 'Says "a < b" & more.'
    png = re.search(r'src="data:image/png;base64,([^"]*)"', text).group(1)
    assert base64.b64decode(png) == figure.still.png()
    assert "A &lt;caption&gt;." in text
    assert "customElements.define" in text and "__LIGHT__" not in text
    for theme in THEMES.values():
        assert all(colour in text for colour in theme.series)


def test_text_cannot_end_the_script():
    nasty = '</script><script>alert("x")</script><!--'
    figure = make(lambda slope: leaky(slope) | {"text": nasty}, alt=f"A {nasty}", caption=nasty)
    text = figure.html()
    assert "alert(" not in re.sub(
        r'<script type="application/json">.*?</script>', "", text, flags=re.S
    ).replace(html_module.escape(nasty), "")
    assert "<!--" not in text
    assert payload(text)["frames"][0]["text"] == nasty


def test_a_notebook_gets_html_and_the_still():
    figure = make()
    data, metadata = figure._repr_mimebundle_()
    assert set(data) == {"text/html", "image/png", "text/plain"}
    assert data["text/plain"] == "<InteractiveFigure: slope; 3 frames>"
    assert metadata == {"image/png": {"width": figure.still.width, "alt": figure.alt}}
    assert base64.b64decode(data["image/png"]) == figure.png()


def test_the_script_may_stand_in_the_page_once():
    assert "customElements" not in make(script=False).html()
    data = interactive.enable()._repr_mimebundle_()
    assert data["text/html"] == f"<script>{interactive.script()}</script>"


def test_the_script_is_small_fetches_nothing_and_cannot_end_early():
    script = interactive.script()
    assert len(script.encode()) < 17_500
    assert "</script" not in script
    for word in ("fetch(", "XMLHttpRequest", "import(", "eval(", "@import", "url(http"):
        assert word not in script
    assert set(re.findall(r"https?://[^\"'` ]+", script)) == {"http://www.w3.org/2000/svg"}


def test_reruns_are_byte_identical_in_another_process():
    code = (
        "import hashlib\nfrom convcraft.lab import interactive as i\n"
        "f = i.depth_explorer(functions=['relu', 'tanh'], gains=[1.0, 1.41, 2.0], width=16)\n"
        "h = f.html()\n"
        "print(hashlib.sha256((h + i.activation_explorer('elu', ['elu']).html()).encode()).hexdigest())"
    )
    one = {**os.environ, "OMP_NUM_THREADS": "1"}  # thread, as here
    command = [sys.executable, "-c", code]
    other = subprocess.run(command, env=one, capture_output=True, text=True, check=True).stdout
    with contextlib.redirect_stdout(io.StringIO()) as here:
        exec(code, {})
    assert other == here.getvalue() and len(other) == 65


def test_a_still_may_be_given():
    given = draw_still(leaky(), [_panel()], None, 1, "Mine.")
    assert make(still=given).still is given


def _panel() -> dict:
    return {
        "names": ["f"],
        "kind": "line",
        "x": X,
        "ylim": (-3, 3),
        "yscale": "linear",
        "yticks": None,
        "xlabel": "",
        "ylabel": "",
    }


# ---- misuse


def uneven(slope):
    name = "f" if slope < 0.5 else "g"
    return {"panels": [{"series": [{"name": name, "y": X}]}]}


BAD = [
    (lambda: make(alt=" "), "alt: expected a sentence"),
    (lambda: make(controls={"a b": [1]}), "controls: expected a name that frame"),
    (lambda: make(controls=[1]), "controls: expected a dict"),
    (lambda: make(controls={"slope": "abc"}), "control 'slope': expected a list of values, got 'abc'"),
    (lambda: make(controls={"slope": []}), "control 'slope': expected a list of values"),
    (lambda: make(controls={"slope": [0.1, 0.1]}), "control 'slope': expected values that differ"),
    (
        lambda: make(controls={"slope": {"a": [1]}}),
        "control 'slope': expected its keys to be values of an earlier",
    ),
    (lambda: make(start={"slop": 0.1}), "did you mean 'slope'"),
    (lambda: make(start={"slope": 0.2}), "unknown start of control 'slope'"),
    (lambda: make(lambda slope: {}), 'frame: expected a dict with a list "panels"'),
    (lambda: make(lambda slope: {"panels": [{"series": [], "titel": ""}]}), "did you mean 'title'"),
    (lambda: make(kind="lines"), "did you mean 'line'"),
    (lambda: make(lambda slope: {"panels": [{"series": [{"y": X}], "yscale": "lgo"}]}), "did you mean 'log'"),
    (lambda: make(x=[1.0]), "x: expected at least two numbers"),
    (lambda: make(lambda slope: {"panels": [{"series": [{"y": X[:-1]}]}]}), "frame: expected y as long as x"),
    (
        lambda: make(lambda slope: {"panels": [{"series": [{"y": X}], "xticks": ["a"]}]}),
        "xticks: expected a word for each of 61 x",
    ),
    (lambda: make(uneven), "frame: expected the panels and series of the first frame"),
    (lambda: make(ylim=(1, 1)), "ylim: expected .low, high."),
    (lambda: interactive.activation_explorer(functions=[]), "functions: expected at least one name"),
    (lambda: interactive.activation_explorer(functions=["rleu"]), "did you mean 'relu'"),
    (lambda: interactive.activation_explorer("tanh", ["relu", "elu"]), "unknown start of control 'function'"),
    (lambda: interactive.depth_explorer(width=1), "width must be a whole number of at least 2"),
    (
        lambda: interactive.depth_explorer(torch.zeros(3)),
        r"inputs: expected a finite tensor \(n, d\), got \(3,\)",
    ),
    (lambda: interactive.depth_explorer(torch.full((2, 2), torch.nan)), "inputs: expected a finite tensor"),
    (lambda: interactive.depth_explorer([[1.0]]), r"inputs: expected a finite tensor \(n, d\), got list"),
    (lambda: interactive.depth_explorer(functions=["rleu"], width=4), "did you mean 'relu'"),
    (lambda: interactive.depth_explorer(functions=[], width=4), "functions: expected at least one name"),
    (
        lambda: interactive.depth_explorer(functions=["relu"], gains=[], width=4),
        "gains: expected at least one number",
    ),
]


@pytest.mark.parametrize("call, message", BAD)
def test_misuse_says_what_was_expected(call, message):
    with pytest.raises(ConvcraftError, match=message):
        call()


# ---- the explorers


@pytest.fixture(scope="module")
def activation_explorer():
    return interactive.activation_explorer()


@pytest.fixture(scope="module")
def depth_explorer():
    return interactive.depth_explorer()


def test_both_explorers_keep_to_their_budget(activation_explorer, depth_explorer):
    assert len(activation_explorer.html().encode()) <= 130_000
    assert len(depth_explorer.html().encode()) <= 130_000


def test_every_function_of_the_catalog_and_its_derivative_is_there(activation_explorer):
    function, parameter = activation_explorer.data["controls"]
    assert function["values"] == list(activations.catalog())
    z = torch.tensor(activation_explorer.data["x"], dtype=torch.float64)
    for i, entry in enumerate(activations.catalog().values()):
        option = parameter["options"][i]
        assert (option is None) == (entry.parameter is None)
        for j, value in enumerate([None] if option is None else [float(v) for v in option["values"]]):
            np.testing.assert_allclose(values(activation_explorer, [i, j], 0), entry(z, value), atol=5e-3)
            drawn = entry.slope(z, value).clamp(-2.5, 3.2)
            np.testing.assert_allclose(values(activation_explorer, [i, j], 1), drawn, atol=2e-3)
        if option is not None:
            assert float(option["values"][option["start"]]) == entry.parameter.default


def test_the_line_of_text_has_formula_range_and_moments():
    text = _describe(activations.catalog()["leaky_relu"], 0.5)
    assert text.startswith("x (x > 0), a x (x ≤ 0); range −∞ to ∞; ")
    assert "E f² = 0.625, E f′² = 0.625" in text
    assert "range −0.278 to ∞" in _describe(activations.catalog()["silu"], None)
    for entry in activations.catalog().values():
        assert "\\" not in plain(entry.formula) and "{" not in plain(entry.formula)


def test_depth_follows_the_theory(depth_explorer):
    controls = depth_explorer.data["controls"]
    names, gains = controls[0]["values"], [float(v) for v in controls[2]["values"]]
    identity = values(depth_explorer, [names.index("identity"), 0, gains.index(2.0)], panel=5)
    np.testing.assert_allclose(identity, np.arange(1, 17) * np.log10(2.0), atol=0.35)
    kept = values(depth_explorer, [names.index("relu"), 0, gains.index(1.41)], panel=5)
    fading = values(depth_explorer, [names.index("relu"), 0, gains.index(0.5)], panel=5)
    assert abs(kept[-1]) < 0.5 and fading[-1] < -6
    selu = values(depth_explorer, [names.index("selu"), 0, gains.index(1.0)], panel=5)
    assert abs(selu[-1]) < 0.2


def test_depth_counts_zeros_and_shares(depth_explorer):
    names = depth_explorer.data["controls"][0]["values"]
    at = depth_explorer.data["index"][names.index("relu")][0][depth_explorer.data["controls"][2]["start"]]
    text = depth_explorer.data["frames"][at]["text"]
    zeros = int(re.search(r"zeros (\d+) %", text).group(1))
    dead = int(re.search(r"dead units (\d+) of 256", text).group(1))
    assert 35 <= zeros <= 65 and 100 * dead / 256 <= zeros
    smooth = depth_explorer.data["index"][names.index("identity")][0][0]
    assert "zeros 0 %, dead units 0 of 256" in depth_explorer.data["frames"][smooth]["text"]
    first = values(depth_explorer, [names.index("identity"), 0, 2], panel=0)
    assert first.sum() == pytest.approx(1.0, abs=0.05)
    assert first.argmax() in (13, 14, 15)


def test_depth_takes_a_batch_and_leaves_the_random_state():
    state, batch = torch.get_rng_state(), torch.ones(5, 3, dtype=torch.float64, requires_grad=True)
    figure = interactive.depth_explorer(batch, functions=["relu", "tanh"], gains=[1.0, 2.0], width=8)
    assert torch.equal(torch.get_rng_state(), state)
    assert len(figure.data["panels"]) == 6
