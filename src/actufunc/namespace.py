"""A namespace of arrays, extended with the activations."""

from __future__ import annotations

import functools
import importlib
from typing import Any

import array_api_compat

from .catalogue import NAMES


class ArrayNamespace:
    """The array API namespace of a library together with the activations.

    Attributes are those of the library's namespace, except that the names of the catalogue are the activations.

    Parameters
    ----------
    xp : namespace
        As `array_api_compat.array_namespace` gives it.
    activations : dict
        Activations by name.
    """

    def __init__(self, xp: Any, activations: dict[str, Any]) -> None:
        self._xp = xp
        self.__dict__.update(activations)
        self.__name__ = f"actufunc.array_namespace({getattr(xp, '__name__', xp)})"

    def __getattr__(self, name: str) -> Any:
        if name == "_xp":  # while being copied
            raise AttributeError(name)
        return getattr(self._xp, name)

    def __reduce__(self) -> Any:
        return _of_module, (self._xp.__name__,)

    def __dir__(self) -> list[str]:
        return sorted({*dir(self._xp), *self.__dict__})

    def __repr__(self) -> str:
        return f"<{self.__name__}>"


@functools.lru_cache(maxsize=64)
def _extended(xp: Any) -> ArrayNamespace:
    return ArrayNamespace(xp, NAMES)


def _of_module(name: str) -> ArrayNamespace:
    return _extended(importlib.import_module(name))


def array_namespace(*arrays: Any) -> Any:
    """Return the array API namespace of arrays, extended with the activations.

    Parameters
    ----------
    *arrays : array
        Arrays of one library. Python scalars and None are passed over.

    Returns
    -------
    namespace
        All that the library's namespace has, as `array_api_compat.array_namespace` gives it, and the activations.

    Raises
    ------
    TypeError
        If the arrays are of several libraries, or none is an array.

    Examples
    --------
    >>> import numpy as np
    >>> from actufunc import array_namespace
    >>> def hidden_layer(x, weights):
    ...     xp = array_namespace(x, weights)
    ...     return xp.gelu(xp.matmul(x, weights))
    >>> hidden_layer(np.ones((1, 2)), np.ones((2, 2)))
    array([[1.95449974, 1.95449974]])
    """
    return _extended(array_api_compat.array_namespace(*arrays))
