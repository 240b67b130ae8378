"""The array API namespace of arrays, extended with the activations."""

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
"""The activations whose names are not in NumPy's namespace, which has all names of the array API standard.

The standard has `tanh`, also for complex numbers, and `identity` is a matrix in every namespace that follows NumPy's
names. Functions of torch with the name of an activation (`torch.softmax`, with ``dim=``) are replaced, so that a name
means the same function in every namespace.
"""


class ArrayNamespace:
    """The array API namespace of a library together with the activations.

    Its ``__name__`` is that of the library's namespace, by which functions such as
    `array_api_compat.is_torch_namespace` recognise it.

    Parameters
    ----------
    xp : namespace
        A namespace that `array_api_compat.array_namespace` returns.
    activations : dict
        Activations by name.

    Attributes
    ----------
    __wrapped__ : namespace
        The library's own namespace.
    """

    def __init__(self, xp: Any, activations: dict[str, Any]) -> None:
        self.__wrapped__ = xp
        self.__dict__.update(activations)
        self.__name__ = getattr(xp, "__name__", repr(xp))

    def __getattr__(self, name: str) -> Any:
        if name == "__wrapped__":  # not set yet while being copied
            raise AttributeError(name)
        return getattr(self.__wrapped__, name)

    def __reduce__(self) -> Any:
        xp = self.__wrapped__
        return (_extended_module, (xp.__name__,)) if isinstance(xp, ModuleType) else (_extended, (xp,))

    def __dir__(self) -> list[str]:
        return sorted({*dir(self.__wrapped__), *self.__dict__})

    def __repr__(self) -> str:
        return f"<actufunc.array_namespace of {self.__name__}>"


@functools.lru_cache(maxsize=64)
def _extended(xp: Any) -> ArrayNamespace:
    return ArrayNamespace(xp, ADDED)


def _extended_module(name: str) -> ArrayNamespace:
    return _extended(importlib.import_module(name))


def array_namespace(*arrays: Any, api_version: str | None = None, use_compat: bool | None = None) -> Any:
    """Return the array API namespace of arrays, extended with the activations.

    Names that NumPy's namespace has, which include all names of the array API standard, keep the library's meaning:
    `tanh`, and `identity`, which is a matrix there.

    Parameters
    ----------
    *arrays : array
        Arrays of one library. Python scalars and None are ignored.
    api_version : str, optional
        The version of the standard that is needed, such as ``"2024.12"``.
    use_compat : bool, optional
        True for the namespace of `array_api_compat`, False for that of the library; by default the one that follows
        the standard.

    Returns
    -------
    namespace
        The namespace that `array_api_compat.array_namespace` returns, extended with the activations. Its `__name__` is
        that of the library's namespace, which is its attribute `__wrapped__`. The same object for the same library.

    Raises
    ------
    TypeError
        If the arrays are of several libraries, or no argument is an array.
    ValueError
        If the library does not have that version or such a namespace.

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
        if problem := _problem(arrays):
            raise TypeError(f"array_namespace {problem}") from error
        raise
    return _extended(xp)


def _problem(arrays: tuple[Any, ...]) -> str | None:
    """Describe what is wrong with arguments that are not arrays of one library."""
    kinds = " and ".join(sorted({type(each).__name__ for each in arrays}))
    unknown = {type(each).__name__ for each in arrays if owner(each) is None and not _is_ignored(each)}
    if unknown:
        return f"takes arrays, Python scalars and None, not {' and '.join(sorted(unknown))}; make an array of it first"
    libraries = {"numpy" if isinstance(each, np.generic) else owner(each) for each in arrays} - {None}
    if len(libraries) > 1:
        return f"got arrays of {' and '.join(sorted(map(str, libraries)))}; convert them to one library first"
    if not libraries:
        return f"needs an array, and got {f'only {kinds}' if kinds else 'nothing'}"
    return None


def _is_ignored(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | complex | np.generic)
