"""The floating-point formats of results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Format:
    """A binary floating-point format: bits of the significand, the hidden one included, and the range of exponents."""

    precision: int
    lowest: int
    highest: int

    @property
    def infinity_bits(self) -> int:
        """Infinity as an integer; the positive finite numbers are those below."""
        return (self.highest - self.lowest + 2) << (self.precision - 1)


FORMATS = {
    "float16": Format(11, -14, 15),
    "bfloat16": Format(8, -126, 127),
    "float32": Format(24, -126, 127),
    "float64": Format(53, -1022, 1023),
}


def working_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype to which scalar hyperparameters are rounded beside `dtype`: float32 for the half types."""
    return np.dtype(np.float64 if FORMATS[dtype.name].precision > FORMATS["float32"].precision else np.float32)
