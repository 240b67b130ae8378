"""The catalogue: what each function is.

A module here defines some activations and lists them, and their aliases, in its ``__all__``.
"""

from typing import TYPE_CHECKING

from actufunc._activation import Activation

from .algebraic import *
from .exponential import *
from .gated import *
from .logistic import *
from .over_axis import *
from .piecewise import *
from .rectifiers import *
from .shrinkage import *
from .smooth import *

if not TYPE_CHECKING:  # type checkers follow the star imports, and could not follow this
    __all__ = [name for name, value in globals().items() if isinstance(value, Activation)]
