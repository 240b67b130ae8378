"""The vocabulary of formulas.

Each function applies one operation to expressions and Python numbers; arithmetic and comparisons are the operators of
:class:`~actufunc.formula.expression.Expression`. What an operation means to a backend stands in the backend's table,
and its derivative in :mod:`~actufunc.formula.derivative`.

Some operations could be written with others but are primitives here, because they decide the accuracy of every formula
that uses them: `logistic`, `softplus`, `normal_cdf`, `normal_pdf` and `damped`. Others are made of these:
`logistic_pdf`, `clip` and `bounded`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .custom_derivative import evaluated, stated
from .expression import HALVES, Expression, Operand, apply, constant

if TYPE_CHECKING:
    from collections.abc import Callable


def exp(x: Operand) -> Expression:
    """Exponential."""
    return apply("exp", x)


def expm1(x: Operand) -> Expression:
    """``exp(x) - 1``, accurate near zero."""
    return apply("expm1", x)


def log(x: Operand) -> Expression:
    """Natural logarithm."""
    return apply("log", x)


def log1p(x: Operand) -> Expression:
    """``log(1 + x)``, accurate near zero."""
    return apply("log1p", x)


def sqrt(x: Operand) -> Expression:
    """Square root."""
    return apply("sqrt", x)


def tanh(x: Operand) -> Expression:
    """Hyperbolic tangent."""
    return apply("tanh", x)


def logistic(x: Operand) -> Expression:
    """``1 / (1 + exp(-x))``, accurate in both tails."""
    return apply("logistic", x)


def logistic_pdf(x: Operand) -> Expression:
    """Density of the logistic distribution, ``logistic(x)*logistic(-x)``, the derivative of `logistic`.

    The derivative of that product would cancel around zero; this one is that of ``(1 - half_tanh(x)**2)/4``.
    """
    x = constant(x)
    far, t = magnitude(x), half_tanh(x)
    return stated(damped(logistic(far), logistic(-far)), {t: -0.5 * t})


def magnitude(x: Expression) -> Expression:
    """Return the absolute value of `x` for the argument of an exponential.

    Where `x` is a product this is one too: all backends compute that in double words, and not all of them a choice.
    """
    if x.operation != "multiply":
        return where(x > 0, x, -x)
    a, b = x.operands
    return where(x > 0, a, -a) * b


def half_tanh(x: Operand) -> Expression:
    """``tanh(x/2)``, which is ``2*logistic(x) - 1``; what it is differentiated as, no backend needs to know."""
    return evaluated(apply("half_tanh", x), by=tanh(0.5 * constant(x)))


def softplus(x: Operand) -> Expression:
    """``log(1 + exp(x))``, accurate in both tails."""
    return apply("softplus", x)


def normal_cdf(x: Operand) -> Expression:
    """Distribution function of the standard normal distribution, accurate in the left tail."""
    return apply("normal_cdf", x)


def normal_pdf(x: Operand) -> Expression:
    """Density of the standard normal distribution, ``exp(-x*x/2) / sqrt(2*pi)``."""
    return apply("normal_pdf", x)


def absolute(x: Operand) -> Expression:
    """Absolute value."""
    return apply("absolute", x)


def maximum(a: Operand, b: Operand) -> Expression:
    """Return the larger of two, `b` if they are equal; NaN if either is NaN."""
    return apply("maximum", a, b)


def minimum(a: Operand, b: Operand) -> Expression:
    """Return the smaller of two, `b` if they are equal; NaN if either is NaN."""
    return apply("minimum", a, b)


def clip(x: Operand, low: Operand, high: Operand) -> Expression:
    """Return the number nearest to `x` that is neither below `low` nor above `high`."""
    return minimum(maximum(x, low), high)


def bounded(x: Operand, low: Operand, high: Operand) -> Expression:
    """`x` itself, but clipped lest something overflow, where that makes no difference: its derivative is 1 everywhere.

    Unlike `clip`, which has kinks.
    """
    return evaluated(x, by=clip(x, low, high))


def where(condition: Operand, a: Operand, b: Operand) -> Expression:
    """Return `a` where the condition holds, else `b`; both are computed."""
    return apply("where", condition, a, b)


def rounded_once(x: Operand) -> Expression:
    """`x` itself, a sum, product, quotient or root of others, or several: but only the last of them is rounded.

    The others are computed as double words, where backends have them.
    """
    return apply("rounded_once", x)


def damped(x: Operand, factor: Operand) -> Expression:
    """``x * factor`` for a factor that vanishes faster than `x` grows: infinity times zero is zero.

    Where the factor is an exponential, a logistic or a normal distribution function or density, the product keeps its
    relative accuracy although the factor alone would be subnormal.
    """
    return damped_by_parts(constant(x), constant(factor), damped)


def damped_by_parts(x: Expression, factor: Expression, multiply: Callable[..., Expression]) -> Expression:
    """Return ``damped(x, factor)`` for a factor that may be damped itself: then what makes it small comes last.

    Else a large number would meet what has lost its digits. The product with the rest of the factor is left to
    `multiply`.
    """
    product = apply("damped", x, factor)
    value = factor.operands[0] if factor.operation == "stated" else factor
    if value.operation != "damped" or product.operation != "damped":
        return product
    rest, small = value.operands
    return evaluated(product, by=damped(multiply(x, rest), small))


def raised(x: Operand) -> Expression:
    """`x` itself, a sum of terms of at most about one, rounded once although some of them may be subnormal.

    Backends that have double words compute those of each term, multiplied by a large power of two.
    """
    return apply("raised", x)


def axis_sum(x: Operand) -> Expression:
    """Sum over the axis of a function such as softmax."""
    return apply("axis_sum", x)


def axis_max(x: Operand) -> Expression:
    """Maximum over the axis of a function such as softmax; NaN if any element is NaN."""
    return apply("axis_max", x)


def axis_threshold(x: Operand) -> Expression:
    """Return the t above which the elements rise by one in total: ``axis_sum(maximum(x - t, 0))`` is 1.

    The largest element over the axis must be zero, so subtract `axis_max` first.
    """
    return apply("axis_threshold", x)


def halves(x: Operand) -> tuple[Expression, Expression]:
    """Return the first half of the argument `x` along the axis, and the second."""
    first, second = (apply(half, x) for half in HALVES)
    return first, second
