"""The catalogue: the definition of each activation.

A module defines some activations and lists them, and their aliases, in its ``__all__``. Their docstrings lack what all
have in common, which `actufunc._docstrings` adds, and document properties in a grammar that is described there.
"""

from typing import TYPE_CHECKING

from actufunc._activation import Activation
from actufunc._docstrings import complete

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

for _function in {value for value in globals().values() if isinstance(value, Activation)}:
    _function.__doc__ = complete(_function)
del _function
