"""Memory between guard pages, in which every stray read or write is seen.

`Memory` lies between pages that nobody may touch, so that one byte past its end ends the process with SIGSEGV, and all
of its bytes can be compared with what they should be.
"""

from __future__ import annotations

import ctypes
import itertools
import mmap
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


class Memory:
    """Some bytes between guard pages, or those of a mapped file.

    Parameters
    ----------
    pages : int
        How many.
    file : path, optional
        To map instead; there are no guard pages then.
    """

    def __init__(self, pages: int = 1, file: Any = None) -> None:
        size = pages * mmap.PAGESIZE
        if file is not None:
            self.bytes: Array = np.memmap(file, np.uint8, "w+", shape=(size,))
            return
        mapped = mmap.mmap(-1, size + 2 * mmap.PAGESIZE)
        everything = np.frombuffer(mapped, np.uint8)
        self.bytes = everything[mmap.PAGESIZE : -mmap.PAGESIZE]
        for guard in (everything[: mmap.PAGESIZE], everything[-mmap.PAGESIZE :]):
            _forbid(guard)

    def view(self, shape: tuple[int, ...], dtype: Any, strides: tuple[int, ...], place: float, shift: int = 0) -> Array:
        """Return a view of a shape, with strides in bytes.

        Parameters
        ----------
        shape : tuple of int
            Of the view.
        dtype : dtype_like
            Of its elements.
        strides : tuple of int
            May be negative or zero, and no multiples of the size of an element.
        place : float
            From 0, flush with the start of the memory, to 1, flush with its end.
        shift : int
            Bytes from there, as far as there is room.
        """
        dtype = np.dtype(dtype)
        ends = [stride * max(0, n - 1) for n, stride in zip(shape, strides, strict=True)]
        before, after = -sum(min(end, 0) for end in ends), sum(max(end, 0) for end in ends) + dtype.itemsize
        room = self.bytes.nbytes - before - after
        assert room >= 0, "the view does not fit"
        start = before + min(max(0, round(place * room) + shift), room)
        return np.ndarray(shape, dtype, self.bytes, start, strides)


def _forbid(pages: Array) -> None:
    """Make pages inaccessible."""
    libc = ctypes.CDLL(None, use_errno=True)
    none = 0  # PROT_NONE
    if libc.mprotect(ctypes.c_void_p(pages.ctypes.data), ctypes.c_size_t(pages.nbytes), none):
        raise OSError(ctypes.get_errno(), "mprotect")


def owned(view: Array, memory: Memory) -> Array:
    """Mark the bytes of the memory that belong to a view."""
    marks = np.zeros(memory.bytes.nbytes, bool)
    start = view.__array_interface__["data"][0] - memory.bytes.__array_interface__["data"][0]
    offsets = [[i * stride for i in range(n)] for n, stride in zip(view.shape, view.strides, strict=True)]
    for each in itertools.product(*offsets):
        at = start + sum(each)
        marks[at : at + view.itemsize] = True
    return marks
