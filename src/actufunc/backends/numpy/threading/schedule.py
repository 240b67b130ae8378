"""Distribution of a call on large arrays: to the calling thread, to a parallel kernel on TBB, or to the pool.

A thread costs time to wake, so each must have enough to do. The least number of bytes of output was measured by
``benchmarks/threads.py --thresholds``, which times one thread against two at all sizes: `GRAINS` has, rounded up, half
the size from which two threads are never slower. It depends on whether a kernel computes or only moves data, and on
what wakes the threads. In bytes it is about the same for float32 and float64, whose vectors take as long for half the
elements. Looking up half numbers takes 0.1 ns per byte, as a sigmoid does in float32, and is done by the pool alone.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from actufunc._threads import get_num_threads
from actufunc.backends.numpy.jit.kernels import HalfElementwise

from . import tbb
from .pool import share

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from actufunc.backends.numpy.jit.kernels import Elementwise, OverAxis

    Array = np.ndarray[Any, Any]

GRAINS = {
    ("TBB", "cheap"): 1 << 20,
    ("TBB", "costly"): 1 << 17,
    ("pool", "cheap"): 1 << 22,
    ("pool", "costly"): 1 << 19,
}
"""Least number of bytes of output for each thread, by what runs the threads and kind of kernel."""

CHUNK = 16384  # elements: small enough for the second-level cache, large enough to make a loop in Python cheap

_PIECES = 4  # per thread, so that others take over the pieces of a thread that the system delays
_LINE = 64  # pieces begin at multiples of so many elements, so that two threads write to few common cache lines


def _threads(runner: str, kind: str, size: int) -> int:
    """Return the number of threads for an output of so many bytes."""
    worth = size // GRAINS[runner, kind]
    return min(worth, get_num_threads()) if worth > 1 else 1


def thresholds() -> dict[str, int]:
    """Return the least bytes of output for two threads, by kind of function, in the main thread."""
    runner = "TBB" if tbb.is_usable() else "pool"
    kinds = {"costly": (runner, "costly"), "cheap": (runner, "cheap"), "over an axis": ("pool", "costly")}
    return {kind: 2 * GRAINS[key] for kind, key in kinds.items()}


def elementwise(kernel: Elementwise | HalfElementwise, operands: Sequence[Array]) -> None:
    """Apply an elementwise kernel to contiguous operands of one layout, the output last.

    Each input is the output or apart from it in memory.
    """
    kind, size = "costly" if kernel.is_costly else "cheap", operands[-1].nbytes
    flat = list(map(_flat, operands))
    threads = _threads("TBB", kind, size)
    if threads > 1 and not isinstance(kernel, HalfElementwise) and tbb.is_usable():
        tbb.run(kernel.parallel, flat, threads)
        return
    threads = _threads("pool", kind, size)
    compute: Callable[..., object] = kernel.serial
    if isinstance(kernel, HalfElementwise) and len(flat) == 2 and np.may_share_memory(flat[0], flat[1]):  # noqa: PLR2004
        compute, flat = kernel.replace, flat[1:]
    if threads < 2:  # noqa: PLR2004 -- the calling one
        compute(*flat)
        return
    share(lambda piece: compute(*(o[piece] for o in flat)), _pieces(flat[-1].size, threads), threads)


def elementwise_rows(kernel: Elementwise | HalfElementwise, operands: Sequence[Array]) -> None:
    """Apply an elementwise kernel to operands of shape (rows, n), the output last.

    Each row is contiguous, and the output apart from the inputs.
    """
    out = operands[-1]
    threads = _threads("pool", "costly" if kernel.is_costly else "cheap", out.nbytes)
    pieces = _cut(len(out), math.ceil(len(out) / (threads * _PIECES)))
    share(lambda piece: kernel.serial(*(o[piece] for o in operands)), pieces, threads)


def over_axis(kernel: OverAxis, operands: Sequence[Array]) -> None:
    """Apply a kernel over an axis to operands in its layout, the output last."""
    tasks = kernel.layout.tasks(operands[-1].shape)
    threads = min(tasks, _threads("pool", "costly", operands[0].nbytes))
    if threads < 2:  # noqa: PLR2004
        kernel(*operands, begin=0, end=tasks)
        return
    pieces = _cut(tasks, math.ceil(tasks / (threads * _PIECES)))
    share(lambda piece: kernel(*operands, begin=piece.start, end=piece.stop), pieces, threads)


def blocks(compute: Callable[[Any], object], places: Iterator[Any], size: int) -> None:
    """Call a function for each block of an output of so many bytes, in several threads where that pays."""
    share(compute, places, _threads("pool", "costly", size))


def _flat(array: Array) -> Array:
    """Return a contiguous array as one of one dimension, in the order of its memory."""
    if array.ndim == 1:
        return array
    return (array if array.flags.c_contiguous else array.T).reshape(-1)


def _pieces(size: int, threads: int) -> Iterator[slice]:
    """Return slices of some elements that begin at multiples of `_LINE`."""
    return _cut(size, math.ceil(size / (threads * _PIECES * _LINE)) * _LINE)


def _cut(size: int, step: int) -> Iterator[slice]:
    return (slice(start, min(start + step, size)) for start in range(0, size, max(1, step)))
