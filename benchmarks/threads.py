"""The speed-up by a second thread, at every size.

``python benchmarks/threads.py`` calls each function as a user does, output given, alternately with one thread and with
two, and prints the ratio of the median times, above 1 where the second thread pays. A call below the thresholds has one
thread in any case; there the ratio shows the noise. The median of several turns counts, since a virtual machine
does not always have a core for each thread.

``python benchmarks/threads.py --thresholds`` is where the numbers in
`actufunc.backends.numpy.threading.schedule.GRAINS` come from. It makes two threads work at every size, once by parallel
kernels on TBB and once by the pool of Python threads, and prints, per kind of function and dtype, the bytes of output
from which on no function is slower with two.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

import actufunc
from actufunc._catalogue import ACTIVATIONS, examples
from actufunc.backends.numpy.threading import schedule, tbb
from actufunc.formula.operations import COSTLY

Call = Callable[[], object]

SIZES = (1_000, 10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)
DTYPES = ("float32", "float64")
_ROW = 1000  # elements, of a function over an axis
_ROUNDS = 7
_TURNS = 3
_ROUND = 1e-3  # seconds that one round takes at least
_NOISE = 0.97  # a ratio that counts as not slower


class Function(NamedTuple):
    """A function that is timed."""

    name: str
    kind: str
    call: Callable[..., object]
    arrays: int


def functions() -> list[Function]:
    """Return the catalogue: values, derivatives and vector-Jacobian products."""
    found = []
    for name, function in ACTIVATIONS.items():
        definition = function.definition
        if definition.kind in {"reducing", "gated"}:  # whose arrays differ in shape
            continue
        nodes = definition.computed(definition.options).nodes()
        is_costly = any(node.operation in COSTLY for node in nodes)
        kind = "over an axis" if definition.over_axis else "costly" if is_costly else "cheap"
        variants = [("", function), (".vjp", function.vjp)]
        if not definition.over_axis:
            variants.insert(1, (".grad", function.grad))
        given = examples(function)
        for suffix, variant in variants:
            found.append(Function(name + suffix, kind, partial(variant, **given), len(variant.definition.arrays)))
    return found


def prepared(function: Function, dtype: str, size: int) -> Call:
    """Return a call on arrays of some elements, output given."""
    shape = (size // _ROW, _ROW) if function.kind == "over an axis" else (size,)
    rng = np.random.default_rng(0)
    *arrays, out = ((4 * rng.standard_normal(shape)).astype(dtype) for _ in range(function.arrays + 1))
    return partial(function.call, *arrays, out=out)


def ratio(call: Call) -> float:
    """Return the time of one thread over that of two."""
    times: dict[int, list[float]] = {1: [], 2: []}
    for threads in times:  # compiles, and finds the way that later calls take
        with actufunc.num_threads(threads):
            call()
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


def measure(console: Console, title: str, sizes: tuple[int, ...], chosen: list[Function]) -> dict[Any, float]:
    """Print a table of ratios, and return them by function, dtype and size."""
    table = Table(box=box.SIMPLE_HEAD, title=title)
    for heading in ("function", "dtype", *(f"{size:,}" for size in sizes)):
        table.add_column(heading, justify="right")
    cases = list(itertools.product(chosen, DTYPES, sizes))
    found: dict[Any, list[float]] = {case: [] for case in cases}
    for case in track(cases * _TURNS, title, console=Console(stderr=True), transient=True):
        found[case].append(ratio(prepared(*case)))
    ratios = {case: statistics.median(each) for case, each in found.items()}
    for function, dtype in itertools.product(chosen, DTYPES):
        table.add_row(function.name, dtype, *(f"{ratios[function, dtype, size]:.2f}" for size in sizes))
    console.print(table)
    return ratios


def summarise(console: Console, ratios: dict[Any, float]) -> None:
    """Print medians and the worst by kind and size."""
    for size in SIZES:
        for kind in ("costly", "cheap", "over an axis"):
            of_kind = {key: value for key, value in ratios.items() if key[2] == size and key[0].kind == kind}
            if of_kind:
                function, dtype, _ = worst = min(of_kind, key=of_kind.__getitem__)
                middle = statistics.median(of_kind.values())
                console.print(
                    f"{size:>10,} {kind}: median {middle:.2f}, least {of_kind[worst]:.2f} ({function.name} {dtype})"
                )


def find_thresholds(console: Console) -> None:
    """Print the sizes from which on two threads pay, by TBB and by the pool."""
    for key in schedule.GRAINS:
        schedule.GRAINS[key] = 1  # two threads at every size for which there is a choice
    sizes = tuple(1 << exponent for exponent in range(14, 24))
    runners = {"TBB": tbb.is_usable, "pool": lambda: False}
    if not tbb.is_usable():
        del runners["TBB"]
    for runner, is_usable in runners.items():
        tbb.is_usable = is_usable
        chosen = [function for function in functions() if runner == "pool" or function.kind != "over an axis"]
        ratios = measure(console, f"One thread over two, by {runner}, by elements", sizes, chosen)
        for kind in ("costly", "cheap", "over an axis"):
            for dtype in DTYPES:
                found = [(key[2], value) for key, value in ratios.items() if key[0].kind == kind and key[1] == dtype]
                losses = [size for size, value in found if value < _NOISE]
                pays = [size for size in sizes if size > max(losses, default=0)]
                if found:
                    least = f"from {pays[0] * np.dtype(dtype).itemsize >> 10:,} KiB on" if pays else "nowhere"
                    console.print(f"{runner}, {kind}, {dtype}: two threads are never slower {least}")


def main() -> int:
    """Measure and print.

    Returns
    -------
    int
        Exit status.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--thresholds", action="store_true", help="find the sizes from which on two threads pay")
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 180)
    if parser.parse_args().thresholds:
        find_thresholds(console)
        return 0
    console.print(f"threads: {actufunc.get_num_threads()}, by {tbb.description()}")
    ratios = measure(console, "One thread over two, by elements", SIZES, functions())
    summarise(console, ratios)
    return 0


if __name__ == "__main__":
    sys.exit(main())
