"""Any array API namespace: the library's own function where it means the same, else the formula in its operations."""

from __future__ import annotations

import functools
import math
import operator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import array_api_compat as compat
import numpy as np

from actufunc.formula.expression import Expression
from actufunc.protocol import Call, normalise_axis, owner

from .coefficients import NORMAL_P, NORMAL_S
from .native import native
from .rules import HALF_TYPES, LEFT_OUT, as_python, keeps_integers, scalars_of

if TYPE_CHECKING:
    from collections.abc import Callable


def evaluate(call: Call) -> Any:
    """Compute an activation on the arrays of one namespace."""
    name = call.definition.name
    for keyword in ("out", "casting", "order", "subok"):
        if call.keywords.get(keyword) is not None:
            raise TypeError(f"{name} takes {keyword}= with NumPy arrays only; leave it away for {_library(call)}")
    operands = {key: value.item() if isinstance(value, np.generic) else value for key, value in call.operands.items()}
    operands = {key: int(value) if isinstance(value, bool) else value for key, value in operands.items()}
    for key, value in operands.items():
        if not _is_number(value) and not compat.is_array_api_obj(value):
            raise TypeError(f"{name} got {type(value).__name__} for {key} beside an array of {_library(call)}")
    arrays = [value for value in operands.values() if not _is_number(value)]
    xp = compat.array_namespace(*arrays)
    if len(arrays) > 1:
        _check_devices(name, arrays)
    computed = _Namespace(xp, call, operands)
    return computed.result()


def _is_number(value: object) -> bool:
    return isinstance(value, bool | int | float)


def _library(call: Call) -> str:
    return next(name for value in call.values() if (name := owner(value)) is not None)


def _check_devices(name: str, arrays: list[Any]) -> None:
    # What is being traced by jax.jit has none.
    devices = {str(device) for array in arrays if (device := compat.device(array)) is not None}
    if len(devices) > 1:
        raise TypeError(f"{name} got arrays on {' and '.join(sorted(devices))}; move them to one device first")


class _Namespace:
    """One call within a namespace."""

    def __init__(self, xp: Any, call: Call, operands: dict[str, Any]) -> None:
        self.xp, self.call = xp, call
        self.name = call.definition.name
        self.operands = self._as_floats(operands)
        self.like = self.operands["x"]  # what constants are made like
        axes = normalise_axis(self.name, call.keywords.get("axis", -1), self.operands["x"].ndim)
        self.axis = axes[0] if len(axes) == 1 else axes

    def _as_floats(self, operands: dict[str, Any]) -> dict[str, Any]:
        """Bring the arrays to the dtype of the result."""
        xp = self.xp
        arrays = {key: value for key, value in operands.items() if not _is_number(value)}
        asked = self.call.keywords.get("dtype")
        dtype = asked if asked is not None else xp.result_type(*arrays.values())
        if asked is None and not xp.isdtype(dtype, "real floating"):
            if xp.isdtype(dtype, ("integral", "bool")):
                if not self._keeps_integers(operands, dtype):
                    dtype = _default_dtype(xp, next(iter(arrays.values())))
            else:
                raise TypeError(f"{self.name} does not support {dtype}; it takes real floats, integers and booleans")
        if asked is not None and not xp.isdtype(dtype, "real floating"):
            raise TypeError(f"{self.name} can be asked for a real floating dtype only, not for {dtype}")
        self.dtype = dtype
        if "x" not in arrays:  # a Python scalar beside an array of hyperparameters
            like = next(iter(arrays.values()))
            arrays["x"] = xp.asarray(operands["x"], dtype=dtype, device=compat.device(like))
            operands = operands | {"x": arrays["x"]}
        return {key: xp.astype(value, dtype, copy=False) if key in arrays else value for key, value in operands.items()}

    def _keeps_integers(self, operands: dict[str, Any], dtype: Any) -> bool:
        scalars = {key: value for key, value in operands.items() if _is_number(value)}
        return self.xp.isdtype(dtype, "integral") and keeps_integers(self.call.specialised(scalars))

    def result(self) -> Any:
        """Compute."""
        xp, mask = self.xp, self.call.keywords.get("where", True)
        operands = self.operands
        if self.call.definition.over_axis and (0 in operands["x"].shape or operands["x"].ndim == 0):
            return self._without_axis()
        if mask is not True:
            if not self.call.definition.over_axis:
                raise TypeError(f"{self.name} takes where= with NumPy arrays only; use xp.where on its result")
            arrays = {key: operands[key] for key in self.call.definition.arrays}
            operands = operands | {k: xp.where(mask, v, self._constant(LEFT_OUT[k])) for k, v in arrays.items()}
        function = native(xp, self.call, operands, self.axis)
        result = self.formula(operands) if function is None else function()
        if mask is True:
            return result
        self.like = result
        return xp.where(mask, result, self._constant(value_left_out(self.call)))

    def _without_axis(self) -> Any:
        """Reduce over the axis of an empty array, or over that which a 0-d array lacks."""
        x = self.operands["x"]
        if x.ndim:
            return self.xp.zeros_like(x)
        keywords = {key: value for key, value in self.call.keywords.items() if key == "where"}
        rows = (self.xp.reshape(value, (1,)) for value in self.operands.values())
        return self.xp.reshape(self.call.function(*rows, **keywords), ())

    # The formula.

    def formula(self, operands: dict[str, Any]) -> Any:
        """Evaluate the expression in the operations of the namespace; half types in float32, rounded once."""
        xp = self.xp
        if half := str(self.dtype).rpartition(".")[2] in HALF_TYPES:
            operands = {k: v if _is_number(v) else xp.astype(v, xp.float32) for k, v in operands.items()}
        self.like = operands["x"]
        values = {key: value for key, value in operands.items() if _is_number(value)}
        expression = self.call.specialised(values)
        if expression.operation == "constant":
            return xp.full_like(self.like, float(expression.value))
        with np.errstate(all="ignore"):  # for namespaces that are NumPy inside
            result = expression.fold(lambda node: operands[node.value], self._apply)
        return xp.astype(result, self.dtype) if half else result

    def _apply(self, node: Expression, operands: tuple[Any, ...]) -> Any:
        # Constants: Python scalars beside an operator, which never promote; arrays as arguments of a function.
        if node.operation in _OPERATORS:
            return _OPERATORS[node.operation](*(_python(o.value) if isinstance(o, Expression) else o for o in operands))
        arrays = (self._constant(_python(o.value)) if isinstance(o, Expression) else o for o in operands)
        if node.operation == "axis_sum":
            return self.xp.sum(*arrays, axis=self.axis, keepdims=True)
        if node.operation == "axis_max":
            return self.xp.max(*arrays, axis=self.axis, keepdims=True)
        if node.operation in _COMPOSITIONS:
            return _COMPOSITIONS[node.operation](self.xp, *arrays)
        return getattr(self.xp, node.operation)(*arrays)

    def _constant(self, value: float) -> Any:
        return self.xp.asarray(value, dtype=self.like.dtype, device=compat.device(self.like))


def value_left_out(call: Call) -> float:
    """Return what an element gets that `where` excludes over an axis: 0 by softmax, -inf by log_softmax.

    Raises
    ------
    TypeError
        If no value of x would leave an element out.
    """
    scalars = tuple((key, as_python(value)) for key, value in scalars_of(call).items())
    value = _value_left_out(call.function, tuple(call.options.items()), scalars)
    if math.isnan(value):
        raise TypeError(f"{call.definition.name} takes no where=: no value of x would leave an element out")
    return value


@functools.lru_cache(maxsize=256)
def _value_left_out(function: Any, options: tuple[Any, ...], scalars: tuple[Any, ...]) -> float:
    arrays = {key: np.array([LEFT_OUT[key], 0.0]) for key in function.definition.arrays}
    operands = dict.fromkeys(function.definition.arguments, 1.0) | dict(scalars) | arrays
    plain = Call(function, operands, dict(options), {})
    return float(_Namespace(compat.array_namespace(arrays["x"]), plain, operands).formula(operands)[0])


def _python(value: Any) -> bool | int | float:
    return float(value) if isinstance(value, Decimal) else value


def _default_dtype(xp: Any, array: Any) -> Any:
    """Return the default real dtype of the namespace."""
    info = xp.__array_namespace_info__()
    return info.default_dtypes(device=compat.device(array))["real floating"]


_OPERATORS: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "negative": operator.neg,
    "less": operator.lt,
    "less_equal": operator.le,
    "equal": operator.eq,
    "not_equal": operator.ne,
}

# Primitives of the vocabulary that the standard lacks. They are written so that automatic differentiation through them
# is right too: no branch that is not taken holds an infinity or NaN, and no tie splits a derivative in halves.


def _magnitude(xp: Any, x: Any) -> Any:
    return xp.where(x >= 0, x, -x)


def _logistic(xp: Any, x: Any) -> Any:
    e = xp.exp(-_magnitude(xp, x))
    return xp.where(x >= 0, 1 / (1 + e), e / (1 + e))


def _softplus(xp: Any, x: Any) -> Any:
    return xp.where(x >= 0, x, xp.zeros_like(x)) + xp.log1p(xp.exp(-_magnitude(xp, x)))


def _normal_pdf(xp: Any, x: Any) -> Any:
    return _exp_of_half_square(xp, x) * (1 / math.sqrt(2 * math.pi))


def _exp_of_half_square(xp: Any, x: Any) -> Any:
    """``exp(-x*x/2)``, with ``x*x = h*h + (x - h)*(x + h)`` for a short `h` whose square is exact."""
    x = xp.clip(x, -_FAR, _FAR)
    short = xp.round(x * 16) / 16
    return xp.exp(-0.5 * (short * short)) * xp.exp(-0.5 * ((x - short) * (x + short)))


_FAR = 40.0  # exp(-x*x/2) is zero from here on, in float64 and float32


def _normal_cdf(xp: Any, x: Any) -> Any:
    """Tail by the rational approximation of the NumPy backend, which see."""
    a = xp.clip(_magnitude(xp, x), 0.0, _FAR)
    s, p = (_polynomial(a, table["float64"]) for table in (NORMAL_S, NORMAL_P))
    tail = _exp_of_half_square(xp, x) * (s / (math.sqrt(2 * math.pi) * a * s + p))
    return xp.where(x >= 0, 1 - tail, tail)


def _polynomial(x: Any, coefficients: tuple[float, ...]) -> Any:
    result = coefficients[-1] * x + coefficients[-2]
    for coefficient in reversed(coefficients[:-2]):
        result = result * x + coefficient
    return result


def _damped(xp: Any, x: Any, factor: Any) -> Any:
    zero = xp.where(x < 0, -xp.zeros_like(x), xp.zeros_like(x))
    return xp.where(factor == 0, zero, x) * factor


# Not the functions of the standard: those may return either of two zeros, and where both operands are equal, automatic
# differentiation splits the derivative between them.
def _maximum(xp: Any, a: Any, b: Any) -> Any:
    return xp.where((a > b) | (a != a), a, b)  # noqa: PLR0124


def _minimum(xp: Any, a: Any, b: Any) -> Any:
    return xp.where((a < b) | (a != a), a, b)  # noqa: PLR0124


def _absolute(xp: Any, x: Any) -> Any:
    return xp.where(x > 0, x, xp.where(x < 0, -x, x * x))  # with derivative 0 at 0


_COMPOSITIONS: dict[str, Callable[..., Any]] = {
    "absolute": _absolute,
    "maximum": _maximum,
    "minimum": _minimum,
    "logistic": _logistic,
    "softplus": _softplus,
    "normal_pdf": _normal_pdf,
    "normal_cdf": _normal_cdf,
    "damped": _damped,
}
