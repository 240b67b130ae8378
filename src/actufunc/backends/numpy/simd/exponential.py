"""exp, expm1, the logistic function and tanh.

Functions with an argument `times` multiply by it before the result is scaled by its power of two, so that the product
is right even where the function itself would be subnormal. A factor that vanishes prevails over an infinite `times`:
the result is then a zero with the sign of `times`. One thing is given up: for `times` above 2**127 (2**1023) the
product may overflow although a small power of two would bring it back. Bounds are given for float32 and, in
parentheses, float64.
"""

from __future__ import annotations

import math

from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba.core import config

from .lanes import (
    Argument,
    DoubleWord,
    Lane,
    fast_two_sum,
    fma,
    polynomial,
    power_of_two,
    scale,
    select,
    split,
    two_sum,
)

Table = dict[str, tuple[float, ...]]

# log(2) in two words, from mpmath. The first has so few bits that its product with any exponent met here is exact:
# 16 of 24 bits leave 8, 42 of 53 leave 11.
LN2 = {
    "float32": (45426 / 2**16, 1.42860677e-06),
    "float64": (3048493539143 / 2**42, 5.497923018708371e-14),
}

# exp(r) = 1 + r + r**2 * P(r) for |r| <= log(2)/2: minimax P, from benchmarks/fit_polynomials.py.
# The error is relative to exp(r).
EXP: Table = {
    "float32": (  # largest error 3.3e-09, 2**-28.2
        0.49999994,
        0.16666521,
        0.041668154,
        0.008368668,
        0.0013830344,
    ),
    "float64": (  # largest error 3.9e-18, 2**-57.8
        0.5000000000000011,
        0.16666666666666455,
        0.041666666666528504,
        0.008333333333477319,
        0.0013888888943868678,
        0.00019841269532036495,
        2.480149291838998e-05,
        2.7557569722341213e-06,
        2.763030758235556e-07,
        2.5004137649012044e-08,
    ),
}
# The error is relative to expm1(r), which takes one degree more.
EXPM1: Table = {
    "float32": (  # largest error 4.8e-10, 2**-31.0
        0.5,
        0.16666666,
        0.041666497,
        0.008333528,
        0.001393204,
        0.0001977896,
    ),
    "float64": (  # largest error 3.2e-19, 2**-61.4
        0.5,
        0.16666666666666677,
        0.041666666666666685,
        0.008333333333321796,
        0.00138888888888933,
        0.00019841269885299804,
        2.4801587277990668e-05,
        2.7557245219430577e-06,
        2.7557332071962034e-07,
        2.510866155653546e-08,
        2.089272684245129e-09,
    ),
}

# Magnitude at which the argument of exp and of the logistic function is clamped, and from which on their left tails
# are zero: 2**-245 and 2**-2019, so that with a `times` below 2**95 (2**944) no result is lost. The exponents are
# within what `scale` and LN2 can do.
LIMIT = {"float32": 170.0, "float64": 1400.0}
# Where expm1 is -1, and where it overflows.
EXPM1_BOUNDS = {"float32": (-20.0, 89.0), "float64": (-40.0, 710.0)}
# Where tanh is 1.
TANH_IS_ONE = {"float32": 10.0, "float64": 20.0}
# Added to the square of the reduced argument so that neither it nor its product with a coefficient underflows. It
# changes exp by less than 2**-56 (2**-200), which is also little next to the smallest argument that expm1 sees.
SQUARE_OFFSET = {"float32": 2.0**-56, "float64": 2.0**-200}
# `times` below the first is multiplied by two to the power of the second and the result divided by that, lest its
# product with a low word, a multiple of 2**-83 (2**-255), or with exp before it is scaled up, underflow.
SMALL_TIMES = {"float32": (2.0**-40, 110), "float64": (2.0**-700, 400)}
# The smallest exponent that `scale` takes. Whatever a product with a small `times`, it is zero there.
SMALLEST_EXPONENT = {"float32": -252, "float64": -2044}


def _reduce(x: Lane, x_low: Lane | None, table: Table) -> tuple[Lane, Lane, Lane]:
    """Return ``(z, tail, k)`` with ``exp(x + x_low) = (1 + z + tail) * 2**k`` and ``|z + tail| < 0.42``."""
    # k is the integer nearest to x/log(2), by adding and subtracting 1.5 * 2**23 (2**52): the bits of the sum hold it.
    # With log(2) = L + l in two words, z = x - k*L is exact, and r = z - k*l is off by half an ulp, 2**-26 (2**-55) at
    # most. Hence r stands in the polynomial only, where the derivative of r**2 * P(r), at most 0.35, makes little of
    # that; the linear term is z - k*l. The tail is at most 0.08, its rounding errors are 2**-28 (2**-57) each, so z +
    # tail is known to 2**-26.6 (2**-55.6), 0.17 ulp of exp.
    form = x.format
    shifter = 1.5 * 2.0**form.mantissa_bits
    shifted = fma(x, 1 / math.log(2), shifter)
    k = shifted.bits() - form.bit_pattern(shifter)
    k_float = shifted - shifter
    ln2, ln2_low = LN2[form.name]
    z = fma(k_float, -ln2, x)
    r = fma(k_float, -ln2_low, z)
    if x_low is not None:
        r = r + x_low
    square = fma(r, r, SQUARE_OFFSET[form.name])
    half, *others = table[form.name]
    p = fma(polynomial(r, others, square), r, half)
    tail = square * p if x_low is None else fma(square, p, x_low)
    return z, fma(k_float, -ln2_low, tail), k


def exp_parts(x: Argument) -> tuple[Lane, Lane, Lane]:
    """Return ``(high, low, k)`` with ``exp(x) = (high + low) * 2**k``, high in [0.7, 1.42] and k an integer lane.

    The argument must be within twice the range of exponents. The relative error of high + low is 2**-25.3 (2**-54.3).
    """
    # z + tail is rounded by half an ulp, 2**-26 (2**-55), on top of its own error; adding one loses nothing more.
    x, x_low = split(x)
    z, tail, k = _reduce(x, x_low, EXP)
    high, low = fast_two_sum(x.constant(1.0), z + tail)
    return high, low, k


def _prepare(times: Lane, vanishes: Lane) -> tuple[Lane, Lane]:
    """Return `times`, but 0 where the other factor vanishes and raised where small, and the exponent that undoes it.

    To select between powers of two, not between products, keeps those of large `times` from overflowing.
    """
    times = select(vanishes & ~times.is_nan(), times.constant(0.0), times)
    bound, shift = SMALL_TIMES[times.format.name]
    magnitude = times.magnitude_bits()
    small = magnitude.below(times.format.bit_pattern(bound))
    return times * select(small, times.constant(2.0**shift), 1.0), select(small, magnitude.constant(-shift), 0)


def _multiply(times: Lane, high: Lane, low: Lane) -> Lane:
    """Return ``times * (high + low)``, rounded once.

    The low word is left out where `times` is infinite, lest ``inf * 0`` arise.
    """
    return fma(times, high, select(times.is_finite(), times, 0.0) * low)


def _at_least(k: Lane, bound: Lane | int) -> Lane:
    bound = bound if isinstance(bound, Lane) else k.constant(bound)
    return select(k.below(bound), bound, k)


def _flip_sign_if_positive(low: Lane, x: Lane) -> Lane:
    """Return the low word of -abs(x)."""
    return (low.bits() ^ (~x.bits() & low.format.sign_bit)).as_float()


def _scales_in_hardware() -> bool:
    """Whether ``llvm.ldexp`` becomes an instruction: on CPUs with AVX-512, while elsewhere it is a call of libm.

    Whatever makes Numba compile for another CPU than the one it runs on counts as no.
    """
    if config.CPU_NAME is not None or config.CPU_FEATURES is not None or not config.ENABLE_AVX:
        return False
    features = get_host_cpu_features()
    return bool(features.get("avx512f") and features.get("avx512vl"))


def _scale(x: Lane, k: Lane) -> Lane:
    """Return ``x * 2**k`` with the same bits as `scale`, in fewer instructions where the CPU has them.

    LLVM does not mind floating-point flags and exchanges ``llvm.ldexp`` with a `select` between `x` and a constant, or
    between `k` and 0. Hence `k` must be harmless for an `x` that was not selected, and not itself such a select.
    """
    if not _scales_in_hardware():
        return scale(x, k)
    integer = ir.IntType(32)
    narrow = k.value if k.value.type == integer else k.builder.trunc(k.value, integer)
    types = [x.value.type, narrow.type]
    ldexp = x.builder.module.declare_intrinsic("llvm.ldexp", types, ir.FunctionType(types[0], types))
    return Lane(x.builder, x.builder.call(ldexp, [x.value, narrow]), x.format)


def exp(x: Argument, times: Lane | None = None) -> Lane:
    """Return ``times * exp(x)``."""
    # Half an ulp from the last addition or product, and from z + tail, its own 0.17 ulp and the rounding to 2**-26
    # (2**-55), a quarter of an ulp of results below a power of two: 0.92 ulp at most.
    #
    # Where the result vanishes, exp(0) is computed, which raises no flag. NaN is put back, as is +inf. Finite arguments
    # above the range reach the scaling and overflow there, as they must.
    x, x_low = split(x)
    form = x.format
    limit = LIMIT[form.name]
    lower, upper = form.bit_pattern(-limit), form.bit_pattern(limit)
    vanishes = (x.bits() - lower).below_unsigned(form.bit_pattern(-math.inf) + 1 - lower)
    special = x.is_nan_or(math.inf)
    clamped = select(vanishes, x.constant(0.0), x).bits()
    clamped = select(clamped.below(upper), clamped, upper)
    if x_low is not None:
        x_low = select(x.magnitude_bits().below(upper), x_low, 0.0)
    z, tail, k = _reduce(clamped.as_float(), x_low, EXP)
    high, low = fast_two_sum(x.constant(1.0), z + tail)
    high = select(special, x, high)
    if times is None:
        return _scale(select(vanishes, high.constant(0.0), high), k)
    raised, shift = _prepare(times, vanishes)
    k = _at_least(k + shift, SMALLEST_EXPONENT[form.name])
    return _scale(_multiply(raised, high, low), k).with_sign_of(times)


def logistic(x: Argument, times: Lane | None = None) -> Lane:
    """Return ``times / (1 + exp(-x))``."""
    # With e = exp(-|x|) = (high + low) * 2**k, the result is 1/(1 + e) for positive x and e/(1 + e) for negative x,
    # where e is scaled by 2**k at the end. Numerator and denominator are double words. In the denominator, 2**k is
    # bounded from below, where it does not matter, lest its product with `low` underflow. A quotient of the high words,
    # by way of the reciprocal, is corrected by the remainder. The error is half an ulp from that last addition and the
    # relative error of e, 2**-25.3 (2**-54.3), which the quotient dilutes: 0.93 ulp is the largest seen.
    x, x_low = split(x)
    form = x.format
    limit = form.bit_pattern(LIMIT[form.name])
    magnitude = x.magnitude_bits()
    saturated = (magnitude - limit).below_unsigned(form.bit_pattern(math.inf) + 1 - limit)  # not for NaN
    negative = x.is_negative()
    a = (select(saturated, magnitude.constant(limit), magnitude) | form.sign_bit).as_float()
    if x_low is not None:
        x_low = _flip_sign_if_positive(select(saturated, x.constant(0.0), x_low), x)
    high, low, k = exp_parts(a) if x_low is None else exp_parts(DoubleWord(a, x_low))

    s = power_of_two(_at_least(k, 6 - 2 * form.mantissa_bits))
    denominator = fma(s, high, 1.0)
    denominator_low = fma(s, low, fma(s, high, 1.0 - denominator))
    inverse = 1.0 / denominator
    numerator, numerator_low = select(negative, high, 1.0), select(negative, low, 0.0)
    q = numerator * inverse
    remainder = fma(-q, denominator_low, fma(-q, denominator, numerator)) + numerator_low
    # A positive x needs no scaling, nor does a zero; since k <= 0, a bound from below says so.
    vanishes, unscaled = saturated & negative, saturated | ~negative
    smallest = SMALLEST_EXPONENT[form.name]
    if times is None:
        k = _at_least(k, select(unscaled, k.constant(0), smallest))
        return _scale(select(vanishes, x.constant(0.0), fma(remainder, inverse, q)), k)
    raised, shift = _prepare(times, vanishes)
    k = _at_least(k + shift, select(unscaled, shift, smallest))
    return _scale(_multiply(raised, q, remainder * inverse), k).with_sign_of(times)


def expm1(x: Argument) -> Lane:
    """Return ``exp(x) - 1``."""
    # exp(x) - 1 = (2**k - 1) + 2**k * (p + p_low), with both sums kept as double words; for k = 0 the first term is
    # exactly zero and nothing cancels. Halves of all terms are computed, so that 2**k stays finite, and doubled at the
    # end. The error is half an ulp from the addition of the low words and that of z + tail, which for x just above
    # log(2)/2 is twice 2**-26.6 (2**-55.6) against an ulp of 2**-25 (2**-54): 1.02 ulp is the largest seen, there.
    #
    # Below 2**-25 (2**-54) x itself is the result, a quarter of an ulp off. These arguments, NaN and +inf are computed
    # as 0 and put back. At the lower bound the result is -1 to 2**-28 (2**-57); at the upper one it overflows.
    x, x_low = split(x)
    form = x.format
    lower, upper = (form.bit_pattern(bound) for bound in EXPM1_BOUNDS[form.name])
    magnitude = x.magnitude_bits()
    special = magnitude.below(form.bit_pattern(2.0 ** (-2 - form.mantissa_bits))) | x.is_nan_or(math.inf)
    a = x.bits()
    a = select(a.below_unsigned(lower), a, lower)  # unsigned, negative numbers are above the others
    a = select(a.below(upper), a, upper)
    a = select(special, a.constant(0), a)
    if x_low is not None:
        x_low = select(magnitude.below(upper), x_low, 0.0)
    z, tail, k = _reduce(a.as_float(), x_low, EXPM1)
    p, p_low = fast_two_sum(z, tail)
    s = power_of_two(k - 1)
    m, m_low = two_sum(s, s.constant(-0.5))
    t = fma(s, p, m)
    t_low = fma(s, p_low, fma(s, p, m - t) + m_low)
    half = t + t_low
    return select(special, x, half + half)


def tanh(x: Argument) -> Lane:
    """Return ``tanh(x)``."""
    # tanh(|x|) = -t/(2 + t) with t = expm1(-2*|x|) as a double word, as in `expm1`, and a quotient corrected by its
    # remainder, as in `logistic`. Half an ulp comes from the last addition, the rest from t: 0.78 ulp is the largest
    # seen.
    #
    # Below 2**-13 (2**-28) x itself is the result, off by x**3/3, less than 0.1 ulp; these arguments and NaN are
    # computed as 10 (20), from where on the result is one.
    x, x_low = split(x)
    form = x.format
    smallest = form.bit_pattern(2.0 ** (-2 - form.mantissa_bits // 2))
    magnitude = x.magnitude_bits()
    regular = (magnitude - smallest).below_unsigned(form.bit_pattern(math.inf) + 1 - smallest)
    upper = form.bit_pattern(TANH_IS_ONE[form.name])
    a = (select(regular & magnitude.below(upper), magnitude, upper) | form.sign_bit).as_float()
    if x_low is not None:
        x_low = _flip_sign_if_positive(select(magnitude.below(upper), x_low, 0.0), x)
        x_low = x_low + x_low
    z, tail, k = _reduce(a + a, x_low, EXPM1)
    p, p_low = fast_two_sum(z, tail)
    s = power_of_two(k)
    m, m_low = fast_two_sum(x.constant(-1.0), s)
    t = fma(s, p, m)
    t_low = fma(s, p_low, fma(s, p, m - t) + m_low)

    denominator, denominator_low = fast_two_sum(x.constant(2.0), t)
    denominator_low = denominator_low + t_low
    inverse = 1.0 / denominator
    q = t * inverse
    remainder = fma(-q, denominator_low, fma(-q, denominator, t)) + t_low
    return select(regular, fma(remainder, inverse, q).with_sign_of(x), x)
