"""Gated units: elementwise functions of the two parts of an axis."""

from __future__ import annotations

import functools
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from actufunc._calling.array_kinds import may_share_memory, owner
from actufunc._calling.plans import Plan, once
from actufunc._memory import empty_like

from .axis import check_part, split_axis, split_indices
from .broadcasting import check_fits
from .promotion import check_cast, is_scalar, part_dtype

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actufunc._calling.call import Call


def plan(call: Call) -> Plan:
    """Return the plan of a gated unit, or its vjp; raise ValueError if the axis cannot be split.

    Along the axis the result is half as long as `x`, and that of a vjp as long as `x`.
    """
    name, x = call.definition.name, call.operands["x"]
    library = owner(x)
    if library is None:
        from .numpy.arguments import as_array  # noqa: PLC0415

        x, library = as_array(name, "x", x), "numpy"
    axis = split_axis(name, call.keywords.get("axis", -1), x.shape)
    if library == "numpy" and all(is_scalar(v) or type(v) is np.ndarray for v in call.operands.values()):
        from .numpy.gated import plan as plan_numpy  # noqa: PLC0415

        return plan_numpy(call)
    if library in {"torch", "jax"} and "dtype" not in call.keywords:
        from .delegation import find  # noqa: PLC0415

        own = find(_namespace(x), call, {**call.operands, "x": x}, axis)
        if own is not None:
            return once(partial(own, x))
    return once(partial(_compute, call, library, x, axis))


def _compute(call: Call, library: str, x: Any, axis: int) -> Any:
    """Compute by the elementwise functions of both parts of `x`."""
    if library == "dask":
        from .dask import evaluate_gated  # noqa: PLC0415

        if (result := evaluate_gated(call, axis)) is not NotImplemented:
            return result
    keywords = call.options | {key: value for key, value in call.keywords.items() if key != "axis"}
    first, second = _parts(x, axis) if library != "jax" else _parts_jax()(x, axis)
    operands, functions = {**call.operands, "x": first, "gate": second}, call.function.halves
    if len(functions) == 1:
        check_part(call.definition.name, first, call.out)
        return _apply(functions[0], operands, keywords)
    if call.out is None and any(isinstance(value, np.ma.MaskedArray) for value in call.operands.values()):
        # An element that is masked in one part masks both results, which writes to parts of an output would lose.
        concatenate: Any = np.ma.concatenate  # not typed by NumPy
        return concatenate([_apply(function, operands, keywords) for function in functions], axis)
    if library in {"numpy", "cupy"}:
        return _into_parts(call, x, axis, operands)
    return _namespace(x).concat([_apply(function, operands, keywords) for function in functions], axis=axis)


def _parts(array: Any, axis: int) -> tuple[Any, Any]:
    first, second = split_indices(array.shape, axis)
    return array[first], array[second]


@functools.cache
def _parts_jax() -> Any:
    """Return `_parts` for JAX, which shards a slice among devices only inside a compiled function."""
    import jax  # noqa: PLC0415

    return jax.jit(_parts, static_argnums=1)


def _apply(function: Any, operands: Mapping[str, Any], keywords: Mapping[str, Any]) -> Any:
    arrays = function.definition.arrays
    named = {key: value for key, value in operands.items() if key not in arrays}
    return function(*(operands[key] for key in arrays), **named, **keywords)


def _into_parts(call: Call, x: Any, axis: int, operands: dict[str, Any]) -> Any:
    """Compute both parts of the result into views of the output."""
    name, functions = call.definition.name, call.function.halves
    out = call.out if call.out is not Ellipsis else None
    dtype = part_dtype(call, operands)
    if out is None:
        if type(x) is np.ndarray:
            result = empty_like(x, dtype)
        else:
            result = (np if isinstance(x, np.ndarray) else _namespace(x)).empty_like(x, dtype=dtype)
    else:
        if type(out) is not type(x) and not isinstance(out, np.ndarray):
            raise TypeError(f"{name} can write its output to an array of the library of x only")
        check_fits(name, x.shape, out.shape, exactly=True)
        check_cast(name, "its result", dtype, out.dtype, "same_kind")
        result = out
        operands = {key: _copy_if_shared(value, out) for key, value in operands.items()}
    for function, place in zip(functions, _parts(result, axis), strict=True):
        _apply(function, operands, call.options | {"dtype": dtype, "out": place, "casting": "same_kind"})
    return result


def _namespace(x: Any) -> Any:
    import array_api_compat  # noqa: PLC0415

    return array_api_compat.array_namespace(x)


def _copy_if_shared(value: Any, out: Any) -> Any:
    """Return an operand, or a copy if the first part of the result might overwrite what the second reads."""
    if not may_share_memory(value, out):
        return value
    if isinstance(out, np.ndarray):
        return value.copy()
    from .cupy.arguments import copy  # noqa: PLC0415

    return copy(value, _namespace(out).empty_like(value))
