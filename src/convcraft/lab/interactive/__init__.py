"""Figures that a slider or a choice redraws in a static page, without a kernel and without a network.

Python computes the frames, so what a reader moves is what the text computed; a few kilobytes of script draw
them; a still stands in where no script runs.
"""

from .activations import activation_explorer
from .component import InteractiveFigure, enable, figure, script
from .depth import depth_explorer
from .gallery import Gallery, gallery

__all__ = [
    "Gallery", "InteractiveFigure", "activation_explorer", "depth_explorer", "enable", "figure", "gallery",
    "script",
]  # fmt: skip
