"""Python threads that share the work of one call.

They serve where :mod:`~actufunc.backends.numpy.layer` has nothing to offer, and kernels that are no ufuncs. Kernels
release the GIL, so that plain threads are enough, and they are safe in every situation: any number of callers at once,
after a fork, beside any threading layer of Numba.

Not `concurrent.futures`: there an interrupt of the main thread may leave a lock locked for good, since the `Event`,
`Condition` and `Semaphore` of `threading` are written in Python. What is used here, locks, `SimpleQueue` and `deque`,
is written in C; it also hands over sooner.
"""

from __future__ import annotations

import _thread
import contextvars
import functools
import threading
from collections import deque
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from .forks import hold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


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
    failures: list[BaseException] = []
    try:
        _pool.submit([contextvars.copy_context() for _ in range(min(threads, len(work.pieces)) - 1)], work.help)
        work.take_pieces()
    except BaseException as error:  # noqa: BLE001 -- raised again when all threads have let go
        failures.append(error)
    while True:
        try:
            work.wait_for_helpers()
            break
        except BaseException as error:  # noqa: BLE001 -- as above: Ctrl-C while waiting
            work.pieces.clear()
            failures.append(error)
    failures += work.failures
    if failures:
        try:
            raise failures[0]
        finally:
            del failures, work  # tracebacks hold arrays


class _Work:
    """Pieces that several threads take from."""

    def __init__(self, compute: Callable[[Any], object], pieces: Iterable[Any]) -> None:
        self.compute, self.pieces = compute, deque(pieces)
        self.failures: list[BaseException] = []
        self._is_open, self._lock = True, _thread.allocate_lock()
        self._begun: list[None] = []
        self._ended: list[None] = []
        self._woken: SimpleQueue[None] = SimpleQueue()

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
        with self._lock:
            if not self._is_open:
                return
            self._begun.append(None)
        try:
            self.take_pieces()
        except BaseException as error:  # noqa: BLE001 -- raised in the thread that waits
            self.failures.append(error)
        finally:
            self._ended.append(None)
            self._woken.put(None)

    def wait_for_helpers(self) -> None:
        """Let no more threads help, and return when those that do have finished."""
        with self._lock:
            self._is_open = False
        while len(self._ended) < len(self._begun):
            self._woken.get()
        self.compute = _nothing  # a helper that has yet to let go of this keeps no array alive


def _nothing(_: object) -> None:
    pass


class _Pool:
    """Threads that wait for something to call. They start when they are needed and end at a fork."""

    def __init__(self) -> None:
        self.lock = threading.RLock()  # the handler of a signal may come back here
        self._empty()

    def _empty(self) -> None:
        self._size = 0
        self._calls: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._ended: SimpleQueue[None] = SimpleQueue()

    def submit(self, contexts: list[contextvars.Context], function: Callable[[], None]) -> None:
        """Call a function once in each context, in threads of the pool as soon as they have time."""
        with self.lock:
            while self._size < len(contexts):
                try:
                    _thread.start_new_thread(self._serve, (self._calls, self._ended))
                except RuntimeError:  # the interpreter is shutting down, or the system sets a limit
                    break
                self._size += 1
            if self._size:
                for context in contexts:
                    self._calls.put(functools.partial(context.run, function))

    @staticmethod
    def _serve(calls: SimpleQueue[Callable[[], object] | None], ended: SimpleQueue[None]) -> None:
        while (call := calls.get()) is not None:
            call()
            del call
        ended.put(None)

    def shut_down(self) -> None:
        """Let all threads finish what they do, and end; the lock is held."""
        for _ in range(self._size):
            self._calls.put(None)
        for _ in range(self._size):
            self._ended.get()
        self._empty()


_pool = _Pool()
hold(_pool.lock, before=_pool.shut_down)
