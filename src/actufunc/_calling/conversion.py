"""Conversion to NumPy of objects that are no arrays of a supported library, and errors for those that would lose data.

Converted are objects with the buffer protocol (`array.array`, `memoryview`) or ``__array__`` (pyarrow, zarr, h5py, ...)
and sequences of numbers. Refused are objects that carry gradients or are lazy, of which ``__array__`` would give the
numbers only: those of `UNSUPPORTED_LIBRARIES`, and others with one of the attributes `_SIGNS`. Refused are also nulls,
which NumPy's arrays cannot hold.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import inspect
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from .array_kinds import UNSUPPORTED_LIBRARIES, overrides_ufuncs, owner, root

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .call import Call

# Attributes of objects that carry gradients or are lazy.
_SIGNS = (
    "requires_grad",  # torch and libraries that follow it
    "backward",
    "grad_fn",
    "stop_gradient",  # paddle
    "attach_grad",  # mxnet
    "__jax_array__",
    "__tf_tensor__",
    "__torch_function__",
    "__dask_graph__",
)
_CONVERTS = ("__array__", "__array_interface__", "__array_struct__")
_NO_ARRAYS = (collections.abc.Mapping, collections.abc.Set, collections.abc.Iterator, str, bytes)
_WITH_NULLS = {"pyarrow", "polars", "narwhals"}
_NUMBERS = (bool, int, float, complex, np.generic)
_ARRAYS = (*_NUMBERS, np.ndarray)
_PLAIN = {int, float, bool}
_MOST_DIMENSIONS = 64  # of NumPy's arrays


def objects_to_arrays(call: Call) -> Call:
    """Return a call in which NumPy arrays replace objects that are no arrays of a supported library.

    It is the same call if there are none. Lists are checked and kept. TypeError is raised for objects that cannot be
    converted without loss.
    """
    name = call.definition.name
    operands = {key: as_array_like(name, key, value) for key, value in call.operands.items()}
    keywords = call.keywords
    if (where := keywords.get("where", True)) is not True and where is not None:
        keywords = {**keywords, "where": as_array_like(name, "where", where)}
    same = all(operands[key] is value for key, value in call.operands.items())
    if same and keywords.get("where") is call.keywords.get("where"):
        return call
    return dataclasses.replace(call, operands=operands, keywords=keywords)


def as_array_like(name: str, key: str, value: Any) -> Any:
    """Return an argument as a NumPy array.

    Scalars, lists, tuples and objects with ``__array_wrap__`` are returned as given. TypeError is raised if the
    argument cannot be converted without loss.
    """
    if isinstance(value, _ARRAYS):
        return value
    if isinstance(value, (list, tuple)):
        _check_elements(name, key, value)
        return value
    check(name, key, value)
    if hasattr(type(value), "__array_wrap__"):  # it will wrap the result
        return value
    array = to_array(name, key, value)
    if array.dtype == object:
        raise _conversion_error(name, key, type_name(value), "convert it to an array of numbers first")
    return array


def to_array(name: str, key: str, value: Any) -> np.ndarray[Any, Any]:
    """Return `numpy.asanyarray` of an argument; raise ValueError, which names it, if NumPy does."""
    try:
        return np.asanyarray(value)
    except ValueError as error:
        raise ValueError(f"{name} cannot make an array of {key}: {error}") from None


def check(name: str, key: str, value: Any, within: str = "") -> None:
    """Raise TypeError unless NumPy converts an object without loss."""
    kind = within + type_name(value)
    refuse_framework(name, key, value, within)
    if isinstance(value, _NO_ARRAYS) and not _is_sequence(value):
        raise _conversion_error(name, key, kind, _advice(key, value, within))
    if isinstance(value, collections.abc.Sequence) and not _is_buffer(value):
        _check_elements(name, key, value)
    elif hasattr(type(value), "__cuda_array_interface__"):
        raise _conversion_error(name, key, kind, f"it is on a GPU: pass cupy.asarray({key})")
    elif any(_has(value, way) for way in _CONVERTS):
        if _has_nulls(value):
            raise _conversion_error(name, key, f"the nulls in {kind}", "fill or drop them first")
    elif not _is_buffer(value) and not _is_sequence(value):
        raise _conversion_error(name, key, kind, _advice(key, value, within))


def _check_elements(name: str, key: str, values: Iterable[Any]) -> None:
    """Raise TypeError unless NumPy converts the elements of a nested sequence without loss.

    The levels of nesting are visited one after another, each element once.
    """
    given = values
    for _ in range(_MOST_DIMENSIONS):  # a list may contain itself
        kinds = set(map(type, values))
        if kinds <= _PLAIN:
            return
        lists = {kind for kind in kinds if issubclass(kind, list | tuple)}
        if others := {kind for kind in kinds - lists if kind is not np.ndarray and not issubclass(kind, _NUMBERS)}:
            for value in values:
                if type(value) in others:
                    _check_element(name, key, value, f"a {type(given).__name__} with ")
        if not lists:
            return
        values = list(itertools.chain.from_iterable(value for value in values if type(value) in lists))


def _check_element(name: str, key: str, value: Any, within: str) -> None:
    refuse_framework(name, key, value, within)
    masked = isinstance(value, np.ma.MaskedArray)
    if value is None or masked or (overrides_ufuncs(value) and has_unit(value)):
        raise _conversion_error(name, key, within + type_name(value), "make one array of it that says what is meant")
    if _has_nulls(value):
        raise _conversion_error(name, key, f"the nulls in {within}{type_name(value)}", "fill or drop them first")
    if owner(value) not in {None, "numpy"}:
        raise _conversion_error(name, key, within + type_name(value), "stack them to one array first")
    if not overrides_ufuncs(value) and not isinstance(value, np.ndarray | str | bytes):
        check(name, key, value, within)


def refuse_framework(name: str, key: str, value: Any, within: str = "") -> None:
    """Raise TypeError if an object of a library without a backend carries gradients or is lazy."""
    if isinstance(value, (*_ARRAYS, list, tuple, str)) or owner(value) is not None:
        return
    if root(value) in UNSUPPORTED_LIBRARIES or (
        not overrides_ufuncs(value) and any(_has(value, sign) for sign in _SIGNS)
    ):
        advice = (
            "its gradients or graph would be lost: convert it to a NumPy array where it has none, or make the function "
            "and its .vjp an operation of that library"
        )
        raise _conversion_error(name, key, within + type_name(value), advice)


def type_name(value: Any) -> str:
    """Return the class name of an object, with its package unless that is well known."""
    library = root(value)
    own = library in {"builtins", "numpy", "__main__", "decimal", "fractions", "collections", "array"}
    return type(value).__name__ + ("" if own else f" of {library}")


def object_dtype_error(name: str, key: str, array: np.ndarray[Any, Any]) -> TypeError:
    """Return the error for an array of Python objects."""
    kinds = " and ".join(sorted({type(value).__name__ for value in array.reshape(-1)[:1000]}))
    what = "integers of more than 64 bits" if kinds == "int" else f"an array of objects ({kinds})"
    return _conversion_error(name, key, what, f"make it one of float64: numpy.asarray({key}, float)")


def _conversion_error(name: str, key: str, kind: str, advice: str) -> TypeError:
    return TypeError(f"{name} does not support {kind} for {key}; {advice}")


def _advice(key: str, value: Any, within: str) -> str:
    """Return how to convert an object that is no array."""
    if isinstance(value, collections.abc.Mapping):
        return f"pass list({key}.values())"
    if isinstance(value, collections.abc.Set | collections.abc.Iterator):
        return f"pass list({key})"
    for method in ("toarray", "as_py"):
        if hasattr(type(value), method):
            return f"pass {key}.{method}()"
    if hasattr(type(value), "__dlpack__"):
        return f"pass numpy.from_dlpack({key})"
    if hasattr(type(value), "__float__"):
        return f"pass numpy.asarray({key}, float)" if within else f"pass float({key})"
    return (
        "it takes arrays, numbers and lists of numbers, of float16, bfloat16, float32, float64, integers and booleans"
    )


def _has(value: Any, attribute: str) -> bool:
    """Return True if an object has an attribute, without running code of its library."""
    missing = object()
    return inspect.getattr_static(value, attribute, missing) is not missing


def _is_buffer(value: Any) -> bool:
    try:
        memoryview(value).release()
    except TypeError:
        return False
    return True


def has_unit(value: Any) -> bool:
    """Return True if an object has a unit, which an array of its numbers would not have."""
    return any(hasattr(type(value), name) and getattr(value, name) is not None for name in ("unit", "units"))


def _is_sequence(value: Any) -> bool:
    if isinstance(value, collections.abc.Mapping | str | bytes) or hasattr(type(value), "toarray"):
        return False
    return hasattr(type(value), "__len__") and hasattr(type(value), "__getitem__")


def _has_nulls(value: Any) -> bool:
    """Return True if an array or table of Arrow or pandas has nulls; NaN in a NumPy dtype is none."""
    if root(value) == "pandas":
        return not isinstance(getattr(value, "dtype", None), np.dtype | None) and bool(np.any(value.isna()))
    if root(value) not in _WITH_NULLS:
        return False
    columns = next((getattr(value, name) for name in ("iter_columns", "columns") if hasattr(value, name)), [value])
    counts = (each.null_count for each in (columns() if callable(columns) else columns))
    return any(count() if callable(count) else count for count in counts)
