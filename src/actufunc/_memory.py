"""Memory of large results of calls on NumPy arrays, kept for later results.

Memory that comes fresh from the system costs a page fault, and zeros, for each of its pages: with arrays of 40 to
80 MB as much as to compute. glibc's malloc returns blocks of 32 MiB and more to the system at once, so that programs
which do ``y = sigmoid(x)`` over and over pay each time. (Smaller ones it keeps itself; there is nothing to gain.)

A large result is a view of a buffer. Every object that exports the same memory (arrays, memoryviews, tensors of torch,
DLPack capsules) keeps the buffer alive, as NumPy keeps the base of a view. When the buffer dies, the callback of a weak
reference to it appends the memory to a deque. The callback is written in C. No Python code runs at that moment, which
may come at any time in any thread: no lock is taken, no signal is lost, and neither a fork nor the end of the
interpreter can interrupt it.

The deque has two places, as many as the nested calls ``f(g(x))`` leave, and drops the older block for a third. A block
has at most half of the limit; larger ones are never kept, since a program with such arrays needs its memory.
"""

from __future__ import annotations

import math
import os
import weakref
from collections import deque
from operator import index
from typing import Any, NoReturn, SupportsIndex

import numpy as np

__all__ = ["set_kept_memory"]

_LEAST = 1 << 25  # bytes; below this size glibc reuses memory itself
_BLOCKS = 2
_ALIGNMENT = 64  # bytes: a cache line, and a register of AVX-512
_WASTE = 4  # a block is used for a result that is smaller by at most one part in so many

_ENVIRONMENT = "ACTUFUNC_KEPT_MEMORY"


class _Returned(weakref.ref["_Buffer"]):
    """A weak reference to a buffer, which holds its memory after its death."""

    __slots__ = ("memory",)

    memory: np.ndarray[Any, Any]


class _Buffer:
    """An exporter of memory, which goes back to the pool when this object dies."""

    __slots__ = ("__array_interface__", "__weakref__", "_returned")

    def __init__(self, memory: np.ndarray[Any, Any], kept: deque[_Returned]) -> None:
        address = memory.__array_interface__["data"][0]
        begin = -(-address // _ALIGNMENT) * _ALIGNMENT
        shape = (address + memory.nbytes - begin,)
        self.__array_interface__ = {"version": 3, "data": (begin, False), "shape": shape, "typestr": "|u1"}
        self._returned = _Returned(self, kept.append)
        self._returned.memory = memory

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("a buffer cannot be copied: the copy would not hold the memory")


class _Pool:
    """Memory that is kept for later results, at most `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self.largest = limit // _BLOCKS
        self._kept: deque[_Returned] = deque(maxlen=_BLOCKS)

    def buffer(self, size: int) -> _Buffer:
        """Return a buffer of at least `size` bytes: of kept memory if there is a block of about that size."""
        size += _ALIGNMENT
        for _ in range(_BLOCKS):
            try:
                returned = self._kept.pop()  # the last, of which most is still in the caches
            except IndexError:
                break
            if size <= returned.memory.nbytes <= size + size // _WASTE:
                return _Buffer(returned.memory, self._kept)
            self._kept.appendleft(returned)
        return _Buffer(np.empty(size, np.uint8), self._kept)


def _checked_limit(value: SupportsIndex, what: str) -> int:
    number = index(value)
    if number < 0:
        raise ValueError(f"{what} must not be negative, but is {value!r}")
    return number


def _environment_limit() -> int:
    text = os.environ.get(_ENVIRONMENT, "").strip() or str(1 << 28)
    try:
        return _checked_limit(int(text), _ENVIRONMENT)
    except ValueError:
        raise ValueError(f"the environment variable {_ENVIRONMENT} must be a number of bytes, not {text!r}") from None


_pool = _Pool(_environment_limit())


def set_kept_memory(limit: SupportsIndex, /) -> None:
    """Set how many bytes of memory of large results, when these are deleted, are kept for later results.

    What is kept so far goes back to the system. The initial limit is that of the environment variable
    ``ACTUFUNC_KEPT_MEMORY``, else 256 MiB. Results from 32 MiB up to half of the limit use such memory again. They are
    views of memory that they do not own: ``flags.owndata`` is False, `base` is not None, ``resize`` refuses.

    Parameters
    ----------
    limit : int
        Number of bytes; 0 to keep nothing.

    Raises
    ------
    TypeError
        If `limit` is no integer.
    ValueError
        If `limit` is negative.

    Examples
    --------
    >>> import actufunc
    >>> actufunc.set_kept_memory(0)
    >>> actufunc.set_kept_memory(1 << 28)
    """
    global _pool  # noqa: PLW0603 -- a setting of the process
    _pool = _Pool(_checked_limit(limit, "the limit"))  # buffers in use return to their old pool, and die with it


def empty_like(
    x: np.ndarray[Any, Any], dtype: Any = None, order: Any = "K", shape: tuple[int, ...] | None = None
) -> np.ndarray[Any, Any]:
    """Return an uninitialised array for a result, like `numpy.empty_like` with ``subok=False``.

    If it is large, its memory is that of an earlier result, or aligned to a cache line.
    """
    dtype = x.dtype if dtype is None else dtype
    shape = x.shape if shape is None else shape
    pool, size = _pool, math.prod(shape) * dtype.itemsize
    if _LEAST <= size <= pool.largest:
        flags, as_x = x.flags, order in {"K", "A"}
        if order == "C" or (as_x and flags.c_contiguous):
            return np.ndarray(shape, dtype, np.asarray(pool.buffer(size)))
        if order == "F" or (as_x and flags.f_contiguous and len(shape) == x.ndim):
            return np.ndarray(shape, dtype, np.asarray(pool.buffer(size)), order="F")
    return np.empty_like(x, dtype, order, subok=False, shape=shape)
