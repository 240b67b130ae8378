"""The functions in CUDA C that generated text calls and CUDA lacks.

float32 and float64 compute the arguments of exponentials in double words. Half types are computed in float, whose 13 or
16 bits more than the result has make second words needless; their functions have the same names and take one word.
Everything is IEEE arithmetic and CUDA's full-precision functions: no fast-math. Floats have the type `gradual` of
:mod:`~actufunc.backends.cupy.codegen.subnormals`.
"""

from __future__ import annotations

import functools
import re
from decimal import Decimal
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np

from actufunc.backends.coefficients import LOG_2, NORMAL_P, NORMAL_S

from .subnormals import definitions

if TYPE_CHECKING:
    from collections.abc import Sequence

# What differs between the kinds of kernel. `f` ends literals and the names of CUDA's functions. From `limit` on
# exponentials have saturated, and a low word, which there is up to 1/16, could soon make 1 + low negative. Exponentials
# of arguments within `normal` are normal numbers.
_FLOAT = {"real": "gradual", "f": "f", "mul": "operator*", "limit": "1e6f", "normal": "80.0f", "largest": "3.4e38f"}
_DOUBLE = {"real": "double", "f": "", "mul": "__dmul_rn", "limit": "1e15", "normal": "700.0", "largest": "1.79e308"}
_POWER = {"float32": 90, "float64": 900}  # of two, in `times_exp`
_TWO_WORDS = {"argument": "wide", "x": "x.high", "expm1": "wide_expm1"}
_ONE_WORD = {"argument": "gradual", "x": "x", "expm1": "expm1f"}
KINDS = {"half": _FLOAT | _ONE_WORD, "float32": _FLOAT | _TWO_WORDS, "float64": _DOUBLE | _TWO_WORDS}
"""Substitutions by kind of kernel: one for both half types, and one for each of float32 and float64."""

_BASIC = """\
// Unlike fmax and fmin, NaN if either is.
__device__ inline $real maximum($real a, $real b) { return a > b || a != a ? a : b; }
__device__ inline $real minimum($real a, $real b) { return a < b || a != a ? a : b; }
// Zero prevails over infinity.
__device__ inline $real damped($real x, $real factor) {
    return (factor == 0.0$f && x == x ? copysign$f(0.0$f, x) : x) * factor;
}
"""

# The tail of the normal distribution is Q(a) = Phi(-a) = exp(-a*a/2) * R(a) with R(a) = S(a)/(sqrt(2*pi)*a*S(a) + P(a))
# and polynomials of positive coefficients. Beyond 100 the exponential is zero, and the polynomials must not overflow.
_IN_TWO_WORDS = """\
// A number and what its rounding left out.
struct wide {
    $real high, low;
    template <typename T> __device__ wide(T value) : high(value), low(0.0$f) {}  // of a literal, too
    __device__ wide($real value, $real rest) : high(value), low(fabs$f(value) < $limit ? rest : 0.0$f) {}
};
__device__ inline wide wide_negative(wide a) { return wide(-a.high, -a.low); }
__device__ inline wide wide_add(wide a, wide b) {
    const $real sum = a.high + b.high, part = sum - a.high;
    return wide(sum, (a.high - (sum - part)) + (b.high - part) + (a.low + b.low));
}
__device__ inline wide wide_subtract(wide a, wide b) { return wide_add(a, wide_negative(b)); }
// The compiler could fuse a product of double that is written with * into a later sum, and then the low word would not
// fit.
__device__ inline wide wide_multiply(wide a, wide b) {
    const $real product = $mul(a.high, b.high);
    return wide(product, fma$f(a.high, b.high, -product) + (a.high * b.low + a.low * b.high));
}
__device__ inline wide wide_divide(wide a, wide b) {
    const $real quotient = a.high / b.high, rest = fma$f(-quotient, b.high, a.high) + (a.low - quotient * b.low);
    return wide(quotient, quotient == 0.0$f ? 0.0$f : rest / b.high);
}
__device__ inline wide wide_sqrt(wide a) {
    const $real root = sqrt$f(a.high), rest = fma$f(-root, root, a.high) + a.low;
    return wide(root, root == 0.0$f ? 0.0$f : rest / (root + root));
}
__device__ inline $real rounded(wide a) { return a.low == 0.0$f ? a.high : a.high + a.low; }
// Where exp(x) may be subnormal or infinite, exp(x + shift) is neither, for a shift by a multiple of log(2), and the
// power of two comes last. (Far beyond that it can be subnormal again, of use only to the largest of times.)
__device__ inline $real times_exp($real times, wide x) {
    const $real shift = x.high < -$normal ? $shift : x.high > $normal ? -$shift : 0.0$f, sum = x.high + shift;
    const wide near(sum, x.low + fma$f(shift, $shift_low, shift - (sum - x.high)));
    const $real e = exp$f(near.high);
    const $real y = damped(times, near.high < $normal ? fma$f(e, near.low, e) : e * (1.0$f + near.low));
    return shift == 0.0$f ? y : y * (shift > 0.0$f ? $small : $large);
}
__device__ inline $real wide_expm1(wide x) { return expm1$f(x.high) * (1.0$f + x.low) + x.low; }
// With exp(-x) the left tail would end where that overflows. All but the last rounding are kept in second words.
__device__ inline $real logistic(wide x) {
    const $real e = exp$f(-fabs$f(x.high)), sum = 1.0$f + e, inverse = 1.0$f / sum;
    const $real top = x.high < 0.0$f ? e : 1.0$f, y = $mul(top, inverse);
    const $real rest = fma$f(-sum, inverse, 1.0$f) - (e - (sum - 1.0$f)) * inverse;
    const $real slope = x.high < 0.0$f ? inverse : e * inverse;
    return y + fma$f(y, fma$f(x.low, slope, rest), fma$f(top, inverse, -y));
}
__device__ inline $real softplus(wide x) {
    const $real e = exp$f(-fabs$f(x.high));
    const $real y = (x.high > 0.0$f ? x.high : 0.0$f) + log1p$f(e);
    return x.low == 0.0$f ? y : fma$f(x.low, (x.high > 0.0$f ? 1.0$f : e) / (1.0$f + e), y);
}
// A float holds sqrt(2*pi) to 33 bits; of 1/sqrt(2*pi) it holds 25.
__device__ inline $real times_normal_pdf($real times, wide x) {
    const wide square = wide_multiply(x, x);
    return times_exp(times / $sqrt_2pi, wide(-0.5$f * square.high, -0.5$f * square.low));
}
// times * Phi(low - a). The last step of Horner's rule, the product and the sum in the denominator keep what they round
// off, and the quotient's remainder, which is relative to the result, joins the low word of the exponent.
__device__ inline $real times_normal_tail($real times, $real a, $real low) {
    const $real b = a < 100.0$f ? a : 100.0$f;
    const $real s_slope = $s_slope, s = fma$f(s_slope, b, $s_0), s_low = fma$f(s_slope, b, $s_0 - s);
    const $real p_slope = $p_slope, p = fma$f(p_slope, b, $p_0), p_low = fma$f(p_slope, b, $p_0 - p);
    const wide left = wide_multiply(wide_multiply(b, wide($sqrt_2pi, $sqrt_2pi_low)), wide(s, s_low));
    const wide denominator = wide_add(left, wide(p, p_low)), square = wide_multiply(a, a);
    const $real ratio = s / denominator.high;
    const $real rest = fma$f(-ratio, denominator.high, s) + (s_low - ratio * denominator.low);
    const $real relative = rest / s + (low == 0.0$f ? 0.0$f : low / (ratio * $sqrt_2pi));
    return times_exp(times * ratio, wide(-0.5$f * square.high, fma$f(-0.5$f, square.low, relative)));
}
__device__ inline $real times_normal_cdf($real times, wide x) {
    const bool left = x.high < 0.0$f;
    const $real tail = times_normal_tail(left ? times : 1.0$f, fabs$f(x.high), left ? x.low : -x.low);
    return left ? tail : times * (1.0$f - tail);
}
// Sums over an axis keep what they round off (Neumaier 1974). That is NaN where the sum is
// not finite.
__device__ inline void accumulate($real &high, $real &low, $real term, $real term_low) {
    const $real sum = high + term, part = sum - high;
    low = low + ((high - (sum - part)) + (term - part) + term_low);
    high = sum;
}
__device__ inline void settle($real &high, $real &low) {
    const $real rest = fabs$f(high) <= $largest ? low : 0.0$f, sum = high + rest;
    low = rest - (sum - high);
    high = sum;
}
// By a sum of two words whose inverse is known. The product with the inverse is off by 1.5 ulp, and its remainder
// corrects it.
__device__ inline $real divided($real x, $real high, $real low, $real inverse) {
    const $real quotient = x * inverse, remainder = fma$f(-quotient, low, fma$f(-quotient, high, x));
    return fma$f(remainder, inverse, quotient);
}
"""

_IN_ONE_WORD = """\
// Where exp(x) may be subnormal exp(x/2) is normal, and scales twice.
__device__ inline gradual times_exp(gradual times, gradual x) {
    const bool twice = !(fabsf(x) < $normal);
    const gradual e = expf(twice ? 0.5f * x : x), y = damped(times, e);
    return twice ? damped(y, e) : y;
}
// With exp(-x) the left tail would end where that overflows.
__device__ inline gradual logistic(gradual x) {
    const gradual e = expf(-fabsf(x));
    return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}
__device__ inline gradual softplus(gradual x) { return (x > 0.0f ? x : 0.0f) + log1pf(expf(-fabsf(x))); }
__device__ inline gradual times_normal_pdf(gradual times, gradual x) {
    return times_exp(times / $sqrt_2pi, -0.5f * x * x);
}
__device__ inline gradual times_normal_cdf(gradual times, gradual x) {
    const bool left = x < 0.0f;
    const gradual a = fabsf(x), b = a < 100.0f ? a : 100.0f;
    const gradual s = fmaf($s_slope, b, $s_0), p = fmaf($p_slope, b, $p_0);
    const gradual tail = times_exp((left ? times : 1.0f) * (s / fmaf($sqrt_2pi * b, s, p)), -0.5f * a * a);
    return left ? tail : times * (1.0f - tail);
}
__device__ inline void accumulate(gradual &high, gradual &, gradual term, gradual) { high = high + term; }
__device__ inline void settle(gradual &, gradual &) {}
__device__ inline gradual divided(gradual x, gradual, gradual, gradual inverse) { return x * inverse; }
"""

_DERIVED = """\
// Far left this is an exponential.
__device__ inline $real times_logistic($real times, $argument x) {
    return $x < -$normal ? times_exp(times, x) : times * logistic(x);
}
__device__ inline $real softplus_over($argument x, $real divisor) {
    return $x < -$normal ? times_exp(1.0$f / divisor, x) : softplus(x) / divisor;
}
// factor * expm1(x) for x = y / factor, which may be subnormal although y is not.
__device__ inline $real scaled_expm1($real y, $real factor, $argument x) {
    return fabs$f($x) < 1e-18$f ? y : factor * $expm1(x);
}
__device__ inline $real normal_pdf($argument x) { return times_normal_pdf(1.0$f, x); }
__device__ inline $real normal_cdf($argument x) { return times_normal_cdf(1.0$f, x); }
"""


def fill(text: str, kind: str) -> str:
    """Put what differs between the kinds of kernel into a text."""
    return Template(text).substitute(KINDS[kind])


def functions_called(text: str, kind: str) -> str:
    """Return the definitions of all functions that a text calls, each after those it uses; often none."""
    needed = ""
    for name, definition in reversed(_functions(kind).items()):
        if re.search(rf"\b{name}\b", text + needed):
            needed = definition + needed
    return needed


def functions(kind: str) -> frozenset[str]:
    """Return the names of all functions."""
    return frozenset(_functions(kind))


@functools.cache
def _functions(kind: str) -> dict[str, str]:
    """Return the text of each function by its name; each uses only those before it."""
    precision = "float32" if kind == "half" else kind
    real = KINDS[kind]["f"]
    values = dict(KINDS[kind])
    for letter, table in (("s", NORMAL_S), ("p", NORMAL_P)):
        constant, *others = table[precision]
        values[f"{letter}_0"] = f"{constant}{real}"
        values[f"{letter}_slope"] = _horner(others, real)
    number, power = np.dtype(precision).type, _POWER[precision]
    high, low = _two_words(_SQRT_2PI, number)
    values |= {"sqrt_2pi": f"{high}{real}", "sqrt_2pi_low": f"{low}{real}"}
    high, low = _two_words(power * LOG_2, number)
    values |= {"shift": f"{high}{real}", "shift_low": f"{number(low / high)}{real}"}
    values |= {"small": f"{number(2.0**-power)}{real}", "large": f"{number(2.0**power)}{real}"}
    text = _BASIC + (_IN_ONE_WORD if kind == "half" else _IN_TWO_WORDS) + _DERIVED
    text = definitions(kind) + Template(text).substitute(values)
    found = re.split(r"(?<=[};])\n(?=//|__device__)", text.rstrip())
    start = re.compile(r"^(?:struct|(?:template .*)?__device__ inline \S+) (\w+)", re.MULTILINE)
    names = (start.findall(each)[0] for each in found)
    return {name: f"{each}\n" for name, each in zip(names, found, strict=True)}


def _two_words(value: Decimal, number: Any) -> tuple[Any, Any]:
    """Return the nearest number of a precision, and the remainder."""
    high = number(float(value))
    return high, number(float(value - Decimal(float(high))))


_SQRT_2PI = Decimal("2.50662827463100050241576528481104525")  # sqrt(2*pi)


def _horner(coefficients: Sequence[float], f: str) -> str:
    """Write a polynomial of `b`, lowest power first, by Horner's rule."""
    *lower, text = (f"{coefficient}{f}" for coefficient in coefficients)
    for coefficient in reversed(lower):
        text = f"fma{f}({text}, b, {coefficient})"
    return text
