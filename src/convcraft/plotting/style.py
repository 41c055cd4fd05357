"""The house style: colours, dashes, markers, type, and matplotlib settings for while a chart is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

from convcraft.errors import ConvcraftError

__all__ = [
    "DASHES",
    "MARKERS",
    "THEMES",
    "Theme",
    "contrast",
    "need_matplotlib",
    "pick_theme",
    "series_style",
    "settings",
    "text_colour",
]

ThemeName = Literal["light", "dark"]

WIDTH = 6.6  # inches; the text column of the book
SMALL = 3.2  # half of it
DPI = 192  # drawn at twice the density of a screen, shown at 96 pixels an inch


class Theme(NamedTuple):
    """Colours of a chart: the ground, the ink, the quiet lines and the series in their order."""

    light: bool
    ground: str
    ink: str
    muted: str
    grid: str
    frame: str
    series: tuple[str, ...]
    sequential: str
    diverging: str


THEMES: dict[str, Theme] = {
    "light": Theme(
        light=True,
        ground="#ffffff",
        ink="#1f2328",
        muted="#57606a",
        grid="#e4e7eb",
        frame="#8c959f",
        series=("#2846c8", "#b84300", "#00a08c", "#78176e", "#2585c4", "#c4791f", "#26202b"),
        sequential="viridis",
        diverging="RdBu_r",
    ),
    "dark": Theme(
        light=False,
        ground="#121212",
        ink="#e6e8eb",
        muted="#a8b0b8",
        grid="#2b2f34",
        frame="#6b737c",
        series=("#6fb4ff", "#f0702c", "#4fe0b0", "#b04cf5", "#f4f7ff", "#ffc93c", "#8b8792"),
        sequential="viridis",
        diverging="RdBu_r",
    ),
}

# Lines differ by dash as well as by colour, so that a print in grey still tells them apart.
DASHES: tuple[Any, ...] = (
    "-",
    (0, (5, 1.6)),
    (0, (1.1, 1.3)),
    (0, (6, 1.5, 1.2, 1.5)),
    (0, (9, 2)),
    (0, (3, 1.2, 1, 1.2, 1, 1.2)),
    (0, (2.4, 2.4)),
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def need_matplotlib() -> None:
    """Raise a :class:`ConvcraftError` that names the extra where matplotlib or Pillow is missing."""
    try:
        import matplotlib  # noqa: F401
        import PIL.Image  # noqa: F401
    except ImportError as error:
        raise ConvcraftError(
            f"plotting needs matplotlib and Pillow, and {error.name!r} is not installed: "
            "pip install 'convcraft[plot]'"
        ) from error


def pick_theme(theme: str) -> Theme:
    """Return the theme of that name, "light" or "dark"."""
    if theme not in THEMES:
        raise ConvcraftError(f"theme: expected 'light' or 'dark', got {theme!r}")
    return THEMES[theme]


def series_style(index: int, theme: Theme) -> dict[str, Any]:
    """Colour and dash of the series at that place; the dash changes when the colours begin again."""
    count = len(theme.series)
    return {
        "color": theme.series[index % count],
        "linestyle": DASHES[(index + index // count) % len(DASHES)],
    }


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours, from 1 to 21 (WCAG 2.1)."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def text_colour(colour: str, theme: Theme) -> str:
    """The colour mixed with as much ink as text of that colour needs to be read (4.5 to 1)."""
    for step in range(11):
        share = step / 10
        mixed = "#" + "".join(
            f"{round(int(colour[i : i + 2], 16) * (1 - share) + int(theme.ink[i : i + 2], 16) * share):02x}"
            for i in (1, 3, 5)
        )
        if contrast(mixed, theme.ground) >= 4.5:
            break
    return mixed


def _parameters(theme: Theme) -> dict[str, Any]:
    return {
        "font.family": "DejaVu Sans",
        "mathtext.fontset": "dejavusans",
        "font.size": 11.5,
        "text.color": theme.ink,
        "figure.facecolor": theme.ground,
        "savefig.facecolor": theme.ground,
        "axes.facecolor": theme.ground,
        "axes.edgecolor": theme.frame,
        "axes.labelcolor": theme.ink,
        "axes.labelsize": 11.5,
        "axes.labelpad": 5.0,
        "axes.linewidth": 0.8,
        "axes.titlesize": 12,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.titlepad": 7.0,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.xmargin": 0.015,
        "axes.unicode_minus": True,
        "grid.color": theme.grid,
        "grid.linewidth": 0.8,
        "xtick.color": theme.frame,
        "ytick.color": theme.frame,
        "xtick.labelcolor": theme.ink,
        "ytick.labelcolor": theme.ink,
        "xtick.labelsize": 11,
        "ytick.labelsize": 11,
        "xtick.major.size": 3.5,
        "ytick.major.size": 0.0,
        "xtick.minor.size": 2.0,
        "ytick.minor.size": 0.0,
        "xtick.major.width": 0.8,
        "lines.linewidth": 1.9,
        "lines.markersize": 5.0,
        "lines.solid_capstyle": "round",
        "lines.dash_capstyle": "butt",
        "lines.scale_dashes": True,
        "legend.frameon": False,
        "legend.fontsize": 11,
        "legend.handlelength": 2.4,
        "legend.columnspacing": 1.6,
        "legend.handletextpad": 0.6,
        "legend.borderaxespad": 0.0,
        "legend.borderpad": 0.0,
        "figure.titlesize": 13,
        "figure.titleweight": "bold",
        "figure.constrained_layout.use": True,
        "figure.constrained_layout.h_pad": 0.06,
        "figure.constrained_layout.w_pad": 0.06,
        "figure.constrained_layout.hspace": 0.05,
        "figure.constrained_layout.wspace": 0.05,
        "svg.hashsalt": "convcraft",
        "svg.fonttype": "path",
        "pdf.fonttype": 42,
    }


@contextmanager
def settings(theme: Theme) -> Iterator[None]:
    """Apply the house style for the length of a with block; matplotlib's settings are as before after it."""
    need_matplotlib()
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_parameters(theme))  # type: ignore[arg-type, unused-ignore]
        yield
