"""Type promotion and casting for backends with NumPy's dtypes: scalars, dtypes of results and of computation."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from actufunc._calling.call import Call
    from actufunc.formula.expression import Expression

CASTINGS = ("no", "equiv", "safe", "same_kind", "unsafe")

HALF_TYPES = frozenset({"float16", "bfloat16"})

_PYTHON = (bool, int, float)
_SCALARS = (bool, int, float, np.bool_, np.integer, np.floating)


def is_scalar(value: object) -> bool:
    """Return True if a hyperparameter is a scalar, which does not take part in type promotion."""
    return isinstance(value, _SCALARS) and not isinstance(value, np.timedelta64)


def scalars_of(call: Call) -> dict[str, Any]:
    """Return the hyperparameters that are scalars."""
    return {key: v for key, v in call.operands.items() if is_scalar(v) and key not in call.definition.arrays}


def as_python(value: Any) -> int | float:
    """Return a scalar hyperparameter as a Python number."""
    number: int | float = value.item() if isinstance(value, np.generic) else value
    return int(number) if isinstance(number, bool) else number


def rounded(value: Any, dtype: np.dtype[Any]) -> float | int:
    """Round a scalar hyperparameter to the dtype of the kernel; return a Python number."""
    number = as_python(value)
    if dtype.kind != "f":
        return int(number)
    with np.errstate(over="ignore"):
        try:
            nearest: float = dtype.type(number).item()
        except OverflowError:
            raise ValueError("a hyperparameter is an integer too large for a float; write it as a float") from None
    return nearest


def unsupported(name: str, dtype: np.dtype[Any], key: str) -> TypeError:
    """Return the error for a dtype that no kernel supports."""
    supported = "float16, bfloat16, float32, float64, integers and booleans"
    return TypeError(f"{name} does not support {dtype.name} for {key}; it takes {supported}")


def is_half(dtype: np.dtype[Any]) -> bool:
    """Return True if a dtype is float16 or bfloat16, which are computed in a wider dtype."""
    return dtype.name in HALF_TYPES


@functools.cache
def working_dtype(dtype: np.dtype[Any]) -> np.dtype[Any] | None:
    """Return the dtype in which `dtype` is computed, in native byte order; None if it is not supported.

    Half types are computed in float32, except that NumPy's elementwise functions compute them in float64, with
    hyperparameters of float32.
    """
    if is_half(dtype):
        return np.dtype(np.float32)
    return dtype.newbyteorder("=") if dtype.name in {"float32", "float64"} or dtype.kind in "iub" else None


def result_dtype(call: Call, arrays: Mapping[str, Any]) -> np.dtype[Any]:
    """Return the dtype of the result: the promoted dtype of the arrays, or ``dtype=`` of the call.

    Booleans become float64, and so do integers unless the formula is exact on them.
    """
    name = call.definition.name
    # Python scalars are weak: they do not promote the dtype of the arrays.
    given = call.operands
    common = np.result_type(*(given[k] if type(given[k]) in _PYTHON else a.dtype for k, a in arrays.items()))
    asked = call.keywords.get("dtype")
    dtype = common if asked is None else asked_dtype(name, asked)
    if dtype.kind in "iu" and not call_keeps_integers(call, dtype):
        if asked is not None:
            raise TypeError(f"{name} has no integer results; ask for dtype float16, bfloat16, float32 or float64")
        dtype = np.dtype(np.float64)
    if dtype.kind == "b" and asked is None:
        dtype = np.dtype(np.float64)
    if dtype.kind == "b" or working_dtype(dtype) is None:
        raise unsupported(name, dtype, "dtype")
    dtype = dtype if dtype.metadata is None else np.dtype(dtype.type)
    return dtype if dtype.isnative else dtype.newbyteorder("=")


def part_dtype(call: Call, operands: Mapping[str, Any]) -> np.dtype[Any]:
    """Return the dtype of the result of the first elementwise function of a gated unit, for operands that it has."""
    keywords = {key: value for key, value in call.keywords.items() if key == "dtype"}
    of_part = dataclasses.replace(call, function=call.function.halves[0], operands=dict(operands), keywords=keywords)
    arrays = {key: np.asarray(value) if is_scalar(value) else value for key, value in operands.items()}
    return result_dtype(of_part, {key: value for key, value in arrays.items() if hasattr(value, "dtype")})


def asked_dtype(name: str, asked: Any) -> np.dtype[Any]:
    """Return ``dtype=`` of a call; raise TypeError unless it is in native byte order, as all results are."""
    dtype: np.dtype[Any] = np.dtype(asked)
    if not dtype.isnative:
        raise TypeError(f"{name} takes a dtype without a byte order, not {dtype.str!r}; ask for {dtype.name!r}")
    return dtype


def keeps_integers(expression: Expression) -> bool:
    """Return True if a formula is exact on integers, so that it keeps their dtype."""
    return all(
        node.operation == "argument"
        or node.record.on_integers
        or (node.operation == "constant" and isinstance(node.value, int))
        for node in expression.nodes()
    )


def call_keeps_integers(call: Call, dtype: np.dtype[Any]) -> bool:
    """Return True if the formula of a call keeps integers of a dtype; see `holds_integers`."""
    return holds_integers(call.specialised({key: as_python(v) for key, v in scalars_of(call).items()}), dtype)


def holds_integers(expression: Expression, dtype: np.dtype[Any]) -> bool:
    """Return True if a formula is exact on integers and its constants are in the range of a dtype."""
    limits = np.iinfo(dtype)
    return keeps_integers(expression) and all(
        limits.min <= node.value <= limits.max for node in expression.nodes() if node.operation == "constant"
    )


def integers_fit(scalars: Iterable[Any], dtype: np.dtype[Any]) -> bool:
    """Return True if all scalars are integers that an integer dtype holds."""
    limits = np.iinfo(dtype)
    return all(isinstance(scalar, int) and limits.min <= scalar <= limits.max for scalar in scalars)


def check_cast(name: str, what: str, source: np.dtype[Any], target: np.dtype[Any], casting: str) -> None:
    """Raise TypeError unless `casting` permits the cast."""
    if casting not in CASTINGS:
        raise ValueError(f"casting must be one of {', '.join(map(repr, CASTINGS))}, not {casting!r}")
    is_number = target.kind in "biufc" or target.name == "bfloat16"
    if not is_number or not np.can_cast(source, target, casting=casting):  # type: ignore[arg-type]
        raise TypeError(f"{name} cannot cast {what} from {source} to {target} with casting={casting!r}")


def check_casts(call: Call, arrays: Mapping[str, Any], dtype: np.dtype[Any], out: Any) -> None:
    """Raise TypeError unless a call may cast arrays to the dtype of the result, and the result to `out`."""
    name, casting = call.definition.name, call.keywords.get("casting", "same_kind")
    if call.keywords.get("dtype") is not None or casting != "same_kind":
        for key, array in arrays.items():
            check_cast(name, key, array.dtype, dtype, casting)
    if out is not None:
        check_cast(name, "its result", dtype, out.dtype, casting)
