"""A program that calls functions of the catalogue in the order that a number decides, and prints digests of the results.

``python everything.py NUMBER all`` calls every kernel there is, ``python everything.py NUMBER some`` a few of each kind.
"""

from __future__ import annotations

import functools
import hashlib
import random
import sys
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
from conftest import Case, cases, representatives

import actufunc
from actufunc.backends.numpy import layer, parallel

if TYPE_CHECKING:
    from collections.abc import Callable

DTYPES = [np.dtype(dtype) for dtype in (np.float16, ml_dtypes.bfloat16, np.float32, np.float64)]
_ROWS, _COLUMNS = 6, 40
_LEAST_PARALLEL = 4  # bytes of a dtype that has a parallel kernel
_LARGE = 2 * max(size for (runner, _), size in parallel.GRAINS.items() if runner == "TBB")  # bytes: two threads work


def calls(chosen: list[Case]) -> dict[str, Callable[[], Any]]:
    """Return what to call, by name: values, gradients and vjp, of all dtypes, by one thread and by several."""
    found: dict[str, Callable[[], Any]] = {}
    for case in chosen:
        for kind in ("value", "grad", "vjp"):
            try:
                function = case if kind == "value" else getattr(case, kind)
            except AttributeError:  # what has an axis has no gradient but a vjp
                continue
            for dtype in DTYPES:
                sizes = {"": 1}
                if case.function.definition.kind == "elementwise" and dtype.itemsize >= _LEAST_PARALLEL:
                    sizes[" large"] = _LARGE // (_ROWS * _COLUMNS * dtype.itemsize) + 1
                for size, times in sizes.items():
                    found[f"{case!r} {kind} {dtype}{size}"] = functools.partial(on, function, case, dtype, times)
    return found


def on(function: Case, original: Case, dtype: np.dtype[Any], times: int) -> Any:
    """Call a function, or the derivative of one, on so many times the same numbers."""
    x = np.linspace(-9, 9, _ROWS * _COLUMNS).astype(dtype).reshape(_ROWS, _COLUMNS)
    results = {"reducing": x[:, 0], "gated": x[:, ::2]}
    arrays = [x, results.get(original.function.definition.kind, x[::-1])][: len(function.function.definition.arrays)]
    if times > 1:
        arrays = [np.tile(array.reshape(-1), times) for array in arrays]
    return function(*map(np.ascontiguousarray, arrays))


def main(number: str, selection: str) -> None:
    """Call and print."""
    everything = cases()
    found = calls(everything if selection == "all" else representatives(everything))
    names = sorted(found)
    if selection != "all":  # the same for every process
        random.Random(0).shuffle(names)
        names = names[: len(names) // 2]
    random.Random(int(number)).shuffle(names)
    with np.errstate(all="ignore"):
        digests = {name: hashlib.sha256(np.asarray(found[name]()).tobytes()).hexdigest()[:16] for name in names}
    for name in sorted(digests):
        print(name, digests[name])


if __name__ == "__main__":
    if len(sys.argv) > 3:
        actufunc.set_num_threads(int(sys.argv[3]))
    main(*sys.argv[1:3])
    print("on", layer.description())
