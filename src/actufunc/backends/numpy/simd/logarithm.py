"""Logarithms and softplus, for float64. A low word of an argument counts to first order."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .contract import Contract
from .exponential import exp_parts
from .lanes import DoubleWord, fast_two_sum, fma, log_2_words, polynomial, power_of_two, scale, select, split, two_sum

if TYPE_CHECKING:
    from .lanes import Argument, Lane

_LOG_2_WORDS = log_2_words(32)  # exponents here have at most 11 bits

# log1p(f) = f + f**2 * P(f) for f in [-1/4, 1/2]: minimax P, from benchmarks/fit_polynomials.py. The error is relative
# to log1p(f).
_LOG1P = (  # largest error 1.1e-17, 2**-56.3
    -0.4999999999999997,
    0.3333333333333395,
    -0.25000000000019656,
    0.19999999999816,
    -0.1666666666274721,
    0.14285714301385688,
    -0.12500000350183652,
    0.1111111079784937,
    -0.09999983748038735,
    0.09090889648267891,
    -0.08333732208357074,
    0.07693480966888136,
    -0.07138421100841864,
    0.06642271199278707,
    -0.062491244468995295,
    0.0608730919671932,
    -0.05977727782681548,
    0.0507516399240895,
    -0.029359243301221142,
    0.008058117239560868,
)
# Magnitudes of f below this have log1p(f) = f; their squares might underflow.
_NEGLIGIBLE = 2.0**-60

# Below minus the first, softplus is zero. Above the second, log1p(exp(-x)) is negligible beside x. The third replaces
# lower exponents of exp(-abs(x)) in products that are negligible then, so that these do not underflow. Magnitudes below
# the fourth give log(2) and are raised to it for the same reason.
_SOFTPLUS_RANGE = (800.0, 40.0, -64, 2.0**-200)


@Contract(ulp=0.94, least=0.0)
def log(x: Argument) -> Lane:
    """Natural logarithm; -inf for zero and NaN for negative numbers."""
    # Subnormal numbers are multiplied by a power of two, and then x = 2**k * (1 + f) with f in [-1/4, 1/2), both exact.
    # A low word comes in to first order.
    x, x_low = split(x)
    form = x.format
    shift = form.mantissa_bits + 1
    is_subnormal = x.magnitude_bits().below(1 << form.mantissa_bits)
    regular = x * select(is_subnormal, x.constant(2.0**shift), 1.0)
    f, k = _reduce(regular)
    f_low = None
    if x_low is not None:
        # Not divided by one instead of zero: LLVM would divide before it chooses.
        f_low = select(is_subnormal | ~x.is_finite(), x.constant(0.0), x_low) / (
            x + select(x.equals(0.0), x.constant(1.0), 0.0)
        )
    k = k - select(is_subnormal, k.constant(shift), 0)
    high, low = _log_of_reduced(f, f_low, f, _as_float(k))
    result = high + low
    result = select(x.is_negative(), x.constant(math.nan), result)
    result = select(x.equals(0.0), x.constant(-math.inf), result)
    return select(x.is_nan() | x.equals(math.inf), x, result)


@Contract(ulp=0.93, least=-1.0)
def log1p(x: Argument) -> Lane:
    """``log(1 + x)``, accurate for small `x`; -inf for -1 and NaN below it."""
    high, low, special, is_regular = _log1p_words(x)
    return select(is_regular, (high + low).with_sign_of(split(x)[0]), special)


@Contract(ulp=0.43, least=-1.0)
def wide_log1p(x: Argument) -> DoubleWord:
    """``log(1 + x)`` as a double word."""
    high, low, special, is_regular = _log1p_words(x)
    high, low = fast_two_sum(high, low)
    return DoubleWord(select(is_regular, high.with_sign_of(split(x)[0]), special), select(is_regular, low, 0.0))


def _log1p_words(x: Argument) -> tuple[Lane, Lane, Lane, Lane]:
    """Return ``log(1 + x)`` in two words, what it is where `x` is not regular, and whether it is."""
    # 1 + x, computed in two words, is 2**k * (1 + f + f_low). For k = 0, f is x itself, which keeps the accuracy of
    # small x; otherwise the result is at least log(4/3) in magnitude, so that f_low matters only to first order.
    x, x_low = split(x)
    form = x.format
    bits_of_infinity = form.bit_pattern(math.inf)
    bound = select(x.is_negative(), x.bits().constant(form.bit_pattern(1.0)), bits_of_infinity)
    is_regular = x.magnitude_bits().below(bound)
    regular = select(is_regular, x, 0.0)
    total, total_low = two_sum(x.constant(1.0), regular)
    f, k = _reduce(total)
    k_float = _as_float(k)
    plain = k_float.equals(0.0)
    # The derivative of log1p is 1/(1 + f), for which 1 - 0.8*f is near enough. Where k is larger than 64, total_low is
    # negligible at any scale.
    f_low = select(plain, x.constant(0.0), total_low * power_of_two(-select(k.below(64), k, 64)))
    f_low = fma(f_low * -0.8, f, f_low)
    if x_low is not None:
        f_low = f_low + select(is_regular, x_low, 0.0) / total
    f = select(plain, regular, f)
    negligible = f.magnitude_bits().below(form.bit_pattern(_NEGLIGIBLE))
    high, low = _log_of_reduced(f, f_low, select(negligible, x.constant(0.0), f), k_float)
    special = select(x.is_nan() | x.equals(math.inf), x, math.nan)
    return high, low, select(x.equals(-1.0), x.constant(-math.inf), special), is_regular


@Contract(ulp=0.95, flags="underflow")
def softplus(x: Argument) -> Lane:
    """``log(1 + exp(x))``."""
    value, k, vanishes, is_linear = _softplus_parts(x)
    x, _ = split(x)
    result = select(vanishes, x.constant(0.0), scale(value, k))
    return select(x.is_nan() | is_linear, x, result)


@Contract(ulp=1.83, flags="underflow")
def softplus_over(x: Argument, divisor: Lane) -> Lane:
    """``log(1 + exp(x)) / divisor``, right also where the logarithm alone would be subnormal."""
    value, k, vanishes, is_linear = _softplus_parts(x)
    x, _ = split(x)
    result = select(vanishes, x.constant(0.0), scale(select(is_linear, x, value) / divisor, k))
    return select(x.is_nan(), x, result)


def _softplus_parts(x: Argument) -> tuple[Lane, Lane, Lane, Lane]:
    """Return a number and an integer k with ``log(1 + exp(x)) = number * 2**k``, and where that is zero, or `x`."""
    # max(x, 0) + log1p(E) with E = exp(-abs(x)) = (e + e_low) * 2**k in (0, 1]. For E < 1/2, log1p(E) = E + E*E*p(E),
    # and in the left half, where nothing is added to it, it is computed as
    #
    #     log1p(E) = (e + (e_low + e*E*p(E))) * 2**k
    #
    # and so keeps its accuracy down to subnormal results. For E >= 1/2 it is log(2) + f + f*f*p(f) with f = (E - 1)/2,
    # which is exact; the terms after the first are smaller than those of E*E*p(E), and so are their rounding errors.
    # The sum of x, log(2) and E or f has two words. All else is added up in the second word, and is less than a third
    # of the result; so the error, in ulp, is 0.5 from the last addition, 0.2 from the exponential and about 0.3 from
    # the product f*f*p(f).
    x, x_low = split(x)
    form = x.format
    lowest, saturated, least_exponent, smallest = _SOFTPLUS_RANGE
    bits, magnitude = x.bits(), x.magnitude_bits()
    left = bits.below(form.sign_bit + form.bit_pattern(lowest))  # negative, and the result not zero
    inside = left | magnitude.below(form.bit_pattern(saturated))
    a = select(inside, magnitude, form.bit_pattern(saturated))
    a = select(a.below(form.bit_pattern(smallest)), a.constant(form.bit_pattern(smallest)), a).as_float()
    argument: Argument = -a
    if x_low is not None:
        x_low = select(inside, x_low, 0.0)  # elsewhere it is not needed, and may be NaN
        argument = DoubleWord(-a, -x_low.times_sign_of(x))
    e, e_low, k = exp_parts(argument)

    # Deciding by the argument is faster than by E; exp(-0.69314) is above 1/2, so that (E - 1)/2 is exact.
    small = ~a.bits().below(form.bit_pattern(0.69314))
    tail = left & small
    halving = select(small, k.constant(0), 1)
    power = power_of_two(select(k.below(least_exponent), k.constant(least_exponent), k) - halving)
    f = fma(e, power, select(small, x.constant(0.0), -0.5))
    high = select(tail, e, f)
    log_2_high, log_2_low = _LOG_2_WORDS
    zero = x.constant(0.0)
    # A finite number that is large enough stands for infinity, to avoid inf - inf.
    large = form.bit_pattern(2.0**60)
    is_large = ~magnitude.below(large)
    linear = select(x.is_negative(), zero, select(is_large, magnitude.constant(large), magnitude).as_float())
    # In these sums the first term is zero or the largest.
    total, rest = fast_two_sum(select(small, zero, log_2_high), linear)
    total, rest_of_high = fast_two_sum(total, high)
    low = e_low * select(tail, x.constant(1.0), power)
    # The derivative of log1p is 1/(1 + f), for which 1 - 0.8*f is near enough.
    low = fma(low * -0.8, f, low)
    low = low + (rest + select(small, zero, log_2_low) + rest_of_high)
    if x_low is not None:
        low = low + select(x.is_negative(), zero, x_low)
    low = fma(high * f, _second_order(f), low)
    return total + low, select(tail, k, 0), x.is_negative() & ~left, is_large & ~x.is_negative()


def _reduce(x: Lane) -> tuple[Lane, Lane]:
    """Return f in [-1/4, 1/2) and an integer k with ``x = 2**k * (1 + f)`` exactly, for normal positive x.

    Anything else gives some such f and k, so that no flag is raised later.
    """
    form = x.format
    bits = x.bits()
    k = (bits - form.bit_pattern(0.75)) >> form.mantissa_bits
    return (bits - (k << form.mantissa_bits)).as_float() - 1.0, k


def _as_float(k: Lane) -> Lane:
    """Convert an integer of magnitude below ``2**mantissa_bits / 2``: added to the bits of a float of that binade."""
    form = k.format
    shifter = 1.5 * 2.0**form.mantissa_bits
    return (k + form.bit_pattern(shifter)).as_float() - shifter


def _log_of_reduced(f: Lane, f_low: Lane | None, squared: Lane, k: Lane) -> tuple[Lane, Lane]:
    """Return ``k*log(2) + log1p(f) + f_low`` in two words; in terms of higher than first order `squared` stands for f.

    The leading part k*log(2) + f has two words; f*f*p(f) is at most a third of the result (at f = 1/2 and k = -1), so
    that its rounding errors add less than 0.5 ulp to the 0.5 of adding both words.
    """
    log_2_high, log_2_low = _LOG_2_WORDS
    high, low = fast_two_sum(k * log_2_high, f)
    low = fma(k, log_2_low, low)
    if f_low is not None:
        low = low + f_low
    return high, fma(squared * squared, _second_order(squared), low)


def _second_order(f: Lane) -> Lane:
    """``(log1p(f) - f) / f**2``, with the last steps after Horner, which multiply earlier rounding errors by f."""
    constant, linear, *others = _LOG1P
    return fma(fma(polynomial(f, others, f * f), f, linear), f, constant)
