"""Python threads that share the work of one call.

They serve where :mod:`~actufunc.backends.numpy.layer` has nothing to offer, and kernels that are no ufuncs. Kernels
release the GIL, so that plain threads are enough, and they are safe in every situation: any number of callers at once,
after a fork, beside any threading layer of Numba.
"""

from __future__ import annotations

import contextvars
import os
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from .forks import hold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_lock = threading.RLock()
_executor: ThreadPoolExecutor | None = None


def share(compute: Callable[[Any], object], pieces: Iterable[Any], threads: int) -> None:
    """Call a function for every piece of some work, in several threads.

    The calling thread is one of them. It returns when no other works on a piece any more, also where it is interrupted
    or a piece fails: nothing writes to the caller's arrays behind its back.

    Parameters
    ----------
    compute : callable
        Called once for each piece, in the context (`numpy.errstate` among it) of the caller.
    pieces : iterable
        Arguments for it. A thread that has finished one takes the next, so several per thread keep all busy.
    threads : int
        How many, at most; fewer work where no more can be started.

    Raises
    ------
    BaseException
        The first that a piece or a signal handler raised.
    """
    if threads < 2:  # noqa: PLR2004 -- nobody to share with
        for piece in pieces:
            compute(piece)
        return
    work = _Work(compute, pieces)
    failure: BaseException | None = None
    try:
        for _ in range(min(threads, len(work.pieces)) - 1):
            _submit(contextvars.copy_context(), work.help)
        work.take_pieces()
    except BaseException as error:  # noqa: BLE001 -- raised again when all threads have let go
        failure = error
    while True:
        try:
            work.wait_for_helpers()
            break
        except BaseException as error:  # noqa: BLE001 -- as above: Ctrl-C while waiting
            work.pieces.clear()
            failure = failure or error
    failure = failure or work.failure
    if failure is not None:
        try:
            raise failure
        finally:
            del failure, work  # tracebacks hold arrays


class _Work:
    """Pieces that several threads take from.

    Futures do not tell enough: an executor that fails to start a thread has put the work in its queue already.
    """

    def __init__(self, compute: Callable[[Any], object], pieces: Iterable[Any]) -> None:
        self.compute, self.pieces = compute, deque(pieces)
        self.failure: BaseException | None = None
        self._helpers, self._is_open = 0, True
        self._changed = threading.Condition()

    def take_pieces(self) -> None:
        """Work on pieces until none is left."""
        try:
            while True:
                try:
                    piece = self.pieces.popleft()
                except IndexError:
                    return
                self.compute(piece)
        except BaseException:
            self.pieces.clear()
            raise

    def help(self) -> None:
        """Do the same in another thread, unless the call is over."""
        with self._changed:
            if not self._is_open:
                return
            self._helpers += 1
        try:
            self.take_pieces()
        except BaseException as error:  # noqa: BLE001 -- raised in the thread that waits
            self.failure = error
        finally:
            with self._changed:
                self._helpers -= 1
                self._changed.notify_all()

    def wait_for_helpers(self) -> None:
        """Let no more threads help, and return when those that do have finished."""
        with self._changed:
            self._is_open = False
            self._changed.wait_for(lambda: self._helpers == 0)


def _submit(context: contextvars.Context, function: Callable[[], None]) -> None:
    """Let a thread of the pool call a function, if one can be started."""
    global _executor  # noqa: PLW0603 -- the process has one pool
    with _lock:
        if _executor is None:
            _executor = ThreadPoolExecutor(max(1, (os.cpu_count() or 1) - 1), "actufunc")
        try:
            _executor.submit(context.run, function)
        except RuntimeError:
            # No thread can be started: the interpreter is shutting down, or the system sets a limit.
            return


def _shut_down() -> None:
    """Let all threads end, so that a forked child misses none."""
    global _executor  # noqa: PLW0603
    if _executor is not None:
        _executor.shutdown(wait=True)
        _executor = None


hold(_lock, before=_shut_down)
