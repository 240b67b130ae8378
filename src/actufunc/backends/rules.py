"""Rules of the call that hold for every backend with dtypes like NumPy's: scalars, dtypes, casting, broadcasting."""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from actufunc.protocol import normalise_axis

from .writer import INTEGER_TEXT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from actufunc.formula.definition import Definition
    from actufunc.formula.expression import Expression
    from actufunc.protocol import Call

CASTINGS = ("no", "equiv", "safe", "same_kind", "unsafe")
ORDERS = ("K", "A", "C", "F")

HALF_TYPES = frozenset({"float16", "bfloat16"})

_PYTHON = (bool, int, float)
_SCALARS = (bool, int, float, np.bool_, np.integer, np.floating)


def refuse_for_numpy_only(call: Call, library: str) -> None:
    """Raise TypeError if a call on arrays of another library gives a keyword that only those of NumPy and CuPy take."""
    defaults = call.function.call_keywords
    for keyword in ("out", "casting", "order", "subok"):
        value = call.keywords.get(keyword)
        if value is not None and (keyword == "out" or value != defaults.get(keyword)):
            raise TypeError(f"{call.definition.name} takes {keyword}= with NumPy arrays only; omit it for {library}")


def is_scalar(value: object) -> bool:
    """Tell whether a hyperparameter is a scalar, which never promotes the dtype of the arrays."""
    return isinstance(value, _SCALARS) and not isinstance(value, np.timedelta64)


def scalars_of(call: Call) -> dict[str, Any]:
    """Return the hyperparameters that are scalars."""
    return {key: v for key, v in call.operands.items() if is_scalar(v) and key not in call.definition.arrays}


def as_python(value: Any) -> int | float:
    """Return a scalar hyperparameter as a Python number."""
    number: int | float = value.item() if isinstance(value, np.generic) else value
    return int(number) if isinstance(number, bool) else number


def rounded(value: Any, dtype: np.dtype[Any]) -> float | int:
    """Round a scalar hyperparameter to the dtype of the kernel, as an array of that dtype would hold it."""
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
    """Return the error for a dtype that no kernel serves."""
    supported = "float16, bfloat16, float32, float64, integers and booleans"
    return TypeError(f"{name} does not support {dtype.name} for {key}; it takes {supported}")


def is_half(dtype: np.dtype[Any]) -> bool:
    """Tell whether a dtype is a float of 16 bits, which is computed in a wider one."""
    return dtype.name in HALF_TYPES


@functools.cache
def working_dtype(dtype: np.dtype[Any]) -> np.dtype[Any] | None:
    """Return the dtype in which `dtype` is computed; None if it is not supported.

    That is float32 for the half types, except that NumPy's elementwise functions are computed in float64, with
    hyperparameters of float32.
    """
    if is_half(dtype):
        return np.dtype(np.float32)
    return dtype.newbyteorder("=") if dtype.name in {"float32", "float64"} or dtype.kind in "iub" else None


def result_dtype(call: Call, arrays: Mapping[str, Any]) -> np.dtype[Any]:
    """Return the dtype of the result: that of the arrays, unless the call asks for one.

    Booleans become float64, and so do integers, except where the formula is exact on them.
    """
    name = call.definition.name
    # Python scalars are weak: they take the dtype of the arrays beside them.
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


def asked_dtype(name: str, asked: Any) -> np.dtype[Any]:
    """Return what a call gives as ``dtype=``: results are native, so that no other byte order can be asked for."""
    dtype: np.dtype[Any] = np.dtype(asked)
    if not dtype.isnative:
        raise TypeError(f"{name} takes a dtype without a byte order, not {dtype.str!r}; ask for {dtype.name!r}")
    return dtype


def keeps_integers(expression: Expression) -> bool:
    """Tell whether a formula is exact on integers, so that it can keep their dtype."""
    return all(
        node.operation == "argument"
        or node.operation in INTEGER_TEXT  # those that cannot overflow
        or (node.operation == "constant" and isinstance(node.value, int))
        for node in expression.nodes()
    )


def call_keeps_integers(call: Call, dtype: np.dtype[Any]) -> bool:
    """Tell whether a formula is exact on integers of a dtype, which must hold its constants."""
    return holds_integers(call.specialised({key: as_python(v) for key, v in scalars_of(call).items()}), dtype)


def holds_integers(expression: Expression, dtype: np.dtype[Any]) -> bool:
    """Tell the same of a formula with its scalar hyperparameters put in."""
    limits = np.iinfo(dtype)
    return keeps_integers(expression) and all(
        limits.min <= node.value <= limits.max for node in expression.nodes() if node.operation == "constant"
    )


def check_cast(name: str, what: str, source: np.dtype[Any], target: np.dtype[Any], casting: str) -> None:
    """Raise TypeError unless `casting` permits the conversion."""
    if casting not in CASTINGS:
        raise ValueError(f"casting must be one of {', '.join(map(repr, CASTINGS))}, not {casting!r}")
    is_number = target.kind in "biufc" or target.name == "bfloat16"
    if not is_number or not np.can_cast(source, target, casting=casting):  # type: ignore[arg-type]
        raise TypeError(f"{name} cannot cast {what} from {source} to {target} with casting={casting!r}")


def order_of(call: Call) -> Any:
    """Return the order of a fresh result, which NumPy types as a literal.

    Raises
    ------
    ValueError
        If there is no such order.
    """
    order = call.keywords.get("order", "K")
    if order not in ORDERS:
        raise ValueError(f"order must be one of {', '.join(map(repr, ORDERS))}, not {order!r}")
    return order


def check_casts(call: Call, arrays: Mapping[str, Any], dtype: np.dtype[Any], out: Any) -> None:
    """Raise TypeError unless a call may cast arrays to the dtype of the result, and the result to `out`."""
    name, casting = call.definition.name, call.keywords.get("casting", "same_kind")
    if call.keywords.get("dtype") is not None or casting != "same_kind":
        for key, array in arrays.items():
            check_cast(name, key, array.dtype, dtype, casting)
    if out is not None:
        check_cast(name, "its result", dtype, out.dtype, casting)


def as_mask(name: str, where: Any, own: type = np.ndarray) -> Any:
    """Return a mask as an array of booleans, as NumPy's ufuncs see it; one of the library's `own` type as it is.

    Of lists and numbers it is whether they are true; an array must have booleans.
    """
    mask = where
    if not isinstance(where, own):
        mask = np.asarray(where) if where is None or hasattr(where, "dtype") else np.asarray(where, np.bool_)
    if mask.dtype.kind != "b":
        raise TypeError(f"{name} takes where= as an array of booleans, not of {mask.dtype}")
    return mask


def broadcast_shapes(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape to which others broadcast; as `numpy.broadcast_shapes`, but of any number of dimensions."""
    result: list[int] = []
    for lengths in itertools.zip_longest(*map(reversed, shapes), fillvalue=1):
        others = {length for length in lengths if length != 1}
        if len(others) > 1:
            raise ValueError("these shapes do not broadcast")
        result.insert(0, others.pop() if others else 1)
    return tuple(result)


def shape_of_all(name: str, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    """Return the shape to which the arguments of a call broadcast.

    Raises
    ------
    ValueError
        If there is none.
    """
    try:
        return broadcast_shapes(*shapes.values())
    except ValueError:
        text = ", ".join(f"{key} {shape}" for key, shape in shapes.items())
        raise ValueError(f"{name} cannot broadcast these shapes together: {text}") from None


def check_fits(name: str, shape: tuple[int, ...], into: tuple[int, ...], *, exactly: bool = False) -> None:
    """Raise ValueError unless a result of `shape` broadcasts to an output of shape `into` without changing it."""
    try:
        fits = shape == into or (not exactly and broadcast_shapes(shape, into) == into)
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{name} has a result of shape {shape}, which does not fit out of shape {into}")


# Over an axis.


def output_over_axis(
    call: Call, shape: tuple[int, ...], dtype: np.dtype[Any], check_out: Callable[[str, Any], None]
) -> Any:
    """Return the output given, after a check, or None."""
    out = call.out
    if out is None or out is Ellipsis:
        return None
    check_out(call.definition.name, out)
    check_fits(call.definition.name, shape, out.shape, exactly=True)
    check_cast(call.definition.name, "its result", dtype, out.dtype, "same_kind")
    return out


@dataclass(frozen=True)
class Reduced:
    """The shapes of a call over some axes.

    Attributes
    ----------
    of_x : tuple of int
        Shape of x.
    axes : tuple of int
        Over which to reduce, not negative.
    keepdims : bool
        Whether arrays that lack the axes have them with length one.
    """

    of_x: tuple[int, ...]
    axes: tuple[int, ...]
    keepdims: bool

    @property
    def kept(self) -> tuple[int, ...]:
        """Shape of what has one element for each row, the axes having length one."""
        return tuple(1 if axis in self.axes else length for axis, length in enumerate(self.of_x))

    @property
    def given(self) -> tuple[int, ...]:
        """The same as users see it."""
        if self.keepdims:
            return self.kept
        return tuple(length for axis, length in enumerate(self.of_x) if axis not in self.axes)


def shapes_of(call: Call, shape: tuple[int, ...]) -> Reduced:
    """Return the shapes of a call over an axis, for x of a shape."""
    axes = normalise_axis(call.definition.name, call.keywords.get("axis", -1), len(shape))
    return Reduced(shape, axes, bool(call.keywords.get("keepdims", False)))


def broadcast_to_x(
    definition: Definition,
    key: str,
    array: Any,
    shapes: Reduced,
    broadcast_to: Callable[[Any, tuple[int, ...]], Any],
) -> Any:
    """Return an operand in the shape of x, by the library's own `broadcast_to`."""
    of_row = key in definition.of_rows
    given, what = (shapes.given, "the result") if of_row else (shapes.of_x, "x")
    try:
        array = array if array.shape == given else broadcast_to(array, given)
    except ValueError:
        name = definition.name
        raise ValueError(f"{name} cannot broadcast {key} of shape {array.shape} to that of {what}, {given}") from None
    return broadcast_to(array.reshape(shapes.kept), shapes.of_x) if of_row else array


def as_blocks(operands: Sequence[Any], axes: tuple[int, ...]) -> list[Any] | None:
    """See contiguous arrays as (blocks, n, inner), with the axes in the middle.

    None where they are not contiguous and alike, or where the axes do not lie side by side.
    """
    ndim = operands[0].ndim
    if not all(o.flags.c_contiguous for o in operands):
        if not all(o.flags.f_contiguous for o in operands):
            return None
        operands = [o.T for o in operands]
        axes = tuple(ndim - 1 - axis for axis in axes)
    first, last = min(axes, default=0), max(axes, default=-1)
    if last - first + 1 != len(axes):
        return None

    def blocks(shape: tuple[int, ...]) -> tuple[int, ...]:
        return math.prod(shape[:first]), math.prod(shape[first : last + 1]), math.prod(shape[last + 1 :])

    return [o.reshape(blocks(o.shape)) for o in operands]
