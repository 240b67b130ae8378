"""exp, expm1, the logistic function and tanh.

Functions with an argument `times` multiply by it before the result is scaled by its power of two, so that the product
is right even where the function itself would be subnormal. A factor that vanishes prevails over an infinite `times`:
the result is then a zero with the sign of `times`. The product may overflow for `times` above 2**868, although a small
power of two would bring it back, and it may be finite for arguments of exp above `LIMIT` and `times` below 2**-995.
All is for float64; see `float32` for that.
"""

from __future__ import annotations

import math

from actufunc.backends.coefficients import RAISING_POWER

from .contract import Contract
from .lanes import (
    Argument,
    DoubleWord,
    Lane,
    fast_two_sum,
    fma,
    ldexp,
    log_2_words,
    polynomial,
    power_of_two,
    scale,
    select,
    split,
    two_sum,
)

# Exponents here have at most 11 bits, and the high word has 42.
LOG_2_WORDS = log_2_words(42)

# exp(r) = 1 + r + r**2 * P(r) for |r| <= log(2)/2: minimax P, from benchmarks/fit_polynomials.py.
# The error is relative to exp(r).
EXP = (  # largest error 3.9e-18, 2**-57.8
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
)
# The error is relative to expm1(r), which takes one degree more.
EXPM1 = (  # largest error 3.2e-19, 2**-61.4
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
)

# Magnitude at which the argument of exp is clamped, and from which on its left tail is zero: 2**-2019, so that with a
# `times` below 2**944 no result is lost. The exponents are within what `scale` and LOG_2_WORDS can do.
LIMIT = 1400.0
# Where expm1 is -1, and where it overflows.
EXPM1_BOUNDS = (-40.0, 710.0)
# Where tanh is 1.
TANH_IS_ONE = 20.0
# Added to the square of the reduced argument so that neither it nor its product with a coefficient underflows. It
# changes exp by less than 2**-200, which is also little next to the smallest argument that expm1 sees.
SQUARE_OFFSET = 2.0**-200
# `times` below the first is multiplied by two to the power of the second and the result divided by that, so that its
# product with a low word, a multiple of 2**-255, or with exp before it is scaled up, does not underflow.
SMALL_TIMES = (2.0**-700, 400)
# The smallest exponent that `scale` takes. Whatever a product with a small `times`, it is zero there.
SMALLEST_EXPONENT = -2044
# Exponents of double words below this have no low word, which would underflow.
LEAST_WIDE_EXPONENT = -900


def _reduce(x: Lane, x_low: Lane | None, table: tuple[float, ...]) -> tuple[Lane, Lane, Lane]:
    """Return ``(z, tail, k)`` with ``exp(x + x_low) = (1 + z + tail) * 2**k`` and ``|z + tail| < 0.42``."""
    # k is the integer nearest to x/log(2), by adding and subtracting 1.5 * 2**52: the bits of the sum hold it.
    # With log(2) = L + l in two words, z = x - k*L is exact, and r = z - k*l is off by half an ulp, 2**-55 at
    # most. Hence r stands in the polynomial only, where the derivative of r**2 * P(r), at most 0.35, makes little of
    # that; the linear term is z - k*l. The tail is at most 0.08, its rounding errors are 2**-57 each, so z +
    # tail is known to 2**-55.6, 0.17 ulp of exp.
    form = x.format
    shifter = 1.5 * 2.0**form.mantissa_bits
    shifted = fma(x, 1 / math.log(2), shifter)
    k = shifted.bits() - form.bit_pattern(shifter)
    k_float = shifted - shifter
    log_2, log_2_low = LOG_2_WORDS
    z = fma(k_float, -log_2, x)
    r = fma(k_float, -log_2_low, z)
    if x_low is not None:
        r = r + x_low
    square = fma(r, r, SQUARE_OFFSET)
    half, *others = table
    p = fma(polynomial(r, others, square), r, half)
    tail = square * p if x_low is None else fma(square, p, x_low)
    return z, fma(k_float, -log_2_low, tail), k


def exp_parts(x: Argument) -> tuple[Lane, Lane, Lane]:
    """Return ``(high, low, k)`` with ``exp(x) = (high + low) * 2**k``, high in [0.7, 1.42] and k an integer lane.

    The argument must be within twice the range of exponents. The relative error of high + low is 2**-54.3.
    """
    # z + tail is rounded by half an ulp, 2**-55, on top of its own error; adding one loses nothing more.
    x, x_low = split(x)
    z, tail, k = _reduce(x, x_low, EXP)
    high, low = fast_two_sum(x.constant(1.0), z + tail)
    return high, low, k


def _zero_where(vanishes: Lane, times: Argument) -> tuple[Lane, Lane | None]:
    """Return both words of `times`, but 0 where the other factor vanishes; NaN stays."""
    high, low = split(times)
    high = select(vanishes & ~high.is_nan(), high.constant(0.0), high)
    return high, None if low is None else select(vanishes, low.constant(0.0), low)


def _prepare(times: Argument, vanishes: Lane) -> tuple[Lane, Lane | None, Lane]:
    """Return both words of `times`, but 0 where the other factor vanishes and raised where small, and whether they are.

    The selection is between powers of two, not between products, which would overflow for large `times`.
    """
    bound, shift = SMALL_TIMES
    given, _ = split(times)
    small = given.magnitude_bits().below(given.format.bit_pattern(bound))
    raise_by = select(small, given.constant(2.0**shift), 1.0)
    high, low = _zero_where(vanishes, times)
    return high * raise_by, None if low is None else low * raise_by, small


def _multiply(times: Lane, times_low: Lane | None, high: Lane, low: Lane) -> Lane:
    """Return ``(times + times_low) * (high + low)``, rounded once.

    The low word is omitted where `times` is infinite: ``inf * 0`` is NaN.
    """
    low = select(times.is_finite(), times, 0.0) * low
    return fma(times, high, low if times_low is None else fma(times_low, high, low))


def double_word(high: Lane, low: Lane, k: Lane, vanishes: Lane) -> DoubleWord:
    """Return ``(high + low) * 2**k``, or zero where it vanishes; a low word that might underflow is none."""
    narrow = vanishes | k.below(LEAST_WIDE_EXPONENT)
    high = select(vanishes, high.constant(0.0), select(narrow, high + low, high))
    return DoubleWord(ldexp(high, k), scale(select(narrow, low.constant(0.0), low), _at_least(k, LEAST_WIDE_EXPONENT)))


def _at_least(k: Lane, bound: Lane | int) -> Lane:
    bound = bound if isinstance(bound, Lane) else k.constant(bound)
    return select(k.below(bound), bound, k)


def _exp_words(x: Argument) -> tuple[Lane, Lane, Lane, Lane]:
    """Return ``(high, low, k, vanishes)`` with ``exp(x) = (high + low) * 2**k`` where it does not vanish."""
    # Where the result vanishes, exp(0) is computed, which raises no flag. NaN is put back, as is +inf. Finite arguments
    # above the range reach the scaling and overflow there, as they must.
    x, x_low = split(x)
    form = x.format
    lower, upper = form.bit_pattern(-LIMIT), form.bit_pattern(LIMIT)
    vanishes = (x.bits() - lower).below_unsigned(form.bit_pattern(-math.inf) + 1 - lower)
    special = x.is_nan_or(math.inf)
    clamped = select(vanishes, x.constant(0.0), x).bits()
    clamped = select(clamped.below(upper), clamped, upper)
    if x_low is not None:
        x_low = select(x.magnitude_bits().below(upper), x_low, 0.0)
    z, tail, k = _reduce(clamped.as_float(), x_low, EXP)
    p, p_low = fast_two_sum(z, tail)
    high, low = fast_two_sum(x.constant(1.0), p)
    return select(special, x, high), low + p_low, k, vanishes


@Contract(ulp=0.79, flags="overflow underflow")
def exp(x: Argument, times: Argument | None = None) -> Lane:
    """Return ``times * exp(x)``."""
    # Half an ulp from the last addition or product, and 0.17 ulp from z + tail.
    high, low, k, vanishes = _exp_words(x)
    if times is None:
        return ldexp(select(vanishes, high.constant(0.0), high + low), k)
    raised, raised_low, small = _prepare(times, vanishes)
    k = _at_least(k + select(small, k.constant(-SMALL_TIMES[1]), 0), SMALLEST_EXPONENT)
    return ldexp(_multiply(raised, raised_low, high, low), k).with_sign_of(split(times)[0])


@Contract(ulp=0.24, flags="overflow underflow")
def wide_exp(x: Argument) -> DoubleWord:
    """Return ``exp(x)`` as a double word, with a relative error of 2**-55.1."""
    return double_word(*_exp_words(x))


@Contract(ulp=0.24, flags="overflow underflow")
def raised_exp(x: Argument) -> DoubleWord:
    """Return ``exp(x) * 2**RAISING_POWER`` as a double word."""
    high, low, k, vanishes = _exp_words(x)
    return double_word(high, low, k + RAISING_POWER, vanishes)


@Contract(ulp=0.24, flags="overflow underflow")
def exp_words(x: Argument) -> DoubleWord:
    """Return `wide_exp` with low words that may be subnormal; kernels over an axis show no flags of that."""
    high, low, k, vanishes = _exp_words(x)
    zero = high.constant(0.0)
    return DoubleWord(ldexp(select(vanishes, zero, high), k), ldexp(select(vanishes, zero, low), k))


# Where the logistic function is 1 to 2**-57.
_LOGISTIC_IS_ONE = 40.0
# On the left of the first, exp(-x) is computed divided by two to the power of the second, and so is the result.
# They are chosen such that all powers of two are normal numbers down to -LIMIT, and that no low word underflows on the
# right.
_FAR_LEFT = (-600.0, 1020)
# A product with a `times` below the first is computed from `times` multiplied by two to the power of the second.
_SMALL_PRODUCT = (2.0**-800, 600)


def _logistic_words(x: Argument) -> tuple[Lane, Lane, Lane, Lane, Lane]:
    """Return ``(high, low, power, far, vanishes)``, where the function is ``(high + low) * power`` or vanishes.

    Where `x` is not far on the left, the power is one.
    """
    # 1/d with d = 1 + exp(-x) = (1 + 2**k) + 2**k * (p + p_low). Far on the left exp(-x) is divided by 2**1020, so that
    # it is finite, and there is no 1 beside it. The first sum has two words; it is larger than the second by a factor
    # of two, so that the words of d are exact but for p. The reciprocal is corrected by its remainder. All errors but
    # that of p, 2**-55.6, are negligible, and 1/d reduces that by exp(-x)/(1 + exp(-x)).
    x, x_low = split(x)
    form = x.format
    lower, upper = form.bit_pattern(-LIMIT), form.bit_pattern(_LOGISTIC_IS_ONE)
    far_left, shift = _FAR_LEFT
    bits = x.bits()
    far = ~bits.below_unsigned(form.bit_pattern(far_left))
    vanishes = (bits - lower).below_unsigned(form.bit_pattern(-math.inf) + 1 - lower)
    a = select(bits.below(upper), bits, upper)
    # Unsigned, negative numbers are above the others. Where the result vanishes, one that raises no flag is computed.
    a = select(a.below_unsigned(lower), a, form.bit_pattern(far_left - 100.0)).as_float()
    if x_low is not None:
        x_low = -select(a.equals(x), x_low, 0.0)
    z, tail, k = _reduce(-a, x_low, EXP)
    p, p_low = fast_two_sum(z, tail)

    one = select(far, x.constant(0.0), 1.0)
    scaled = power_of_two(k - select(far, k.constant(shift), 0))
    large, small = select(k.below(0), one, scaled), select(k.below(0), scaled, one)
    total = large + small
    total_low = small - (total - large)
    denominator = fma(scaled, p, total)
    denominator_low = fma(scaled, p, total - denominator) + fma(scaled, p_low, total_low)
    high = 1.0 / denominator
    low = high * fma(-high, denominator_low, fma(-high, denominator, 1.0))
    return high, low, select(far, x.constant(2.0**-shift), 1.0), far, vanishes


@Contract(ulp=0.8, flags="underflow")
def logistic(x: Argument, times: Argument | None = None) -> Lane:
    """Return ``times / (1 + exp(-x))``."""
    # Half an ulp from the last addition or product, and the error of exp: less than 0.93 ulp.
    high, low, power, _, vanishes = _logistic_words(x)
    x, _ = split(x)
    if times is None:
        return select(x.is_nan(), x, (high + low) * select(vanishes, power.constant(0.0), power))
    factor, factor_low = _zero_where(vanishes, times)
    bound, shift = _SMALL_PRODUCT
    small = (factor * high).magnitude_bits().below(x.format.bit_pattern(bound))
    raise_by = select(small, high.constant(2.0**shift), 1.0)
    product = _multiply(factor * raise_by, None if factor_low is None else factor_low * raise_by, high, low)
    result = product * power * select(small, high.constant(2.0**-shift), 1.0)
    return select(x.is_nan(), x, result.with_sign_of(split(times)[0]))


@Contract(ulp=0.23, flags="underflow")
def wide_logistic(x: Argument) -> DoubleWord:
    """Return ``1 / (1 + exp(-x))`` as a double word."""
    high, low, power, far, vanishes = _logistic_words(x)
    x, _ = split(x)
    high = select(far, high + low, high) * select(vanishes, power.constant(0.0), power)
    return DoubleWord(select(x.is_nan(), x, high), select(far, low.constant(0.0), low))


@Contract(ulp=0.23, flags="underflow")
def raised_logistic(x: Argument) -> DoubleWord:
    """Return ``2**RAISING_POWER / (1 + exp(-x))`` as a double word."""
    high, low, power, _, vanishes = _logistic_words(x)
    x, _ = split(x)
    power = select(vanishes, power.constant(0.0), power * 2.0**RAISING_POWER)
    return DoubleWord(select(x.is_nan(), x, high * power), select(x.is_nan(), x.constant(0.0), low * power))


@Contract(ulp=1.19, flags="overflow")
def expm1(x: Argument) -> Lane:
    """Return ``exp(x) - 1``."""
    half, half_low, special, x = _half_expm1(x)
    half = half + half_low
    return select(special, x, half + half)


@Contract(ulp=1.79, flags="underflow")
def scaled_expm1(x: Lane, factor: Lane, quotient: Argument) -> Lane:
    """Return ``factor * expm1(quotient)`` for the quotient of `x` and the factor: where that is tiny, `x` itself."""
    half, half_low, special, u = _half_expm1(quotient)
    half = half + half_low
    return select(_expm1_is_linear(u), x, factor * select(special, u, half + half))


def _expm1_is_linear(x: Lane) -> Lane:
    """Return true where ``expm1(x)`` is `x` itself, a quarter of an ulp off."""
    return x.magnitude_bits().below(x.format.bit_pattern(2.0 ** (-2 - x.format.mantissa_bits)))


@Contract(ulp=0.67, flags="overflow")
def wide_expm1(x: Argument) -> DoubleWord:
    """Return ``exp(x) - 1`` as a double word."""
    half, half_low, special, x = _half_expm1(x)
    return DoubleWord(select(special, x, half + half), select(special, x.constant(0.0), half_low + half_low))


def _half_expm1(x: Argument) -> tuple[Lane, Lane, Lane, Lane]:
    """Return ``(exp(x) - 1)/2`` in two words, where the result is `x` itself instead, and the high word of `x`."""
    # exp(x) - 1 = (2**k - 1) + 2**k * (p + p_low), with both sums kept as double words; for k = 0 the first term is
    # exactly zero and nothing cancels. Halves of all terms are computed, so that 2**k stays finite, and doubled at the
    # end. The error is half an ulp from the addition of the low words and that of z + tail, which for x just above
    # log(2)/2 is twice 2**-55.6 against an ulp of 2**-54: the largest errors are there.
    #
    # Below 2**-54 x itself is the result, a quarter of an ulp off. These arguments, NaN and +inf are computed
    # as 0 and put back. At the lower bound the result is -1 to 2**-57; at the upper one it overflows.
    x, x_low = split(x)
    form = x.format
    lower, upper = (form.bit_pattern(bound) for bound in EXPM1_BOUNDS)
    magnitude = x.magnitude_bits()
    special = _expm1_is_linear(x) | x.is_nan_or(math.inf)
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
    return t, fma(s, p_low, fma(s, p, m - t) + m_low), special, x


@Contract(ulp=0.87)
def tanh(x: Argument) -> Lane:
    """Return ``tanh(x)``."""
    high, low, regular, x = _tanh_words(x)
    return select(regular, (high + low).with_sign_of(x), x)


@Contract(ulp=0.5)
def wide_tanh(x: Argument) -> DoubleWord:
    """Return ``tanh(x)`` as a double word."""
    high, low, regular, x = _tanh_words(x)
    return DoubleWord(select(regular, high.with_sign_of(x), x), select(regular, low.times_sign_of(x), 0.0))


def _tanh_words(x: Argument) -> tuple[Lane, Lane, Lane, Lane]:
    """Return ``tanh(abs(x))`` in two words, where the result is not `x` itself instead, and the high word of `x`."""
    # tanh(|x|) = -t/(2 + t) with t = expm1(-2*|x|) as a double word, as in `expm1`, and a quotient corrected by its
    # remainder, as in `logistic`. Half an ulp comes from the last addition, the rest from t.
    #
    # Below 2**-28 x itself is the result, off by x**3/3, less than 0.1 ulp; these arguments and NaN are
    # computed as 20, from where on the result is one.
    x, x_low = split(x)
    form = x.format
    smallest = form.bit_pattern(2.0 ** (-2 - form.mantissa_bits // 2))
    magnitude = x.magnitude_bits()
    regular = (magnitude - smallest).below_unsigned(form.bit_pattern(math.inf) + 1 - smallest)
    upper = form.bit_pattern(TANH_IS_ONE)
    a = (select(regular & magnitude.below(upper), magnitude, upper) | form.sign_bit).as_float()
    if x_low is not None:
        x_low = -select(magnitude.below(upper), x_low, 0.0).times_sign_of(x)
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
    q = -t * inverse
    remainder = -t_low - fma(q, denominator_low, fma(q, denominator, t))
    return q, remainder * inverse, regular, x
