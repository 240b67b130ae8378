"""The vocabulary of formulas, and the table of all operations.

Each function of the vocabulary applies one operation to expressions and Python numbers. Its record stands below it:
what differentiating, simplifying and computing an expression needs to know of the operation (see
:class:`~actufunc.formula.registry.Operation`). Arithmetic and comparisons are the operators of
:class:`~actufunc.formula.expression.Expression`; their records come first.

A new operation is a function and its record. With a composition, an expression in other operations, it runs on every
backend; a backend that computes it better has a function of its own.

Some operations are primitives although they could be written with others, because they decide the accuracy of every
formula that uses them: `logistic`, `softplus`, `normal_cdf`, `normal_pdf` and `damped`. Others are made of these:
`logistic_pdf`, `clip` and `bounded`.

Derivatives are written for accuracy and for the range: none cancels or overflows where the operation itself does not,
at any order. At a kink they are 0, or that of a constant bound, as in PyTorch and JAX; in a branch of a `where` that
makes it one of its operands, that operand's (see :mod:`~actufunc.formula.one_sided`).
"""

from __future__ import annotations

import inspect
import operator
from typing import TYPE_CHECKING, Any

from .custom_derivative import evaluated, with_derivatives
from .expression import Expression, Operand, apply, constant, is_constant
from .registry import OPERATIONS, Operation, named

if TYPE_CHECKING:
    from collections.abc import Callable


def _enter(name: str, arity: int | None = None, **fields: Any) -> None:
    """Enter an operation into the table; see `Operation` for the fields."""
    OPERATIONS[name] = Operation(name, arity, **fields)


def _record(function: Callable[..., Expression], **fields: Any) -> None:
    """Enter the operation that a function of the vocabulary applies."""
    _enter(function.__name__, len(inspect.signature(function).parameters), **fields)


# What several records have in common.
_ROUNDED = {"rounded": True, "wide": True}
_AMPLIFIER = {"costly": True, "amplifies": True}
_TAIL = {**_AMPLIFIER, "wide": True, "scaled_last": True}  # vanishes on a side, where it is subnormal before


# Arithmetic of derivatives, in which a zero is a structural one: it vanishes even beside infinity.


def slope_sum(a: Expression, b: Expression) -> Expression:
    """Add two derivatives."""
    if is_constant(a, 0):
        return b
    return a if is_constant(b, 0) else a + b


def slope_product(a: Expression, b: Expression) -> Expression:
    """Multiply two factors, one of which is a derivative."""
    return constant(0) if is_constant(a, 0) or is_constant(b, 0) else a * b


def _slope_damped(a: Expression, b: Expression) -> Expression:
    """Multiply by a derivative that vanishes, be it one of several factors, or a sum of what vanishes."""
    if b.operation == "multiply":  # each factor may be the one that vanishes
        return _slope_damped(_slope_damped(a, b.operands[1]), b.operands[0])
    if is_constant(a, 0) or is_constant(b, 0):
        return constant(0)
    if b.operation == "negative":
        return -_slope_damped(a, b.operands[0])
    if b.operation == "add":
        return _slope_damped(a, b.operands[0]) + _slope_damped(a, b.operands[1])
    return damped_by_parts(a, b, _slope_damped)


def _slope_of_quotient(a: Expression, b: Expression, da: Expression, db: Expression) -> Expression:
    of_numerator = constant(0) if is_constant(da, 0) else da / b
    return of_numerator if is_constant(db, 0) else slope_sum(of_numerator, -(db * (a / b / b)))


# Leaves, and nodes that only the code around formulas makes.
_enter("argument", 0)
_enter("constant", 0)
_enter("with_derivatives")  # a value, and pairs of an expression and the derivative by it
_enter("joined")  # the results of a gated unit's vjp, along the axis

# Operators.
_enter("negative", 1, wide=True, operator=operator.neg, derivative=lambda x: constant(-1))
for _name, _infix, _precedence, _operator, _derivative in (
    ("add", " + ", 10, operator.add, lambda a, b, da, db: slope_sum(da, db)),
    ("subtract", " - ", 10, operator.sub, lambda a, b, da, db: slope_sum(da, -db)),
    ("multiply", "*", 20, operator.mul, lambda a, b, da, db: slope_sum(slope_product(da, b), slope_product(db, a))),
    ("divide", "/", 20, operator.truediv, _slope_of_quotient),
):
    _enter(_name, 2, **_ROUNDED, operator=_operator, infix=_infix, precedence=_precedence, derivative=_derivative)
for _name, _sign, _operator in (
    ("less", "<", operator.lt),
    ("less_equal", "<=", operator.le),
    ("equal", "==", operator.eq),
    ("not_equal", "!=", operator.ne),
):
    _text = f"{{}} {_sign} {{}}"
    _enter(_name, 2, condition=True, operator=_operator, infix=f" {_sign} ", precedence=5, on_integers=_text)


def exp(x: Operand) -> Expression:
    """Exponential."""
    return apply("exp", x)


_record(exp, **_TAIL, derivative=exp)


def expm1(x: Operand) -> Expression:
    """``exp(x) - 1``, accurate near zero."""
    return apply("expm1", x)


_record(expm1, wide=True, **_AMPLIFIER, derivative=exp)


def log(x: Operand) -> Expression:
    """Natural logarithm."""
    return apply("log", x)


_record(log, **_AMPLIFIER, derivative=lambda x: 1 / x)


def log1p(x: Operand) -> Expression:
    """``log(1 + x)``, accurate near zero."""
    return apply("log1p", x)


_record(log1p, **_AMPLIFIER, derivative=lambda x: 1 / (1 + x))


def sqrt(x: Operand) -> Expression:
    """Square root."""
    return apply("sqrt", x)


_record(sqrt, **_ROUNDED, derivative=lambda x: 0.5 / sqrt(x))


_FAR = 1000  # here 1/cosh^2 is zero in every dtype, and twice this is finite


def _inverse_cosh_squared(x: Expression) -> Expression:
    """``1/cosh(x)**2``, where ``1 - tanh(x)**2`` would cancel; differentiated as that, through tanh."""
    u = 2 * minimum(absolute(x), _FAR)
    t = tanh(x)
    return with_derivatives(damped(4 * logistic(u), logistic(-u)), {t: -2 * t})


def tanh(x: Operand) -> Expression:
    """Hyperbolic tangent."""
    return apply("tanh", x)


_record(tanh, costly=True, wide=True, bounded=True, derivative=_inverse_cosh_squared)


def _logistic_slope(x: Expression) -> Expression:
    """``logistic_pdf(x)`` without a choice between the tails, in which it loses digits where it is subnormal."""
    t = half_tanh(x)
    return with_derivatives(rounded_once(logistic(x) * logistic(-x)), {t: -0.5 * t})


def _logistic_by_exp(x: Expression) -> Expression:
    e = exp(-where(x >= 0, x, -x))
    return where(x >= 0, 1 / (1 + e), e / (1 + e))


def logistic(x: Operand) -> Expression:
    """``1 / (1 + exp(-x))``, accurate in both tails."""
    return apply("logistic", x)


_record(logistic, bounded=True, **_TAIL, derivative=_logistic_slope, composition=_logistic_by_exp)


def logistic_pdf(x: Operand) -> Expression:
    """Density of the logistic distribution, ``logistic(x)*logistic(-x)``, the derivative of `logistic`.

    The derivative of that product would cancel around zero; this one is that of ``(1 - half_tanh(x)**2)/4``.
    """
    x = constant(x)
    far, t = magnitude(x), half_tanh(x)
    return with_derivatives(damped(logistic(far), logistic(-far)), {t: -0.5 * t})


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


_record(half_tanh, derivative=lambda x: 2 * logistic_pdf(x), composition=lambda x: tanh(0.5 * x))


def softplus(x: Operand) -> Expression:
    """``log(1 + exp(x))``, accurate in both tails."""
    return apply("softplus", x)


_record(
    softplus,
    **_AMPLIFIER,
    derivative=logistic,
    composition=lambda x: where(x >= 0, x, 0) + log1p(exp(-where(x >= 0, x, -x))),
)


_NOTHING = 40  # here the normal density is zero in every dtype


def normal_pdf(x: Operand) -> Expression:
    """Density of the standard normal distribution, ``exp(-x*x/2) / sqrt(2*pi)``."""
    return apply("normal_pdf", x)


_record(normal_pdf, bounded=True, **_TAIL, derivative=lambda x: damped(-bounded(x, -_NOTHING, _NOTHING), normal_pdf(x)))


def normal_cdf(x: Operand) -> Expression:
    """Distribution function of the standard normal distribution, accurate in the left tail."""
    return apply("normal_cdf", x)


_record(normal_cdf, bounded=True, **_TAIL, derivative=normal_pdf)


def absolute(x: Operand) -> Expression:
    """Absolute value."""
    return apply("absolute", x)


_record(absolute, kinked=True, derivative=lambda x: where(x > 0, 1, where(x < 0, -1, 0)))


def maximum(a: Operand, b: Operand) -> Expression:
    """Return the larger of two, `b` if they are equal; NaN if either is NaN."""
    return apply("maximum", a, b)


_record(maximum, kinked=True, on_integers="max({}, {})", derivative=lambda a, b, da, db: where(a > b, da, db))


def minimum(a: Operand, b: Operand) -> Expression:
    """Return the smaller of two, `b` if they are equal; NaN if either is NaN."""
    return apply("minimum", a, b)


_record(minimum, kinked=True, on_integers="min({}, {})", derivative=lambda a, b, da, db: where(a < b, da, db))


def clip(x: Operand, low: Operand, high: Operand) -> Expression:
    """Return the number nearest to `x` that is neither below `low` nor above `high`."""
    return minimum(maximum(x, low), high)


def bounded(x: Operand, low: Operand, high: Operand) -> Expression:
    """`x` itself, but clipped to avoid an overflow, where that makes no difference: its derivative is 1 everywhere.

    Unlike `clip`, which has kinks.
    """
    return evaluated(x, by=clip(x, low, high))


def where(condition: Operand, a: Operand, b: Operand) -> Expression:
    """Return `a` where the condition holds, else `b`; both are computed."""
    return apply("where", condition, a, b)


_record(
    where,
    wide=True,
    on_integers="{1} if {0} else {2}",
    derivative=lambda condition, _a, _b, _, da, db: where(condition, da, db),
)


def rounded_once(x: Operand) -> Expression:
    """`x` itself, a sum, product, quotient or root of others, or several: but only the last of them is rounded.

    The others are computed as double words, where backends have them.
    """
    return apply("rounded_once", x)


_record(rounded_once, precision=True, derivative=lambda x: constant(1), composition=lambda x: x)


def damped(x: Operand, factor: Operand) -> Expression:
    """``x * factor`` for a factor that vanishes faster than `x` grows: infinity times zero is zero.

    Where the factor is an exponential, a logistic or a normal distribution function or density, the product keeps its
    relative accuracy although the factor alone would be subnormal.
    """
    return damped_by_parts(constant(x), constant(factor), damped)


_record(damped, wide=True, derivative=lambda a, b, da, db: slope_sum(_slope_damped(da, b), _slope_damped(a, db)))


def damped_by_parts(x: Expression, factor: Expression, multiply: Callable[..., Expression]) -> Expression:
    """Return ``damped(x, factor)`` for a factor that may be damped itself: then what makes it small comes last.

    Else a large number would meet what has lost its digits. The product with the rest of the factor is left to
    `multiply`.
    """
    product = apply("damped", x, factor)
    value = factor.operands[0] if factor.operation == "with_derivatives" else factor
    if value.operation != "damped" or product.operation != "damped":
        return product
    rest, small = value.operands
    return evaluated(product, by=damped(multiply(x, rest), small))


def raised(x: Operand) -> Expression:
    """`x` itself, a sum of terms of at most about one, rounded once although some of them may be subnormal.

    Backends that have double words compute those of each term, multiplied by a large power of two.
    """
    return apply("raised", x)


_record(raised, precision=True, derivative=lambda x: constant(1), composition=lambda x: x)


def axis_sum(x: Operand) -> Expression:
    """Sum over the axis of a function such as softmax."""
    return apply("axis_sum", x)


_record(axis_sum, reduction=True)


def axis_max(x: Operand) -> Expression:
    """Maximum over the axis of a function such as softmax; NaN if any element is NaN."""
    return apply("axis_max", x)


_record(axis_max, reduction=True)


def axis_threshold(x: Operand) -> Expression:
    """Return the t above which the elements rise by one in total: ``axis_sum(maximum(x - t, 0))`` is 1.

    The largest element over the axis must be zero, so subtract `axis_max` first.
    """
    return apply("axis_threshold", x)


_record(axis_threshold, reduction=True)


def halves(x: Operand) -> tuple[Expression, Expression]:
    """Return the first half of the argument `x` along the axis, and the second."""
    return apply("first_half", x), apply("second_half", x)


_enter("first_half", 1, part=True)
_enter("second_half", 1, part=True)


COMPARISONS = named(lambda each: each.condition)
REDUCTIONS = named(lambda each: each.reduction)
COSTLY = named(lambda each: each.costly)
