"""Calls of gated units: elementwise functions of the two halves of an axis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .backends.rules import check_cast, check_fits, is_scalar, result_dtype, unsupported, working_dtype
from .memory import empty_like
from .plans import Plan, alone
from .protocol import Call, may_overlap, normalise_axis, owner

if TYPE_CHECKING:
    from collections.abc import Mapping


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
    keywords = {key: value for key, value in call.keywords.items() if key != "axis"}
    if library == "numpy" and all(is_scalar(v) or type(v) is np.ndarray for v in call.operands.values()):
        execute = _Plan(call, {**operands, "x": x})
        call.plan = Plan(execute.names, execute, alone(execute) if execute.names == ("x",) else None)
        return execute(tuple(call.operands[name] for name in execute.names), call.out, None)
    halves = _halves(x, axis)
    given = {"x": halves[0], "gate": halves[1], **operands}
    if len(call.function.halves) == 1:
        return _apply(call.function.halves[0], given, call.options | keywords)
    if library in {"numpy", "cupy"}:
        return _into_halves(call, x, axis, given)
    parts = [_apply(half, given, call.options | keywords) for half in call.function.halves]
    return _namespace(x).concat(parts, axis=axis)


class _Plan:
    """How to compute a gated unit, or its vjp, of NumPy arrays of given dtypes; see `actufunc.plans`."""

    def __init__(self, call: Call, operands: Mapping[str, Any]) -> None:
        self._name, self._halves = call.definition.name, call.function.halves
        self._axis = call.keywords.get("axis", -1)
        definition = call.definition
        self.names = tuple(n for n in definition.arguments if n in definition.arrays or not is_scalar(operands[n]))
        numbers = {name: value for name, value in operands.items() if name not in self.names}
        keywords = {key: value for key, value in call.keywords.items() if key not in {"axis", "out"}}
        self._keywords = call.options | numbers | keywords
        # Hyperparameters, and a scalar in the place of the cotangent, stand by name.
        self._positional = sum(name in call.definition.arrays for name in self.names)
        self._dtype: Any = None
        if len(self._halves) > 1:
            halves = {"x": operands["x"], "gate": operands["x"], **operands}
            of_half = Call(self._halves[0], halves, call.options, keywords)
            arrays = {key: np.asarray(v) if is_scalar(v) else v for key, v in halves.items()}
            self._dtype = result_dtype(of_half, {key: v for key, v in arrays.items() if hasattr(v, "dtype")})
            if any(arrays[name].dtype != self._dtype for name in self.names if not is_scalar(operands[name])):
                self._keywords |= {"dtype": self._dtype}

    def __call__(self, operands: tuple[Any, ...], out: Any, _where: Any) -> Any:
        """Compute."""
        x, axis = operands[0], self._axis
        ndim = x.ndim
        if type(axis) is not int or not -ndim <= axis < ndim or x.shape[axis] % 2:
            axis = _axis(self._name, axis, x.shape)
        axis %= ndim
        arrays: Any = (*_halves(x, axis), *operands[1 : self._positional])
        named = self._keywords
        if len(operands) > self._positional:
            named = dict(zip(self.names[self._positional :], operands[self._positional :], strict=True)) | named
        if self._dtype is None:
            return self._halves[0].planned(arrays[0], tuple(arrays[1:]), named, out)
        if out is None or out is Ellipsis:
            result = empty_like(x, self._dtype)
        else:
            result = self._checked(x, out)
            arrays = [_apart(each, out) for each in arrays]
            named = {key: _apart(each, out) for key, each in named.items()}
        for half, place in zip(self._halves, _halves(result, axis), strict=True):
            half.planned(arrays[0], tuple(arrays[1:]), named, place)
        return result

    def _checked(self, x: Any, out: Any) -> Any:
        if not isinstance(out, np.ndarray):
            raise TypeError(f"{self._name} can write its output to a NumPy array only, not to {type(out).__name__}")
        check_fits(self._name, x.shape, out.shape, exactly=True)
        check_cast(self._name, "its result", self._dtype, out.dtype, "same_kind")
        return out


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
