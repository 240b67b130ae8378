"""Deferral of signals, so that Ctrl-C does not interrupt work that must be finished."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_Result = TypeVar("_Result")


def defer_signals(function: Callable[[], _Result]) -> _Result:
    """Call a function, and the handlers of signals that arrive meanwhile after it has returned; return its result.

    Python runs handlers in the main thread, between any two instructions, and raises their exceptions there
    (KeyboardInterrupt, that of a timeout).
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
        except BaseException as error:  # noqa: BLE001 -- from a handler that is restored already
            interruption = error
    if interruption is not None:
        raise interruption
