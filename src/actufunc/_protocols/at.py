"""A function applied in place where indices point, as `numpy.ufunc.at` does."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from actufunc._calling.array_kinds import owner
from actufunc._calling.conversion import as_array_like
from actufunc.backends.promotion import is_scalar


def apply_at(function: Any, a: np.ndarray[Any, Any], indices: Any, others: dict[str, Any]) -> None:
    """Apply a function where indices point, in rounds, so that each element is there at most once in a round.

    The rounds compute aside, so that nothing is written if one raises.
    """
    definition = function.definition
    places = _places(a.shape, indices)
    by_element = np.argsort(places, axis=None, kind="stable")  # times that point at one element stay in their order
    starts = np.flatnonzero(np.diff(places.reshape(-1)[by_element], prepend=-1))
    times = np.diff(starts, append=places.size)
    often = np.argsort(-times, kind="stable")  # so that a round takes elements at the beginning
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
    """Return where in an array the elements lie that indices point at, numbered in C order.

    Each axis gives its share by an array of strides of zero, so that memory is taken for what is chosen only.
    """
    places = np.broadcast_to(np.intp(0), shape)[indices]
    for axis, length in enumerate(shape):
        after = shape[axis + 1 :]
        along = np.arange(length).reshape(length, *(1 for _ in after)) * math.prod(after)
        places = places + np.broadcast_to(along, shape)[indices]
    array: np.ndarray[Any, Any] = np.asarray(places)
    return array


def _spread(name: str, key: str, value: Any, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Return an operand of `at` with one element for each time that the indices point at one."""
    if owner(value) not in {None, "numpy"}:
        raise TypeError(f"{name}.at got {type(value).__name__} for {key} beside a NumPy array; convert it first")
    array = np.asarray(as_array_like(f"{name}.at", key, value))
    try:
        return np.broadcast_to(array, shape).reshape(-1)
    except ValueError:
        raise ValueError(f"{name}.at cannot broadcast {key} of shape {array.shape} to {shape} of the indices") from None
