"""Every formula of the book in plain NumPy, float64: what the chapters derive and the tests compare with.

>>> from convcraft import reference
>>> f, df = reference.ACTIVATIONS["tanh"]
>>> float(f(0.0)), float(df(0.0))
(0.0, 1.0)
"""

from . import activations, layers
from .activations import *
from .layers import *

__all__ = activations.__all__ + layers.__all__
