"""The operations of formulas in any array API namespace."""

from __future__ import annotations

import functools
import math
import operator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import array_api_compat as compat
import numpy as np

from actufunc.formula.expression import Expression, argument, is_constant
from actufunc.formula.operations import REDUCTIONS

from .coefficients import NORMAL_P, NORMAL_S
from .delegation import delegated_operations
from .promotion import HALF_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .axis import Reduced


def compute(xp: Any, expression: Expression, arrays: Mapping[str, Any], shapes: Reduced | None = None) -> Any:
    """Evaluate an expression in the operations of a namespace; half types in float32, rounded once.

    Parameters
    ----------
    xp : namespace
        Namespace of the arrays.
    expression : Expression
        What to compute, without derivatives given to its parts.
    arrays : mapping of str to array
        Values of its arguments; `x` has the dtype of the result.
    shapes : Reduced, optional
        Shapes for a function over an axis. All other results have the shape to which the arrays broadcast.
    """
    dtype = arrays["x"].dtype
    work = compute_dtype(xp, dtype)
    arrays = {key: xp.astype(value, work, copy=False) for key, value in arrays.items()}
    operations = _Operations(xp, arrays["x"], shapes)
    if is_constant(expression):
        result = xp.full_like(operations.like, float(expression.value))
    else:
        with np.errstate(all="ignore"):  # for namespaces that are NumPy inside
            result = expression.fold(lambda node: arrays[node.value], operations.apply)
    if any(result is array for array in arrays.values()):
        result = result * 1  # a copy, and as exact
    if shapes is None:
        # The shapes of tensors may be open, but what stands in the expression has broadcast already.
        others = [array for key, array in arrays.items() if key not in _arguments(expression)]
        if not all(covers(result.shape, array.shape) for array in others):
            result = xp.broadcast_arrays(result, *others)[0]
    return xp.astype(result, dtype, copy=False)


@functools.cache
def _numbered(composition: Callable[..., Expression], arity: int) -> Expression:
    """Return a composition of operands that are called by their numbers."""
    return composition(*(argument(str(number)) for number in range(arity)))


@functools.lru_cache(maxsize=512)
def _arguments(expression: Expression) -> frozenset[str]:
    return frozenset(expression.arguments())


class _Operations:
    """The operations of an expression in a namespace.

    Parameters
    ----------
    xp : namespace
        Namespace of the arrays.
    like : array
        An array with the dtype and the device of constants.
    shapes : Reduced, optional
        Shapes for reductions.
    """

    def __init__(self, xp: Any, like: Any, shapes: Any) -> None:
        self.xp, self.like, self.shapes = xp, like, shapes
        self._own = delegated_operations(xp)

    def apply(self, node: Expression, operands: tuple[Any, ...]) -> Any:
        """Compute a node from its operands."""
        operation = node.record
        # Constants: Python scalars beside an operator, which never promote; arrays as arguments of a function.
        if operation.operator is not None:
            return operation.operator(*(_python(o.value) if isinstance(o, Expression) else o for o in operands))
        if node.operation in _BOUNDS and [isinstance(o, Expression) for o in operands] == [False, True]:
            return self._bounded(node.operation, operands[0], _python(operands[1].value))
        arrays = [self.constant(o.value) if isinstance(o, Expression) else o for o in operands]
        if node.operation in REDUCTIONS:
            return self._reduce(node.operation, *arrays)
        if node.operation in self._own:
            return self._own[node.operation](*arrays)
        if node.operation in _FUNCTIONS:
            return _FUNCTIONS[node.operation](self.xp, *arrays)
        if operation.composition is not None:
            composition = _numbered(operation.composition, len(arrays))
            return composition.fold(lambda symbol: arrays[int(symbol.value)], self.apply)
        return getattr(self.xp, node.operation)(*arrays)

    def constant(self, value: Any) -> Any:
        """Make an array of a constant."""
        return as_array(self.xp, _python(value), self.like, self.like.dtype)

    def _bounded(self, operation: str, x: Any, bound: float) -> Any:
        """Compute the maximum or minimum beside a constant, which is not NaN."""
        if self.shapes is None and compat.is_torch_namespace(self.xp):
            # torch takes 40 times as long for a where(). Its derivative at the bound would be another, but autograd
            # does not look into elementwise formulas. Adding 0 makes +0 of -0.
            clipped = self.xp.clip(x, *((bound, None) if operation == "maximum" else (None, bound)))
            return clipped if bound else clipped + 0
        return self.xp.where(_BOUNDS[operation](x, bound), self.constant(bound), x)

    def _reduce(self, operation: str, x: Any) -> Any:
        """Reduce over the axes, which keep the length one."""
        if operation == "axis_threshold":
            return self._threshold(x, self.shapes)
        reduce = {"axis_sum": self.xp.sum, "axis_max": self.xp.max}[operation]
        return reduce(x, axis=self.shapes.axes, keepdims=True)

    def _threshold(self, x: Any, shapes: Reduced) -> Any:
        """Find the threshold by sorting: the largest elements are above it as long as it would be below the next."""
        xp, axes = self.xp, shapes.axes
        is_last = axes == (len(shapes.of_x) - 1,)
        rows = -_sorted(xp, -(x if is_last else self._rows(x, axes)))
        zero, one = xp.zeros_like(rows), xp.ones_like(rows)
        is_above = rows * xp.cumulative_sum(one, axis=-1) > xp.cumulative_sum(rows, axis=-1) - 1
        total, above = (xp.sum(xp.where(is_above, each, zero), axis=-1, keepdims=True) for each in (rows, one))
        threshold = (total - 1) / above
        # Where NaN is sorted to, libraries and their compilers do not agree.
        threshold = xp.where(
            xp.any(xp.isnan(rows), axis=-1, keepdims=True), xp.full_like(threshold, math.nan), threshold
        )
        return threshold if is_last else xp.reshape(threshold, shapes.kept)

    def _rows(self, x: Any, axes: tuple[int, ...]) -> Any:
        """Bring the axes to the end, as one."""
        others = [axis for axis in range(x.ndim) if axis not in axes]
        rows = self.xp.permute_dims(x, (*others, *axes))
        return self.xp.reshape(rows, (*rows.shape[: len(others)], math.prod(rows.shape[len(others) :])))


def _sorted(xp: Any, rows: Any) -> Any:
    """Sort along the last axis."""
    # torch cannot export to ONNX the stable sort that xp.sort is.
    return rows.sort(dim=-1).values if compat.is_torch_namespace(xp) else xp.sort(rows, axis=-1)


def as_array(xp: Any, value: float, like: Any, dtype: Any) -> Any:
    """Make an array of a number, where another is."""
    # JAX brings a number to wherever it is needed, which may be several devices that share an array.
    where = {} if compat.is_jax_namespace(xp) else {"device": compat.device(like)}
    if isinstance(value, float | int):
        return xp.full((), value, dtype=dtype, **where)
    # A number that torch.compile leaves open, as it does in arithmetic only.
    return xp.ones((), dtype=dtype, **where) * value


def covers(shape: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Return True if another shape broadcasts to this one, both of known lengths: a length that is open is None."""
    if None in (getattr(shape, "rank", 0), getattr(other, "rank", 0)):
        return False
    pairs = zip(reversed(other), reversed(shape), strict=False)
    return len(other) <= len(shape) and all(length == 1 or None is not length == into for length, into in pairs)


def compute_dtype(xp: Any, dtype: Any) -> Any:
    """Return the dtype in which a dtype is computed."""
    return xp.float32 if dtype_name(dtype) in HALF_TYPES else dtype


def dtype_name(dtype: Any) -> str:
    """Return the name of a dtype as NumPy spells it."""
    return getattr(dtype, "name", None) or str(dtype).rpartition(".")[2]


def _python(value: Any) -> bool | int | float:
    return float(value) if isinstance(value, Decimal) else value


# Primitives of the vocabulary that the standard lacks. They are written so that automatic differentiation through them
# is right too: no branch that is not taken holds an infinity or NaN, and no tie splits a derivative in two.


def _magnitude(xp: Any, x: Any) -> Any:
    return xp.where(x >= 0, x, -x)


def _normal_pdf(xp: Any, x: Any) -> Any:
    return _exp_of_half_square(xp, x) * (1 / math.sqrt(2 * math.pi))


def _exp_of_half_square(xp: Any, x: Any) -> Any:
    """``exp(-x*x/2)``, with ``x*x = h*h + (x - h)*(x + h)`` for a short `h` whose square is exact."""
    x = xp.clip(x, -_FAR, _FAR)
    short = xp.round(x * 16) / 16
    return xp.exp(-0.5 * (short * short)) * xp.exp(-0.5 * ((x - short) * (x + short)))


_FAR = 40.0  # exp(-x*x/2) is zero from here on, in float64 and float32


def _normal_cdf(xp: Any, x: Any) -> Any:
    """Tail by the rational approximation of `coefficients`."""
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
    return xp.where(factor == 0, xp.clip(x, -1.0, 1.0), x) * factor


# Not the functions of the standard: those may return either of two zeros, and where both operands are equal, automatic
# differentiation splits the derivative between them.
def _maximum(xp: Any, a: Any, b: Any) -> Any:
    return xp.where((a > b) | (a != a), a, b)  # noqa: PLR0124


def _minimum(xp: Any, a: Any, b: Any) -> Any:
    return xp.where((a < b) | (a != a), a, b)  # noqa: PLR0124


# The same beside a constant: where `a` is not beyond it.
_BOUNDS: dict[str, Callable[..., Any]] = {"maximum": operator.le, "minimum": operator.ge}


# Operations computed by functions of this module, and those that the standard calls something else.
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "absolute": lambda xp, x: xp.abs(x),
    "maximum": _maximum,
    "minimum": _minimum,
    "normal_pdf": _normal_pdf,
    "normal_cdf": _normal_cdf,
    "damped": _damped,
}
