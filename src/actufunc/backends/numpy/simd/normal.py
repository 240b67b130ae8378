"""Distribution function and density of the standard normal distribution, for float64."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from actufunc.backends.coefficients import NORMAL_P, NORMAL_S, RAISING_POWER

from .contract import Contract
from .exponential import double_word, exp_parts
from .lanes import DoubleWord, fma, polynomial, power_of_two, scale, select, split, two_product, two_sum

if TYPE_CHECKING:
    from .lanes import Argument, Lane

# sqrt(2*pi) and its reciprocal, each as the nearest float of the format and the remainder.
_SQRT_2PI = (2.5066282746310007, -1.8328579980459167e-16)
_INV_SQRT_2PI = (0.3989422804014327, -2.4923272022777433e-17)

# Beyond this magnitude a tail is zero: the distribution function and the density are there below 2**-1800, so that
# their products with any `times` below 2**700 are, too. (The fit of the tables for float64 ends here, and the exponent
# of the tail less the shift of `_SMALL_TIMES` must stay within what `scale` can do.)
_LIMIT = 50.0
# From here on the right half is computed as 1 - Phi(-9), for Phi(-9) = 1.1e-19 changes nothing.
_SATURATED = 9.0
# Magnitudes are raised to this, which changes no result, so that neither a*a nor its square underflows.
_SMALLEST = 2.0**-64
# `times` below the first is multiplied by two to the power of the second, so that no low word of a product underflows.
_SMALL_TIMES = (2.0**-900, 128)
# A low word of the argument below this is dropped, for the same reason.
_SMALLEST_LOW = 2.0**-900


Words = tuple["Lane", "DoubleWord", "Lane", "Lane"]
"""High word of the argument; value and k for ``value * 2**k``; where the result is zero instead."""


@Contract(ulp=1.4, flags="underflow")
def normal_cdf(x: Argument, times: Argument | None = None) -> Lane:
    """Return ``times * Phi(x)``, with Phi the distribution function of the standard normal distribution.

    Phi(-inf) = 0 prevails over an infinite `times`: the result is then a zero with the sign of `times`.
    """
    return _finish(*_cdf_words(x), times)


@Contract(ulp=1.04, flags="underflow")
def normal_pdf(x: Argument, times: Argument | None = None) -> Lane:
    """Return ``times * exp(-x*x/2) / sqrt(2*pi)``, the density of the standard normal distribution.

    For infinite `x` it is zero even if `times` is infinite, with the sign of `times`.
    """
    return _finish(*_pdf_words(x), times)


@Contract(ulp=1.05, flags="underflow")
def wide_normal_cdf(x: Argument) -> DoubleWord:
    """Return ``Phi(x)`` as a double word."""
    return _wide(*_cdf_words(x))


@Contract(ulp=0.38, flags="underflow")
def wide_normal_pdf(x: Argument) -> DoubleWord:
    """Return ``exp(-x*x/2) / sqrt(2*pi)`` as a double word."""
    return _wide(*_pdf_words(x))


@Contract(ulp=1.05, flags="underflow")
def raised_normal_cdf(x: Argument) -> DoubleWord:
    """Return ``Phi(x) * 2**RAISING_POWER`` as a double word."""
    return _wide(*_cdf_words(x), RAISING_POWER)


@Contract(ulp=0.38, flags="underflow")
def raised_normal_pdf(x: Argument) -> DoubleWord:
    """Return ``exp(-x*x/2) / sqrt(2*pi) * 2**RAISING_POWER`` as a double word."""
    return _wide(*_pdf_words(x), RAISING_POWER)


def _cdf_words(x: Argument) -> Words:
    # With a = |x|, the tail is Q(a) = Phi(-a) = exp(-a*a/2) * R(a), and R is approximated by
    #
    #     R(a) = S(a) / (sqrt(2*pi)*a*S(a) + P(a))
    #
    # with polynomials of positive coefficients. The relative error of S cancels for large a, where the first term of
    # the denominator dominates, and that of P is diluted; for small a both are ruled by their constant terms, whose
    # additions are compensated. What the other operations round off is kept in second words (`_low`) to the last
    # addition. So the error, in ulp, is 0.5 from that addition, 0.2 from the exponential and the rest from the inner
    # roundings of S and P.
    x, x_low = split(x)
    form = x.format
    magnitude = x.magnitude_bits()
    saturated = form.bit_pattern(_SATURATED)
    left = x.bits().below(form.sign_bit + form.bit_pattern(_LIMIT))  # negative and within the limit
    inside = left | magnitude.below(saturated)
    a = _at_least_smallest(select(inside, magnitude, saturated))
    a_low = None if x_low is None else _usable_low(x, x_low, inside)

    e, e_low, k = exp_parts(_minus_half_square(a, None))
    s, s_low = _compensated_polynomial(a, NORMAL_S["float64"])
    p, p_low = _compensated_polynomial(a, NORMAL_P["float64"])
    w, w_low = _times_constant(a, None, _SQRT_2PI)
    product, product_low = two_product(w, s)
    denominator, denominator_low = two_sum(product, p)
    denominator_low = denominator_low + (product_low + fma(w_low, s, fma(w, s_low, p_low)))
    inverse = 1.0 / denominator
    ratio = s * inverse
    ratio_low = (fma(-ratio, denominator, s) + fma(-ratio, denominator_low, s_low)) * inverse
    q, q_low = two_product(e, ratio)
    q_low = fma(e, ratio_low, fma(e_low, ratio, q_low))
    if a_low is not None:  # the derivative of Q is -exp(-a*a/2) / sqrt(2*pi)
        q_low = fma(e * a_low, -_INV_SQRT_2PI[0], q_low)

    # The left half is 0 + q * 2**k, where the power comes last; the right half is 1 - q * 2**k.
    one = x.constant(1.0)
    factor = select(left, one, -power_of_two(k))
    start = select(left, x.constant(0.0), one)
    high = fma(q, factor, start)
    low = fma(q_low, factor, fma(q, factor, start - high))
    return x, DoubleWord(high, low), select(left, k, 0), x.is_negative() & ~left


def _pdf_words(x: Argument) -> Words:
    # The argument of exp is exact, and the constant and the products have two words: 0.5 ulp from the last addition
    # and 0.2 from the exponential.
    x, x_low = split(x)
    form = x.format
    magnitude = x.magnitude_bits()
    inside = magnitude.below(form.bit_pattern(_LIMIT))
    a = _at_least_smallest(select(inside, magnitude, 0))
    a_low = None if x_low is None else _usable_low(x, x_low, inside)
    e, e_low, k = exp_parts(_minus_half_square(a, a_low))
    high, low = _times_constant(e, e_low, _INV_SQRT_2PI)
    return x, DoubleWord(high, low), k, ~inside


def _at_least_smallest(magnitude: Lane) -> Lane:
    """Return the magnitude of these bits, raised to `_SMALLEST`."""
    smallest = magnitude.format.bit_pattern(_SMALLEST)
    return select(magnitude.below(smallest), magnitude.constant(smallest), magnitude).as_float()


def _usable_low(x: Lane, low: Lane, inside: Lane) -> Lane:
    """Return the low word of ``abs(x + low)``, or zero where `x` is not `inside` or either word is too small."""
    form = x.format
    too_small = x.magnitude_bits().below(form.bit_pattern(_SMALLEST))
    too_small |= low.magnitude_bits().below(form.bit_pattern(_SMALLEST_LOW))
    return select(inside & ~too_small, low.times_sign_of(x), 0.0)


def _compensated_polynomial(a: Lane, coefficients: tuple[float, ...]) -> tuple[Lane, Lane]:
    """Evaluate a polynomial by Horner's rule at its low end, and return the rounding error of the last step too."""
    constant, linear, *others = coefficients
    inner = fma(polynomial(a, others, a * a), a, linear)
    value = fma(inner, a, constant)
    return value, fma(inner, a, constant - value)


def _minus_half_square(a: Lane, a_low: Lane | None) -> DoubleWord:
    """Return ``-(a + a_low)**2 / 2``, exact but for the square of `a_low`."""
    half = a * -0.5
    high, low = two_product(a, half)
    if a_low is not None:
        low = fma(-a, a_low, low)
    return DoubleWord(high, low)


def _times_constant(a: Lane, a_low: Lane | None, constant: tuple[float, float]) -> tuple[Lane, Lane]:
    """Multiply by a constant of two words."""
    high, low = two_product(a, constant[0])
    low = fma(a, constant[1], low)
    return high, low if a_low is None else fma(a_low, constant[0], low)


def _wide(x: Lane, value: DoubleWord, k: Lane, is_zero: Lane, power: int = 0) -> DoubleWord:
    """Return ``value * 2**(k + power)`` as a double word, but zero where it is, and NaN where `x` is."""
    words = double_word(value.high, value.low, k + power if power else k, is_zero)
    return DoubleWord(select(x.is_nan(), x, words.high), words.low)


def _finish(x: Lane, value: DoubleWord, k: Lane, is_zero: Lane, times: Argument | None) -> Lane:
    """Return ``times * value * 2**k``, but where `is_zero` a zero with the sign of `times`, and NaN where `x` is."""
    form = x.format
    high, low = value.high, value.low
    if times is None:
        result = select(is_zero, high.constant(0.0), scale(high + low, k))
        return select(x.is_nan(), x, result)
    # The sign is put on at the end, which also serves signed zeros; and an infinite factor would make inf - inf of the
    # two words, so that it is replaced by the largest float meanwhile.
    times, times_low = split(times)
    largest = form.bit_pattern(math.inf) - 1
    factor = times.magnitude_bits()
    factor = select(factor.below(largest), factor, largest)
    smallest, shift = _SMALL_TIMES
    is_small = factor.below(form.bit_pattern(smallest))
    raise_by = select(is_small, high.constant(2.0**shift), 1.0)
    factor = factor.as_float() * raise_by
    product, product_low = two_product(high, factor)
    product_low = fma(low, factor, product_low)
    if times_low is not None:
        product_low = fma(high, times_low.times_sign_of(times) * raise_by, product_low)
    result = scale(product + product_low, k - select(is_small, k.constant(shift), 0))
    result = select(times.is_finite(), result, math.inf)
    result = select(is_zero, high.constant(0.0), result).with_sign_of(times)
    return select(x.is_nan(), x, select(times.is_nan(), times, result))
