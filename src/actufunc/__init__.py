"""Activation functions as ufuncs for every array library.

Every function takes NumPy, CuPy, dask, torch, JAX or any other array API arrays of any shape, and returns what came in.

Examples
--------
>>> import numpy as np
>>> from actufunc import sigmoid
>>> sigmoid(np.array([-1.0, 0.0, 1.0]))
array([0.26894142, 0.5       , 0.73105858])
"""

from typing import TYPE_CHECKING

from . import activations as _activations
from ._activation import Activation as Activation
from ._decorator import activation as activation
from ._keras_registration import register as _register
from ._memory import set_kept_memory as set_kept_memory
from ._namespace import array_namespace as array_namespace
from ._threads import get_num_threads as get_num_threads
from ._threads import num_threads as num_threads
from ._threads import set_num_threads as set_num_threads
from .activations import *

__version__ = "0.1.0"

if not TYPE_CHECKING:  # type checkers follow the star import, and could not follow this
    __all__ = [
        "Activation",
        "activation",
        "array_namespace",
        "get_num_threads",
        "num_threads",
        "set_kept_memory",
        "set_num_threads",
        *_activations.__all__,
    ]

    def __dir__() -> list[str]:
        public = {"accuracy", "activations", "formula", "layers"} & globals().keys()  # those that are imported
        return [*__all__, "__version__", *public]


_register("actufunc.layers.keras")
