"""The figure: frames computed in Python, a script that draws them, and a still image where no script runs."""

import base64
import hashlib
import html
import importlib.resources
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from convcraft._checks import check_all_known, check_known
from convcraft.errors import ConvcraftError
from convcraft.plotting.arrays import array
from convcraft.plotting.style import THEMES

from .controls import arguments, combinations, nested_index, parse
from .encoding import code_bytes, encode, pack
from .still import draw_still

FIXED_KEYS = ("kind", "xlabel", "ylabel", "xlim", "ylim", "yscale", "xticks", "yticks", "digits")
PANEL_KEYS = ("title", "series", "x", *FIXED_KEYS)


def script() -> str:
    """The script of the figures, with the colours of the house style, without indentation or comments."""
    text = importlib.resources.files("convcraft.lab").joinpath("interactive.js").read_text("utf-8")
    for name in ("light", "dark"):
        text = text.replace(f"__{name.upper()}__", json.dumps(THEMES[name].series))
    short = (line.strip() for line in text.splitlines())
    return "\n".join(line for line in short if line and not line.startswith("//"))


class _Html(NamedTuple):
    """A piece of HTML that a notebook shows."""

    text: str

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/html": self.text, "text/plain": "<script of the interactive figures>"}


def enable() -> _Html:
    """Put the script on the page once; figures made with ``script=False`` then rely on it."""
    return _Html(f"<script>{script()}</script>")


class InteractiveFigure:
    """A figure with controls; :func:`figure` makes it.

    On a page it is an element with labelled native controls, drawn as SVG from the frames it contains. Without a
    script, in print, in a PDF and in an untrusted notebook, `still` is shown.

    Attributes:
        data: what the script reads.
        still: the figure in its initial state.
        alt: what it shows, in words.
    """

    def __init__(self, data: dict[str, Any], still: Any, alt: str, caption: str | None, with_script: bool) -> None:
        self.data, self.still, self.alt, self.caption, self.with_script = data, still, alt, caption, with_script
        self._png: bytes | None = None

    def __repr__(self) -> str:
        labels = ", ".join(c["label"] for c in self.data["controls"])
        return f"<InteractiveFigure: {labels}; {len(self.data['frames'])} frames>"

    def png(self) -> bytes:
        """The still as a PNG."""
        if self._png is None:
            self._png = self.still.png()
        return self._png

    def html(self) -> str:
        """The element, its data and the still, and the script unless the figure was made without it."""
        text = json.dumps(self.data, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
        ident = "cc" + hashlib.sha256(text.encode()).hexdigest()[:10]
        alt = html.escape(self.alt, quote=True)
        still = base64.b64encode(self.png()).decode("ascii")
        parts = [
            f'<convcraft-figure id="{ident}" role="group" aria-label="{alt}">',
            f'<script type="application/json">{text}</script>',
            f'<img class="still" alt="{alt}" width="{self.still.width}" src="data:image/png;base64,{still}">',
            "</convcraft-figure>",
        ]
        if self.caption:
            parts.append(f'<p class="convcraft-caption">{html.escape(self.caption)}</p>')
        if self.with_script:
            parts.append(f"<script>{script()}</script>")
        return "\n".join(parts)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict[str, str], dict[str, Any]]:
        png = base64.b64encode(self.png()).decode("ascii")
        data = {"text/html": self.html(), "image/png": png, "text/plain": repr(self)}
        return data, {"image/png": {"width": self.still.width, "alt": self.alt}}


def figure(
    frame: Callable[..., Mapping[str, Any]],
    controls: Mapping[str, Any],
    *,
    x: Any,
    alt: str,
    kind: str = "line",
    caption: str | None = None,
    start: Mapping[str, Any] | None = None,
    ylim: tuple[float, float] | None = None,
    xlabel: str = "",
    ylabel: str = "",
    columns: int | None = None,
    still: Any = None,
    digits: int = 3,
    script: bool = True,
) -> InteractiveFigure:
    """Evaluate `frame` at every setting of the controls, and make a figure of the results.

    Args:
        frame: called with one value of each control by name; returns ``{"panels": [{"title", "series":
            [{"name", "y"}]}], "text": …}``. A panel may have its own ``x``, ``kind``, ``xlabel``, ``ylabel``,
            ``ylim``, ``yscale`` ("linear" or "log"), ``xticks`` (a word for each x), ``yticks`` (False: none)
            and ``digits``; these are taken from the first frame. Each series of a "plane" has its own ``x``,
            and the panel ``xlim`` and ``ylim``.
        controls: for each name a list of values: numbers make a slider, ["off", "on"] a switch, anything else a list
            to choose from; or ``(label, values)``. A dict, keyed by values of an earlier control, makes a slider that
            depends on it, with ``(label, values, start)`` for each; where it has no entry `frame` gets None.
        x: (n,) numbers. The abscissa of panels without their own; evenly spaced centres for bars.
        kind: {"line", "bar", "interval", "plane"}. How a series is drawn; ``y`` of an interval is (3, n): the
            means, the low and the high ends. "plane" takes curves in any direction, both axes at the same
            scale, and a curve of one point as a dot.
        alt: what the figure shows and what can be moved, in words; required.
        start: the initial setting of the controls; by default their first values.
        columns: panels per row, where there is room.
        still: an image of the initial state; drawn from its frame by default.
        digits: how precisely values are kept, in digits of their panel's range: 1 or 2 take one byte per value, 3 or 4
            two.
        script: include the script; pass False after :func:`enable`.

    Raises:
        ConvcraftError: without `alt`; for controls, kinds or digits other than the above; and for frames that do not
            match the first.

    >>> import numpy as np
    >>> x = np.linspace(-3, 3, 61)
    >>> def frame(slope):
    ...     return {"panels": [{"series": [{"name": "f", "y": np.where(x > 0, x, slope * x)}]}]}
    >>> figure(frame, {"slope": [0.0, 0.1, 0.2]}, x=x, alt="Leaky ReLU; its slope can be moved.")
    <InteractiveFigure: slope; 3 frames>
    """
    if not isinstance(alt, str) or not alt.strip():
        raise ConvcraftError(f"alt: expected a sentence that says what the figure shows, got {alt!r}")
    alt = " ".join(alt.split())
    parsed = parse(controls, start)
    states = list(combinations(parsed))
    frames = [frame(**arguments(parsed, state)) for state in states]
    initial: tuple[int, ...] = ()
    for control in parsed:
        option = control.option(initial)
        initial = (*initial, option.start if option else 0)
    first = states.index(initial)
    defaults = {"kind": kind, "xlabel": xlabel, "ylabel": ylabel, "ylim": ylim, "yscale": "linear", "digits": digits}
    panels = _panels(frames, first, array(x, "x"), defaults)
    data, places = _pack(frames, states, panels)
    data |= {
        "alt": alt,
        "columns": columns or min(len(panels), 3 if len(panels) != 4 else 2),
        "controls": [c.as_json() for c in parsed],
        "index": nested_index(places),
        "names": list(dict.fromkeys(n for p in panels for n in p["names"])),
    }
    if still is None:
        still = draw_still(frames[first], panels, data["x"], data["columns"], alt)
    return InteractiveFigure(data, still, alt, caption, script)


def _panels(
    frames: Sequence[Mapping[str, Any]], first: int, x: np.ndarray, defaults: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """What all frames share: names, axes, and the range over which values are encoded."""
    if not isinstance(frames[first], Mapping) or not frames[first].get("panels"):
        raise ConvcraftError('frame: expected a dict with a list "panels" of at least one panel')
    panels = []
    for k, panel in enumerate(frames[first]["panels"]):
        check_all_known("entry of a panel", panel, PANEL_KEYS)
        fixed = {key: panel.get(key, defaults.get(key)) for key in FIXED_KEYS}
        for key, known in (("kind", ("line", "bar", "interval", "plane")), ("yscale", ("linear", "log"))):
            check_known(key, fixed[key], known)
        fixed["names"] = [str(s.get("name", "")) for s in panel["series"]]
        fixed["xticks"] = [str(word) for word in fixed["xticks"] or ()]
        fixed["own_x"] = array(panel["x"], "x") if "x" in panel else None
        if fixed["kind"] == "plane":
            if fixed["xlim"] is None or fixed["ylim"] is None:
                raise ConvcraftError("kind: a plane needs xlim and ylim, (low, high) each")
            fixed["own_x"] = np.arange(len(panel["series"][0]["y"]), dtype=float)
        fixed["x"] = x if fixed["own_x"] is None else fixed["own_x"]
        if fixed["x"].ndim != 1 or len(fixed["x"]) < 2:
            raise ConvcraftError(f"x: expected at least two numbers in a row, got shape {fixed['x'].shape}")
        if fixed["xticks"] and len(fixed["xticks"]) != len(fixed["x"]):
            wanted = f"a word for each of {len(fixed['x'])} x"
            raise ConvcraftError(f"xticks: expected {wanted}, got {fixed['xticks']}")
        values = np.concatenate([_values(f, k, fixed) for f in frames])
        fixed["range"], fixed["ylim"] = _range(values[np.isfinite(values)], fixed)
        panels.append(fixed)
    return panels


def _values(frame: Mapping[str, Any], k: int, fixed: Mapping[str, Any]) -> np.ndarray:
    """All values of a panel in a row, as powers of ten on a log scale, NaN where there is nothing to draw."""
    panels = frame.get("panels", [])
    if len(panels) <= k or [str(s.get("name", "")) for s in panels[k]["series"]] != fixed["names"]:
        raise ConvcraftError(f"frame: expected the panels and series of the first frame, panel {k} differs")
    axes = ("y", "x") if fixed["kind"] == "plane" else ("y",)
    rows = [array(s[axis], axis) for axis in axes for s in panels[k]["series"]]
    for row in rows:
        if row.shape != (shape := (3,) * (fixed["kind"] == "interval") + fixed["x"].shape):
            raise ConvcraftError(f"frame: expected y as long as x, with shape {shape}, got shape {row.shape}")
    values = np.concatenate(rows, axis=None)
    if fixed["yscale"] == "log":
        values = np.log10(np.where(values > 0, values, np.nan))
    return np.where(np.isfinite(values), values, np.nan)


def _range(values: np.ndarray, fixed: Mapping[str, Any]) -> tuple[list[float], list[float]]:
    """The ends for the encoding and for the axis; a line that leaves the axis is cut off far outside."""
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    if fixed["kind"] == "bar":
        low, high = min(low, 0.0), max(high, 0.0)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    if fixed["ylim"] is None:
        pad = 0.0 if fixed["kind"] == "bar" else 0.04 * (high - low)
        return [_short(low), _short(high)], [_short(low - pad), _short(high + pad)]
    bottom, top = (float(np.log10(v)) if fixed["yscale"] == "log" else float(v) for v in fixed["ylim"])
    if not bottom < top:
        raise ConvcraftError(f"ylim: expected (low, high) with low below high, got {fixed['ylim']!r}")
    span = top - bottom
    if fixed["kind"] != "bar":
        low, high = max(low, bottom - span), min(high, top + span)
    return [_short(min(low, top)), _short(max(high, bottom))], [_short(bottom), _short(top)]


def _short(value: float) -> float:
    return float(f"{value:.6g}")


def _pack(
    frames: Sequence[Mapping[str, Any]], states: Sequence[tuple[int, ...]], panels: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, Any], dict[tuple[int, ...], int]]:
    """Encode the frames, equal ones once."""
    stored: dict[str, int] = {}
    places: dict[tuple[int, ...], int] = {}
    titles = [[str(p.get("title", "")) for p in frame["panels"]] for frame in frames]
    titled = any(own != titles[0] for own in titles)
    for state, frame, own in zip(states, frames, titles, strict=True):
        codes = b"".join(
            encode(_values(frame, k, p), p["range"][0], p["range"][1], code_bytes(p["digits"]), p["digits"])
            for k, p in enumerate(panels)
        )
        packed: dict[str, Any] = {"y": pack(codes)}
        if titled:
            packed["titles"] = own
        if frame.get("text"):
            packed["text"] = str(frame["text"])
        key = json.dumps(packed, sort_keys=True, ensure_ascii=False)
        places[state] = stored.setdefault(key, len(stored))
    kept = []
    for panel, title in zip(panels, titles[0], strict=True):
        keep = {key: panel[key] for key in ("kind", "names", "range", "ylim")}
        keep |= {"title": title, "bytes": code_bytes(panel["digits"])}
        keep |= {"xlabel": panel["xlabel"], "ylabel": panel["ylabel"]}
        further = {
            "x": None if panel["own_x"] is None else [_short(v) for v in panel["own_x"]],
            "log": True if panel["yscale"] == "log" else None,
            "xlim": list(panel["xlim"]) if panel["kind"] == "plane" else None,
            "yticks": False if panel["yticks"] is False else None,
            "xticks": panel["xticks"] or None,
        }
        kept.append(keep | {key: value for key, value in further.items() if value is not None})
    shared = next((p["x"] for p in panels if p["own_x"] is None), panels[0]["x"])
    data: dict[str, Any] = {
        "x": [_short(v) for v in shared],
        "frames": [json.loads(key) for key in stored],
        "text": any(f.get("text") for f in frames),
        "panels": kept,
    }
    return data, places
