"""A pool of Python threads that share the work of one call.

It serves calls for which :mod:`~actufunc.backends.numpy.threading.tbb` cannot be used, and kernels that are no ufuncs.
Kernels release the GIL, so that Python threads are enough. They are safe in every situation: any number of callers at
once, after a fork, beside any threading layer of Numba.

It is not `concurrent.futures`: there an interrupt of the main thread may leave a lock locked for good, since the
`Event`, `Condition` and `Semaphore` of `threading` are written in Python. Here no thread ever waits for a lock:
`SimpleQueue`, `deque` and lists are atomic.
"""

from __future__ import annotations

import _thread
import contextvars
import functools
import os
import time
from collections import deque
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# Seconds that a fork waits for threads to end. They need microseconds, unless what they call (a function given to
# `numpy.seterrcall`, a handler of warnings) waits for the thread that forks.
_PATIENCE = 0.5


def share(compute: Callable[[Any], object], pieces: Iterable[Any], threads: int) -> None:
    """Call a function once for every piece of some work, in at most so many threads, the calling one among them.

    It is called in the context (`numpy.errstate` among it) of the caller. A thread that has finished a piece takes the
    next, so several per thread keep all busy; fewer threads work where no more can be started.

    The call returns when no other thread works on a piece any more, also where it is interrupted or a piece fails:
    nothing writes to the caller's arrays after that. It raises the exception of a piece or of a signal handler; of
    several an interrupt, else any.
    """
    if threads < 2:  # noqa: PLR2004 -- no other thread
        for piece in pieces:
            compute(piece)
        return
    work = _Work(compute, pieces)
    failures: tuple[BaseException, ...] = ()
    is_begun = False
    while True:
        try:
            if not is_begun:
                is_begun = True
                _workers.submit(work, min(threads, len(work.pieces)) - 1)
                work.take_pieces()
            work.wait_for_helpers()
            break
        except BaseException as error:  # noqa: BLE001 -- raised below, when no thread works any more
            work.is_over = True
            failures = (*failures, error)
    failures = (*failures, *work.failures)
    if failures:
        try:
            raise min(failures, key=lambda error: isinstance(error, Exception))
        finally:
            del failures, work  # tracebacks hold arrays


class _Work:
    """Pieces that several threads take from."""

    def __init__(self, compute: Callable[[Any], object], pieces: Iterable[Any]) -> None:
        self.compute, self.pieces = compute, deque(pieces)
        self.failures: list[BaseException] = []
        self.is_over = False  # no piece is to be begun any more
        self._begun: list[None] = []
        self._ended: list[None] = []
        self._woken: SimpleQueue[None] = SimpleQueue()

    def take_pieces(self) -> None:
        """Work on pieces until none is left."""
        while not self.is_over:
            try:
                piece = self.pieces.popleft()
            except IndexError:
                return
            self.compute(piece)

    def help(self) -> None:
        """Work on pieces in a thread of the pool."""
        # Before is_over is asked: wait_for_helpers sets that first, and counts helpers then.
        self._begun.append(None)
        try:
            self.take_pieces()
        except BaseException as error:  # noqa: BLE001 -- raised in the thread that waits
            self.is_over = True
            self.failures.append(error)
        finally:
            self._ended.append(None)
            self._woken.put(None)

    def wait_for_helpers(self) -> None:
        """Return when no thread helps any more, and none will begin to."""
        self.is_over = True
        while len(self._ended) < len(self._begun):
            self._woken.get()
        self.compute = _nothing  # a helper that still refers to this keeps no array alive


def _nothing(_: object) -> None:
    pass


class _Workers:
    """Threads that wait for work."""

    def __init__(self) -> None:
        self._size = 0
        self._calls: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._ended: SimpleQueue[None] = SimpleQueue()

    def submit(self, work: _Work, threads: int) -> None:
        """Let so many threads help, as soon as they are idle."""
        while self._size < threads:  # two callers at once may start one too many, which does no harm
            try:
                _thread.start_new_thread(self._serve, ())
            except RuntimeError:  # the interpreter is shutting down, or the system sets a limit
                break
            self._size += 1
        if self._size:
            for _ in range(threads):
                self._calls.put(functools.partial(contextvars.copy_context().run, work.help))

    def _serve(self) -> None:
        try:
            while (call := self._calls.get()) is not None:
                call()
                del call
        finally:
            self._ended.put(None)

    def shutdown(self) -> None:
        """End all threads, each after the piece that it works on."""
        deadline = time.monotonic() + _PATIENCE
        for _ in range(self._size):
            self._calls.put(None)
        for _ in range(self._size):
            try:
                self._ended.get(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                return


_workers = _Workers()


def _shut_down_before_fork() -> None:
    """End all threads: a child would not have them, and Python 3.12 warns of a fork beside threads."""
    global _workers
    before, _workers = _workers, _Workers()
    before.shutdown()


def _start_anew_in_child() -> None:
    """Start without threads in a child, whatever happened before the fork."""
    global _workers  # noqa: PLW0603
    _workers = _Workers()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_shut_down_before_fork, after_in_child=_start_anew_in_child)
