"""Deterministic samples that reach every part of a format."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from actufunc._formats import FORMATS, Format

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    Array = np.ndarray[Any, Any]

_NEAR = 20.0  # activations bend within this distance from zero


def sample(dtype: DTypeLike, n: int) -> Array:
    """Return points for an elementwise function.

    One point is drawn from each of as many strata: a quarter of them equal shares of all finite numbers, binade after
    binade from the smallest subnormal number to the largest of both signs, a half the range from -20 to 20, a quarter
    the range in which an exponential neither overflows nor vanishes. Special values come first.

    Parameters
    ----------
    dtype : dtype_like
        float16, bfloat16, float32 or float64.
    n : int
        Number of points.

    Returns
    -------
    array
        Points in shape ``(n,)``, the same at every call.

    Examples
    --------
    >>> from actufunc.accuracy import sample
    >>> sample("float32", 5)
    array([  0.,  -0.,  inf, -inf,  nan], dtype=float32)
    """
    dtype = np.dtype(dtype)
    form = FORMATS[dtype.name]
    random = np.random.default_rng(0)
    special = _special(dtype, form)[:n]
    rest = n - len(special)
    of_sign = rest // 8
    exponential = form.highest * np.log(2) * 1.1
    parts = [
        special,
        _by_binades(random, dtype, form, of_sign),
        -_by_binades(random, dtype, form, of_sign),
        _evenly(random, exponential, rest // 4).astype(dtype),
    ]
    parts.append(_evenly(random, _NEAR, n - sum(map(len, parts))).astype(dtype))
    return np.concatenate(parts)


def sample_rows(dtype: DTypeLike, rows: int, length: int) -> Array:
    """Return points for a function over an axis.

    The rows spread over 0.001 to 1000 and lie up to as far from zero; some have several largest elements, some an
    element of -inf or NaN.

    Parameters
    ----------
    dtype : dtype_like
        float16, bfloat16, float32 or float64.
    rows, length : int
        Number of rows, and of elements in each row, at least two.

    Returns
    -------
    array
        Points in shape ``(rows, length)``, the same at every call.
    """
    random = np.random.default_rng(0)
    spread = 10.0 ** np.linspace(-3, 3, rows)[:, None]
    values = (random.standard_normal((rows, length)) + random.choice([0.0, 0.0, 1.0, -1.0], (rows, 1))) * spread
    each = np.arange(rows)
    values[each % 8 == 1, 0] = values[each % 8 == 1].max(axis=1)
    values[each % 16 == 2, 1] = -np.inf  # noqa: PLR2004
    values[each % 64 == 3, 1] = np.nan  # noqa: PLR2004
    return np.asarray(values, dtype)


def _special(dtype: np.dtype[Any], form: Format) -> Array:
    """Return signed zeros, infinities, NaN, the ends of the normal and subnormal ranges, and round numbers."""
    smallest_normal = 1 << (form.precision - 1)
    ends = _of_bits(np.array([1, smallest_normal - 1, smallest_normal, form.infinity_bits - 1]), dtype)
    round_numbers = np.array([0.5, 1.0, 2.0], dtype)
    signless = np.concatenate([ends, round_numbers])
    extremes = np.array([0.0, -0.0, np.inf, -np.inf, np.nan], dtype)
    return np.concatenate([extremes, signless, -signless])


def _of_bits(bits: Array, dtype: np.dtype[Any]) -> Array:
    return np.asarray(bits.astype(f"u{dtype.itemsize}").view(dtype))


def _by_binades(random: np.random.Generator, dtype: np.dtype[Any], form: Format, n: int) -> Array:
    """Draw one positive number from each of `n` equal shares of the bit patterns, as good as one share per exponent."""
    edges = [max(1, form.infinity_bits * i // n) for i in range(n + 1)] if n else [1]
    bits = [int(random.integers(low, max(high, low + 1))) for low, high in itertools.pairwise(edges)]
    return _of_bits(np.array(bits, np.uint64), dtype)


def _evenly(random: np.random.Generator, limit: float, n: int) -> Array:
    """Draw one number from each of `n` equal parts of the range."""
    return limit * (2 * (np.arange(n) + random.random(n)) / max(n, 1) - 1)
