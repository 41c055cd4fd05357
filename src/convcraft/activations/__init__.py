"""Activations: functions with the arguments of `torch.nn.functional`, modules with those of `torch.nn`.

Each formula and its derivative stands in `convcraft.activations.definitions`, as derived in the book; the functions
here compute the same numbers by the fastest way that is as accurate. `catalog()` tells what is known of each.

>>> import torch
>>> from convcraft import activations
>>> activations.leaky_relu(torch.tensor([-1.0, 1.0]), negative_slope=0.5)
tensor([-0.5000,  1.0000])
"""

from . import adaptive, exponentials, gates, rectifiers, sigmoids, softmaxes
from .adaptive import *
from .catalog import Catalog, Entry, Parameter, Source, catalog, derivative, get
from .exponentials import *
from .gates import *
from .quadrature import Moments, moments
from .rectifiers import *
from .sigmoids import *
from .softmaxes import *

__all__ = ["Catalog", "Entry", "Moments", "Parameter", "Source", "catalog", "derivative", "get", "moments"]
__all__ += adaptive.__all__ + exponentials.__all__ + gates.__all__
__all__ += rectifiers.__all__ + sigmoids.__all__ + softmaxes.__all__
