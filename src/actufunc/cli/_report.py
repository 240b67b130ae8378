"""``actufunc`` without a command: this system, and the speed and accuracy of each function on it."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

import actufunc
from actufunc import _catalogue as catalogue
from actufunc import accuracy

from .baselines import plain_numpy, scipy_function
from .system import system_info

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actufunc import Activation

    Array = np.ndarray[Any, Any]

_DTYPES = ("float32", "float64")
_WIDTH = 6  # characters of a number
_HEADING = f"{'single':>{_WIDTH}} {'double':>{_WIDTH}}"
_ROWS, _LENGTH = 100, 1000
_ELEMENTS = _ROWS * _LENGTH  # fits the L2 cache: arithmetic is measured, not memory
_SECONDS = 0.15  # of timing per function and dtype
_LEAST_REPEATS = 7
_POINTS = 1000  # at which the error is measured
_POINTS_PER_ROW = 16
_ORDINARY = 1e30


@dataclass(frozen=True)
class _Measurement:
    """One function in one dtype: nanoseconds per element, NaN for libraries without it, and the error in ulp."""

    ours: float
    numpy: float
    scipy: float
    error: float


def run() -> int:
    """Print the properties of this system and a table of the catalogue, and return the exit status."""
    console = Console(highlight=False)
    about = Table.grid(padding=(0, 2))
    for heading, text in system_info().items():
        about.add_row(Text(heading, "bold"), text)
    console.print(about)
    functions = list(catalogue.ACTIVATIONS.values())
    pairs = [(function, dtype) for function in functions for dtype in _DTYPES]
    errors = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    measured: dict[tuple[Activation, str], _Measurement] = {}
    # Without a thread that refreshes it, which would disturb the timing.
    with Progress(
        *columns, console=errors, transient=True, disable=not errors.is_terminal, auto_refresh=False
    ) as progress:
        task = progress.add_task("compiling", total=2 * len(pairs))
        for function, dtype in pairs:
            progress.update(task, description=f"compiling {function.__name__}", refresh=True)
            _ours(function, dtype)[0]()
            progress.advance(task)
        for function, dtype in pairs:
            progress.update(task, description=f"measuring {function.__name__}", refresh=True)
            measured[function, dtype] = _measure(function, dtype)
            progress.advance(task)
    console.print()
    console.print(_table(functions, measured))
    console.print()
    console.print(Text(_legend(functions), style="dim"))
    return 0


def _ours(function: Activation, dtype: str) -> tuple[Callable[[], Any], Array, Array]:
    """Return a call of the function, and the arrays it reads and writes."""
    x = (3 * np.random.default_rng(0).standard_normal((_ROWS, _LENGTH))).astype(dtype)
    given = catalogue.examples(function)
    out = np.empty_like(function(x, **given))
    return lambda: function(x, out=out, **given), x, out


def _measure(function: Activation, dtype: str) -> _Measurement:
    ours, x, out = _ours(function, dtype)
    plain, scipy = plain_numpy(function, **catalogue.examples(function)), scipy_function(function)
    with np.errstate(all="ignore"), actufunc.num_threads(1):  # as NumPy and SciPy
        seconds = _interleaved(
            ours,
            None if plain is None else lambda: plain(x),
            None if scipy is None else lambda: scipy(x, out),
        )
    error = _error(function, dtype)
    own, numpy, special = (s / _ELEMENTS * 1e9 for s in seconds)
    return _Measurement(own, numpy, special, error)


def _error(function: Activation, dtype: str) -> float:
    """Return the largest error at some points; of a gated unit, that of its elementwise function."""
    if function.definition.over_axis:
        rows = accuracy.sample_rows(dtype, _POINTS // _POINTS_PER_ROW, _POINTS_PER_ROW)
        return accuracy.largest_error(function, rows, **catalogue.examples(function)).ulp
    points = accuracy.sample(dtype, _POINTS)
    if function.halves:  # neither the activation of the gate nor the product is subnormal
        points = points[np.abs(points) <= _ORDINARY]
        gate = np.random.default_rng(0).uniform(-5, 5, points.size).astype(dtype)
        return accuracy.largest_error(function.halves[0], points, gate=gate).ulp
    return accuracy.largest_error(function, points, **catalogue.examples(function)).ulp


def _interleaved(*calls: Callable[[], Any] | None) -> list[float]:
    """Time calls alternately, in the same state of the machine, and return the shortest time of each in seconds.

    NaN stands for a call that is None.
    """
    best = [math.nan if call is None else math.inf for call in calls]
    end = time.perf_counter() + _SECONDS
    repeats = 0
    while repeats < _LEAST_REPEATS or time.perf_counter() < end:
        repeats += 1
        for i, call in enumerate(calls):
            if call is not None:
                start = time.perf_counter()
                call()
                best[i] = min(best[i], time.perf_counter() - start)
    return best


def _table(functions: Sequence[Activation], measured: dict[tuple[Activation, str], _Measurement]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 0, 0, 1))
    table.add_column("", style="bold", overflow="fold")
    for heading in ("ns per element", "over NumPy", "over SciPy", "error in ulp"):
        table.add_column(f"{heading}\n{_HEADING}", justify="right", min_width=len(_HEADING))
    for function in functions:
        of_dtypes = [measured[function, dtype] for dtype in _DTYPES]
        table.add_row(
            function.__name__,
            _pair([_figure(m.ours) for m in of_dtypes]),
            _pair([_speedup(m.numpy, m.ours) for m in of_dtypes]),
            _pair([_speedup(m.scipy, m.ours) for m in of_dtypes]),
            _pair([_figure(m.error) for m in of_dtypes]),
        )
    return table


def _pair(cells: Sequence[Text]) -> Text:
    """Align the numbers of both dtypes under their headings."""
    return Text(" ").join(Text(" " * (_WIDTH - len(cell))) + cell for cell in cells)


def _figure(value: float) -> Text:
    return Text(f"{value:.2f}" if value < 10 else f"{value:.0f}" if value < 1e5 else f"{value:.0e}")  # noqa: PLR2004


def _speedup(theirs: float, ours: float) -> Text:
    if math.isnan(theirs):
        return Text("-", style="dim")
    ratio = theirs / ours
    return Text(f"{ratio:.1f}x" if ratio < 100 else f"{ratio:.0f}x", style="red" if ratio < 1 else "green")  # noqa: PLR2004


def _legend(functions: Sequence[Activation]) -> str:
    lines = [
        f"ns per element: {_ELEMENTS:,} elements, output preallocated, one thread, best of many runs.",
        "over NumPy: speed relative to the same formula typed in plain NumPy.",
        "over SciPy: speed relative to SciPy's function, where there is one.",
        f"error in ulp: the largest at {_POINTS:,} points; 0.5 is correct rounding.",
    ]
    lines += [
        f"{function.__name__} is measured with {name}={value}."
        for function in functions
        for name, value in catalogue.examples(function).items()
    ]
    return "\n".join(lines)
