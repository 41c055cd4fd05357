"""The house style: colours, dashes, markers, type, and the matplotlib settings in force while a chart is drawn."""

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from convcraft.errors import ConvcraftError

WIDTH = 6.6  # inches; the text column of the book
SMALL = 3.2  # half of it
DPI = 192  # drawn at twice the density of a screen, shown at 96 pixels an inch


class Theme(NamedTuple):
    """Colours of a chart: the ground, the ink, the subdued lines, and the series in order."""

    light: bool
    ground: str
    ink: str
    muted: str
    grid: str
    frame: str
    series: tuple[str, ...]
    sequential: str
    diverging: str


_ENTRIES = tomllib.loads(Path(__file__).with_name("themes.toml").read_text(encoding="utf-8"))
THEMES = {name: Theme(**{**entry, "series": tuple(entry["series"])}) for name, entry in _ENTRIES.items()}

# Lines differ by dash as well as by colour, so that they can be told apart in a grey print.
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


#: matplotlib's name of a colour -> the theme's
_COLOURS = {
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor"), "ink"),
    **dict.fromkeys(("figure.facecolor", "savefig.facecolor", "axes.facecolor"), "ground"),
    **dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color"), "frame"),
    "grid.color": "grid",
}


def need_matplotlib() -> None:
    """Raise a :class:`ConvcraftError` that names the extra where matplotlib or Pillow is missing."""
    try:
        import matplotlib  # noqa: F401
        import PIL.Image  # noqa: F401
    except ImportError as error:
        raise ConvcraftError(
            f"plotting needs matplotlib and Pillow, and {error.name!r} is not installed: pip install 'convcraft[plot]'"
        ) from error


def pick_theme(theme: str) -> Theme:
    """The theme with this name, "light" or "dark"; raises ConvcraftError for any other."""
    if theme not in THEMES:
        raise ConvcraftError(f"theme: expected 'light' or 'dark', got {theme!r}")
    return THEMES[theme]


def series_style(index: int, theme: Theme) -> dict[str, Any]:
    """Colour and dash of a series by its position; the dashes change when the colours repeat."""
    count = len(theme.series)
    return {"color": theme.series[index % count], "linestyle": DASHES[(index + index // count) % len(DASHES)]}


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours, from 1 to 21 (WCAG 2.1)."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def text_colour(colour: str, theme: Theme) -> str:
    """The colour, mixed with enough ink to be legible as text (4.5 to 1)."""
    for step in range(11):
        share = step / 10
        mixed = "#" + "".join(
            f"{round(int(colour[i : i + 2], 16) * (1 - share) + int(theme.ink[i : i + 2], 16) * share):02x}"
            for i in (1, 3, 5)
        )
        if contrast(mixed, theme.ground) >= 4.5:
            break
    return mixed


@contextmanager
def settings(theme: Theme) -> Iterator[None]:
    """Apply the house style within a with block; matplotlib's settings are restored after it."""
    need_matplotlib()
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rc_file(Path(__file__).with_name("house.mplstyle"), use_default_template=False)
        for setting, colour in _COLOURS.items():
            matplotlib.rcParams.update({setting: getattr(theme, colour)})  # type: ignore[dict-item, unused-ignore]
        yield
