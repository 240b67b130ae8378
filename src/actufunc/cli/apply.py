"""``actufunc apply``: a function over files of any size, in bounded memory."""

from __future__ import annotations

import contextlib
import difflib
import math
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from actufunc import _catalogue as catalogue

from .blocks import compute
from .npy import Header
from .problem import shown, stop

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from actufunc import Activation

    from .formats import Input, Phase

_GRAD = "grad"


def run(arguments: argparse.Namespace) -> int:
    """Apply a function to a file.

    Parameters
    ----------
    arguments : argparse.Namespace
        Of the command line: `name` of the function, `input` and `output`, a list `set` of hyperparameters as
        ``name=value``, `axis` or None, `member` or None, `chunk_mb` and `force`.

    Returns
    -------
    int
        Exit status.

    Raises
    ------
    ProblemError
        If an argument or a file is bad.
    """
    from . import formats  # noqa: PLC0415 -- other commands take functions from here

    name, target, chunk = arguments.name, Path(arguments.output), arguments.chunk_mb * 1e6
    if not (math.isfinite(chunk) and chunk > 0):
        stop(f"--chunk-mb must be a positive number, not {arguments.chunk_mb:g}")
    function = find_derivative(name)
    keywords = keywords_of(function, arguments.set)
    if function.definition.kind != "elementwise":
        keywords["axis"] = -1 if arguments.axis is None else arguments.axis
    elif arguments.axis is not None:
        stop(f"{name} is not a function over an axis; leave --axis away")
    new = formats.output(target, force=arguments.force)
    with contextlib.ExitStack() as stack:
        given = formats.inputs(stack, Path(arguments.input), arguments.member)
        new.check(given, [_result(function, each, keywords) for each in given])
        start = time.perf_counter()
        elements = total = 0
        with signals_interrupt(), _progress() as phase, new.open():
            for each in given:
                with contextlib.ExitStack() as copies, np.errstate(all="ignore"):
                    source = each.load(copies, target.parent, chunk, phase)
                    header = _result(function, each, keywords)
                    count = math.prod(source.shape)
                    size = count * source.dtype.itemsize + header.nbytes
                    advance = phase(name, size)
                    for done in compute(function, keywords, source, new.target(copies, header, each), chunk):
                        advance(done * size / count if count else size)
                    new.done(each, chunk, phase)
                elements, total = elements + count, total + size
            new.finish()
        seconds = time.perf_counter() - start
    what = f"{elements:,} element{'' if elements == 1 else 's'}"
    rate = f"{total / seconds / 1e9:.3g} GB/s read and written"
    sys.stdout.write(f"{name}: {what} in {seconds:.3g} s, {rate}, to {shown(arguments.output)}\n")
    return 0


def find_function(name: str) -> Activation:
    """Return the function of a name, or stop with the nearest that there is."""
    try:
        return catalogue.find(name)
    except ValueError as error:
        stop(str(error))


def find_derivative(name: str) -> Activation:
    """Return the function of a name that may end in ``.grad``, several times."""
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


def keywords_of(function: Activation, settings: Sequence[str]) -> dict[str, Any]:
    """Read ``name=value`` as the function understands it."""
    definition = function.definition
    known = (*definition.hyperparameters, *definition.options)
    keywords: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not (name and equals and text):
            stop(f"--set takes NAME=VALUE, not {setting!r}")
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


def result_of(
    function: Activation, dtype: np.dtype[Any], shape: tuple[int, ...], keywords: dict[str, Any], title: str = ""
) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Ask the function itself for dtype and shape of its result; it also says what is wrong with the arguments.

    Parameters
    ----------
    function : Activation
        Which one.
    dtype, shape
        Of its argument.
    keywords : dict
        Hyperparameters, options and axis.
    title : str, default ""
        What messages begin with.

    Raises
    ------
    ProblemError
        If it refuses them.
    """
    for name, default in function.definition.hyperparameters.items():
        if default is function.__signature__.empty and name not in keywords:
            stop(f"{function.__name__} needs --set {name}=VALUE")
    if dtype.kind not in "biuf":
        stop(f"{title}{function.__name__} does not support {dtype}; it takes real numbers")
    axis = keywords.get("axis")
    if axis is None or not -len(shape) <= axis < len(shape):  # of which the function says that there is none
        axis = None
    # An array of no elements, or of few if it has one axis, is like any other but for the length of the axis.
    probe, left = [0] * len(shape), list(shape)
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
        del left[axis]
    elif axis is not None and function.definition.gated:
        left[axis] //= 2
    return result.dtype.newbyteorder("="), tuple(left)


def _result(function: Activation, given: Input, keywords: dict[str, Any]) -> Header:
    dtype, shape = result_of(function, given.dtype, given.shape, keywords, given.title)
    return Header(dtype, shape, given.fortran_order and len(shape) > 1)


@contextlib.contextmanager
def _progress() -> Iterator[Phase]:
    """Show a bar for one phase after the other on the terminal, if stderr is one."""
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    console = Console(stderr=True)
    title = TextColumn("{task.description}", markup=False)
    columns = (title, BarColumn(None), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:

        def phase(title: str, total: int) -> Any:
            for old in progress.task_ids:
                progress.remove_task(old)
            task = progress.add_task(title, total=total)
            return lambda amount: progress.advance(task, amount)

        yield phase


class _SignalInterrupt(KeyboardInterrupt):
    """A request to end other than Ctrl-C."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.signal = number


@contextlib.contextmanager
def signals_interrupt() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the run as Ctrl-C does, so that it cleans up."""

    def interrupt(number: int, _frame: object) -> None:
        raise _SignalInterrupt(number)

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        numbers = []  # Python calls handlers in the main thread only
    # Who started this may have had it ignore them, as nohup does.
    before = {number: signal.getsignal(number) for number in numbers}
    changed = [number for number, handler in before.items() if handler is signal.SIG_DFL]
    try:
        for number in changed:
            signal.signal(number, interrupt)
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)
