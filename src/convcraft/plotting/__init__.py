"""One figure style for everything that convcraft measures.

Each helper returns a :class:`Chart`, a matplotlib figure made without pyplot: nothing global is touched, and the bytes
are the same in every run. `alt`, what the chart shows in words, is required. Colours can be told apart by colour-blind
readers, and lines also differ by dash. Matplotlib and Pillow are imported with the first chart:
``pip install 'convcraft[plot]'``.

>>> chart = lines([0, 1, 2], {"relu": [0, 1, 2]}, alt="ReLU is the identity here.", xlabel="z", ylabel="f(z)")
>>> chart
<Chart: ReLU is the identity here.>
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .curves import learning_rates, lines, panels
from .distributions import bars, histograms
from .dots import differences, forest, intervals, points
from .pictures import grids, heatmap, images
from .style import need_matplotlib

if TYPE_CHECKING:
    from .chart import Chart

__all__ = [
    "Chart", "bars", "differences", "forest", "grids", "heatmap", "histograms", "images", "intervals",
    "learning_rates", "lines", "panels", "points", "save",
]  # fmt: skip


def save(chart: Chart, path: str | Path) -> Path:
    """Write a chart to a .png, .svg or .pdf file that contains its alt text; the bytes are the same every time.

    Args:
        chart: what a helper returned.
        path: the file; its suffix decides the format.

    Raises ConvcraftError for another suffix, and if the folder does not exist.

    >>> import tempfile, pathlib
    >>> folder = tempfile.TemporaryDirectory()
    >>> chart = lines([0, 1], {"f": [0, 1]}, alt="A line.")
    >>> save(chart, pathlib.Path(folder.name) / "line.svg").name
    'line.svg'
    >>> folder.cleanup()
    """
    return chart.save(path)


def __getattr__(name: str) -> Any:
    if name == "Chart":
        need_matplotlib()
        from .chart import Chart

        return Chart
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), "Chart"})
