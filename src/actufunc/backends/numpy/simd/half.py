"""Conversion between the bits of half types and float64, exact or rounded once, without flags.

A half number ``(-1)**s * 2**(e - bias) * (1 + f / 2**m)`` has its ``m`` bits of fraction at the top of the 52 of
float64, and its exponent moves up by ``1023 - bias``. That leaves the subnormal numbers ``2**(1 - bias - m) * f``,
which one addition converts, and infinity and NaN. All operations are exact or on integers, for the conversions of the
processor raise flags, and are calls into a library where it has none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llvmlite import ir

from actufunc._formats import BFLOAT16, FLOAT16, FLOAT64

from .lanes import Lane, select

if TYPE_CHECKING:
    from actufunc._formats import Format

_SIGN = 1 << 15


def _right(x: Lane, count: int) -> Lane:
    """Shift right, zeros coming in."""
    return x.new(x.builder.lshr(x.value, x.operand(count)))


def _differences(half: Format) -> tuple[int, int]:
    """Return by how many bits the significand of float64 is longer, and the bits that its larger bias adds."""
    return FLOAT64.mantissa_bits - half.mantissa_bits, (FLOAT64.bias - half.bias) << FLOAT64.mantissa_bits


def _widened(bits: Lane, half: Format) -> Lane:
    """Return the float64 of 16 bits."""
    shift, rebias = _differences(half)
    bits = bits.new(bits.builder.zext(bits.value, ir.IntType(FLOAT64.bits)))
    magnitude = bits & (_SIGN - 1)
    normal = (magnitude << shift) + rebias
    # With the exponent of the smallest normal number and the hidden bit, of which a subnormal number has but the first:
    # the difference is exact.
    subnormal = ((normal + (1 << FLOAT64.mantissa_bits)).as_float() - half.smallest_normal).bits()
    # Infinity and NaN have the largest exponent; the bias, added again, makes it the largest of float64. NaN becomes
    # quiet, or the first operation would raise a flag.
    quiet = select(magnitude.below(half.infinity_bits + 1), magnitude.constant(0), 1 << (FLOAT64.mantissa_bits - 1))
    special = (normal + rebias) | quiet
    finite = select(magnitude.below(1 << half.mantissa_bits), subnormal, normal)
    result = select(magnitude.below(half.infinity_bits), finite, special)
    return (result | ((bits & _SIGN) << (FLOAT64.bits - 16))).as_float()


def _rounded(x: Lane, half: Format) -> Lane:
    """Return the 16 bits of a float64, rounded to nearest, ties to even."""
    shift, rebias = _differences(half)
    magnitude = x.magnitude_bits()
    # Half of the last place less one, and one more if the last place is odd, carry into it where the rest is more than
    # half, or half and the number odd; from the largest number into the exponent, and to infinity.
    odd = _right(magnitude, shift) & 1
    normal = _right(magnitude + odd + ((1 << (shift - 1)) - 1) - rebias, shift)
    # A number whose last place is that of the subnormal numbers, added: the processor rounds to nearest.
    unit = 2.0 ** (1 - half.bias - half.mantissa_bits + FLOAT64.mantissa_bits)
    subnormal = (abs(x) + unit).bits() - FLOAT64.bit_pattern(unit)
    result = select(magnitude.below(FLOAT64.bit_pattern(half.smallest_normal)), subnormal, normal)
    result = select(result.below(half.infinity_bits), result, half.infinity_bits)
    nan = half.infinity_bits | (1 << (half.mantissa_bits - 1))
    result = select(magnitude.below(FLOAT64.bit_pattern(float("inf")) + 1), result, nan)
    bits = result | (_right(x.bits(), FLOAT64.bits - 16) & _SIGN)
    return x.new(x.builder.trunc(bits.value, ir.IntType(16)))


def from_float16(bits: Lane) -> Lane:
    """Return the float64 of the bits of a float16."""
    return _widened(bits, FLOAT16)


def from_bfloat16(bits: Lane) -> Lane:
    """Return the float64 of the bits of a bfloat16."""
    return _widened(bits, BFLOAT16)


def to_float16(x: Lane) -> Lane:
    """Return the bits of the float16 that is nearest to a float64."""
    return _rounded(x, FLOAT16)


def to_bfloat16(x: Lane) -> Lane:
    """Return the bits of the bfloat16 that is nearest to a float64."""
    return _rounded(x, BFLOAT16)
