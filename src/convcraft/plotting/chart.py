"""The chart that every helper returns: a matplotlib figure with alt text, shown as a small PNG."""

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from convcraft.errors import ConvcraftError

from .style import DPI, WIDTH, Theme, pick_theme, settings

FORMATS = (".png", ".svg", ".pdf")


class Chart(Figure):
    """A matplotlib figure with alt text that a notebook shows as a small palette PNG.

    A chart is made without pyplot, keeps no global state, and gives the same bytes in every run. It is a full
    `Figure`, to which anything can be added: ``chart.axes[0]`` is the first panel.

    Args:
        alt: what the chart shows, in words; an empty one raises ConvcraftError.
        size: tuple of float. Width and height in inches.
        theme: {"light", "dark"}. The colours.
    """

    def __init__(self, *, alt: str, size: tuple[float, float] = (WIDTH, 3.3), theme: str = "light") -> None:
        if not isinstance(alt, str) or not alt.strip():
            raise ConvcraftError(
                f"alt: expected a sentence that says what the chart shows, got {alt!r}; "
                "a reader who cannot see it needs one"
            )
        self.theme: Theme = pick_theme(theme)
        self.alt: str = " ".join(alt.split())
        self._drawn: bytes | None = None
        with settings(self.theme):
            super().__init__(figsize=size, dpi=DPI, layout="constrained")
            FigureCanvasAgg(self)

    def __repr__(self) -> str:
        return f"<Chart: {self.alt}>"

    def _repr_html_(self) -> None:
        return None

    def lay_out(self) -> None:
        """Solve the layout once, without drawing."""
        engine = self.get_layout_engine()
        if engine is None:  # a chart that was laid out by hand
            self.draw_without_rendering()
        else:
            engine.execute(self)

    @contextmanager
    def _as_it_is(self) -> Iterator[None]:
        """Do without a layout engine, which would solve again what is settled."""
        engine = self.get_layout_engine()
        self.set_layout_engine("none")
        try:
            yield
        finally:
            if engine is not None:
                self.set_layout_engine(engine)

    def settle(self) -> None:
        """Repeat the layout until no panel moves, so that the first drawing equals every later one."""
        before: list[float] = []
        for _ in range(6):
            self.lay_out()
            now = [v for ax in self.axes for v in ax.get_position().bounds]
            if len(now) == len(before) and all(abs(a - b) < 1e-8 for a, b in zip(now, before, strict=True)):
                return
            before = now

    def png(self) -> bytes:
        """Return the chart as a PNG with a palette of 128 colours, about a third of the usual size."""
        if self._drawn and not self.stale:  # a layout that is solved again moves by the last bit
            return self._drawn
        full = io.BytesIO()
        with settings(self.theme):
            self.settle()
            with self._as_it_is():
                self.savefig(full, format="raw", dpi=DPI)
        image = Image.frombytes("RGBA", self.canvas.get_width_height(), full.getvalue())
        flat = image.convert("RGB").quantize(128, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        small = io.BytesIO()
        flat.save(small, "PNG", optimize=True)
        self.stale, self._drawn = False, small.getvalue()
        return self._drawn

    @property
    def width(self) -> int:
        """Width in the pixels of a page; no height is given, so that a phone may shrink it."""
        return round(self.get_figwidth() * 96)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict[str, str], dict[str, Any]]:
        data = {"image/png": base64.b64encode(self.png()).decode("ascii"), "text/plain": repr(self)}
        return data, {"image/png": {"width": self.width, "alt": self.alt}}

    def save(self, path: str | Path) -> Path:
        """Write the chart to a .png, .svg or .pdf file; see :func:`convcraft.plotting.save`."""
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix not in FORMATS:
            raise ConvcraftError(f"path: expected a name that ends in {', '.join(FORMATS)}, got {str(path)!r}")
        if not path.parent.is_dir():
            raise ConvcraftError(f"path: the folder {str(path.parent)!r} does not exist; make it first")
        metadata: dict[str, Any] = {
            ".png": {"Software": None, "Description": self.alt},
            ".svg": {"Date": None, "Creator": None, "Title": self.alt},
            ".pdf": {"CreationDate": None, "Creator": None, "Producer": None, "Title": self.alt},
        }[suffix]
        with settings(self.theme):
            self.settle()
            self.savefig(path, format=suffix[1:], dpi=DPI, metadata=metadata)
        return path
