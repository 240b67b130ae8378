"""A namespace of arrays, extended with the activations."""

from __future__ import annotations

import functools
import importlib
from types import ModuleType
from typing import Any

import array_api_compat
import numpy as np

from ._calling.array_kinds import owner
from ._catalogue import NAMES

ADDED = {name: function for name, function in NAMES.items() if name not in vars(np)}
"""The activations whose names mean nothing else in a namespace of arrays.

The array API standard has `tanh`, also of complex numbers, and `identity` is a matrix wherever NumPy's names are
followed. NumPy's namespace has all names of the standard. What torch has besides means the same as ours, but is called
otherwise (``dim=`` without a default); under the name of an activation every namespace has the same function.
"""


class ArrayNamespace:
    """The array API namespace of a library together with the activations.

    It has the name of the library's own namespace, so that functions that look at that, such as
    `array_api_compat.is_torch_namespace`, know it.

    Parameters
    ----------
    xp : namespace
        As `array_api_compat.array_namespace` gives it.
    activations : dict
        Activations by name.

    Attributes
    ----------
    __wrapped__ : namespace
        The library's own.
    """

    def __init__(self, xp: Any, activations: dict[str, Any]) -> None:
        self.__wrapped__ = xp
        self.__dict__.update(activations)
        self.__name__ = getattr(xp, "__name__", repr(xp))

    def __getattr__(self, name: str) -> Any:
        if name == "__wrapped__":  # while being copied
            raise AttributeError(name)
        return getattr(self.__wrapped__, name)

    def __reduce__(self) -> Any:
        xp = self.__wrapped__
        return (_of_module, (xp.__name__,)) if isinstance(xp, ModuleType) else (_extended, (xp,))

    def __dir__(self) -> list[str]:
        return sorted({*dir(self.__wrapped__), *self.__dict__})

    def __repr__(self) -> str:
        return f"<actufunc.array_namespace of {self.__name__}>"


@functools.lru_cache(maxsize=64)
def _extended(xp: Any) -> ArrayNamespace:
    return ArrayNamespace(xp, ADDED)


def _of_module(name: str) -> ArrayNamespace:
    return _extended(importlib.import_module(name))


def array_namespace(*arrays: Any, api_version: str | None = None, use_compat: bool | None = None) -> Any:
    """Return the array API namespace of arrays, extended with the activations.

    Names that NumPy's namespace has, among them all of the array API standard, stay the library's own: `tanh`, and
    `identity`, which is a matrix there.

    Parameters
    ----------
    *arrays : array
        Arrays of one library. Python scalars and None are passed over.
    api_version : str, optional
        The newest version of the standard that is needed, such as ``"2024.12"``.
    use_compat : bool, optional
        Whether to take the namespace of `array_api_compat` or that of the library; by default that which follows
        the standard.

    Returns
    -------
    namespace
        All that the library's namespace has, as `array_api_compat.array_namespace` gives it, and the activations. Its
        `__name__` is that of the library's, which is its attribute `__wrapped__`. The same object for the same library.

    Raises
    ------
    TypeError
        If the arrays are of several libraries, or none is an array.
    ValueError
        If the library does not have that version, or no such namespace.

    Examples
    --------
    >>> import numpy as np
    >>> from array_api_compat import is_numpy_namespace
    >>> from actufunc import array_namespace
    >>> def hidden_layer(x, weights):
    ...     xp = array_namespace(x, weights)
    ...     return xp.gelu(xp.matmul(x, weights))
    >>> hidden_layer(np.ones((1, 2)), np.ones((2, 2)))
    array([[1.95449974, 1.95449974]])
    >>> is_numpy_namespace(array_namespace(np.ones(2)))
    True
    >>> array_namespace(np.ones(2)).__wrapped__.__name__
    'array_api_compat.numpy'
    """
    try:
        xp = array_api_compat.array_namespace(*arrays, api_version=api_version, use_compat=use_compat)
    except TypeError as error:
        if said := _mistake(arrays):
            raise TypeError(f"array_namespace {said}") from error
        raise
    return _extended(xp)


def _mistake(arrays: tuple[Any, ...]) -> str | None:
    """Say what is wrong with arguments that are not arrays of one library."""
    kinds = " and ".join(sorted({type(each).__name__ for each in arrays}))
    strange = {type(each).__name__ for each in arrays if owner(each) is None and not _is_passed_over(each)}
    if strange:
        return f"takes arrays, Python scalars and None, not {' and '.join(sorted(strange))}; make an array of it first"
    libraries = {"numpy" if isinstance(each, np.generic) else owner(each) for each in arrays} - {None}
    if len(libraries) > 1:
        return f"got arrays of {' and '.join(sorted(map(str, libraries)))}; convert them to one library first"
    if not libraries:
        return f"needs an array, and got {f'only {kinds}' if kinds else 'nothing'}"
    return None


def _is_passed_over(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | complex | np.generic)
