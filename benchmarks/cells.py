"""The cells of the benchmark: which functions, on which arrays, and the calls that are compared in each."""

from __future__ import annotations

import time
import tracemalloc
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from libraries import Array, Call, Function, Library, Table
from peers import peers

from actufunc.activations import gelu
from actufunc.catalogue import ACTIVATIONS, examples

if TYPE_CHECKING:
    from collections.abc import Iterator

OURS = "actufunc"
BASELINE = "np.exp"  # no peer: what a call costs, timed on one element beside each function

SIZES = (1, 100, 10**4, 10**6, 10**7)
QUICK_SIZES = (1, 10**4, 10**6)
_LARGE = 10**6  # from where on memory is measured
_ROUND = 1e-4  # seconds that one round takes at least
_TOLERANCES = {"float32": (1e-4, 1e-5), "float64": (1e-9, 1e-12)}


def _functions() -> dict[str, Function]:
    """Return the functions by name: the catalogue with its defaults, a variant and the compositions."""
    functions: dict[str, Function] = {}
    for name, function in ACTIVATIONS.items():
        given = examples(function)
        functions[name] = partial(function, **given) if given else function
    functions["gelu_tanh"] = partial(gelu, approximate="tanh")
    return dict(sorted(functions.items()))


FUNCTIONS = _functions()


@cache
def libraries() -> dict[str, Library]:
    """Return ours, the peers and the baseline."""
    ours = Table(FUNCTIONS, FUNCTIONS)
    baseline = Table(dict.fromkeys(FUNCTIONS, np.exp), dict.fromkeys(FUNCTIONS, np.exp))
    return {OURS: ours, **peers(), BASELINE: baseline}


@dataclass(frozen=True)
class Cell:
    """One comparison.

    Attributes
    ----------
    function : str
        Name in `FUNCTIONS`.
    dtype : str
        Of the array.
    size : int
        Number of its elements.
    output : {"fresh", "out"}
        Whether the result is a new array or written to a given one.
    """

    function: str
    dtype: str
    size: int
    output: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows of 100 or 1000 for a function with an axis, where the size allows."""
        function = ACTIVATIONS.get(self.function)
        if function is None or function.definition.kind == "elementwise":
            return (self.size,)
        row = max(min(self.size, 100 if self.size < _LARGE else 1000), 2)
        return max(self.size // row, 1), row

    def libraries(self) -> Iterator[str]:
        """Yield the names of those who take part."""
        for name, library in libraries().items():
            if library.has(self.function, self.output) and (name != BASELINE or self.size == 1):
                yield name

    def __str__(self) -> str:
        return f"{self.function}-{self.dtype}-{self.size:.0e}-{self.output}".replace("e+0", "e")


def cells(*, quick: bool) -> list[Cell]:
    """Return all of them."""
    sizes = QUICK_SIZES if quick else SIZES
    return [Cell(f, d, s, o) for f in FUNCTIONS for d in _TOLERANCES for s in sizes for o in ("fresh", "out")]


@lru_cache(maxsize=2)
def _data(dtype: str, shape: tuple[int, ...]) -> Array:
    return (4 * np.random.default_rng(0).standard_normal(shape)).astype(dtype)


@dataclass(frozen=True)
class Prepared:
    """A call of one library, compiled and checked.

    Attributes
    ----------
    call : Call
        What is timed.
    iterations : int
        How often in one round, so that a round is long beside the resolution of the clock.
    seconds : float
        About what one round takes.
    memory : float or None
        Largest extra memory during the call, as a multiple of the input; None if it was not or cannot be measured.
    """

    call: Call
    iterations: int
    seconds: float
    memory: float | None


@lru_cache(maxsize=1)
def prepare(cell: Cell) -> dict[str, Prepared]:
    """Warm up every library of a cell and check that all agree.

    Parameters
    ----------
    cell : Cell
        Which one. The last is kept, for its libraries are timed in turns.

    Returns
    -------
    dict
        By name of the library, without those that have no kernel for the dtype.

    Raises
    ------
    AssertionError
        If a peer disagrees with ours.
    """
    x = _data(cell.dtype, cell.shape)
    expected = np.asarray(FUNCTIONS[cell.function](x))
    out = None if cell.output == "fresh" else np.empty_like(expected)
    prepared = {}
    for name in cell.libraries():
        library = libraries()[name]
        call = library.call(cell.function, x, out)
        if call is None:
            continue
        if out is not None:
            out.fill(np.nan)
        returned = call()
        if name != BASELINE:
            # ONNX Runtime returns a list of one.
            result = np.asarray(returned).reshape(expected.shape) if out is None else out
            _check(result, expected, f"{name} differs from {OURS} in {cell}")
            del result
        del returned
        memory = peak(call) / x.nbytes if library.traced and cell.size >= _LARGE else None
        prepared[name] = Prepared(call, *_calibrate(call), memory)
    return prepared


def _check(result: Array, expected: Array, message: str) -> None:
    assert result.dtype == expected.dtype, message
    relative, absolute_ = _TOLERANCES[str(expected.dtype)]
    np.testing.assert_allclose(result, expected, relative, absolute_, err_msg=message)


def peak(call: Call) -> int:
    """Return the largest number of bytes that NumPy holds during a call beyond what it held before."""
    tracemalloc.start()
    try:
        result = call()  # lives until the peak is read
        return tracemalloc.get_traced_memory()[1]
    finally:
        del result
        tracemalloc.stop()


def _calibrate(call: Any) -> tuple[int, float]:
    """Return the number of calls for one round, and its duration."""
    iterations = 1
    while True:
        start = time.perf_counter()
        for _ in range(iterations):
            call()
        seconds = time.perf_counter() - start
        if seconds >= _ROUND:
            return iterations, seconds
        iterations *= 2
