"""The derivative of an expression by the chain rule, and NaN for NaN where an expression would lose it."""

from __future__ import annotations

import functools
import math
from typing import Any

from .expression import Expression, apply, argument, constant, is_constant
from .one_sided import on_their_sides
from .operations import slope_product, slope_sum, where


def derivative(expression: Expression, name: str) -> Expression:
    """Differentiate by the argument of a name; raise TypeError if the expression reduces over an axis.

    Where `maximum` or `minimum` has a kink, the derivative is that of the second operand, usually a constant.
    """
    zero, one = constant(0), constant(1)
    variable = argument(name)

    def leaf(node: Expression) -> tuple[Expression, Expression]:
        return node, one if node is variable else zero

    def combine(node: Expression, operands: tuple[Any, ...]) -> tuple[Expression, Expression]:
        # Where a function is not defined neither is its derivative.
        pairs = [(o, o if _is_nan(o) else zero) if isinstance(o, Expression) else o for o in operands]
        values = [value for value, _ in pairs]
        slopes = [slope for _, slope in pairs]
        if node.operation == "with_derivatives":
            return node, functools.reduce(slope_sum, map(slope_product, values[2::2], slopes[1::2]))
        if node.record.condition or all(is_constant(slope, 0) for slope in slopes):
            return node, zero
        rule = node.record.derivative
        if rule is None:
            raise TypeError(f"{node.operation} has no elementwise derivative; use the vjp of the function instead")
        return node, slope_product(rule(*values), slopes[0]) if len(values) == 1 else rule(*values, *slopes)

    return zero if is_constant(expression) else on_their_sides(expression).fold(leaf, combine)[1]


def _is_nan(node: Expression) -> bool:
    return is_constant(node) and math.isnan(node.value)


def keeps_nan(expression: Expression, name: str) -> bool:
    """Return True if the value is NaN wherever the argument is."""

    def leaf(node: Expression) -> bool:
        return bool(node.value == name)

    def combine(node: Expression, operands: tuple[Any, ...]) -> bool:
        kept = [o is True for o in operands]
        if node.record.condition:
            return False
        if node.operation == "with_derivatives":
            return kept[0]
        return kept[1] and kept[2] if node.operation == "where" else any(kept)

    return not is_constant(expression) and bool(expression.fold(leaf, combine))


def with_nan(expression: Expression, name: str) -> Expression:
    """Return an expression that is NaN where the argument is, as the derivative of a kinked function may not be."""
    x = argument(name)
    return expression if keeps_nan(expression, name) else where(apply("equal", x, x), expression, x)
