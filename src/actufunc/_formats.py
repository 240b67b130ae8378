"""Binary floating-point formats: the three of IEEE 754 that NumPy's kernels know, and bfloat16."""

from __future__ import annotations

import struct
from dataclasses import dataclass

_CODES = {"float16": "<e", "float32": "<f", "float64": "<d"}  # of `struct`, which does not know bfloat16


@dataclass(frozen=True)
class Format:
    """A binary floating-point format: a sign, an exponent and the bits of the significand below the hidden one.

    Parameters
    ----------
    name : str
        Name of the dtype.
    bits : int
        Number of bits.
    mantissa_bits : int
        Number of bits of the significand, without the hidden one.
    """

    name: str
    bits: int
    mantissa_bits: int

    @property
    def precision(self) -> int:
        """Number of bits of the significand, the hidden one included."""
        return self.mantissa_bits + 1

    @property
    def bias(self) -> int:
        """Exponent bits of one, and the largest exponent."""
        return (1 << (self.bits - self.mantissa_bits - 2)) - 1

    highest = bias

    @property
    def lowest(self) -> int:
        """Exponent of the smallest normal number."""
        return 1 - self.bias

    @property
    def smallest_normal(self) -> float:
        """Smallest normal number."""
        return 2.0**self.lowest

    @property
    def infinity_bits(self) -> int:
        """Bits of infinity; the positive finite numbers are the integers below, NaN those above."""
        return (2 * self.bias + 1) << self.mantissa_bits

    @property
    def sign_bit(self) -> int:
        """Sign bit, as a signed integer."""
        return -(1 << (self.bits - 1))

    def round(self, value: float) -> float:
        """Round a number to this format."""
        code = _CODES[self.name]
        return float(struct.unpack(code, struct.pack(code, value))[0])

    def bit_pattern(self, value: float) -> int:
        """Return the bits of a number as a signed integer."""
        return int.from_bytes(struct.pack(_CODES[self.name], value), "little", signed=True)


FLOAT16, BFLOAT16 = Format("float16", 16, 10), Format("bfloat16", 16, 7)
FLOAT32, FLOAT64 = Format("float32", 32, 23), Format("float64", 64, 52)

FORMATS = {each.name: each for each in (FLOAT16, BFLOAT16, FLOAT32, FLOAT64)}
"""The formats by name of their dtype."""
