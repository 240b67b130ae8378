"""How the threads of a GPU share the rows that a function over an axis reduces."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actufunc.backends.promotion import is_half

if TYPE_CHECKING:
    import numpy as np

WARP = 32  # threads that run together


@dataclass(frozen=True)
class RowSchedule:
    """How the threads of a block share the rows.

    Attributes
    ----------
    width : int
        Number of rows that neighbouring threads work on, for rows that lie side by side in memory; 1 where the elements
        of a row are contiguous, and neighbouring threads share it.
    threads : int
        Number of threads that share a row, a power of two.
    groups : int
        Number of groups of `width` rows in a block.
    lanes : int
        Number of elements in one access to memory.
    accesses : int
        Number of accesses of a thread to each row; 0 for rows that do not fit into registers.
    packed : bool
        True if half types are held as they are, two in a register, and not as floats.
    """

    width: int
    threads: int
    groups: int
    lanes: int
    accesses: int
    packed: bool = False

    @property
    def block(self) -> int:
        """Number of threads in a block."""
        return self.width * self.threads * self.groups

    def grid(self, blocks: int, inner: int) -> int:
        """Return how many blocks arrays of shape (blocks, n, inner) take."""
        return -(-blocks * -(-inner // self.width) // self.groups)


@functools.lru_cache(maxsize=1024)
def schedule_rows(n: int, dtype: np.dtype[Any], held: int, *, inner: int, lanes: int) -> RowSchedule:
    """Choose how the threads share rows of `n` elements, of which `inner` lie side by side in memory.

    `held` is the number of input arrays of which a thread holds elements; a kept value takes the place of an input that
    is no longer needed. `lanes` is the number of elements that one access may take.
    """
    # A thread has up to 64 registers in blocks of 1024 threads, and 128 in those of 512; half may hold elements.
    is_double = dtype.name == "float64"
    most_items = max(lanes, (16 if is_double else 32) // held)
    width = min(WARP, _power_of_two(inner))
    most_threads = (512 if width > 1 or is_double else 1024) // width

    def threads_for(items: int) -> int:
        return _power_of_two(-(-n // max(lanes, items)))

    if width > 1:
        threads = min(most_threads, threads_for(4))
    elif n <= WARP * most_items:
        threads = min(WARP, threads_for(lanes))  # then no thread waits for another warp
    else:
        threads = min(most_threads, max(2 * WARP, threads_for(most_items // 2)))
    accesses = -(-n // (threads * lanes))
    packed = accesses * lanes > most_items and is_half(dtype) and lanes > 1
    if accesses * lanes > most_items * (2 if packed else 1):
        accesses, packed = 0, False
    groups = 1 if width == 1 and threads > WARP else max(1, 4 * WARP // (width * threads))
    return RowSchedule(width, threads, groups, lanes, accesses, packed)


def _power_of_two(number: int) -> int:
    """Return the least power of two that is not below a number."""
    return 1 << max(0, number - 1).bit_length()
