"""Affine maps of the plane, one for each image, written out: a matrix product may round to half precision.

Positions are in pixels from the centre of the image, x to the right and y downwards. A map takes the position in the
input to the position in the output. Entries are numbers where all images agree and (N,) tensors where they do not.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ._checks import Number


class Matrix(NamedTuple):
    """x' = a x + b y + c,  y' = d x + e y + f."""

    a: Number = 1.0
    b: Number = 0.0
    c: Number = 0.0
    d: Number = 0.0
    e: Number = 1.0
    f: Number = 0.0

    def is_identity(self) -> bool:
        """True when it is known, without reading a tensor, that nothing moves."""
        return not any(isinstance(entry, Tensor) for entry in self) and self == IDENTITY

    def then(self, other: Matrix) -> Matrix:
        """This map first, the other after it."""
        a, b, c, d, e, f = self
        p, q, r, s, t, u = other
        return Matrix(  # of [p q r; s t u; 0 0 1] @ [a b c; d e f; 0 0 1] the first two rows
            plus(times(p, a), times(q, d)),
            plus(times(p, b), times(q, e)),
            plus(plus(times(p, c), times(q, f)), r),
            plus(times(s, a), times(t, d)),
            plus(times(s, b), times(t, e)),
            plus(plus(times(s, c), times(t, f)), u),
        )

    def determinant(self) -> Number:
        return plus(times(self.a, self.e), times(-1.0, times(self.b, self.d)))

    def inverse(self) -> Matrix:
        """From the position in the output to that in the input."""
        inverse = 1.0 / self.determinant()
        a, b = times(self.e, inverse), times(-1.0, times(self.b, inverse))
        d, e = times(-1.0, times(self.d, inverse)), times(self.a, inverse)
        c = times(-1.0, plus(times(a, self.c), times(b, self.f)))
        f = times(-1.0, plus(times(d, self.c), times(e, self.f)))
        return Matrix(a, b, c, d, e, f)

    def where(self, selected: Tensor) -> Matrix:
        """This map for the selected images, the identity for the others."""

        def choose(here: Number, still: Number) -> Number:
            if not isinstance(here, Tensor):
                if here == still:
                    return here
                here = torch.full_like(selected, here, dtype=torch.float32)
            return torch.where(selected, here, still)

        return Matrix(*map(choose, self, IDENTITY))


IDENTITY = Matrix()


def times(first: Number, second: Number) -> Number:
    """The product, without touching a tensor for a factor of 0 or 1."""
    if not isinstance(first, Tensor) and first in (0, 1):
        return second if first == 1 else 0.0
    if not isinstance(second, Tensor) and second in (0, 1):
        return first if second == 1 else 0.0
    return first * second


def plus(first: Number, second: Number) -> Number:
    """The sum, without touching a tensor for a term of 0."""
    if not isinstance(first, Tensor) and first == 0:
        return second
    if not isinstance(second, Tensor) and second == 0:
        return first
    return first + second


def flipping(horizontal: Tensor | bool, vertical: Tensor | bool, dtype: torch.dtype) -> Matrix:
    """Mirror left to right, top to bottom, where told."""

    def sign(where: Tensor | bool) -> Number:
        return 1.0 - 2.0 * where.to(dtype) if isinstance(where, Tensor) else 1.0 - 2.0 * where

    return Matrix(a=sign(horizontal), e=sign(vertical))


def rotation(degrees: Number) -> Matrix:
    """Counterclockwise as one sees it; exact for whole multiples of 90 degrees given as a number."""
    if isinstance(degrees, Tensor):
        angle = torch.deg2rad(degrees)
        cosine: Number = torch.cos(angle)
        sine: Number = torch.sin(angle)
    elif degrees % 90 == 0:
        cosine, sine = [(1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0)][int(degrees // 90) % 4]
    else:
        cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return Matrix(a=cosine, b=sine, d=times(-1.0, sine), e=cosine)


def scaling(x: Number, y: Number) -> Matrix:
    return Matrix(a=x, e=y)


def shearing(x: Number, y: Number) -> Matrix:
    """x' = x + tan(x) y, then y' = y + tan(y) x', with the angles in degrees."""

    def slope(degrees: Number) -> Number:
        if isinstance(degrees, Tensor):
            return torch.tan(torch.deg2rad(degrees))
        return math.tan(math.radians(degrees))

    return Matrix(b=slope(x)).then(Matrix(d=slope(y)))


def shifting(x: Number, y: Number) -> Matrix:
    return Matrix(c=x, f=y)
