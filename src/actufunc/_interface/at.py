"""In-place computation at indices, as by `numpy.ufunc.at`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from actufunc._calling.array_kinds import owner
from actufunc._calling.conversion import as_array_like
from actufunc.backends.promotion import is_scalar


def apply_at(function: Any, a: np.ndarray[Any, Any], indices: Any, others: dict[str, Any]) -> None:
    """Apply a function to elements of `a` at indices, in rounds that contain each element at most once.

    The rounds work on a copy, so that nothing is written if one raises.
    """
    definition = function.definition
    places = _places(a.shape, indices)
    by_element = np.argsort(places, axis=None, kind="stable")  # indices of one element stay in their order
    starts = np.flatnonzero(np.diff(places.reshape(-1)[by_element], prepend=-1))
    times = np.diff(starts, append=places.size)
    often = np.argsort(-times, kind="stable")  # so that each round takes the first elements
    values = np.asarray(a[indices]).reshape(-1)[by_element[starts[often]]]
    scalars, arrays = {}, {}
    for key, value in others.items():
        if key in definition.options or is_scalar(value):
            scalars[key] = value
        else:
            arrays[key] = _spread(definition.name, key, value, places.shape)
    numbers = np.searchsorted(-times[often], -np.arange(times.max(initial=1)))
    for turn, number in enumerate(numbers.tolist()):
        part, given = values[:number], dict(scalars)
        if arrays:
            now = by_element[starts[often[:number]] + turn]
            given.update((key, value[now]) for key, value in arrays.items())
        positional = [given.pop(key) for key in definition.arrays[1:]]
        function(part, *positional, **given, out=part)
    of_element, result = np.empty_like(values), np.empty(places.size, a.dtype)
    of_element[often] = values
    result[by_element] = np.repeat(of_element, times)
    a[indices] = result.reshape(places.shape)


def _places(shape: tuple[int, ...], indices: Any) -> np.ndarray[Any, Any]:
    """Return the flat indices, in C order, of the elements of an array that indices select.

    The index along each axis is broadcast with strides of zero, so that memory is allocated for selected elements only.
    """
    places = np.broadcast_to(np.intp(0), shape)[indices]
    for axis, length in enumerate(shape):
        after = shape[axis + 1 :]
        along = np.arange(length).reshape(length, *(1 for _ in after)) * math.prod(after)
        places = places + np.broadcast_to(along, shape)[indices]
    array: np.ndarray[Any, Any] = np.asarray(places)
    return array


def _spread(name: str, key: str, value: Any, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Return an operand of `at`, broadcast to the shape of the selection and flattened."""
    if owner(value) not in {None, "numpy"}:
        raise TypeError(f"{name}.at got {type(value).__name__} for {key} beside a NumPy array; convert it first")
    array = np.asarray(as_array_like(f"{name}.at", key, value))
    try:
        return np.broadcast_to(array, shape).reshape(-1)
    except ValueError:
        raise ValueError(f"{name}.at cannot broadcast {key} of shape {array.shape} to {shape} of the indices") from None
