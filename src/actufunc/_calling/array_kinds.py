"""Kinds of arrays: the library that owns a value, and the array protocols that its class overrides."""

from __future__ import annotations

import functools
import sys
from typing import Any

import numpy as np


def owner(value: object) -> str | None:
    """Return the name of the library of an array: "numpy", "torch" ..., or the package of any other array API object.

    None is for objects that are no arrays, such as Python and NumPy scalars and lists, and for objects that override
    ufuncs or torch's functions.
    """
    if value is None or isinstance(value, _NO_ARRAYS):
        return None
    if isinstance(value, np.ndarray):
        return None if overrides_ufuncs(value) else "numpy"
    import array_api_compat as compat  # noqa: PLC0415

    if compat.is_torch_array(value):
        return "torch"
    if compat.is_jax_array(value):
        return "jax"
    if compat.is_dask_array(value):
        return "dask"
    if compat.is_cupy_array(value):
        return "cupy"
    if (framework := _framework(type(value))) is not None:  # type: ignore[arg-type]
        return framework
    # torch.fx's proxies return a proxy for any attribute
    if compat.is_array_api_obj(value) and not overrides_torch(value) and root(value) not in UNSUPPORTED_LIBRARIES:
        return root(value)
    return None


UNSUPPORTED_LIBRARIES = frozenset(
    (
        *("autograd", "mlx", "mxnet", "paddle", "mindspore", "oneflow", "megengine", "jittor"),
        *("tinygrad", "chainer", "nnabla", "pytensor", "theano", "aesara", "casadi", "sympy", "symengine"),
    )
)
"""Packages without a backend whose objects carry gradients or are lazy, which a conversion to NumPy would lose. Arrays
of a library with a backend are recognised by `owner` before this set is used."""


def root(value: object) -> str:
    """Return the top-level package of an object's class."""
    return type(value).__module__.partition(".")[0]


@functools.lru_cache(maxsize=256)
def _framework(kind: type) -> str | None:
    """Return the framework without an array API that a type is from; Keras's variables may derive from TensorFlow's."""
    packages = {base.__module__.partition(".")[0] for base in kind.__mro__}
    return next((name for name in FRAMEWORKS if name in packages), None)


FRAMEWORKS = ("keras", "tensorflow")
"""Libraries without an array API, whose backends check all arguments of a call and compute gated units themselves."""


def may_share_memory(a: Any, b: Any) -> bool:
    """Return True if two arguments are arrays that may share memory, as `numpy.may_share_memory`."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return bool(np.may_share_memory(a, b))
    cupy = sys.modules.get("cupy")
    if cupy is None or not (isinstance(a, cupy.ndarray) and isinstance(b, cupy.ndarray)):
        return False
    return bool(cupy.may_share_memory(a, b))


_NO_ARRAYS = (bool, int, float, complex, str, bytes, list, tuple, np.generic)


def overrides_ufuncs(value: object) -> bool:
    """Return True if the class of an object overrides ``__array_ufunc__`` (NEP 13)."""
    return getattr(type(value), "__array_ufunc__", _DEFAULT_ARRAY_UFUNC) is not _DEFAULT_ARRAY_UFUNC


def overrides_torch(value: object) -> bool:
    """Return True if the class of an object overrides ``__torch_function__``, as torch's tensors and proxies do."""
    return hasattr(type(value), "__torch_function__")


_DEFAULT_ARRAY_UFUNC = np.ndarray.__array_ufunc__

SCALARS = (bool, int, float, np.generic)
"""Types of scalars that may be given for an array; `numpy.generic` includes bfloat16, which is no `numpy.number`."""
