"""exp, logarithms, the logistic function, tanh, softplus and the normal distribution for float32, within float64.

A formula of float32 numbers is evaluated in float64 and rounded once, at its end. That takes no more time than to
compensate the rounding errors of float32, and leaves nothing to compensate: each function here has a relative error
below 2**-32.9, 2**-8.9 ulp of float32, and the operations of a formula in 53 bits add little to that. Results of
float32 are subnormal, or overflow, long before those of float64 do; so nothing is scaled last.

Arguments that are infinite or NaN raise no flag, and neither do results that are infinite or zero for them.
"""

from __future__ import annotations

import math

from actufunc.backends.coefficients import NORMAL_P, NORMAL_S

from .contract import Contract
from .lanes import Lane, fma, polynomial, select

# exp(r) = 1 + r + r**2 * P(r) for |r| <= log(2)/2: minimax P, from benchmarks/fit_polynomials.py.
_EXP = (  # largest error relative to exp(r) 5.2e-11, 2**-34.2
    0.5000000068037127,
    0.1666666586472006,
    0.04166629363507473,
    0.008333497639811836,
    0.0013944758563166524,
    0.0001979026368766093,
)
_EXPM1 = (  # largest error relative to expm1(r) 5.3e-12, 2**-37.5
    0.5000000000105711,
    0.16666666754395146,
    0.04166666595077374,
    0.00833328896554454,
    0.0013888985465773378,
    0.00019904972927548592,
    2.479637668091429e-05,
)
# atanh(s)/s as a polynomial in s**2 <= 1/9, from the same program.
_ATANH = (  # largest relative error 9.9e-11, 2**-33.2
    0.9999999999014253,
    0.33333339653251914,
    0.1999934547040223,
    0.14310360788602058,
    0.10696626538449888,
    0.12206533870790513,
)
_INV_SQRT_2PI = 1 / math.sqrt(2 * math.pi)

# The largest magnitude whose exponential _power_of_e computes: 2**k is a normal number, and so is the result. On the
# left, exp is zero from here on, 2**-1021, for which no float32 factor makes up.
_LIMIT = 708.0
# Where tanh(x) and expm1(-x) have been 1 and -1 for long.
_TANH_IS_ONE = 20.0
# Where the tail of the normal distribution and its density are zero. The argument of exp is -684 here.
_TAIL_ENDS = 37.0
_SHIFTER = 1.5 * 2.0**52


def _at_most(magnitude: Lane, bound: float) -> Lane:
    """Return the float of these bits, or `bound` where it is larger, infinite or NaN."""
    bits = magnitude.format.bit_pattern(bound)
    return select(magnitude.below(bits), magnitude, bits).as_float()


def _within_limit(x: Lane) -> Lane:
    """Clamp to `_LIMIT` on both sides; NaN becomes one of them."""
    upper, lower = x.format.bit_pattern(_LIMIT), x.format.bit_pattern(-_LIMIT)
    bits = x.bits()
    bits = select(bits.below(upper), bits, upper)
    return select(bits.below_unsigned(lower), bits, lower).as_float()  # unsigned, negative numbers are above the others


def _is_far_left(x: Lane) -> Lane:
    """Return true where `x` is on the left of the limit, or a NaN with a sign, which is put back later."""
    return ~x.bits().below_unsigned(x.format.bit_pattern(-_LIMIT))


def _reduced(x: Lane) -> tuple[Lane, Lane]:
    """Return ``r`` in [-log(2)/2, log(2)/2] and ``2**k`` with ``x = r + k*log(2)``, for `x` within the limit."""
    # k is the integer nearest to x/log(2), by adding and subtracting 1.5 * 2**52: the bits of the sum hold it. The
    # error of k*log(2), half an ulp of log(2) times 2**10, is 2**-44.
    shifted = fma(x, 1 / math.log(2), _SHIFTER)
    k = shifted - _SHIFTER
    power = (shifted.bits() << x.format.mantissa_bits) + x.format.bit_pattern(1.0)
    return fma(k, -math.log(2), x), power.as_float()


def _power_of_e(x: Lane, special: Lane, value: float) -> Lane:
    """``exp(x)`` for `x` within the limit, but 0 or infinity, as `value` says, where `special` holds."""
    # The value comes in with the power of two. From a select at the end LLVM would take what follows into its arms,
    # rounding to float32 first of all, and numbers that are not selected would underflow.
    r, power = _reduced(x)
    return polynomial(r, (1.0, 1.0, *_EXP), r * r) * select(special, power.constant(value), power)


def _power_of_e_less_one(x: Lane) -> tuple[Lane, Lane]:
    """Return ``u`` and ``2**k`` with ``exp(x) = (1 + u) * 2**k``, where u is as exact as x for small x."""
    r, power = _reduced(x)
    return r * fma(polynomial(r, _EXPM1, r * r), r, 1.0), power


@Contract(ulp=0.00082)
def exp(x: Lane) -> Lane:
    """``exp(x)``."""
    result = _power_of_e(_within_limit(x), _is_far_left(x), 0.0)
    return select(x.is_nan_or(math.inf), x, result)


@Contract(ulp=0.00011)
def expm1(x: Lane) -> Lane:
    """``exp(x) - 1``, accurate for small `x`."""
    u, power = _power_of_e_less_one(_within_limit(x))
    result = fma(power, u, power - 1.0).with_sign_of(x)
    return select(x.is_nan_or(math.inf), x, result)


@Contract(ulp=0.0008)
def logistic(x: Lane) -> Lane:
    """``1 / (1 + exp(-x))``."""
    result = 1.0 / (1.0 + _power_of_e(-_within_limit(x), _is_far_left(x), math.inf))
    return select(x.is_nan(), x, result)


@Contract(ulp=0.00011)
def tanh(x: Lane) -> Lane:
    """``tanh(x)``."""
    # With exp(-2a) = (1 + u) * 2**k, the quotient of 1 - exp(-2a) and 1 + exp(-2a); for k = 0 the first is -u.
    a = _at_most(x.magnitude_bits(), _TANH_IS_ONE)
    u, power = _power_of_e_less_one(a * -2.0)
    result = fma(power, -u, 1.0 - power) / fma(power, u, 1.0 + power)
    return select(x.is_nan(), x, result.with_sign_of(x))


def _log_of_quotient(numerator: Lane, denominator: Lane) -> Lane:
    """``log((denominator + numerator) / (denominator - numerator))``, 2*atanh of the quotient."""
    s = numerator / denominator
    square = s * s
    return (s + s) * polynomial(square, _ATANH, square * square)


@Contract(ulp=0.0018, least=0.0)
def log(x: Lane) -> Lane:
    """Natural logarithm; -inf for zero and NaN for negative numbers. `x` is zero or a normal number of float64."""
    # x = 2**k * (1 + f) with f in [-1/4, 1/2), both exact; log(1 + f) is 2*atanh(f/(2 + f)).
    f, k = _significand(x)
    result = fma(k, math.log(2), _log_of_quotient(f, f + 2.0))
    result = select(x.is_negative(), x.constant(math.nan), result)
    result = select(x.equals(0.0), x.constant(-math.inf), result)
    return select(x.is_nan_or(math.inf), x, result)


@Contract(ulp=0.0018, least=-1.0)
def log1p(x: Lane) -> Lane:
    """``log(1 + x)``, accurate for small `x`; -inf for -1 and NaN below it."""
    # For small x, f is x itself. Otherwise the result is above 1/4, and what 1 + x rounds away is 2**-52 of it.
    form = x.format
    bound = select(x.is_negative(), x.bits().constant(form.bit_pattern(1.0)), form.bit_pattern(math.inf))
    regular = x.magnitude_bits().below(bound)
    inside = select(regular, x, 0.0)
    f, k = _significand(inside + 1.0)
    f = select(k.equals(0.0), inside, f)
    result = fma(k, math.log(2), _log_of_quotient(f, f + 2.0)).with_sign_of(x)
    special = select(x.is_nan_or(math.inf), x, math.nan)
    special = select(x.equals(-1.0), x.constant(-math.inf), special)
    return select(regular, result, special)


def _significand(x: Lane) -> tuple[Lane, Lane]:
    """Return f in [-1/4, 1/2) and an integer k, as a float, with ``x = 2**k * (1 + f)``, for normal positive x."""
    form = x.format
    bits = x.bits()
    k = (bits - form.bit_pattern(0.75)) >> form.mantissa_bits
    k_float = (k + form.bit_pattern(_SHIFTER)).as_float() - _SHIFTER
    return (bits - (k << form.mantissa_bits)).as_float() - 1.0, k_float


@Contract(ulp=0.0021, flags="underflow", in_vain="underflow")
def softplus(x: Lane) -> Lane:
    """``log(1 + exp(x))``."""
    # max(x, 0) + log1p(e) with e = exp(-abs(x)) in (0, 1], and log1p(e) = 2*atanh(e/(2 + e)).
    magnitude = x.magnitude_bits()
    e = _power_of_e(-_at_most(magnitude, _LIMIT), ~magnitude.below(x.format.bit_pattern(_LIMIT)), 0.0)
    result = _log_of_quotient(e, e + 2.0) + select(x.is_negative(), x.constant(0.0), x)
    return select(x.is_nan(), x, result)


def _bell(x: Lane) -> tuple[Lane, Lane]:
    """Return ``a = abs(x)``, at most `_TAIL_ENDS`, and ``exp(-a*a/2)``, which is zero there."""
    magnitude = x.magnitude_bits()
    a = _at_most(magnitude, _TAIL_ENDS)
    return a, _power_of_e(a * a * -0.5, ~magnitude.below(x.format.bit_pattern(_TAIL_ENDS)), 0.0)


@Contract(ulp=0.0012)
def normal_cdf(x: Lane) -> Lane:
    """Distribution function of the standard normal distribution."""
    # With a = |x| the tail is exp(-a*a/2) * S(a) / (sqrt(2*pi)*a*S(a) + P(a)), as for float64.
    a, power = _bell(x)
    s = polynomial(a, NORMAL_S["float32 in float64"], a * a)
    p = polynomial(a, NORMAL_P["float32 in float64"], a * a)
    tail = power * s / fma(a * math.sqrt(2 * math.pi), s, p)
    return select(x.is_nan(), x, select(x.is_negative(), tail, 1.0 - tail))


@Contract(ulp=0.00092)
def normal_pdf(x: Lane) -> Lane:
    """``exp(-x*x/2) / sqrt(2*pi)``, the density of the standard normal distribution."""
    _, power = _bell(x)
    return select(x.is_nan(), x, power * _INV_SQRT_2PI)
