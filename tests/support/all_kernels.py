"""A program that compiles all kernels, in a random order, and prints digests of the results.

``python all_kernels.py NUMBER``: the number decides the order.
"""

from __future__ import annotations

import functools
import hashlib
import sys
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
from cases import Case, cases

from actufunc.backends.numpy.threading import schedule

if TYPE_CHECKING:
    from collections.abc import Callable

HALVES = [np.dtype(dtype) for dtype in (np.float16, ml_dtypes.bfloat16)]
WIDE = [np.dtype(dtype) for dtype in (np.float32, np.float64)]
_ROWS, _COLUMNS = 6, 40
_LARGE = 2 * max(size for (runner, _), size in schedule.GRAINS.items() if runner == "TBB")  # bytes: two threads work


def calls(chosen: list[Case], kinds: list[str], dtypes: list[np.dtype[Any]]) -> dict[str, Callable[[], Any]]:
    """Return what to call, by name: of arrays that one thread computes, and of large ones."""
    found: dict[str, Callable[[], Any]] = {}
    for case in chosen:
        for kind in kinds:
            try:
                function = getattr(case, kind) if kind else case
            except AttributeError:  # what works along an axis has a vjp but no gradient
                continue
            for dtype in dtypes:
                sizes = {"": 1}
                if case.function.definition.kind == "elementwise" and dtype in WIDE:
                    sizes["large"] = _LARGE // (_ROWS * _COLUMNS * dtype.itemsize) + 1
                for size, times in sizes.items():
                    name = " ".join(filter(None, [repr(case), kind, str(dtype), size]))
                    found[name] = functools.partial(call, function, case, dtype, times)
    return found


def call(function: Case, original: Case, dtype: np.dtype[Any], times: int) -> Any:
    """Call a function, or the derivative of one, on so many times the same numbers."""
    x = np.linspace(-9, 9, _ROWS * _COLUMNS).astype(dtype).reshape(_ROWS, _COLUMNS)
    results = {"reducing": x[:, 0], "gated": x[:, ::2]}
    arrays = [x, results.get(original.function.definition.kind, x[::-1])][: len(function.function.definition.arrays)]
    if times > 1:
        arrays = [np.tile(array.reshape(-1), times) for array in arrays]
    return function(*map(np.ascontiguousarray, arrays))


def main(number: str) -> None:
    """Call and print."""
    found = calls(cases(), ["", "grad", "vjp"], [*HALVES, *WIDE])
    order = np.random.default_rng(int(number)).permutation(sorted(found))
    with np.errstate(all="ignore"):
        results = {name: np.ascontiguousarray(found[name]()).tobytes() for name in order}
    sys.stdout.writelines(f"{name}: {hashlib.sha256(results[name]).hexdigest()}\n" for name in sorted(results))


if __name__ == "__main__":
    main(*sys.argv[1:])
