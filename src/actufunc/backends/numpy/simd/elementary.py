"""Comparisons, selections and the other short operations, all quiet on NaN."""

from __future__ import annotations

import math

from llvmlite import ir

from .contract import Contract
from .lanes import Argument, Lane, fma, select, split


def _order(x: Lane) -> Lane:
    """Return integers in the order of the floats: the bits, with those of negative floats reversed in order.

    Adding zero first makes -0.0 and 0.0 the same.
    """
    form = x.format
    bits = (x + 0.0).bits()
    return bits ^ ((bits >> (form.bits - 1)) & ~form.sign_bit)


def _both_numbers(a: Lane, b: Lane) -> Lane:
    return Lane(a.builder, a.builder.fcmp_ordered("ord", a.value, b.value), a.format)


# Most comparisons are with a constant. Bits of one sign are in the order of the magnitudes as they are, so that no
# integer with the order of all floats need be made there.


def _constant(x: Lane) -> float | None:
    """Return the value of a constant that is not NaN, or None."""
    value = x.value.constant if isinstance(x.value, ir.Constant) else math.nan
    return None if math.isnan(value) else float(value)


def _is_beyond(x: Lane, bound: float, *, or_equal: bool = False) -> Lane:
    """Return true where `x` has the sign of `bound`, which may be a zero, and a larger magnitude: one range of bits."""
    form = x.format
    first = form.bit_pattern(bound) + (not or_equal)
    end = form.bit_pattern(math.copysign(math.inf, bound)) + 1
    return (x.bits() - first).below_unsigned(end - first)


def less(a: Lane, b: Lane) -> Lane:
    """IEEE ``a < b``."""
    if (bound := _constant(b)) is not None:
        if bound <= 0:
            return _is_beyond(a, -abs(bound))
        return a.bits().below(a.format.bit_pattern(bound)) & ~a.is_nan()
    if (bound := _constant(a)) is not None:
        if bound >= 0:
            return _is_beyond(b, abs(bound))
        return b.bits().below_unsigned(b.format.bit_pattern(bound)) & ~b.is_nan()
    return _order(a).below(_order(b)) & _both_numbers(a, b)


def less_equal(a: Lane, b: Lane) -> Lane:
    """IEEE ``a <= b``."""
    if (bound := _constant(b)) is not None:
        return _is_beyond(a, bound, or_equal=True) if bound < 0 else ~less(b, a) & ~a.is_nan()
    if (bound := _constant(a)) is not None:
        return _is_beyond(b, bound, or_equal=True) if bound > 0 else ~less(b, a) & ~b.is_nan()
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


def _extremum(a: Lane, b: Lane, above: str, below: str) -> Lane | None:
    """Select between a float and a constant by comparing bits, signed or not; None if neither is a constant.

    NaN stays NaN. Return None for a constant zero, too: the selected zero depends on the order of the arguments.
    """
    if (bound := _constant(a)) is not None:
        a, b = b, a
    elif (bound := _constant(b)) is None:
        return None
    if bound == 0:
        return None
    compare = a.builder.icmp_signed if bound > 0 else a.builder.icmp_unsigned
    bits, limit = a.bits(), a.bits().constant(a.format.bit_pattern(bound))
    first = a.new(compare(above if bound > 0 else below, bits.value, limit.value))
    return select(a.is_nan(), a, select(first, bits, limit).as_float())


def maximum(a: Lane, b: Lane) -> Lane:
    """Return the larger of two, the second if they are equal, or NaN if there is one."""
    chosen = _extremum(a, b, ">", "<")
    return select(a.is_nan() | less(b, a), a, b) if chosen is None else chosen


def minimum(a: Lane, b: Lane) -> Lane:
    """Return the smaller of two, the second if they are equal, or NaN if there is one."""
    chosen = _extremum(a, b, "<", ">")
    return select(a.is_nan() | less(a, b), a, b) if chosen is None else chosen


def absolute(a: Lane) -> Lane:
    """Magnitude."""
    return abs(a)


@Contract(ulp=0.5, flags="invalid", least=0.0)
def sqrt(a: Lane) -> Lane:
    """Square root, correctly rounded by the hardware."""
    root = a.builder.module.declare_intrinsic("llvm.sqrt", [a.value.type])
    return Lane(a.builder, a.builder.call(root, [a.value]), a.format)


def damped(x: Lane, factor: Lane) -> Lane:
    """``x * factor``, but zero where the factor is, even for infinite `x`."""
    zero = x.sign_bits().as_float()
    return select(factor.equals(0.0) & ~x.is_nan(), zero, x) * factor


@Contract(ulp=0.51, flags="underflow")
def divided(x: Argument, divisor: Lane, divisor_low: Lane, inverse: Lane) -> Lane:
    """Quotient of one or two words by a sum of two with a known inverse; neither the quotient nor `x` is below 2**-860.

    The product with the inverse is off by 1.5 ulp; its remainder, which one fused multiply-add gives exactly, corrects
    it.
    """
    x, x_low = split(x)
    quotient = x * inverse
    remainder = fma(-quotient, divisor_low, fma(-quotient, divisor, x))
    if x_low is not None:
        remainder = remainder + x_low
    return fma(remainder, inverse, quotient)


def order_key(x: Lane) -> Lane:
    """Integer by which a maximum over an axis compares: NaN of either sign is larger than any number."""
    # Not one and the same integer: LLVM would take the maximum into the select, and find no reduction to vectorise.
    return select(x.is_nan(), x.magnitude_bits(), _order(x))


def from_order_key(key: Lane) -> Lane:
    """Float of which `key` is the `order_key`."""
    form = key.format
    return (key ^ ((key >> (form.bits - 1)) & ~form.sign_bit)).as_float()
