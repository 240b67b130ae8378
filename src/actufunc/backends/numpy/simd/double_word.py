"""Arithmetic on double words, for the arguments of exponentials.

After Dekker (1971) with the error of a product from one fused multiply-add. The low word is dropped where the high word
is infinite, so that no ``inf - inf`` arises, and where the low word would be subnormal, so that no underflow is
flagged that the plain operation would not flag; there it is below 2**-100 and of no use to an exponential.
"""

from __future__ import annotations

from .contract import Contract
from .elementary import sqrt
from .lanes import Argument, DoubleWord, Lane, fma, select, split, two_sum


def _has_low_word(result: Lane) -> Lane:
    """Return true where `result` is finite and so large that its rounding error is a normal number."""
    form = result.format
    smallest = form.bit_pattern(2.0 ** (2 - form.bias + 2 * form.mantissa_bits))
    magnitude = result.magnitude_bits()
    return ~magnitude.below(smallest) & magnitude.below(form.bit_pattern(float("inf")))


@Contract(ulp=2.0**-51, flags="overflow underflow")
def wide_multiply(a: Argument, b: Argument) -> DoubleWord:
    """Product of two double words."""
    a, a_low = split(a)
    b, b_low = split(b)
    product = a * b
    used = _has_low_word(product)
    a, b = select(used, a, 0.0), select(used, b, 0.0)
    low = fma(a, b, -select(used, product, 0.0))
    if a_low is not None:
        low = low + a_low * b
    if b_low is not None:
        low = low + a * b_low
    return DoubleWord(product, low)


@Contract(ulp=2.0**-51, flags="overflow underflow")
def wide_divide(a: Argument, b: Argument) -> DoubleWord:
    """Quotient of two double words: the remainder of the quotient of the high words, divided once more."""
    a, a_low = split(a)
    b, b_low = split(b)
    quotient = a / b
    used = _has_low_word(quotient)
    q, a, b = select(used, quotient, 0.0), select(used, a, 0.0), select(used, b, 1.0)
    remainder = fma(-q, b, a)
    if a_low is not None:
        remainder = remainder + select(used, a_low, 0.0)
    if b_low is not None:
        remainder = remainder - q * b_low
    return DoubleWord(quotient, remainder / b)


@Contract(ulp=0)
def wide_add(a: Argument, b: Argument) -> DoubleWord:
    """Sum of two double words, exact for single ones; else to 2**-100 of the larger."""
    a, a_low = split(a)
    b, b_low = split(b)
    total = a + b
    used = total.is_finite()
    _, low = two_sum(select(used, a, 0.0), select(used, b, 0.0))
    for word in (a_low, b_low):
        if word is not None:
            low = low + word
    return DoubleWord(total, low)


def wide_negative(a: Argument) -> DoubleWord:
    """Negative of a double word."""
    a, low = split(a)
    return DoubleWord(-a, a.constant(0.0) if low is None else -low)


@Contract(ulp=0)
def wide_subtract(a: Argument, b: Argument) -> DoubleWord:
    """Difference of two double words, as exact as `wide_add`."""
    return wide_add(a, wide_negative(b))


@Contract(ulp=2.0**-52, flags="invalid underflow", least=0.0)
def wide_sqrt(a: Argument) -> DoubleWord:
    """Square root of a double word: the remainder of the root of the high word, divided by twice that."""
    a, a_low = split(a)
    root = sqrt(a)
    used = _has_low_word(root) & ~root.equals(0.0)
    r = select(used, root, 1.0)
    remainder = fma(-r, r, select(used, a, 1.0))
    if a_low is not None:
        remainder = remainder + select(used, a_low, 0.0)
    return DoubleWord(root, remainder * 0.5 / r)


def wide_damped(a: Argument, factor: Argument) -> DoubleWord:
    """Product of two double words, but zero where the second is, even if the first is infinite."""
    a, a_low = split(a)
    vanishes = split(factor)[0].equals(0.0) & ~a.is_nan()
    a = select(vanishes, a.sign_bits().as_float(), a)
    return wide_multiply(a if a_low is None else DoubleWord(a, select(vanishes, a.constant(0.0), a_low)), factor)


def wide_where(condition: Lane, a: Argument, b: Argument) -> DoubleWord:
    """Select between double words."""
    a, a_low = split(a)
    b, b_low = split(b)
    zero = a.constant(0.0)
    return DoubleWord(
        select(condition, a, b), select(condition, zero if a_low is None else a_low, zero if b_low is None else b_low)
    )


def rounded(a: DoubleWord) -> Lane:
    """Round a double word; a low word of zero must not take the sign of -0."""
    return select(a.low.equals(0.0), a.high, a.high + a.low)


def low_word(total: Lane, low: Lane) -> Lane:
    """Return the rounding error of a sum: zero where the sum is not finite, for which NaN was computed."""
    return select(total.is_finite(), low, 0.0)


def two_sum_words(a: Lane, b: Lane) -> DoubleWord:
    """Sum of two floats and its rounding error."""
    return DoubleWord(*two_sum(a, b))
