"""Comparisons, choices and the other short operations, all quiet on NaN."""

from __future__ import annotations

from llvmlite import ir

from .lanes import Lane, fma, select


def _order(x: Lane) -> Lane:
    """Integers in the order of the floats: the bits, once those of negative floats are turned round.

    Adding zero first makes -0.0 and 0.0 the same.
    """
    form = x.format
    bits = (x + 0.0).bits()
    return bits ^ ((bits >> (form.bits - 1)) & ~form.sign_bit)


def _both_numbers(a: Lane, b: Lane) -> Lane:
    return Lane(a.builder, a.builder.fcmp_ordered("ord", a.value, b.value), a.format)


def less(a: Lane, b: Lane) -> Lane:
    """IEEE ``a < b``."""
    return _order(a).below(_order(b)) & _both_numbers(a, b)


def less_equal(a: Lane, b: Lane) -> Lane:
    """IEEE ``a <= b``."""
    return ~_order(b).below(_order(a)) & _both_numbers(a, b)


def equal(a: Lane, b: Lane) -> Lane:
    """IEEE ``a == b``."""
    return a.equals(b)


def not_equal(a: Lane, b: Lane) -> Lane:
    """IEEE ``a != b``, true for NaN."""
    return ~a.equals(b)


def where(condition: Lane, a: Lane, b: Lane) -> Lane:
    """Return `a` where the condition holds, else `b`."""
    return select(condition, a, b)


def maximum(a: Lane, b: Lane) -> Lane:
    """Return the larger of two, the second if they are equal, or NaN if there is one."""
    return select(a.is_nan() | less(b, a), a, b)


def minimum(a: Lane, b: Lane) -> Lane:
    """Return the smaller of two, the second if they are equal, or NaN if there is one."""
    return select(a.is_nan() | less(a, b), a, b)


def absolute(a: Lane) -> Lane:
    """Magnitude."""
    return abs(a)


def sqrt(a: Lane) -> Lane:
    """Square root, correctly rounded by the hardware."""
    root = a.builder.module.declare_intrinsic("llvm.sqrt", [a.value.type])
    return Lane(a.builder, a.builder.call(root, [a.value]), a.format)


def damped(x: Lane, factor: Lane) -> Lane:
    """``x * factor``, but zero where the factor is, even for infinite `x`."""
    zero = x.sign_bits().as_float()
    return select(factor.equals(0.0) & ~x.is_nan(), zero, x) * factor


def divided(x: Lane, divisor: Lane, divisor_low: Lane, inverse: Lane) -> Lane:
    """Quotient of `x` by a sum of two words, whose inverse is known, to little more than half an ulp.

    The product with the inverse is off by 1.5 ulp; its remainder, which one fused multiply-add gives exactly, corrects
    it.
    """
    quotient = x * inverse
    remainder = fma(-quotient, divisor_low, fma(-quotient, divisor, x))
    return fma(remainder, inverse, quotient)


def order_key(x: Lane) -> Lane:
    """Integer by which a maximum over an axis compares: NaN of either sign is the largest."""
    largest = (1 << (x.format.bits - 1)) - 1
    return select(x.is_nan(), Lane(x.builder, ir.Constant(x.format.integer, largest), x.format), _order(x))


def from_order_key(key: Lane) -> Lane:
    """Float of which `key` is the `order_key`."""
    form = key.format
    return (key ^ ((key >> (form.bits - 1)) & ~form.sign_bit)).as_float()
