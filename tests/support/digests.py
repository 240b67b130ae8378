"""The bits of results, and digests of them for comparisons between processes."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
from cases import ELEMENTWISE, OVER_AXIS, REDUCING, Case

from actufunc.accuracy import sample, sample_rows

if TYPE_CHECKING:
    from collections.abc import Iterable

DTYPES = ("float32", "float64", "float16")
_POINTS, _ROWS, _LENGTH = 20_000, 60, 77


def cases(*, everything: bool) -> list[Case]:
    """Return all values, gradients and vjp to compare, or values enough to meet every operation of a formula."""
    values = [*ELEMENTWISE, *OVER_AXIS, *REDUCING]
    if everything:
        return [*values, *(case.grad for case in ELEMENTWISE), *(case.vjp for case in OVER_AXIS)]
    met: set[str] = set()
    chosen = []
    for case in values:
        definition = case.function.definition
        operations = {node.operation for node in definition.computed(definition.options).nodes()}
        if not operations <= met:
            met |= operations
            chosen.append(case)
    return chosen


def bits(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the bits of floating-point numbers, all NaN being the same."""
    unsigned = np.dtype(f"u{array.dtype.itemsize}")
    return np.where(np.isnan(array), unsigned.type(0xFFFF), np.ascontiguousarray(array).view(unsigned))


def digest(case: Case, dtype: str) -> str:
    """Compute a digest of what a case gives over all binades, special values, subnormal and ordinary numbers."""
    x = sample(dtype, _POINTS) if case.function.definition.kind == "elementwise" else sample_rows(dtype, _ROWS, _LENGTH)
    arrays = [x, x[::-1].copy()][: len(case.function.definition.arrays)]
    with np.errstate(all="ignore"):
        return hashlib.sha256(bits(np.asarray(case(*arrays))).tobytes()).hexdigest()[:16]


def digests(dtypes: Iterable[str], *, everything: bool) -> dict[str, str]:
    """Compute those of all cases, by name of the case and dtype."""
    chosen = cases(everything=everything)
    return {f"{case!r} in {dtype}": digest(case, dtype) for dtype in dtypes for case in chosen}
