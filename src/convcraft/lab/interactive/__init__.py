"""Figures on a static page that sliders and menus redraw, without a kernel or a connection.

Python computes the frames, so a reader moves through what the text computed; a few kilobytes of script draw them.
Where no script runs, a still image takes their place.
"""

from .activations import activation_explorer
from .component import InteractiveFigure, enable, figure, script
from .depth import depth_explorer
from .gallery import Gallery, gallery

__all__ = [
    "Gallery", "InteractiveFigure", "activation_explorer", "depth_explorer", "enable", "figure", "gallery", "script",
]  # fmt: skip
