"""The former name of `convcraft._trace`."""

from __future__ import annotations

from .._trace import Graph, Layer, Operation, arguments, kinds, leaves, successors, tensors, unchanged

__all__ = [
    "Graph",
    "Layer",
    "Operation",
    "arguments",
    "kinds",
    "leaves",
    "successors",
    "tensors",
    "unchanged",
]
