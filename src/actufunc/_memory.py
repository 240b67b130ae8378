"""Memory that large results of calls on NumPy arrays leave behind, for the next ones.

Memory that comes fresh from the system costs a page fault, and zeros, for each of its pages: with arrays of 40 to
80 MB as much as to compute. glibc's malloc returns blocks of 32 MiB and more to the system at once, so that programs
which do ``y = sigmoid(x)`` over and over pay each time. (Smaller ones it keeps itself; there is nothing to gain.)

A large result is a view of a lease. Whatever looks into it (arrays, memoryviews, tensors of torch, DLPack capsules)
holds the lease, by the rules by which NumPy keeps memory alive. When that dies, its weak reference puts the memory into
a deque by a callback that is written in C. Nothing of Python runs at that moment, which may be any, in any thread: no
lock is taken, no signal is lost, and there is nothing that a fork or the end of the interpreter could come between.

The deque drops the older of two blocks when it gets a third. Two are what nested calls leave, ``f(g(x))``. Neither is
larger than half of the limit, and such as are never come here: a program whose arrays are that large needs its memory.
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

_LEAST = 1 << 25  # bytes; up to here glibc reuses memory
_BLOCKS = 2
_ALIGNMENT = 64  # bytes: a cache line, and a register of AVX-512
_WASTE = 4  # a block may be larger than a result by one part in so many

_ENVIRONMENT = "ACTUFUNC_KEPT_MEMORY"


class _Return(weakref.ref["_Lease"]):
    """What is left of a lease: the memory."""

    __slots__ = ("memory",)

    memory: np.ndarray[Any, Any]


class _Lease:
    """Memory that is in use as long as this lives."""

    __slots__ = ("__array_interface__", "__weakref__", "_return")

    def __init__(self, memory: np.ndarray[Any, Any], kept: deque[_Return]) -> None:
        address = memory.__array_interface__["data"][0]
        begin = -(-address // _ALIGNMENT) * _ALIGNMENT
        shape = (address + memory.nbytes - begin,)
        self.__array_interface__ = {"version": 3, "data": (begin, False), "shape": shape, "typestr": "|u1"}
        self._return = _Return(self, kept.append)
        self._return.memory = memory

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("a lease cannot be copied: the copy would not hold the memory")


class _Pool:
    """Memory that nobody uses: at most so many bytes."""

    def __init__(self, limit: int) -> None:
        self.largest = limit // _BLOCKS
        self._kept: deque[_Return] = deque(maxlen=_BLOCKS)

    def lease(self, size: int) -> _Lease:
        """Return memory for so many bytes, used before where there is some of about that size."""
        size += _ALIGNMENT
        for _ in range(_BLOCKS):
            try:
                returned = self._kept.pop()  # the last, of which most is still in the caches
            except IndexError:
                break
            if size <= returned.memory.nbytes <= size + size // _WASTE:
                return _Lease(returned.memory, self._kept)
            self._kept.appendleft(returned)
        return _Lease(np.empty(size, np.uint8), self._kept)


def _limit_of(value: SupportsIndex, what: str) -> int:
    number = index(value)
    if number < 0:
        raise ValueError(f"{what} must not be negative, but is {value!r}")
    return number


def _of_environment() -> int:
    text = os.environ.get(_ENVIRONMENT, "").strip() or str(1 << 28)
    try:
        return _limit_of(int(text), _ENVIRONMENT)
    except ValueError:
        raise ValueError(f"the environment variable {_ENVIRONMENT} must be a number of bytes, not {text!r}") from None


_pool = _Pool(_of_environment())


def set_kept_memory(limit: SupportsIndex, /) -> None:
    """Keep at most so many bytes of memory, which large results have left behind, for the next ones.

    What is kept so far goes back to the system. At first the limit is that of the environment variable
    ``ACTUFUNC_KEPT_MEMORY``, else 256 MiB. Results from 32 MiB up to half of the limit use such memory again. They are
    views, of memory that they do not own: ``flags.owndata`` is False, `base` is not None, ``resize`` refuses.

    Parameters
    ----------
    limit : int
        In bytes; 0 to keep nothing.

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
    _pool = _Pool(_limit_of(limit, "the limit"))  # what is in use returns to the pool it came from, and goes with it


def empty_like(
    x: np.ndarray[Any, Any], dtype: Any = None, order: Any = "K", shape: tuple[int, ...] | None = None
) -> np.ndarray[Any, Any]:
    """Return an array for a result, as `numpy.empty_like` does without ``subok``.

    Parameters
    ----------
    x, dtype, order, shape
        As for `numpy.empty_like`.

    Returns
    -------
    array
        Its elements are anything.
    """
    dtype = x.dtype if dtype is None else dtype
    shape = x.shape if shape is None else shape
    pool, size = _pool, math.prod(shape) * dtype.itemsize
    if _LEAST <= size <= pool.largest:
        flags, as_x = x.flags, order in {"K", "A"}
        if order == "C" or (as_x and flags.c_contiguous):
            return np.ndarray(shape, dtype, np.asarray(pool.lease(size)))
        if order == "F" or (as_x and flags.f_contiguous and len(shape) == x.ndim):
            return np.ndarray(shape, dtype, np.asarray(pool.lease(size)), order="F")
    return np.empty_like(x, dtype, order, subok=False, shape=shape)
