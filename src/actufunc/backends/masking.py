"""Masks: the argument `where`, and the fill values for elements that it excludes over an axis."""

from __future__ import annotations

import functools
import math
from typing import Any

import array_api_compat as compat
import numpy as np

from actufunc._calling.call import Call

from .array_api_ops import compute
from .axis import shapes_of
from .promotion import as_python, scalars_of


def as_mask(name: str, where: Any, own: type = np.ndarray) -> Any:
    """Return a mask as an array of booleans; an array of the class `own` is returned as given.

    Lists and numbers are converted to booleans; TypeError is raised for arrays of another dtype.
    """
    mask = where
    if not isinstance(where, own):
        mask = np.asarray(where) if where is None or hasattr(where, "dtype") else np.asarray(where, np.bool_)
    if mask.dtype.kind != "b":
        raise TypeError(f"{name} takes where= as an array of booleans, not of {mask.dtype}")
    return mask


def fill_left_out(call: Call) -> dict[str, float]:
    """Return, for each array, the fill value for elements excluded by `where`, which does not change other results.

    TypeError is raised if no value of x has this property.
    """
    return {"x": _left_out(call)[0], "g": 0.0}


def value_left_out(call: Call) -> float:
    """Return the result at elements that `where` excludes over an axis: 0 for softmax, -inf for log_softmax."""
    return _left_out(call)[1]


def _left_out(call: Call) -> tuple[float, float]:
    scalars = tuple((key, as_python(value)) for key, value in scalars_of(call).items())
    found = _find_left_out(call.function, tuple(call.options.items()), scalars)
    if found is None:
        raise TypeError(f"{call.definition.name} takes no where=: no value of x would leave an element out")
    return found


@functools.lru_cache(maxsize=256)
def _find_left_out(function: Any, options: tuple[Any, ...], scalars: tuple[Any, ...]) -> tuple[float, float] | None:
    """Return the infinity that does not change results of other elements of its row, and the result at its place.

    Both are found by evaluation of example rows; None if neither infinity qualifies.
    """
    definition = function.definition

    def row(x: list[float], g: list[float]) -> Any:
        arrays = {key: np.array({"x": x, "g": g}[key]) for key in definition.arrays}
        operands = dict.fromkeys(definition.arguments, 1.0) | dict(scalars) | arrays
        example = Call(function, operands, dict(options), {})
        shapes = shapes_of(example, arrays["x"].shape)
        numbers = dict.fromkeys(definition.hyperparameters, 1.0) | dict(scalars)
        result = compute(compat.array_namespace(arrays["x"]), example.specialised(numbers), arrays, shapes)
        return np.broadcast_to(result, 1 if definition.reduces else len(x))

    without = row([0.5, -0.25], [0.0, 0.0])
    for infinity in (-math.inf, math.inf):
        value, *others = row([infinity, 0.5, -0.25], [0.0, 0.0, 0.0])
        if definition.reduces:
            others, value = [value], row([infinity], [0.0])[0]
        if not math.isnan(value) and np.allclose(others, without, rtol=1e-12, atol=0):
            return infinity, float(value)
    return None
