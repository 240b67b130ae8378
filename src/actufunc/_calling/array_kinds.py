"""Kinds of arrays: which library owns a value, and which protocol it overrides."""

from __future__ import annotations

import functools
import sys
from typing import Any

import numpy as np


def owner(value: object) -> str | None:
    """Name the library of an array.

    Parameters
    ----------
    value : object
        Anything.

    Returns
    -------
    str or None
        ``"numpy"``, ``"torch"``, ``"jax"``, ``"dask"``, ``"cupy"``, ``"tensorflow"``, ``"keras"`` or the package of any
        other array API object; None for what is no array, among them Python and NumPy scalars, lists, and objects that
        override ufuncs or torch's functions.
    """
    if value is None or isinstance(value, _NEUTRAL):
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
    # torch.fx's proxies seem to have any attribute
    if compat.is_array_api_obj(value) and not overrides_torch(value) and root(value) not in UNSERVED:
        return root(value)
    return None


UNSERVED = frozenset(
    (
        *("autograd", "mlx", "mxnet", "paddle", "mindspore", "oneflow", "megengine", "jittor"),
        *("tinygrad", "chainer", "nnabla", "pytensor", "theano", "aesara", "casadi", "sympy", "symengine"),
    )
)
"""Packages whose objects carry gradients or are computed later, and whose arrays we do not serve: what else they can be
converted to, they would lose that. One that gets a backend is named by `owner` before this is asked."""


def root(value: object) -> str:
    """Name the package of an object's class."""
    return type(value).__module__.partition(".")[0]


@functools.lru_cache(maxsize=256)
def _framework(kind: type) -> str | None:
    """Name the framework, without an array API, that a type comes from; Keras's variables may be TensorFlow's too."""
    packages = {base.__module__.partition(".")[0] for base in kind.__mro__}
    return next((name for name in ("keras", "tensorflow") if name in packages), None)


def may_overlap(a: Any, b: Any) -> bool:
    """Tell whether two arguments of a call may be arrays in the same memory."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return bool(np.may_share_memory(a, b))
    cupy = sys.modules.get("cupy")
    if cupy is None or not (isinstance(a, cupy.ndarray) and isinstance(b, cupy.ndarray)):
        return False
    return bool(cupy.may_share_memory(a, b))


_NEUTRAL = (bool, int, float, complex, str, bytes, list, tuple, np.generic)


def overrides_ufuncs(value: object) -> bool:
    """Tell whether an object wants to be handed the activation itself (NEP 13)."""
    return getattr(type(value), "__array_ufunc__", _NUMPYS_OWN) is not _NUMPYS_OWN


def overrides_torch(value: object) -> bool:
    """Tell whether what is no tensor stands for one, and wants to be handed torch's functions themselves."""
    return hasattr(type(value), "__torch_function__")


_NUMPYS_OWN = np.ndarray.__array_ufunc__

SCALARS = (bool, int, float, np.generic)
"""Types of what may stand in the place of an array; also that of bfloat16, whose scalars are no numbers to NumPy."""
