"""Calls of gated units: elementwise functions of the two halves of an axis."""

from __future__ import annotations

import functools
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from actufunc._calling.array_kinds import may_overlap, owner
from actufunc._calling.call import Call
from actufunc._calling.plans import LARGE, Plan, UnplannedError, alone, key_of
from actufunc._memory import empty_like

from .axis import halved_axis
from .broadcasting import check_fits
from .promotion import check_cast, is_half, is_scalar, result_dtype

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
        from .numpy.arguments import as_array  # noqa: PLC0415

        x, library = as_array(call.definition.name, "x", x), "numpy"
    name = call.definition.name
    axis = halved_axis(name, call.keywords.get("axis", -1), x.shape)
    if library in {"torch", "jax"} and "dtype" not in call.keywords:
        from .delegation import find  # noqa: PLC0415

        native = find(_namespace(x), call, {**call.operands, "x": x}, axis)
        if native is not None:
            return native(x)
    keywords = {key: value for key, value in call.keywords.items() if key != "axis"}
    if library == "numpy" and all(is_scalar(v) or type(v) is np.ndarray for v in call.operands.values()):
        execute = _Plan(call, {**operands, "x": x})
        call.plan = Plan(execute.names, execute, alone(execute) if execute.names == ("x",) else None)
        return execute(tuple(call.operands[name] for name in execute.names), call.out, None)
    if library == "dask":
        from .dask import halve_blocks  # noqa: PLC0415

        result = halve_blocks(call, axis)
        if result is not NotImplemented:
            return result
    halves = _halves(x, axis) if library != "jax" else _halves_jax()(x, axis)
    given = {"x": halves[0], "gate": halves[1], **operands}
    if len(call.function.halves) == 1:
        check_halved(name, halves[0], call.out)
        return _apply(call.function.halves[0], given, call.options | keywords)
    if call.out is None and any(isinstance(value, np.ma.MaskedArray) for value in call.operands.values()):
        # What is masked in one half masks the results in both, which an output in two halves would not be told.
        concatenate: Any = np.ma.concatenate  # which NumPy does not type
        return concatenate([_apply(half, given, call.options | keywords) for half in call.function.halves], axis)
    if library in {"numpy", "cupy"}:
        return _into_halves(call, x, axis, given)
    parts = [_apply(half, given, call.options | keywords) for half in call.function.halves]
    return _namespace(x).concat(parts, axis=axis)


class _Plan:
    """How to compute a gated unit, or its vjp, of NumPy arrays of given dtypes; see `actufunc._calling.plans`."""

    def __init__(self, call: Call, operands: Mapping[str, Any]) -> None:
        from .numpy.arguments import check_out  # noqa: PLC0415 -- NumPy's backend, imported at its first use

        self._name, self._halves = call.definition.name, call.function.halves
        self._axis = call.keywords.get("axis", -1)
        definition = call.definition
        self.names = tuple(n for n in definition.arguments if n in definition.arrays or not is_scalar(operands[n]))
        numbers = {name: value for name, value in operands.items() if name not in self.names}
        keywords = {key: value for key, value in call.keywords.items() if key not in {"axis", "out"}}
        self._keywords = call.options | numbers | keywords
        # Hyperparameters, and a scalar in the place of the cotangent, stand by name.
        self._positional = sum(name in call.definition.arrays for name in self.names)
        # Places of the halves in arrays of the last shape, and the key of the calls of the functions.
        self._cut: tuple[tuple[int, ...], Any, Any] | None = None
        self._key: Any = None
        self._dtype: Any = None
        self._check_out = check_out
        if len(self._halves) > 1:
            halves = {"x": operands["x"], "gate": operands["x"], **operands}
            of_half = Call(self._halves[0], halves, call.options, keywords)
            arrays = {key: np.asarray(v) if is_scalar(v) else v for key, v in halves.items()}
            self._dtype = result_dtype(of_half, {key: v for key, v in arrays.items() if hasattr(v, "dtype")})
            if any(arrays[name].dtype != self._dtype for name in self.names if not is_scalar(operands[name])):
                self._keywords |= {"dtype": self._dtype}

    def __call__(self, operands: tuple[Any, ...], out: Any, _where: Any) -> Any:
        """Compute."""
        x, *others = operands
        if self._dtype is not None:
            if out is None or out is Ellipsis:
                result = empty_like(x, self._dtype)
            elif self._copies(x, out):
                np.copyto(out, self(operands, None, _where), casting="unsafe")
                return out
            else:
                # What the first half of the result overwrites, the second has yet to read.
                result = out
                x, *others = (_apart(each, out) for each in operands)
        shape = x.shape
        known = self._cut
        if known is None or known[0] != shape:
            known = self._cut = (shape, *_places(shape, halved_axis(self._name, self._axis, shape)))
        _, first, second = known
        args = (x[second], *others[: self._positional - 1])
        named = self._keywords
        if len(operands) > self._positional:
            named = dict(zip(self.names[self._positional :], others[self._positional - 1 :], strict=True)) | named
        x_half = x[first]
        if self._dtype is None:
            check_halved(self._name, x_half, out)
            return self._of_half(0, x_half, args, named, out)
        self._of_half(0, x_half, args, named, result[first])
        self._of_half(1, x_half, args, named, result[second])
        return result

    def _of_half(self, number: int, x: Any, args: tuple[Any, ...], keywords: dict[str, Any], out: Any) -> Any:
        """Compute an elementwise function that makes this one up; calls differ in nothing that their key tells."""
        half = self._halves[number]
        if self._key is None:
            with suppress(UnplannedError):
                self._key = key_of(x, args, keywords, len(half.definition.arrays) - 1)
        return half.planned(x, args, keywords, out, self._key)

    def _copies(self, x: Any, out: Any) -> bool:
        """Check an output, and tell whether a copy of the result is worth its memory there."""
        self._check_out(self._name, out)
        check_fits(self._name, x.shape, out.shape, exactly=True)
        if out.dtype == self._dtype:
            return bool(x.size < LARGE)
        check_cast(self._name, "its result", self._dtype, out.dtype, "same_kind")
        return x.size < LARGE and not is_half(out.dtype)  # to round to those is for the functions themselves


def check_halved(name: str, half: Any, out: Any) -> None:
    """Raise ValueError unless an output is as long as half of x, which would else be broadcast to it."""
    if out is not None and out is not Ellipsis and hasattr(out, "shape"):
        check_fits(name, half.shape, out.shape, exactly=True)


def _halves(array: Any, axis: int) -> tuple[Any, Any]:
    first, second = _places(array.shape, axis)
    return array[first], array[second]


def _places(shape: tuple[int, ...], axis: int) -> tuple[Any, Any]:
    """Return the indices of both halves of an array along an axis."""
    middle = shape[axis] // 2
    before = (slice(None),) * axis
    return (*before, slice(None, middle), ...), (*before, slice(middle, None), ...)


@functools.cache
def _halves_jax() -> Any:
    """Return the same for JAX, which may share out a slice among devices within a compiled function only."""
    import jax  # noqa: PLC0415

    return jax.jit(_halves, static_argnums=1)


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
    from .cupy.arguments import copy  # noqa: PLC0415

    return copy(value, _namespace(out).empty_like(value))
