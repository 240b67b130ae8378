"""Between the bits of half types and float64, which holds all their values, rounded once.

A half number ``(-1)**s * 2**(e - bias) * (1 + f / 2**m)`` has its ``m`` bits of fraction at the top of the 52 of
float64, and its exponent moves up by ``1023 - bias``. That leaves the subnormal numbers ``2**(1 - bias - m) * f``,
which one addition converts, and infinity and NaN. All is done on integers or by exact operations, for the conversions
of the processor raise flags, and are calls into a library where it has none.
"""

from __future__ import annotations

from dataclasses import dataclass

from llvmlite import ir

from .lanes import FLOAT64, Lane, select

_SIGN = 1 << 15


@dataclass(frozen=True)
class Half:
    """A format of 16 bits, seen from float64.

    Attributes
    ----------
    mantissa_bits : int
        Without the hidden bit.
    """

    mantissa_bits: int

    @property
    def bias(self) -> int:
        """Exponent of one."""
        return (1 << (14 - self.mantissa_bits)) - 1

    @property
    def infinity(self) -> int:
        """Bits of infinity, which those of NaN exceed."""
        return _SIGN - (1 << self.mantissa_bits)

    @property
    def shift(self) -> int:
        """Bits of a float64 below the last one of the mantissa."""
        return FLOAT64.mantissa_bits - self.mantissa_bits

    @property
    def rebias(self) -> int:
        """Difference of the exponents of one, in the bits of float64."""
        return (FLOAT64.bias - self.bias) << FLOAT64.mantissa_bits

    @property
    def smallest_normal(self) -> float:
        """Smallest normal number."""
        return 2.0 ** (1 - self.bias)


FLOAT16, BFLOAT16 = Half(10), Half(7)


def _right(x: Lane, count: int) -> Lane:
    """Shift right, zeros coming in."""
    return x.new(x.builder.lshr(x.value, x.operand(count)))


def _widened(bits: Lane, half: Half) -> Lane:
    """Return the float64 of 16 bits."""
    bits = bits.new(bits.builder.zext(bits.value, FLOAT64.integer))
    magnitude = bits & (_SIGN - 1)
    normal = (magnitude << half.shift) + half.rebias
    # With the exponent of the smallest normal number and the hidden bit, of which a subnormal number has but the first:
    # the difference is exact.
    subnormal = ((normal + (1 << FLOAT64.mantissa_bits)).as_float() - half.smallest_normal).bits()
    # Infinity and NaN have the largest exponent; the bias, added again, makes it the largest of float64. NaN becomes
    # quiet, or the first operation would raise a flag.
    quiet = select(magnitude.below(half.infinity + 1), magnitude.constant(0), 1 << (FLOAT64.mantissa_bits - 1))
    special = (normal + half.rebias) | quiet
    finite = select(magnitude.below(1 << half.mantissa_bits), subnormal, normal)
    result = select(magnitude.below(half.infinity), finite, special)
    return (result | ((bits & _SIGN) << (FLOAT64.bits - 16))).as_float()


def _rounded(x: Lane, half: Half) -> Lane:
    """Return the 16 bits of a float64, rounded to nearest, ties to even."""
    magnitude = x.magnitude_bits()
    # Half of the last place less one, and one more if the last place is odd, carry into it where the rest is more than
    # half, or half and the number odd; from the largest number into the exponent, and to infinity.
    odd = _right(magnitude, half.shift) & 1
    normal = _right(magnitude + odd + ((1 << (half.shift - 1)) - 1) - half.rebias, half.shift)
    # A number whose last place is that of the subnormal numbers, added: the processor rounds to nearest.
    unit = 2.0 ** (1 - half.bias - half.mantissa_bits + FLOAT64.mantissa_bits)
    subnormal = (abs(x) + unit).bits() - FLOAT64.bit_pattern(unit)
    result = select(magnitude.below(FLOAT64.bit_pattern(half.smallest_normal)), subnormal, normal)
    result = select(result.below(half.infinity), result, half.infinity)
    nan = half.infinity | (1 << (half.mantissa_bits - 1))
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
