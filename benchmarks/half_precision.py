"""The cost of half precision: nanoseconds per element in float32, float16 and bfloat16, output given.

``python benchmarks/half_precision.py [function ...]`` times the dtypes alternately, with one thread and with the number
of `get_num_threads`.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

import actufunc

if TYPE_CHECKING:
    from collections.abc import Callable

DTYPES = (np.dtype(np.float32), np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))
SIZES = (10_000, 1_000_000, 10_000_000)
NAMES = ("relu", "leaky_relu", "sigmoid", "tanh", "gelu", "mish", "relu.vjp", "silu.vjp", "gelu.vjp", "mish.vjp")
_SECONDS = 0.3  # that one dtype is timed for


def shortest(calls: list[Callable[[], object]]) -> list[float]:
    """Return the shortest time of each of several calls, made in turns."""
    times = [float("inf")] * len(calls)
    end = 0.0
    for turn in range(10_000):
        for number, call in enumerate(calls):
            start = time.perf_counter()
            call()
            taken = time.perf_counter() - start
            if turn > 1:  # the first calls compile and plan
                times[number] = min(times[number], taken)
        end = end or time.perf_counter() + _SECONDS * len(calls)
        if turn > 3 and time.perf_counter() > end:  # noqa: PLR2004
            break
    return times


def calls_of(name: str, size: int) -> list[Callable[[], object]]:
    """Return a call for each dtype."""
    function: Any = getattr(actufunc, name.partition(".")[0])
    function = function.vjp if name.endswith(".vjp") else function
    rng = np.random.default_rng(0)
    arrays = [3 * rng.standard_normal(size) for _ in range(len(function.definition.arrays) + 1)]
    found: list[Callable[[], object]] = []
    for dtype in DTYPES:
        *inputs, out = (array.astype(dtype) for array in arrays)
        found.append(partial(function, *inputs, out=out))
    return found


def main() -> int:
    """Measure and print.

    Returns
    -------
    int
        Exit status.
    """
    print(f"{'ns per element':>16} {'elements':>12} {'threads':>8}", *(f"{dtype.name:>9}" for dtype in DTYPES))
    for threads in sorted({1, actufunc.get_num_threads()}):
        with actufunc.num_threads(threads):
            for name in sys.argv[1:] or NAMES:
                for size in SIZES:
                    times = (f"{1e9 * seconds / size:9.3f}" for seconds in shortest(calls_of(name, size)))
                    print(f"{name:>16} {size:12,} {threads:8}", *times, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
