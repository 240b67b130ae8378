"""The number of threads that a call on large NumPy arrays may use.

It is the number that `num_threads` sets around the call, else that of `set_num_threads`, else that of the environment
variable ``ACTUFUNC_NUM_THREADS``, else the number of processors; and never more than the processors that this process
may use (its CPU affinity and the limit of its container), ``NUMBA_NUM_THREADS`` or ``OMP_NUM_THREADS``.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import sys
from contextvars import ContextVar
from operator import index
from pathlib import Path
from typing import Any, SupportsIndex

__all__ = ["get_num_threads", "num_threads", "set_num_threads"]


def _checked_count(value: SupportsIndex, what: str) -> int:
    try:
        number = index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise TypeError(f"{what} must be an integer, not {value!r}")
    if number < 1:
        raise ValueError(f"{what} must be a positive integer, not {value!r}")
    return number


def _environment_limit(name: str) -> int | None:
    text = os.environ.get(name, "").strip()
    if not text:
        return None
    try:
        return _checked_count(int(text), name)
    except ValueError:
        raise ValueError(f"the environment variable {name} must be a positive integer, not {text!r}") from None


def _openmp_limit() -> int | None:
    """Return the first number of ``OMP_NUM_THREADS``, which has one for each level of nested parallel regions.

    OpenMP's libraries ignore a variable that is not a list of positive integers.
    """
    numbers = os.environ.get("OMP_NUM_THREADS", "").split(",")
    if all(number.strip().isascii() and number.strip().removeprefix("+").isdecimal() for number in numbers):
        values = list(map(int, numbers))
        return values[0] if min(values) > 0 else None
    return None


_requested: int | None = _environment_limit("ACTUFUNC_NUM_THREADS")
_OPENMP_LIMIT: int | None = _openmp_limit()  # read once, as OpenMP does
# The number of the innermost `num_threads` block, and the same pair for the blocks around it.
_requested_in_context: ContextVar[tuple[int, Any] | None] = ContextVar("actufunc.num_threads", default=None)


def get_num_threads() -> int:
    """Return the number of threads that a call on a large NumPy array may use at this point.

    Returns
    -------
    int
        At least 1. Small arrays always take one thread.

    See Also
    --------
    set_num_threads : Set it for the process.
    num_threads : Set it for a block of code.

    Examples
    --------
    >>> import actufunc
    >>> with actufunc.num_threads(1):
    ...     actufunc.get_num_threads()
    1
    """
    block = _requested_in_context.get()
    limits = (_requested if block is None else block[0], processors(), _numba_limit(), _OPENMP_LIMIT)
    return min(limit for limit in limits if limit is not None)


def set_num_threads(n: SupportsIndex, /) -> None:
    """Limit calls on large NumPy arrays to `n` threads, in the whole process.

    With ``set_num_threads(1)`` no thread is ever started and nothing of Numba's parallel machinery is touched.

    Parameters
    ----------
    n : int
        A positive number; more than the number of processors means all processors.

    Raises
    ------
    TypeError
        If `n` is not an integer.
    ValueError
        If `n` is not positive.

    See Also
    --------
    num_threads : The same for a block of code.

    Examples
    --------
    >>> import actufunc
    >>> before = actufunc.get_num_threads()
    >>> actufunc.set_num_threads(1)
    >>> actufunc.get_num_threads()
    1
    >>> actufunc.set_num_threads(before)
    """
    global _requested  # noqa: PLW0603 -- a setting of the process
    _requested = _checked_count(n, "the number of threads")


class num_threads(contextlib.ContextDecorator):  # noqa: N801 -- used as a function
    """Limit calls on large NumPy arrays to `n` threads, in a ``with`` block or a decorated plain function.

    The limit holds only in the thread (or asyncio task) that runs the block, so that each thread may have its own.

    Parameters
    ----------
    n : int
        A positive number; more than the number of processors means all processors.

    Raises
    ------
    TypeError
        If `n` is not an integer.
    ValueError
        If `n` is not positive.

    See Also
    --------
    set_num_threads : The same for the process.

    Examples
    --------
    >>> import numpy as np
    >>> import actufunc
    >>> with actufunc.num_threads(1):
    ...     y = actufunc.sigmoid(np.zeros((1000, 1000)))
    """

    def __init__(self, n: SupportsIndex, /) -> None:
        self._number = _checked_count(n, "the number of threads")

    def __enter__(self) -> None:
        _requested_in_context.set((self._number, _requested_in_context.get()))

    def __exit__(self, *_: object) -> None:
        block = _requested_in_context.get()
        _requested_in_context.set(None if block is None else block[1])


def processors() -> int:
    """Return the number of processors that this process may use, by its CPU affinity and the limit of its container."""
    try:
        count = len(os.sched_getaffinity(0))  # not cached: it may change while the process runs
    except AttributeError:  # not on macOS and Windows
        count = os.cpu_count() or 1
    return max(1, min(count, _container_limit()))


@functools.cache
def _container_limit(root: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the share of processors that a control group grants, rounded up; a huge number if it sets no limit.

    A container sees its own control group as the root. The files are those of version 2 ("quota period", in
    microseconds, or "max period") and of version 1 (-1 for no limit).
    """
    for files in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            quota, period = " ".join((root / file).read_text(encoding="ascii") for file in files).split()
            if quota != "max" and int(quota) > 0 and int(period) > 0:
                return math.ceil(int(quota) / int(period))
        except (OSError, ValueError):
            continue
    return sys.maxsize


def _numba_limit() -> int | None:
    """Return ``NUMBA_NUM_THREADS`` as Numba has read it, or as it would."""
    numba = sys.modules.get("numba")
    config = getattr(numba, "config", None)
    if config is not None:
        return int(config.NUMBA_NUM_THREADS)
    with contextlib.suppress(ValueError):  # Numba itself will complain
        return _environment_limit("NUMBA_NUM_THREADS")
    return None
