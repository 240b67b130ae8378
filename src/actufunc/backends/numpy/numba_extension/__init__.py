"""Activations inside functions that users compile with Numba.

Numba asks an object that such a function mentions for ``_numba_type_``, and only then learns about activations: neither
``import actufunc`` nor ``import numba`` pays for it. Each module imports only those above it:

- `functions`: the function that is compiled for a call, of scalars or of arrays
- `typing`: the types of a call
- `lowering`: the type of activations, and how a call is compiled, registered with Numba
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from actufunc.backends.numpy.jit.compiler import get_or_create

if TYPE_CHECKING:
    from actufunc._calling.function import Function

_modules: dict[str, Any] = {}


def numba_type(activation: Function) -> Any:
    """Return the type that an activation has for Numba."""
    # Under Numba's lock, for the import registers with Numba while other threads may be compiling.
    name = ".lowering"
    return get_or_create(_modules, name, lambda: importlib.import_module(name, __package__)).ActivationType(activation)
