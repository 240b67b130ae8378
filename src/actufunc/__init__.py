"""Activation functions as ufuncs for every array library.

Every function takes NumPy, CuPy, dask, torch, JAX or any other array API arrays of any shape, and returns what came in.

Examples
--------
>>> import numpy as np
>>> from actufunc import sigmoid
>>> sigmoid(np.array([-1.0, 0.0, 1.0]))
array([0.26894142, 0.5       , 0.73105858])
"""

from .activations import *
from .activations import __all__ as _names
from .namespace import array_namespace
from .ufunc import Activation, activation

__version__ = "0.1.0"

__all__ = ["Activation", "activation", "array_namespace"]
__all__ += _names
