"""Breakpoints of a formula, where it changes from one expression to another, and samples around them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from actufunc._formats import FORMATS
from actufunc.formula.expression import Expression, apply
from actufunc.formula.operations import COMPARISONS

from ._sample import sample

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import DTypeLike

    Array = np.ndarray[Any, Any]

_BRANCHING = COMPARISONS | {"maximum", "minimum"}
_GRID = 1 << 12  # numbers of each sign between which breakpoints are looked for: two in each binade
_NEXT = 8  # neighbours on each side
_POWERS = 20  # powers of two on each side of one


def breakpoints(expression: Expression, arguments: Mapping[str, float]) -> Array:
    """Find the breakpoints of a formula: where the two sides of a comparison, maximum or minimum meet.

    Return the last float64 number before each breakpoint, in ascending order; zero is always among them. `arguments`
    are the values of the hyperparameters.
    """
    orders = np.linspace(-1, 1, 2 * _GRID + 1) * (FORMATS["float64"].infinity_bits - 1)
    grid = _of_orders(orders.astype(np.int64), "float64")
    nodes = [node for node in expression.substitute(arguments).nodes() if node.operation in _BRANCHING]
    found = [_changes(apply("subtract", *node.operands), grid) for node in nodes]
    return np.unique(np.concatenate([np.zeros(1), *found]))


def _changes(difference: Expression, grid: Array) -> Array:
    """Return the numbers after which an expression changes its sign, by bisection."""
    low, high = grid[:-1], grid[1:]
    changes = _signs(difference, low) != _signs(difference, high)
    at, end = _orders(low[changes]), _orders(high[changes])
    signs = _signs(difference, low[changes])
    while at.size and (end - at).max() > 1:
        middle = at + (end - at) // 2
        before = _signs(difference, _of_orders(middle, "float64")) == signs
        at, end = np.where(before, middle, at), np.where(before, end, middle)
    return _of_orders(at, "float64")


def _signs(expression: Expression, x: Array) -> Array:
    from actufunc.backends.array_api_ops import compute  # noqa: PLC0415

    signs: Array = np.nan_to_num(np.sign(compute(np, expression, {"x": x})))
    return signs


def neighbourhood(points: Array, dtype: DTypeLike) -> Array:
    """Return numbers next to points, at all distances from them, and next to powers of two.

    They are float32 or float64, in ascending order, each once; none is NaN.
    """
    dtype = np.dtype(dtype)
    powers = np.ldexp(1.0, np.arange(-_POWERS, _POWERS))
    away = np.ldexp(1.0, -np.arange(1, FORMATS[dtype.name].precision, 3))
    limit = FORMATS[dtype.name].infinity_bits

    def around(centres: Array, width: int) -> Array:
        orders = _orders(centres.astype(dtype))[:, None] + np.arange(-width, width + 1)
        return _of_orders(np.clip(orders, -limit, limit).ravel(), dtype)

    apart = points[:, None] * (1 + np.concatenate([away, -away]))
    parts = around(points, _NEXT), around(np.concatenate([powers, -powers]), 1), apart.astype(dtype).ravel()
    return np.unique(np.concatenate(parts))


def stratified(points: Array, n: int) -> Array:
    """Return `n` float64 numbers, always the same: of all binades that fit, and from the neighbourhood of points.

    At most half of them are next to the points and to powers of two.
    """
    near = neighbourhood(points, np.float64)
    near = near[np.linspace(0, near.size - 1, min(near.size, n // 2)).astype(int)]
    return np.concatenate([sample(np.float64, n - near.size), near])


def moved(random: np.random.Generator, x: Array) -> Array:
    """Return a random neighbour of each number, from one ulp to a binade away."""
    precision = FORMATS[x.dtype.name].precision
    steps = np.ldexp(random.standard_normal(x.size), random.integers(1, precision, x.size)).astype(np.int64)
    limit = FORMATS[x.dtype.name].infinity_bits
    return _of_orders(np.clip(_orders(x) + steps, -limit, limit), x.dtype)


def _orders(x: Array) -> Array:
    """Return the ranks of floating-point numbers in their order, counted from zero."""
    magnitudes = np.abs(x).view(f"i{x.dtype.itemsize}").astype(np.int64)
    return np.where(np.signbit(x), -magnitudes, magnitudes)


def _of_orders(orders: Array, dtype: DTypeLike) -> Array:
    dtype = np.dtype(dtype)
    magnitudes = np.abs(orders).astype(f"u{dtype.itemsize}").view(dtype)
    numbers: Array = np.copysign(magnitudes, np.where(orders < 0, -1, 1).astype(dtype))
    return numbers
