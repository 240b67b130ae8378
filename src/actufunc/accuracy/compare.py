"""Comparison of results with a reference in float64, fast enough for every number of float32.

Errors are those of `ulp_error`; the loop is compiled by Numba when it is first used.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from actufunc._formats import FORMATS, Format

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]

__all__ = ["REFERENCE_ULP", "RIGHT", "UNDECIDED", "WRONG", "Compared", "compare"]

REFERENCE_ULP = 8.0
"""Error of the reference, in ulp of float64, up to which the verdicts are right."""

RIGHT, WRONG, UNDECIDED = range(3)
"""Verdicts: correctly rounded; not; unknown, as the reference is too near the middle of two numbers."""


class Compared(NamedTuple):
    """Largest errors of a block of results, in ulp, and their places in the block."""

    ulp: float
    place: int
    plain_ulp: float
    plain_place: int


def compare(values: Array, exact: Array, dtype: str, verdicts: Array, *, beside: float = 0.0) -> Compared:
    """Compare results, float32 numbers computed in `dtype`, with a reference in float64.

    The reference has an error of at most `REFERENCE_ULP`. `RIGHT`, `WRONG` or `UNDECIDED` for each result is written to
    `verdicts`, of uint8. Errors are in ulp of the format `dtype`; the unit of `ulp` is at least that of the magnitude
    `beside`, the unit of `plain_ulp` always that of the result.
    """
    form = FORMATS[dtype]
    least = max(form.lowest, int(np.frexp(beside)[1]) - 1) if beside else form.lowest
    return Compared(*_loop()(values, exact, exact.view(np.int64), _inverse_units(form), form.lowest, least, verdicts))


@functools.cache
def _inverse_units(form: Format) -> Array:
    """Return one over the unit in the last place of each binade."""
    exponents = np.arange(form.lowest, form.highest + 1)
    return np.ldexp(1.0, form.precision - 1 - exponents)


@functools.cache
def _loop() -> Any:
    import numba  # noqa: PLC0415

    from actufunc.backends.numpy.jit.numba_cache import compile_cached  # noqa: PLC0415

    signature = "(float32[::1],float64[::1],int64[::1],float64[::1],int64,int64,uint8[::1])"

    def build(*, cache: bool) -> Any:
        return numba.njit([signature], cache=cache, nogil=True, error_model="numpy")(_errors)

    return compile_cached(build, _errors)


def _errors(
    values: Array, exact: Array, bits: Array, inverse_units: Array, lowest: int, least: int, verdicts: Array
) -> tuple[float, int, float, int]:
    highest = lowest + inverse_units.size - 1
    beyond = 2.0 ** (highest + 1)
    overflow = beyond - 0.5 / inverse_units[-1]
    smallest = 2.0**least
    relative = REFERENCE_ULP * 2.0**-52
    worst = plain_worst = -1.0
    at = plain_at = 0
    for i in range(values.size):
        value, right = float(values[i]), float(exact[i])
        if abs(value) < np.inf and abs(right) < overflow:
            exponent = ((bits[i] >> 52) & 2047) - 1023
            inverse = inverse_units[max(exponent, lowest) - lowest]
            difference = abs(value - right)
            plain = difference * inverse
            error = difference * inverse_units[max(exponent, least) - lowest]
            doubt = max(abs(right), smallest) * relative * inverse
            distance = plain - 0.5
        else:
            if np.isnan(value) or np.isnan(right):
                plain = error = 0.0 if np.isnan(value) and np.isnan(right) else np.inf
            elif np.isinf(right):
                plain = error = 0.0 if value == right else np.inf
            elif np.isinf(value) and abs(right) >= overflow and (value > 0) == (right > 0):
                plain = error = 0.0
            else:
                clipped = max(min(right, beyond), -beyond) if abs(right) >= overflow else right
                difference = abs(max(min(value, beyond), -beyond) - clipped)
                exponent = min(math.frexp(clipped)[1] - 1, highest) if clipped else lowest
                plain = difference * inverse_units[max(exponent, lowest) - lowest]
                error = difference * inverse_units[max(exponent, least) - lowest]
            distance, doubt = plain - 0.5, 0.0
        verdicts[i] = RIGHT if distance < -doubt else WRONG if distance > doubt else UNDECIDED
        if plain > plain_worst:
            plain_worst, plain_at = plain, i
        if error > worst:
            worst, at = error, i
    return worst, at, plain_worst, plain_at
