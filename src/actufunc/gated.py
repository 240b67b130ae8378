"""Calls of gated units: elementwise functions of the two halves of an axis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .backends.rules import check_cast, check_fits, is_scalar, result_dtype, unsupported, working_dtype
from .memory import empty_like
from .plans import TINY, Plan
from .protocol import Call, may_overlap, normalise_axis, owner

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def evaluate_halves(call: Call) -> Any:
    """Compute a gated unit, or its vjp, by functions that see nothing of the axis.

    Parameters
    ----------
    call : Call
        What to compute.

    Returns
    -------
    array
        Half as long as `x` along the axis; for a vjp as long.

    Raises
    ------
    ValueError
        If the axis cannot be halved.
    """
    operands = dict(call.operands)
    x = operands.pop("x")
    library = owner(x)
    if library is None:
        x, library = np.asanyarray(x), "numpy"
        if working_dtype(x.dtype) is None:
            raise unsupported(call.definition.name, x.dtype, "x")
    name = call.definition.name
    axis = _axis(name, call.keywords.get("axis", -1), x.shape)
    if library in {"torch", "jax"} and "dtype" not in call.keywords:
        from .backends.native import find  # noqa: PLC0415

        native = find(_namespace(x), call, {**call.operands, "x": x}, axis)
        if native is not None:
            return native(x)
    halves = _halves(x, axis)
    given = {"x": halves[0], "gate": halves[1], **operands}
    keywords = {key: value for key, value in call.keywords.items() if key != "axis"}
    named = {key: value for key, value in operands.items() if key not in call.definition.arrays}
    if type(call.operands["x"]) is np.ndarray and keywords.keys() <= {"out"} and all(map(is_scalar, named.values())):
        execute = _straight(call.function.halves, call.options | named, call.keywords.get("axis", -1))
        call.plan = Plan(call.definition.arrays, execute)
    if len(call.function.halves) == 1:
        return _apply(call.function.halves[0], given, call.options | keywords)
    if library in {"numpy", "cupy"}:
        return _into_halves(call, x, axis, given)
    parts = [_apply(half, given, call.options | keywords) for half in call.function.halves]
    return _namespace(x).concat(parts, axis=axis)


def _straight(halves: tuple[Any, ...], named: dict[str, Any], axis: Any) -> Callable[..., Any]:
    """Return what serves NumPy arrays of one dtype that need no check but those of the functions of halves."""

    def compute(arrays: tuple[Any, ...], out: Any, _where: Any) -> Any:
        x, *others = arrays
        ndim = x.ndim
        if type(axis) is not int or not -ndim <= axis < ndim or x.shape[axis] % 2:
            return NotImplemented
        first, second = _halves(x, axis % ndim)
        if len(halves) == 1:
            return halves[0](first, second, out=out, **named)
        if out is not None or x.dtype.kind in "iub":
            return NotImplemented
        if any(type(each) is not np.ndarray or each.dtype != x.dtype or each.shape != first.shape for each in others):
            return NotImplemented
        result = empty_like(x)
        for half, place in zip(halves, _halves(result, axis % ndim), strict=True):
            if x.size < TINY:
                place[...] = half(first, second, *others, **named)
            else:
                half(first, second, *others, out=place, **named)
        return result

    return compute


def _axis(name: str, axis: Any, shape: tuple[int, ...]) -> int:
    axes = normalise_axis(name, axis, len(shape))
    if len(axes) != 1:
        raise ValueError(f"{name} halves one axis: x needs at least one dimension, and axis must be an integer")
    if shape[axes[0]] % 2:
        raise ValueError(f"{name} cannot halve axis {axes[0]}, which has the odd length {shape[axes[0]]}")
    return axes[0]


def _halves(array: Any, axis: int) -> tuple[Any, Any]:
    middle = array.shape[axis] // 2
    before = (slice(None),) * axis
    return array[(*before, slice(None, middle), ...)], array[(*before, slice(middle, None), ...)]


def _apply(function: Any, given: Mapping[str, Any], keywords: Mapping[str, Any]) -> Any:
    arrays = function.definition.arrays
    named = {key: value for key, value in given.items() if key not in arrays}
    return function(*(given[key] for key in arrays), **named, **keywords)


def _into_halves(call: Call, x: Any, axis: int, given: dict[str, Any]) -> Any:
    """Write each half of the result to its place in the output."""
    out = call.out if call.out is not Ellipsis else None
    of_half = Call(
        call.function.halves[0], given, call.options, {k: v for k, v in call.keywords.items() if k == "dtype"}
    )
    arrays = {key: np.asarray(value) if is_scalar(value) else value for key, value in given.items()}
    dtype = result_dtype(of_half, {key: value for key, value in arrays.items() if hasattr(value, "dtype")})
    if out is None:
        if type(x) is np.ndarray:
            result = empty_like(x, dtype)
        else:
            result = (np if isinstance(x, np.ndarray) else _namespace(x)).empty_like(x, dtype=dtype)
    else:
        if type(out) is not type(x) and not isinstance(out, np.ndarray):
            raise TypeError(f"{call.definition.name} can write its output to an array of the library of x only")
        check_fits(call.definition.name, x.shape, out.shape, exactly=True)
        check_cast(call.definition.name, "its result", dtype, out.dtype, "same_kind")
        result = out
        given = {key: _apart(value, out) for key, value in given.items()}
    for half, place in zip(call.function.halves, _halves(result, axis), strict=True):
        _apply(half, given, call.options | {"dtype": dtype, "out": place, "casting": "same_kind"})
    return result


def _namespace(x: Any) -> Any:
    import array_api_compat  # noqa: PLC0415

    return array_api_compat.array_namespace(x)


def _apart(value: Any, out: Any) -> Any:
    """Copy an operand that the first half of the result might overwrite before the second has read it."""
    if not may_overlap(value, out):
        return value
    if isinstance(out, np.ndarray):
        return value.copy()
    from .backends.cupy.call import copy  # noqa: PLC0415

    return copy(value, _namespace(out).empty_like(value))
