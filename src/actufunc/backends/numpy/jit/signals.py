"""Work that Ctrl-C must not cut in two."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_Result = TypeVar("_Result")


def uninterrupted(function: Callable[[], _Result]) -> _Result:
    """Call a function, and let the handlers of signals wait until it has returned.

    Python runs them in the main thread, between any two instructions, and what they raise (KeyboardInterrupt, the
    exception of a timeout) is raised there.

    Parameters
    ----------
    function : callable
        Takes nothing.

    Returns
    -------
    object
        What it returns.
    """
    if threading.get_ident() != threading.main_thread().ident:
        return function()
    received: list[tuple[int, Any]] = []
    handlers: dict[int, Any] = {}
    try:
        for number in signal.valid_signals():
            handler = signal.getsignal(number)
            if callable(handler):
                handlers[number] = handler
                signal.signal(number, lambda *arguments: received.append(arguments))
        result = function()
    finally:
        _restore(dict(handlers))
        for arguments in received:
            handlers[arguments[0]](*arguments)
    return result


def _restore(handlers: dict[int, Any]) -> None:
    interruption: BaseException | None = None
    while handlers:
        number = next(iter(handlers))
        try:
            signal.signal(number, handlers[number])
            del handlers[number]
        except BaseException as error:  # noqa: BLE001 -- of a handler that is back already
            interruption = error
    if interruption is not None:
        raise interruption
