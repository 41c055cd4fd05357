"""The house style: what the helpers draw, their alt text, their bytes, and that nothing global changes."""

from __future__ import annotations

import io
import itertools
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from convcraft import ConvcraftError

matplotlib = pytest.importorskip("matplotlib", reason="plots need matplotlib: pip install 'convcraft[plot]'")
pytest.importorskip("PIL", reason="plots need Pillow: pip install 'convcraft[plot]'")

from matplotlib.colors import to_hex  # noqa: E402
from PIL import Image  # noqa: E402

from convcraft import plotting  # noqa: E402
from convcraft.plotting import style  # noqa: E402
from convcraft.plotting.arrays import array, t_quantile  # noqa: E402
from convcraft.plotting.decor import _spread  # noqa: E402

X = torch.linspace(-2, 2, 41)
SWEEP = SimpleNamespace(
    learning_rates=[0.01, 0.1, 1.0],
    validation_accuracy=np.array(
        [[[0.2, 0.5], [0.2, 0.7]], [[0.3, 0.9], [0.3, 0.9]], [[0.1, 0.1], [0.1, 0.2]]]
    ),
)


def contrast(a, b, measure="test_accuracy", margin=0.01, interval=(0.02, -0.01, 0.05)):
    return SimpleNamespace(a=a, b=b, measure=measure, margin=margin, interval=interval)


HELPERS = {
    "lines": lambda **k: plotting.lines(X, {"relu": X.relu(), "tanh": X.tanh()}, xlabel="z", **k),
    "panels": lambda **k: plotting.panels([{"x": X, "series": {"relu": X.relu()}, "title": "f"}] * 2, **k),
    "histograms": lambda **k: plotting.histograms({"layer 1": X, "layer 2": X / 2}, **k),
    "bars": lambda **k: plotting.bars({"relu": 0.5, "tanh": (0.4, 0.3, 0.5)}, **k),
    "intervals": lambda **k: plotting.intervals({"relu": (0.5, 0.4, 0.6)}, **k),
    "forest": lambda **k: plotting.forest({"a": {"b": [(1.0, 0.0, 2.0)]}}, **k),
    "differences": lambda **k: plotting.differences([contrast("b", "a"), contrast("c", "a")], **k),
    "points": lambda **k: plotting.points({"a": ([0, 1], [1, 0])}, **k),
    "images": lambda **k: plotting.images(
        torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0)), **k
    ),
    "grids": lambda **k: plotting.grids([{"title": "a", "cells": [[1, 2], [3, ""]], "rim": 0}] * 2, **k),
    "heatmap": lambda **k: plotting.heatmap([[1.0, 2.0], [3.0, 4.0]], **k),
    "learning_rates": lambda **k: plotting.learning_rates({"relu": SWEEP}, **k),
}


@pytest.fixture(params=HELPERS)
def helper(request):
    return HELPERS[request.param]


def test_every_helper_is_tested():
    assert set(HELPERS) == set(plotting.__all__) - {"Chart", "save"}


def test_alt_is_required(helper):
    with pytest.raises(TypeError, match="alt"):
        helper()
    for empty in ("", "  ", None):
        with pytest.raises(ConvcraftError, match="alt: expected a sentence"):
            helper(alt=empty)


def test_the_bytes_are_the_same_every_time(helper):
    first, second = helper(alt="A chart."), helper(alt="A chart.")
    drawn = first.png()
    assert second.png() == drawn and first.png() == drawn
    first.axes[0].set_title("changed")
    assert first.png() != drawn


def test_a_notebook_gets_a_palette_png_with_width_and_alt_only(helper):
    chart = helper(alt='A  chart\nof "things".')
    data, metadata = chart._repr_mimebundle_()
    assert set(data) == {"image/png", "text/plain"}
    assert metadata == {"image/png": {"width": chart.width, "alt": 'A chart of "things".'}}
    with Image.open(io.BytesIO(chart.png())) as image:
        assert image.mode == "P"
        assert image.width == 2 * chart.width or abs(image.width - 2 * chart.width) <= 1
        assert "Software" not in image.info
        assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_themes_differ_and_an_unknown_one_is_refused(helper):
    assert helper(alt="A chart.", theme="dark").png() != helper(alt="A chart.").png()
    with pytest.raises(ConvcraftError, match="theme: expected 'light' or 'dark', got 'sepia'"):
        helper(alt="A chart.", theme="sepia")


def test_settings_of_matplotlib_and_random_state_are_left_alone(helper):
    before, state = dict(matplotlib.rcParams), torch.get_rng_state()
    helper(alt="A chart.").png()
    assert dict(matplotlib.rcParams) == before
    assert torch.equal(torch.get_rng_state(), state)


def test_settings_of_the_user_do_not_change_the_bytes():
    usual = HELPERS["lines"](alt="A chart.").png()
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "lines.linewidth": 9}):
        assert HELPERS["lines"](alt="A chart.").png() == usual


def test_pyplot_is_never_imported_and_matplotlib_only_when_used():
    code = (
        "import sys, convcraft.plotting as p\n"
        "assert 'matplotlib' not in sys.modules and 'PIL' not in sys.modules\n"
        "p.lines([0, 1], {'f': [0, 1]}, alt='A line.').png()\n"
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules\n"
        "assert p.Chart.__name__ == 'Chart'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("missing", ["matplotlib", "PIL.Image"])
def test_without_matplotlib_the_error_names_the_extra(monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ConvcraftError, match=r"pip install 'convcraft\[plot\]'"):
        plotting.lines([0, 1], {"f": [0, 1]}, alt="A line.")


def test_an_unknown_name_of_the_module_is_an_attribute_error():
    with pytest.raises(AttributeError, match="plot3d"):
        plotting.plot3d  # noqa: B018


# ---- what each helper draws


def test_lines_draw_the_values_bands_labels_and_reference():
    y = X.relu()
    chart = plotting.lines(
        X,
        {"relu": (y, y - 1, y + 1)},
        alt="A.",
        xlabel="z",
        ylabel="f",
        title="T",
        hline={"zero": 0.0},
        xlim=(-2, 2),
    )
    ax = chart.axes[0]
    np.testing.assert_allclose(ax.lines[0].get_ydata(), y)
    area = ax.collections[0].get_paths()[0].vertices
    assert area[:, 1].min() == -1 and area[:, 1].max() == 3
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title(loc="left")) == ("z", "f", "T")
    assert "zero" in [text.get_text() for text in ax.texts]
    assert ax.get_xlim() == (-2, 2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int64])
def test_tensors_of_any_dtype_and_with_gradient_are_taken(dtype):
    value = torch.arange(4).to(dtype)
    if dtype.is_floating_point:
        value.requires_grad_(True)
    chart = plotting.lines(range(4), {"a": value}, alt="A.")
    np.testing.assert_array_equal(chart.axes[0].lines[0].get_ydata(), [0, 1, 2, 3])
    np.testing.assert_array_equal(array([value[0], value[1]], "a"), [0, 1])


def test_series_differ_by_colour_and_by_dash():
    count = len(style.THEMES["light"].series)
    chart = plotting.lines([0, 1], {str(k): [k, k + 1] for k in range(2 * count)}, alt="A.")
    looks = {
        (line.get_color(), str(line.get_linestyle()), str(line._dash_pattern)) for line in chart.axes[0].lines
    }
    assert len(looks) == 2 * count
    assert len({str(line._dash_pattern) for line in chart.axes[0].lines[:count]}) == count


def test_names_stand_at_the_ends_where_there_is_room_and_above_where_not():
    apart = plotting.lines([0, 1], {"a": [0, 0], "b": [0, 1]}, alt="A.")
    assert {text.get_text() for text in apart.axes[0].texts} == {"a", "b"} and not apart.legends
    together = plotting.lines([0, 1], {name: [k, 1] for k, name in enumerate("abcde")}, alt="A.")
    assert not together.axes[0].texts
    assert [text.get_text() for text in together.legends[0].get_texts()] == list("abcde")
    assert not plotting.lines([0, 1], {"a": [0, 0], "b": [0, 1]}, alt="A.", legend="none").legends
    assert plotting.lines([0, 1], {"a": [0, 0], "b": [0, 1]}, alt="A.", legend="top").legends


def test_labels_are_spread_as_little_as_needed():
    np.testing.assert_allclose(_spread(np.array([10.0, 50.0]), 10, 0, 100), [10, 50])
    np.testing.assert_allclose(_spread(np.array([50.0, 50.0]), 10, 0, 100), [45, 55])
    placed = _spread(np.array([99.0, 99.0, 99.0]), 10, 0, 100)
    assert np.diff(placed).min() >= 10 - 1e-9 and placed.max() <= 100
    assert _spread(np.zeros(11), 10, 0, 100) is None


def test_panels_share_colours_by_name_and_one_legend():
    chart = plotting.panels(
        [
            {"title": "f", "x": X, "series": {"relu": X.relu(), "tanh": X.tanh()}},
            {"title": "g", "x": X, "series": {"tanh": X.tanh()}, "ylim": (-3, 3)},
            {"title": "h", "x": X, "series": {"tanh": X.tanh()}},
        ],
        alt="A.",
        columns=2,
        xlabel="z",
        ylabel="f",
        title="T",
    )
    assert [ax.get_title(loc="left") for ax in chart.axes] == ["f", "g", "h"]
    assert chart.axes[0].lines[1].get_color() == chart.axes[1].lines[0].get_color()
    assert [text.get_text() for text in chart.legends[0].get_texts()] == ["relu", "tanh"]
    assert chart.axes[1].get_ylim() == (-3, 3)


def test_histograms_show_shares_of_all_values_over_common_bins():
    chart = plotting.histograms(
        {"a": [0.0, 0.0, 1.0, 9.0], "b": [0.5]}, alt="A.", bins=2, range=(0, 1), title="T"
    )
    assert [bar.get_height() for bar in chart.axes[0].patches] == [0.5, 0.25]
    assert [bar.get_height() for bar in chart.axes[1].patches] == [0.0, 1.0]
    outline = plotting.histograms([X, X], alt="A.", overlay=True, bins=[-2, 0, 2])
    assert len(outline.axes) == 1 and not outline.legends
    assert plotting.histograms({"a": X, "b": X}, alt="A.", overlay=True).legends


def test_bars_and_groups_stand_at_their_values_with_intervals():
    chart = plotting.bars(
        {"relu": {"f": 1.0, "g": (2.0, 1.5, 3.0)}, "tanh": {"f": 4.0}}, alt="A.", ylabel="v"
    )
    assert sorted(bar.get_height() for bar in chart.axes[0].patches) == [1, 2, 4]
    ends = chart.axes[0].collections[0].get_segments()[0][:, 1]
    np.testing.assert_allclose(sorted(ends), [1.5, 3.0])
    assert [text.get_text() for text in chart.legends[0].get_texts()] == ["f", "g"]


def test_stacked_bars_stand_on_one_another():
    parts = {"all": {"function": 0.2, "depth": 0.5}, "some": {"depth": 0.1, "seed": 0.4}}
    patches = plotting.bars(parts, alt="A.", stacked=True).axes[0].patches
    found = sorted((round(float(b.get_y()), 6), round(float(b.get_height()), 6)) for b in patches)
    assert found == [(0.0, 0.1), (0.0, 0.2), (0.1, 0.4), (0.2, 0.5)]


def test_intervals_are_drawn_from_low_to_high_with_reference_and_number():
    interval = SimpleNamespace(mean=0.5, low=0.4, high=0.7)
    chart = plotting.intervals({"relu": interval}, alt="A.", reference={"chance": 0.1}, numbers="{:.2f}")
    span, dot = chart.axes[0].lines[:2]
    assert list(span.get_xdata()) == [0.4, 0.7] and list(dot.get_xdata()) == [0.5]
    assert {"0.50", "chance"} <= {text.get_text() for text in chart.axes[0].texts}
    grouped = plotting.intervals({"relu": {"train": (1, 0, 2), "test": (2, 1, 3)}}, alt="A.")
    assert [text.get_text() for text in grouped.legends[0].get_texts()] == ["train", "test"]


def test_points_and_diagonal():
    chart = plotting.points({"a": ([0, 1], [1, 0]), "b": ([0], [0])}, alt="A.", diagonal=True)
    np.testing.assert_array_equal(chart.axes[0].lines[0].get_xydata(), [[0, 1], [1, 0]])
    assert chart.axes[0].lines[0].get_linestyle() == "None"
    assert len(chart.axes[0].lines) == 3


@pytest.mark.parametrize("shape", [(5, 4), (2, 5, 4), (2, 1, 5, 4), (2, 3, 5, 4), (3, 5, 4)])
def test_images_of_every_layout(shape):
    data = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    chart = plotting.images(data, alt="A.")
    colour = shape in {(2, 3, 5, 4), (3, 5, 4)}
    assert len(chart.axes) == {2: 1, 3: 1 if colour else 2, 4: 2}[len(shape)]
    drawn = np.asarray(chart.axes[0].images[0].get_array())
    assert drawn.shape == ((5, 4, 3) if colour else (5, 4))
    expected = data if len(shape) == 2 or shape == (3, 5, 4) else data[0]
    expected = expected.movedim(0, -1) if colour else expected.reshape(5, 4)
    np.testing.assert_allclose(drawn, expected, rtol=1e-6)


def test_images_large_values_are_dark_and_signed_ones_have_white_at_zero():
    ink = plotting.images([[0.0, 1.0]], alt="A.", colorbar=True, title="T").axes[0].images[0]
    assert to_hex(ink.to_rgba(0.0)) == "#ffffff" and to_hex(ink.to_rgba(1.0)) == "#000000"
    signed = plotting.images([[-1.0, 0.0, 0.5]], alt="A.").axes[0].images[0]
    assert signed.get_clim() == (-1, 1)
    assert min(signed.to_rgba(0.0)[:3]) > 0.95


def test_grids_tint_marked_cells_and_mute_the_rim():
    panel = {"title": "image", "cells": [["0", "0", "0"], ["0", -1.5, "0"], ["0", "", "0"], ["0", "0", "0"]]}
    chart = plotting.grids([panel | {"marked": [(1, 1)], "rim": 1}, {"cells": [[2]]}], alt="A.")
    first, second = chart.axes
    assert first.get_title() == "image" and second.get_title() == ""
    assert [text.get_text() for text in first.texts].count("0") == 10
    assert {"−1.5", ""} <= {text.get_text() for text in first.texts}
    tinted = [cell for cell in first.patches if cell.get_facecolor()[3] > 0]
    assert [cell.get_xy() for cell in tinted] == [(0.5, 0.5)]
    assert sum(cell.get_linestyle() in (":", "dotted") for cell in first.patches) == 10
    assert len(plotting.grids([{"cells": [[1]]}] * 3, columns=2, alt="A.").axes) == 3


def test_heatmap_shows_the_matrix_names_and_numbers():
    chart = plotting.heatmap(
        [[1.0, float("nan")], [3.0, 5.0]],
        alt="A.",
        xticks=["p", "q"],
        yticks=[1, 2],
        numbers="{:.1f}",
        centre=2.0,
        label="v",
    )
    ax = chart.axes[0]
    assert [text.get_text() for text in ax.texts] == ["1.0", "3.0", "5.0"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["p", "q"]
    assert ax.images[0].get_clim() == (-1, 5)


def test_learning_rates_show_the_mean_and_the_t_interval_of_the_last_epoch():
    chart = plotting.learning_rates({"relu": SWEEP}, alt="A.", chance=0.1)
    ax = chart.axes[0]
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [[0.01, 0.6], [0.1, 0.9], [1.0, 0.15]])
    half = 12.7062 * np.std([0.5, 0.7], ddof=1) / 2**0.5
    top = ax.collections[0].get_paths()[0].vertices[:, 1].max()
    assert top == pytest.approx(min(1.0, 0.6 + half), rel=1e-4)
    assert ax.get_xscale() == "log"


@pytest.mark.parametrize(
    "level, df, expected",
    [(0.95, 1, 12.7062), (0.95, 4, 2.77645), (0.99, 9, 3.24984), (0.9, 30, 1.69726)],
)
def test_quantiles_of_students_t(level, df, expected):
    assert t_quantile(level, df) == pytest.approx(expected, rel=1e-5)


# ---- files


@pytest.mark.parametrize("suffix, start", [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_files_are_the_same_every_time_and_hold_the_alt_text(tmp_path, suffix, start):
    paths = [tmp_path / f"{name}{suffix}" for name in "ab"]
    for path in paths:
        assert plotting.save(HELPERS["lines"](alt="Two activations."), path) == path
    one, two = (path.read_bytes() for path in paths)
    assert one == two and one.startswith(start)
    if suffix == ".png":
        with Image.open(paths[0]) as image:
            assert image.text == {"Description": "Two activations."}
    else:
        assert b"Two activations." in one


def test_files_of_another_kind_or_in_no_folder_are_refused(tmp_path):
    chart = HELPERS["lines"](alt="A.")
    with pytest.raises(ConvcraftError, match=r"path: expected a name that ends in \.png, \.svg, \.pdf"):
        plotting.save(chart, tmp_path / "chart.jpg")
    with pytest.raises(ConvcraftError, match="does not exist; make it first"):
        plotting.save(chart, tmp_path / "none" / "chart.png")


# ---- misuse

BAD = [
    (lambda: plotting.lines([0, 1], {}, alt="A."), "series: expected at least one y"),
    (lambda: plotting.lines([0, 1], [[0, 1]], alt="A."), "series: expected a dict of name: y, got list"),
    (
        lambda: plotting.lines([0, 1], {"a": [0, 1, 2]}, alt="A."),
        "series 'a': expected y with one value for each of the 2",
    ),
    (lambda: plotting.lines([0, 1], {"a": ([0, 1], [0], [1, 2])}, alt="A."), "series 'a': expected low"),
    (lambda: plotting.lines([[0, 1]], {"a": [0]}, alt="A."), "x: expected one row of numbers"),
    (lambda: plotting.lines([0, 1], {"a": ["p", "q"]}, alt="A."), "a: expected numbers"),
    (lambda: plotting.lines([0, 1], {"a": [0, 1]}, alt="A.", xscale="logg"), "did you mean 'log'"),
    (lambda: plotting.lines([0, 1], {"a": [0, 1]}, alt="A.", legend="topp"), "did you mean 'top'"),
    (lambda: plotting.panels([], alt="A."), "panels: expected at least one panel"),
    (
        lambda: plotting.panels([{"x": [0], "series": {"a": [0]}, "titel": ""}], alt="A."),
        "did you mean 'title'",
    ),
    (
        lambda: plotting.panels([{"x": [0], "series": {"a": [0]}}], alt="A.", columns=0),
        "columns: expected a positive",
    ),
    (lambda: plotting.histograms({"a": []}, alt="A."), "'a': expected finite values, got none"),
    (lambda: plotting.histograms({"a": [1.0, float("nan")]}, alt="A."), "'a': expected finite values, got 1"),
    (lambda: plotting.histograms([], alt="A."), "values: expected at least one set of values"),
    (lambda: plotting.bars({"a": (1, 2)}, alt="A."), r"'a': expected \(mean, low, high\), got 2 numbers"),
    (
        lambda: plotting.intervals({"a": object()}, alt="A."),
        "'a': expected an interval with mean, low and high",
    ),
    (
        lambda: plotting.points({"a": ([0, 1], [0])}, alt="A."),
        "'a': expected x and y of the same length, got 2 and 1",
    ),
    (lambda: plotting.images([], alt="A."), "images: expected at least one image"),
    (lambda: plotting.images(torch.zeros(2, 2, 4, 4), alt="A."), r"got shape \(2, 2, 4, 4\)"),
    (lambda: plotting.images(torch.zeros(2, 4, 4), alt="A.", titles=["a"]), "titles: expected 2"),
    (lambda: plotting.grids([], alt="A."), "panels: expected at least one panel"),
    (lambda: plotting.grids([{"cell": [[1]]}], alt="A."), "did you mean 'cells'"),
    (lambda: plotting.heatmap([1, 2], alt="A."), "matrix: expected rows and columns"),
    (lambda: plotting.heatmap([[1, 2]], alt="A.", xticks=["a"]), "xticks: expected 2 names, got 1"),
    (
        lambda: plotting.learning_rates({"a": SWEEP}, alt="A.", level=95),
        "level: expected a number between 0 and 1",
    ),
]


@pytest.mark.parametrize("call, message", BAD)
def test_misuse_says_what_was_expected(call, message):
    with pytest.raises(ConvcraftError, match=message):
        call()


# ---- colours: read by everyone, in the light and inverted for the dark

# Machado, Oliveira and Fernandes (2009), severity 1, in linear RGB: protanopia, deuteranopia, tritanopia.
BLINDNESS = {
    "none": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.01182, 0.04294, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.3039],
    ],
}


def linear(colour: str) -> np.ndarray:
    parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def oklab(rgb: np.ndarray) -> np.ndarray:
    """Björn Ottosson (2020), a perceptual colour space: equal distances look equally different."""
    to_lms = [[0.41222, 0.53633, 0.05145], [0.21190, 0.68070, 0.10740], [0.08830, 0.28172, 0.62998]]
    to_lab = [[0.21045, 0.79362, -0.00407], [1.97800, -2.42859, 0.45059], [0.02590, 0.78277, -0.80868]]
    return np.array(to_lab) @ np.cbrt(np.array(to_lms) @ np.clip(rgb, 0, 1))


def inverted(colour: str) -> str:
    """What `filter: invert(0.92) hue-rotate(180deg)` of the book's style sheet makes of a colour."""
    parts = 0.92 - 0.84 * np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    grey = np.array([0.213, 0.715, 0.072])
    turned = np.clip(2 * (grey @ parts) - parts, 0, 1)
    return "#" + "".join(f"{round(v * 255):02x}" for v in turned)


@pytest.mark.parametrize("name", style.THEMES)
def test_colours_stand_out_from_the_ground(name):
    theme = style.THEMES[name]
    for colour in theme.series:
        assert style.contrast(colour, theme.ground) >= 3
        assert style.contrast(style.text_colour(colour, theme), theme.ground) >= 4.5
    assert style.contrast(theme.ink, theme.ground) >= 7 and style.contrast(theme.muted, theme.ground) >= 4.5


def test_contrast_of_black_and_white_is_21():
    assert style.contrast("#000000", "#ffffff") == pytest.approx(21)
    assert style.contrast("#777777", "#777777") == 1


def test_light_colours_survive_the_inversion_of_the_dark_book():
    ground = inverted("#ffffff")
    for colour in (*style.THEMES["light"].series, style.THEMES["light"].ink, style.THEMES["light"].muted):
        assert style.contrast(inverted(colour), ground) >= 3
    assert style.contrast(inverted(style.THEMES["light"].ink), ground) >= 7


@pytest.mark.parametrize("kind", BLINDNESS)
@pytest.mark.parametrize("name", style.THEMES)
def test_colours_differ_for_colour_blind_eyes(name, kind):
    seen = [oklab(np.array(BLINDNESS[kind]) @ linear(colour)) for colour in style.THEMES[name].series]
    gaps = {
        pair: np.linalg.norm(seen[pair[0]] - seen[pair[1]]) for pair in itertools.combinations(range(7), 2)
    }
    # The first four must keep well apart; dashes and markers help to tell the later ones.
    assert min(gap for (i, j), gap in gaps.items() if j < 4) >= 0.06
    assert min(gaps.values()) >= 0.04


def spans(chart):
    """The shaded bands, as (low, high)."""
    return [(p.get_x(), p.get_x() + p.get_width()) for p in chart.axes[0].patches]


def test_a_forest_has_a_label_a_group_and_a_row_an_interval():
    groups = {
        "digits": {"open": [(0.1, -0.2, 0.4), (-0.3, -0.5, -0.1)], "ahead": [(1.0, 0.5, 1.5)]},
        "series": {"open": [(2.0, 1.0, 3.0)]},
    }
    ax = plotting.forest(groups, alt="x").axes[0]
    dots = [line for line in ax.lines if len(line.get_xdata()) == 1]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["digits", "series"]
    assert [float(dot.get_xdata()[0]) for dot in dots] == [-0.3, 0.1, 1.0, 2.0]
    assert dots[0].get_color() == dots[3].get_color() != dots[2].get_color()


def test_differences_are_drawn_against_0_with_the_common_margin_shaded():
    rows = [contrast("b", "a"), contrast("c", "a")]
    chart = plotting.differences(rows, alt="x", percent=True, numbers="{:+.1f}")
    axes = chart.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["b − a", "c − a"]
    assert axes.get_xlabel() == "difference in test accuracy (percentage points)"
    assert np.allclose(axes.get_lines()[0].get_xdata(), [-1, 5]) and np.allclose(spans(chart), [(-1, 1)])
    assert any(np.allclose(line.get_xdata(), 0) for line in axes.get_lines())
    assert "+2.0" in [text.get_text() for text in axes.texts]


def test_the_margin_is_in_the_picture_unless_limits_are_given():
    rows = [contrast("b", "a", interval=(0.001, 0.0, 0.002))]
    low, high = plotting.differences(rows, alt="x").axes[0].get_xlim()
    assert low < -0.01 and high > 0.01
    assert plotting.differences(rows, alt="x", xlim=(-0.002, 0.004)).axes[0].get_xlim() == (-0.002, 0.004)


def test_differences_in_several_measures_are_named_and_have_no_common_margin():
    rows = [contrast("b", "a"), contrast("b", "a", measure="loss", margin=None)]
    chart = plotting.differences(rows, alt="x")
    assert [t.get_text() for t in chart.axes[0].get_yticklabels()] == ["b − a, test_accuracy", "b − a, loss"]
    assert chart.axes[0].get_xlabel() == "difference in the measure" and spans(chart) == []


@pytest.mark.parametrize("given", [[], [3], 3, [contrast("b", "a", interval=(1, 2))]])
def test_what_is_no_list_of_contrasts_is_refused(given):
    with pytest.raises(ConvcraftError):
        plotting.differences(given, alt="x")


def test_learning_rates_of_results():
    results = SimpleNamespace(sweeps=lambda: {"relu": SWEEP, "tanh": SWEEP})

    def labels(chart):
        return {line.get_label() for line in chart.axes[0].get_lines()} & {"relu", "tanh"}

    assert labels(plotting.learning_rates(results, alt="x")) == {"relu", "tanh"}
    assert labels(plotting.learning_rates({"tanh": results}, alt="x")) == {"tanh"}
    with pytest.raises(ConvcraftError, match="unknown arm 'tahn': did you mean 'tanh'"):
        plotting.learning_rates({"tahn": results}, alt="x")
