"""From which size on two threads pay: where the numbers in `actufunc.backends.numpy.parallel.GRAINS` come from.

``python benchmarks/thresholds.py`` times every kernel on arrays of growing size with one thread and with two, in turns,
once with Numba's parallel kernels on TBB and once with the pool of Python threads, output given. It prints the ratio of
the median times (above 1 the threads pay) and, per kind of kernel and dtype, the least size in bytes of output from
which on no function is slower with two threads. Half of that, rounded up, is what each thread must have.
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

import actufunc
from actufunc.backends.numpy import kernels, layer, parallel
from actufunc.backends.numpy.lower_axis import Layout

if TYPE_CHECKING:
    from collections.abc import Callable

    from actufunc import Activation

CHEAP = ("relu", "leaky_relu")
COSTLY = ("sigmoid", "elu", "softplus", "gelu")
SIZES = [1 << exponent for exponent in range(14, 26)]  # bytes of output
_ROUNDS = 15
_ROUND = 1e-3  # seconds that one round takes at least
_NOISE = 0.97  # a ratio that counts as not slower


def _elementwise(function: Activation, dtype: np.dtype[Any], size: int) -> Callable[[], None]:
    definition = function.definition
    expression = definition.specialised(definition.options, definition.hyperparameters)
    kernel = kernels.elementwise(definition.identifier, expression, definition.arrays, dtype)
    operands = [_data(dtype, (size // dtype.itemsize,)) for _ in range(len(definition.arrays) + 1)]
    return lambda: parallel.elementwise(kernel, operands)


def _over_axis(function: Activation, dtype: np.dtype[Any], size: int) -> Callable[[], None]:
    definition = function.definition
    kernel = kernels.axis(
        definition.identifier, definition.expression({}), definition.arrays, dtype, layout=Layout.ROWS
    )
    operands = [_data(dtype, (size // dtype.itemsize // 128, 128)) for _ in range(len(definition.arrays) + 1)]
    return lambda: parallel.over_axis(kernel, operands)


def _data(dtype: np.dtype[Any], shape: tuple[int, ...]) -> Any:
    return (4 * np.random.default_rng(0).standard_normal(shape)).astype(dtype)


def _ratio(call: Callable[[], None]) -> float:
    """Return the time of one thread over that of two."""
    times: dict[int, list[float]] = {1: [], 2: []}
    for threads in times:
        with actufunc.num_threads(threads):
            call()
    start = time.perf_counter()
    call()
    calls = max(1, int(_ROUND / (time.perf_counter() - start)))
    for _ in range(_ROUNDS):
        for threads, taken in times.items():
            with actufunc.num_threads(threads):
                start = time.perf_counter()
                for _ in range(calls):
                    call()
                taken.append(time.perf_counter() - start)
    return statistics.median(times[1]) / statistics.median(times[2])


def _functions() -> list[tuple[str, str, Any, Any]]:
    """Return kind, name, function, and who makes a call of it."""
    found: list[tuple[str, str, Any, Any]] = []
    for kind, names in (("cheap", CHEAP), ("costly", COSTLY)):
        for name in names:
            function = getattr(actufunc, name)
            for suffix, variant in (("", function), (".grad", function.grad), (".vjp", function.vjp)):
                found.append((kind, name + suffix, variant, _elementwise))
    for name in ("softmax", "log_softmax"):
        found.append(("over an axis", name, getattr(actufunc, name), _over_axis))
        found.append(("over an axis", f"{name}.vjp", getattr(actufunc, name).vjp, _over_axis))
    return found


def main() -> int:
    """Measure and print.

    Returns
    -------
    int
        Exit status.
    """
    for key in parallel.GRAINS:
        parallel.GRAINS[key] = 1  # two threads at every size
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 180)
    runners = ["pool"]
    if layer.is_usable():
        runners.insert(0, "TBB")
    for runner in runners:
        layer.is_usable = (lambda: True) if runner == "TBB" else (lambda: False)
        table = Table(box=box.SIMPLE_HEAD, title=f"One thread over two by {runner}, by bytes of output")
        for heading in ("kind", "function", "dtype", *(f"{size >> 10}k" for size in SIZES)):
            table.add_column(heading, justify="right")
        pays_from: dict[tuple[str, str], int] = {}
        for kind, name, function, make in track(_functions(), runner, console=Console(stderr=True), transient=True):
            if runner == "TBB" and make is _over_axis:
                continue
            for dtype in (np.dtype(np.float32), np.dtype(np.float64)):
                ratios = [_ratio(make(function, dtype, size)) for size in SIZES]
                table.add_row(kind, name, dtype.name, *(f"{ratio:.2f}" for ratio in ratios))
                losses = [size for size, ratio in zip(SIZES, ratios, strict=True) if ratio < _NOISE]
                key = kind, dtype.name
                pays_from[key] = max(pays_from.get(key, 0), 2 * max(losses, default=SIZES[0] // 2))
        console.print(table)
        for (kind, dtype_name), size in pays_from.items():
            console.print(f"{runner}, {kind}, {dtype_name}: two threads are never slower from {size >> 10} KiB on")
    return 0


if __name__ == "__main__":
    sys.exit(main())
