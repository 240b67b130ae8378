"""Work that Ctrl-C must not cut in two."""

from __future__ import annotations

import _thread
import contextvars
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_Result = TypeVar("_Result")


def uninterrupted(function: Callable[[], _Result]) -> _Result:
    """Call a function, and raise what interrupts it when it has returned.

    Python runs the handlers of signals in the main thread, between any two instructions, and what they raise
    (KeyboardInterrupt, the exception of a timeout) is raised there. So the function runs in another thread.

    Parameters
    ----------
    function : callable
        Takes nothing; must not need to be in the main thread, nor a lock that the caller holds.

    Returns
    -------
    object
        What it returns.
    """
    if threading.get_ident() != threading.main_thread().ident:
        return function()
    results: list[_Result] = []
    failures: list[BaseException] = []
    # No primitive of `threading` but those that are written in C: the others can be interrupted with a lock held.
    woken: SimpleQueue[None] = SimpleQueue()

    def run() -> None:
        try:
            results.append(function())
        except BaseException as error:  # noqa: BLE001 -- raised in the thread that waits
            failures.append(error)
        finally:
            woken.put(None)

    try:
        _thread.start_new_thread(contextvars.copy_context().run, (run,))
    except RuntimeError:  # no thread can be started
        return function()
    interruption: BaseException | None = None
    while not results and not failures:
        try:
            woken.get()
        except BaseException as error:  # noqa: BLE001 -- raised below
            interruption = interruption or error
    failure = interruption or (failures.pop() if failures else None)
    if failure is not None:
        try:
            raise failure
        finally:
            failure = interruption = None  # tracebacks hold all that is in them
    return results[0]
