"""Exact values of a formula, by mpmath."""

from __future__ import annotations

import inspect
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from actufunc._formats import FORMATS, Format
from actufunc.formula.expression import Expression
from actufunc.formula.lowering import lowered
from actufunc.formula.operations import REDUCTIONS
from actufunc.formula.registry import OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from actufunc import Activation
    from actufunc.formula.definition import Definition

    Array = np.ndarray[Any, Any]

_FIRST = 128  # bits; more than enough where nothing cancels
_GUARD = 64  # bits that must stay after cancellation, and by which the precision grows from one attempt to the next
EXACT_BITS = 2 * 1100 + _GUARD  # bits from the largest to the smallest float64, so that every sum is exact
_MANY = 10**8  # standard deviations, beyond which mpmath's erfc fails and four terms of its series suffice


def reference(activation: Activation, x: Array, /, **arguments: Any) -> Array:
    """Return the exact values of an activation's formula.

    Parameters
    ----------
    activation : Activation
        Activation whose formula is computed.
    x : array of float16, bfloat16, float32 or float64
        Points; a function over an axis reduces over the last one.
    **arguments
        Hyperparameters, options and, for a vjp, ``g``: scalars, which are rounded to the dtype that kernels compute in,
        or arrays that broadcast to `x`.

    Returns
    -------
    array of mpmath numbers
        Values in the shape of `x`, each with more than 100 bits right. A zero has no sign.
    """
    definition = activation.definition
    options = {name: arguments.pop(name, default) for name, default in definition.options.items()}
    expression = definition.computed(options)
    arguments = {name: _along(definition, name, value) for name, value in arguments.items()}
    operands = {"x": x} | {n: _operand(definition, n, arguments, x) for n in definition.arguments if n != "x"}
    if arguments:
        unknown = f"{definition.name} has no {' and '.join(map(repr, arguments))}"
        raise TypeError(unknown)
    n = x.shape[-1] if definition.over_axis else 1
    rows = {name: array.astype(np.float64).reshape(-1, n) for name, array in operands.items()}
    exact = np.empty(x.shape[:-1] if definition.reduces else x.shape, dtype=object)
    evaluator = _Evaluator(expression, FORMATS[_hyperparameter_dtype(x.dtype).name])
    exact.reshape(-1)[:] = [
        value
        for i in range(x.size // max(n, 1))
        for value in evaluator({name: row[i].tolist() for name, row in rows.items()}, n)[
            : 1 if definition.reduces else n
        ]
    ]
    return exact


def _along(definition: Definition, name: str, value: Any) -> Any:
    """Give an array that lacks the axis an axis of length one."""
    return np.expand_dims(value, -1) if name in definition.without_axis else value


def _hyperparameter_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype to which scalar hyperparameters are rounded beside `dtype`: float32 for the half types."""
    return np.dtype(np.float64 if FORMATS[dtype.name].precision > FORMATS["float32"].precision else np.float32)


def _operand(definition: Definition, name: str, arguments: dict[str, Any], x: Array) -> Array:
    """Remove an argument and return its value, broadcast to the shape of `x`."""
    value = arguments.pop(name, definition.hyperparameters.get(name))
    if value is None or value is inspect.Parameter.empty:
        missing = f"{definition.name} needs {name!r}, a number or an array"
        raise TypeError(missing)
    if np.ndim(value) == 0 and not isinstance(value, np.ndarray):
        value = np.asarray(value).astype(_hyperparameter_dtype(x.dtype))
    return np.broadcast_to(value, x.shape)


class _Evaluator:
    """Computes an expression for one row of arguments at the precision that it takes.

    A value is a list of mpmath numbers, as long as the row, or of one that stands for all of the row. Two attempts at
    different precisions must agree. That would not notice that a small term is lost beside a large one in both, as in
    ``log(1 + exp(-800))``; so additions also tell how many bits they would have needed.
    """

    def __init__(self, expression: Expression, form: Format) -> None:
        import mpmath  # noqa: PLC0415

        # The precision of the global context, mpmath.mp, belongs to the caller.
        self.context: Any = mpmath.MPContext()
        self.vanishes = form.lowest - form.precision  # exponent of numbers that round to zero
        self.operations = _operations(self.context, self._add, self._damped)
        self.expression = lowered(expression, self.operations)
        self.needed = 0

    def __call__(self, arguments: dict[str, list[float]], n: int) -> list[Any]:
        """Compute a row of `n` values."""
        precision = _FIRST
        previous = self._attempt(arguments, n, precision)
        while True:
            precision = min(max(precision + _GUARD, self.needed), EXACT_BITS)
            values = self._attempt(arguments, n, precision)
            if (self.needed <= precision and self._agree(previous, values)) or precision == EXACT_BITS:
                return values
            previous = values

    def _attempt(self, arguments: dict[str, list[float]], n: int, precision: int) -> list[Any]:
        context = self.context
        context.prec, self.needed = precision, 0

        def number(value: Any) -> Any:
            return context.mpf(str(value)) if isinstance(value, Decimal) else context.mpf(value)

        def leaf(node: Expression) -> list[Any]:
            return [context.mpf(value) for value in arguments[node.value]]

        def combine(node: Expression, operands: tuple[Any, ...]) -> list[Any]:
            rows = [[number(o.value)] if isinstance(o, Expression) else o for o in operands]
            return self._combine(node.operation, rows, n)

        result = self.expression.fold(leaf, combine)
        values = [number(result.value)] if isinstance(result, Expression) else result
        return values * n if len(values) == 1 else values

    def _combine(self, operation: str, rows: list[list[Any]], n: int) -> list[Any]:
        if operation in REDUCTIONS:
            row = rows[0] * n if len(rows[0]) == 1 else rows[0]
            if operation == "axis_threshold":
                return [self._threshold(row)]
            total = row[0]
            for value in row[1:]:
                total = self.operations["add" if operation == "axis_sum" else "maximum"](total, value)
            return [total]
        if operation not in self.operations:
            raise TypeError(f"mpmath has no function for {operation!r}: add one to _operations of this module")
        apply = self.operations[operation]
        length = max(map(len, rows))
        return [apply(*each) for each in zip(*(r * length if len(r) == 1 else r for r in rows), strict=True)]

    def _threshold(self, row: list[Any]) -> Any:
        """Find the threshold by the definition: the largest are above it as long as it would be below the next."""
        if any(map(self.context.isnan, row)):
            return self.context.nan
        total, add = self.context.zero, self.operations["add"]
        threshold = self.context.ninf
        for count, value in enumerate(sorted(row, reverse=True), 1):
            total = add(total, value)
            if value <= (total - 1) / count:
                break
            threshold = add(total, -1) / count
        return threshold

    def _agree(self, previous: list[Any], values: list[Any]) -> bool:
        def alike(a: Any, b: Any) -> bool:
            if a == b or (self.context.isnan(a) and self.context.isnan(b)):
                return True
            return bool(abs(a - b) <= abs(b) * self.context.ldexp(1, _GUARD // 2 - _FIRST))

        return all(map(alike, previous, values))

    def _add(self, a: Any, b: Any) -> Any:
        total = a + b
        if a and b and self.context.isfinite(a) and self.context.isfinite(b):
            large, small = sorted((self.context.mag(a), self.context.mag(b)), reverse=True)
            cancelled = large - self.context.mag(total) if total else EXACT_BITS
            self.needed = max(self.needed, min(max(large - small, cancelled) + _GUARD, EXACT_BITS))
        return total

    def _damped(self, x: Any, factor: Any) -> Any:
        if self.context.isnan(x):
            return x
        # A factor that becomes zero in the format wins over infinity.
        gone = factor == 0 or (self.context.isinf(x) and self.context.mag(factor) < self.vanishes)
        return self.context.zero if gone else x * factor


def _operations(context: Any, add: Callable[..., Any], damped: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    """Return each operation in mpmath, with NaN where mpmath would raise or become complex."""

    def from_least(least: int, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        return lambda x: context.nan if x < least else function(x)

    def divide(a: Any, b: Any) -> Any:
        if b != 0:
            return a / b
        return context.nan if a == 0 or context.isnan(a) else context.inf * context.sign(a)

    def extremum(choose: Callable[..., Any]) -> Callable[..., Any]:
        return lambda a, b: context.nan if context.isnan(a) or context.isnan(b) else choose(a, b)

    def logistic(x: Any) -> Any:
        e = context.exp(-abs(x))
        return 1 / (1 + e) if x > 0 else e / (1 + e)

    def softplus(x: Any) -> Any:
        return x + context.log1p(context.exp(-x)) if x > 0 else context.log1p(context.exp(x))

    def normal_cdf(x: Any) -> Any:
        if x < -_MANY and context.isfinite(x):
            t = 1 / (x * x)
            return context.exp(-x * x / 2) / (-x * context.sqrt(2 * context.pi)) * (1 - t * (1 - t * (3 - 15 * t)))
        return context.one if x > _MANY else context.erfc(-x / context.sqrt(2)) / 2

    def normal_pdf(x: Any) -> Any:
        return context.exp(-x * x / 2) / context.sqrt(2 * context.pi)

    return {
        **{name: each.operator for name, each in OPERATIONS.items() if each.operator is not None},
        "add": add,
        "subtract": lambda a, b: add(a, -b),
        "divide": divide,
        "absolute": abs,
        "maximum": extremum(max),
        "minimum": extremum(min),
        "where": lambda condition, a, b: a if condition else b,
        "exp": context.exp,
        "expm1": context.expm1,
        "log": from_least(0, context.log),
        "log1p": from_least(-1, context.log1p),
        "sqrt": from_least(0, context.sqrt),
        "tanh": context.tanh,
        "logistic": logistic,
        "softplus": softplus,
        "normal_cdf": normal_cdf,
        "normal_pdf": normal_pdf,
        "damped": damped,
    }
