"""The derivative of an expression, and where an expression loses NaN."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

from .custom_derivative import stated
from .expression import COMPARISONS, Expression, apply, argument, constant, is_constant
from .one_sided import on_their_sides
from .operations import (
    absolute,
    bounded,
    damped,
    damped_by_parts,
    exp,
    half_tanh,
    logistic,
    logistic_pdf,
    minimum,
    normal_pdf,
    rounded_once,
    sqrt,
    tanh,
    where,
)

if TYPE_CHECKING:
    from collections.abc import Callable

# Here 1/cosh^2 is zero in every dtype, and twice this is finite.
_FAR = 1000

# Here the normal density is.
_NOTHING = 40


def _inverse_cosh_squared(x: Expression) -> Expression:
    """``1/cosh(x)**2``, where ``1 - tanh(x)**2`` would cancel; differentiated as that, through tanh."""
    u = 2 * minimum(absolute(x), _FAR)
    t = tanh(x)
    return stated(damped(4 * logistic(u), logistic(-u)), {t: -2 * t})


def _logistic_slope(x: Expression) -> Expression:
    """``logistic_pdf(x)`` without a choice between the tails, in which it loses digits where it is subnormal."""
    t = half_tanh(x)
    return stated(rounded_once(logistic(x) * logistic(-x)), {t: -0.5 * t})


# Derivative of each operation of one operand at x. They are written for accuracy and for the range: none cancels or
# overflows where the operation itself does not, at any order. At a kink it is 0, or that of a constant bound, as in
# PyTorch and JAX; in a branch of a `where` that makes it one of its operands, it is that operand's (see `sides`).
_OF_ONE: dict[str, Callable[[Expression], Expression]] = {
    "negative": lambda x: constant(-1),
    "absolute": lambda x: where(x > 0, 1, where(x < 0, -1, 0)),
    "exp": exp,
    "expm1": exp,
    "log": lambda x: 1 / x,
    "log1p": lambda x: 1 / (1 + x),
    "raised": lambda x: constant(1),
    "rounded_once": lambda x: constant(1),
    "sqrt": lambda x: 0.5 / sqrt(x),
    "tanh": _inverse_cosh_squared,
    "logistic": _logistic_slope,
    "half_tanh": lambda x: 2 * logistic_pdf(x),
    "softplus": logistic,
    "normal_cdf": normal_pdf,
    "normal_pdf": lambda x: damped(-bounded(x, -_NOTHING, _NOTHING), normal_pdf(x)),
}

# d f(a, b) from a, b and their derivatives da, db. A rule sees only operands that depend on the variable, or a zero.
_OF_TWO: dict[str, Callable[[Expression, Expression, Expression, Expression], Expression]] = {
    "add": lambda a, b, da, db: _sum(da, db),
    "subtract": lambda a, b, da, db: _sum(da, -db),
    "multiply": lambda a, b, da, db: _sum(_product(da, b), _product(db, a)),
    "divide": lambda a, b, da, db: _sum(_quotient(da, b), -_product(db, a / b / b) if not is_constant(db, 0) else db),
    "maximum": lambda a, b, da, db: where(a > b, da, db),
    "minimum": lambda a, b, da, db: where(a < b, da, db),
    "damped": lambda a, b, da, db: _sum(_damped(da, b), _damped(a, db)),
}


def derivative(expression: Expression, name: str) -> Expression:
    """Differentiate by an argument.

    Parameters
    ----------
    expression : Expression
        What to differentiate; it must not reduce over an axis.
    name : str
        Argument to differentiate by.

    Returns
    -------
    Expression
        The derivative. Where `maximum` or `minimum` has a kink, that of the second operand, usually a constant.

    Raises
    ------
    TypeError
        If the expression reduces over an axis, so that its derivative is no elementwise function.
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
        if node.operation == "stated":
            return node, functools.reduce(_sum, map(_product, values[2::2], slopes[1::2]))
        if node.operation == "where":
            return node, where(values[0], slopes[1], slopes[2])
        if node.operation in COMPARISONS or all(is_constant(slope, 0) for slope in slopes):
            return node, zero
        if node.operation in _OF_ONE:
            return node, _product(_OF_ONE[node.operation](values[0]), slopes[0])
        if node.operation in _OF_TWO:
            return node, _OF_TWO[node.operation](values[0], values[1], slopes[0], slopes[1])
        raise TypeError(f"{node.operation} has no elementwise derivative; use the vjp of the function instead")

    return zero if is_constant(expression) else on_their_sides(expression).fold(leaf, combine)[1]


def _is_nan(node: Expression) -> bool:
    return is_constant(node) and math.isnan(node.value)


def keeps_nan(expression: Expression, name: str) -> bool:
    """Tell whether the value is NaN wherever the argument is."""

    def leaf(node: Expression) -> bool:
        return bool(node.value == name)

    def combine(node: Expression, operands: tuple[Any, ...]) -> bool:
        kept = [o is True for o in operands]
        if node.operation in COMPARISONS:
            return False
        if node.operation == "stated":
            return kept[0]
        return kept[1] and kept[2] if node.operation == "where" else any(kept)

    return not is_constant(expression) and bool(expression.fold(leaf, combine))


def with_nan(expression: Expression, name: str) -> Expression:
    """Make NaN in give NaN out, as the derivative of a kinked function would not by itself."""
    x = argument(name)
    return expression if keeps_nan(expression, name) else where(apply("equal", x, x), expression, x)


def _sum(a: Expression, b: Expression) -> Expression:
    """Sum in which a zero derivative is a structural zero: it vanishes even beside infinity."""
    if is_constant(a, 0):
        return b
    return a if is_constant(b, 0) else a + b


def _product(a: Expression, b: Expression) -> Expression:
    return constant(0) if is_constant(a, 0) or is_constant(b, 0) else a * b


def _quotient(a: Expression, b: Expression) -> Expression:
    return constant(0) if is_constant(a, 0) else a / b


def _damped(a: Expression, b: Expression) -> Expression:
    """Product with a derivative that vanishes, be it one of several factors, or a sum of what vanishes."""
    if b.operation == "multiply":  # each factor may be the one that vanishes
        return _damped(_damped(a, b.operands[1]), b.operands[0])
    if is_constant(a, 0) or is_constant(b, 0):
        return constant(0)
    if b.operation == "negative":
        return -_damped(a, b.operands[0])
    if b.operation == "add":
        return _damped(a, b.operands[0]) + _damped(a, b.operands[1])
    return damped_by_parts(a, b, _damped)
