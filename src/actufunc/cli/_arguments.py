"""Arguments that several commands have: functions, hyperparameters; and the signals that end a command."""

from __future__ import annotations

import contextlib
import difflib
import signal
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from actufunc import _catalogue as catalogue

from ._errors import stop

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actufunc import Activation

_GRAD = "grad"


def find_function(name: str) -> Activation:
    """Return the function of a name, or stop with a message that suggests the nearest name."""
    try:
        return catalogue.find(name)
    except ValueError as error:
        stop(str(error))


def find_derivative(name: str) -> Activation:
    """Return the function of a name that may end in ``.grad``, also repeated."""
    base, *steps = name.split(".")
    function = find_function(base)
    for step in steps:
        if step != _GRAD:
            if step == "vjp":
                stop(f"{name} takes a cotangent beside x; apply takes functions of one array")
            near = f"; did you mean {_GRAD!r}?" if difflib.get_close_matches(step, [_GRAD]) else ""
            stop(f"{function.__name__} has no {step!r}{near}" + ("" if near else f"; there is {_GRAD!r}"))
        try:
            function = function.grad
        except AttributeError:
            stop(f"the derivative of {function.__name__} is a matrix, which apply cannot write")
    return function


def parse_hyperparameters(function: Activation, texts: Sequence[str]) -> dict[str, Any]:
    """Return the hyperparameters and options that texts ``name=value`` set."""
    definition = function.definition
    known = (*definition.hyperparameters, *definition.options)
    keywords: dict[str, Any] = {}
    for each in texts:
        name, equals, text = each.partition("=")
        if not (name and equals and text):
            stop(f"--set takes NAME=VALUE, not {each!r}")
        if name not in known:
            what = f"it has {' and '.join(known)}" if known else "it has none"
            stop(f"{function.__name__} has no hyperparameter {name!r}; {what}")
        if name in definition.options:
            keywords[name] = {"True": True, "False": False, "None": None}.get(text, text)
        else:
            keywords[name] = _number(name, text)
    return keywords


def _number(name: str, text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        stop(f"--set {name} takes a number, not {text!r}")


def result_type(
    function: Activation, dtype: np.dtype[Any], shape: tuple[int, ...], keywords: dict[str, Any], title: str = ""
) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Return the dtype and shape of a result by a call of the function on a small array, which checks the arguments.

    `keywords` are hyperparameters, options and axis. Raise `CommandError`, with the prefix `title`, if the function
    refuses the arguments.
    """
    for name, default in function.definition.hyperparameters.items():
        if default is function.__signature__.empty and name not in keywords:
            stop(f"{function.__name__} needs --set {name}=VALUE")
    if dtype.kind not in "biuf":
        stop(f"{title}{function.__name__} does not support {dtype}; it takes real numbers")
    axis = keywords.get("axis")
    if axis is None or not -len(shape) <= axis < len(shape):  # the function refuses such an axis
        axis = None
    # Only the axis of the function has elements, and few: dtype and errors are those of the whole array.
    probe, result_shape = [0] * len(shape), list(shape)
    if axis is not None:
        probe[axis] = min(shape[axis], 2 + shape[axis] % 2)
    try:
        with np.errstate(all="ignore"):
            result = np.asarray(function(np.zeros(probe, dtype), **keywords))
    except (TypeError, ValueError, OverflowError) as error:
        message = str(error)
        if axis is not None:
            message = message.replace(f"odd length {probe[axis]}", f"odd length {shape[axis]}")
        stop(f"{title}{message}")
    if axis is not None and function.definition.reduces:
        del result_shape[axis]
    elif axis is not None and function.definition.gated:
        result_shape[axis] //= 2
    return result.dtype.newbyteorder("="), tuple(result_shape)


class _SignalInterrupt(KeyboardInterrupt):
    """A signal other than SIGINT that asks the process to end."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.signal = number


@contextlib.contextmanager
def signals_interrupt() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise KeyboardInterrupt, as SIGINT does, so that a command cleans up."""

    def interrupt(number: int, _frame: object) -> None:
        raise _SignalInterrupt(number)

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        numbers = []  # only the main thread may set handlers
    # A signal that the parent process ignores, as nohup does, stays ignored.
    before = {number: signal.getsignal(number) for number in numbers}
    changed = [number for number, handler in before.items() if handler is signal.SIG_DFL]
    try:
        for number in changed:
            signal.signal(number, interrupt)
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)
