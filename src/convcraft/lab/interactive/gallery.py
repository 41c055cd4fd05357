"""A gallery: rows of small images, with a set of rows for each choice, and no script."""

import base64
import hashlib
import html
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convcraft.errors import ConvcraftError
from convcraft.plotting.arrays import array
from convcraft.plotting.style import need_matplotlib

STYLE = Path(__file__).with_name("gallery.css").read_text(encoding="utf-8")


class Gallery:
    """Sets of rows of images, of which the reader chooses one; :func:`gallery` makes it.

    Made of radio buttons and a style sheet, it needs no script, works from the keyboard, and prints all of its sets. A
    PDF shows the first.
    """

    def __init__(
        self, sets: dict[str, dict[str, NDArray[np.float64]]], notes: Mapping[str, str], title: str, alt: str
    ) -> None:
        self.sets, self.notes, self.title, self.alt = sets, notes, title, alt

    def __repr__(self) -> str:
        return f"<Gallery: {', '.join(self.sets)}>"

    def html(self) -> str:
        """The element with its style."""
        body = "".join(self._rows(name) for name in self.sets)
        ident = "cg" + hashlib.sha256((self.title + body).encode()).hexdigest()[:10]
        style = STYLE.strip() + "".join(
            f"\n#{ident}-{k}:checked~div:nth-of-type({k + 1}){{display:block}}" for k in range(len(self.sets))
        )
        buttons = "".join(
            f'<input type="radio" name="{ident}" id="{ident}-{k}"{" checked" if k == 0 else ""}>'
            f'<label for="{ident}-{k}">{html.escape(name)}</label>'
            for k, name in enumerate(self.sets)
        )
        return (
            f"<style>{style.replace('#ID', '#' + ident)}</style>\n"
            f'<div id="{ident}" role="group" aria-label="{html.escape(self.alt, quote=True)}">'
            f"<b>{html.escape(self.title)}</b>{buttons}{body}</div>"
        )

    def _rows(self, name: str) -> str:
        note = self.notes.get(name)
        rows = "".join(
            f'<span>{html.escape(label)}</span><img alt="{html.escape(f"{name}, {label}", quote=True)}" '
            f'src="data:image/png;base64,{base64.b64encode(png(strip(pictures))).decode("ascii")}">'
            for label, pictures in self.sets[name].items()
        )
        return f"<div>{f'<p>{html.escape(note)}</p>' if note else ''}{rows}</div>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict[str, str], dict[str, Any]]:
        first = next(iter(self.sets.values()))
        still = png(np.concatenate([strip(pictures, 4) for pictures in first.values()]))
        picture = base64.b64encode(still).decode("ascii")
        data = {"text/html": self.html(), "image/png": picture, "text/plain": repr(self)}
        return data, {"image/png": {"alt": self.alt}}


def gallery(
    sets: Mapping[str, Mapping[str, Any]], *, alt: str, title: str = "", notes: Mapping[str, str] | None = None
) -> Gallery:
    """Show rows of grey images, with a set of rows for each choice. Chapter: Data augmentation.

    Args:
        sets: for each choice the rows by their labels, each row images (N, H, W) or (N, 1, H, W) with values
            in [0, 1]; values outside are cut off. 0 is paper, 1 is ink.
        alt: what the gallery shows, in words; required.
        title: a line above the choices.
        notes: for some of the choices a sentence above their rows.

    Raises:
        ConvcraftError: without `alt` or rows, for arrays of another shape, and for a note on an unknown choice.

    >>> import torch
    >>> gallery({"as it is": {"eye": torch.eye(8)[None]}}, alt="A diagonal.")
    <Gallery: as it is>
    """
    if not isinstance(alt, str) or not alt.strip():
        raise ConvcraftError(f"alt: expected a sentence that says what the gallery shows, got {alt!r}")
    if not sets or not all(sets.values()):
        raise ConvcraftError("sets: expected at least one choice, each with at least one row of images")
    for name in notes or {}:
        if name not in sets:
            raise ConvcraftError(f"notes: expected names of choices, {', '.join(sets)}, got {name!r}")
    read = {
        str(name): {str(label): _images(row, f"{name}, {label}") for label, row in rows.items()}
        for name, rows in sets.items()
    }
    return Gallery(read, notes or {}, title, " ".join(alt.split()))


def _images(value: Any, name: str) -> NDArray[np.float64]:
    pictures = array(value, name)
    if pictures.ndim == 4 and pictures.shape[1] == 1:
        pictures = pictures[:, 0]
    if pictures.ndim != 3 or not pictures.size:
        raise ConvcraftError(
            f"{name}: expected images (N, H, W) or (N, 1, H, W), at least one, got shape {pictures.shape}"
        )
    return np.asarray(pictures, dtype=np.float64)


def strip(pictures: NDArray[np.float64], scale: int = 1) -> NDArray[np.uint8]:
    """The images side by side, a pixel apart, as bytes: white is 0, black is 1."""
    framed = np.pad(pictures, ((0, 0), (1, 1), (1, 1)))
    row = np.concatenate(list(framed), axis=1).clip(0.0, 1.0)
    return np.kron(np.round(255 * (1 - row)), np.ones((scale, scale))).astype(np.uint8)


def png(grey: NDArray[np.uint8]) -> bytes:
    """A PNG file of the bytes (H, W), identical every time."""
    need_matplotlib()
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(grey).save(file, "PNG", compress_level=9)
    return file.getvalue()
