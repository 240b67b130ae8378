"""``actufunc apply``: a function over a file of any size, in bounded memory."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from actufunc import catalogue

from .npy import Data, Header, NewFile, open_npy
from .problem import shown, stop

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

    from actufunc import Activation

    Array = np.ndarray[Any, Any]


_LEAST_MAPPED = 1 << 22  # bytes; to make a map costs as much as to copy some pages


def run(arguments: argparse.Namespace) -> int:
    """Apply a function to a file.

    Parameters
    ----------
    arguments : argparse.Namespace
        Of the command line: `name` of the function, `input` and `output`, a list `set` of hyperparameters as
        ``name=value``, `axis` or None, `chunk_mb` and `force`.

    Returns
    -------
    int
        Exit status.

    Raises
    ------
    ProblemError
        If an argument or a file is bad.
    """
    name, source, target, chunk = arguments.name, arguments.input, arguments.output, arguments.chunk_mb
    if not (math.isfinite(chunk) and chunk > 0):
        stop(f"--chunk-mb must be a positive number, not {chunk:g}")
    function = find_function(name)
    keywords = keywords_of(function, arguments.set)
    if function.definition.reduces or function.definition.gated:
        stop(f"{name} changes the shape of an array, which apply cannot; call it from Python")
    if function.definition.over_axis:
        keywords["axis"] = -1 if arguments.axis is None else arguments.axis
    elif arguments.axis is not None:
        stop(f"{name} is not a function over an axis; leave --axis away")
    file, header = open_npy(Path(source))
    with file:
        result = Header(result_dtype(function, header, keywords), header.shape, header.fortran_order)
        # A link stays a link: what it points to is replaced.
        new = NewFile(Path(os.path.realpath(target)), result, force=arguments.force)
        new.check(Path(source))
        start = time.perf_counter()
        with signals_interrupt(), new as output:
            total = header.nbytes + result.nbytes
            with _progress(name, total) as advance, np.errstate(all="ignore"):
                blocks = _Blocks(function, keywords, header, chunk * 1e6, result.dtype)
                for done in blocks.run(Data(file, header), output):
                    advance(done * total / header.elements)
            new.finish()
        seconds = time.perf_counter() - start
    elements = f"{header.elements:,} element{'' if header.elements == 1 else 's'}"
    rate = f"{total / seconds / 1e9:.3g} GB/s read and written"
    sys.stdout.write(f"{name}: {elements} in {seconds:.3g} s, {rate}, to {shown(target)}\n")
    return 0


def find_function(name: str) -> Activation:
    """Return the function of a name, or stop with the nearest that there is."""
    try:
        return catalogue.find(name)
    except ValueError as error:
        stop(str(error))


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


def result_dtype(function: Activation, header: Header, keywords: dict[str, Any]) -> np.dtype[Any]:
    """Ask the function itself, with an array of no elements; it also says what is wrong with the arguments."""
    for name, default in function.definition.hyperparameters.items():
        if default is function.__signature__.empty and name not in keywords:
            stop(f"{function.__name__} needs --set {name}=VALUE")
    if header.dtype.kind not in "biuf":
        stop(f"{function.__name__} does not support {header.dtype}; it takes real numbers")
    empty = np.zeros([0] * len(header.shape), header.dtype)
    try:
        with np.errstate(all="ignore"):
            result = function(empty, **keywords)
    except (TypeError, ValueError, OverflowError) as error:
        stop(str(error))
    return np.asarray(result).dtype.newbyteorder("=")


class _Blocks:
    """Cuts an array into blocks that fit in memory, along with their results, and computes them.

    A contiguous block is computed from one map into another. Over an axis that does not fit otherwise, a block is a
    group of columns, copied to memory and back in parts, so that no more than that is mapped at a time.
    """

    def __init__(
        self, function: Activation, keywords: dict[str, Any], header: Header, chunk: float, dtype: np.dtype[Any]
    ) -> None:
        self.function, self.keywords, self.dtype = function, dict(keywords), dtype
        self.limit = max(1, int(chunk / (header.dtype.itemsize + dtype.itemsize)))  # elements in memory, twice
        self.native = header.dtype.newbyteorder("=")
        axis = self.keywords.pop("axis", None)
        # As the elements lie in the file: `before` times `n` rows of `after` elements, to be reduced over the middle.
        if axis is None or not header.shape:
            self.before, self.n, self.after = header.elements, 1, 1
        else:
            shape = header.shape[::-1] if header.fortran_order else header.shape
            axis %= len(shape)
            axis = len(shape) - 1 - axis if header.fortran_order else axis
            self.before, self.n, self.after = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
        self.over_axis = axis is not None

    def run(self, source: Data, target: Data) -> Iterator[int]:
        """Compute everything, yielding the number of elements after each block."""
        plane = self.n * self.after
        if not self.before * plane:
            return
        if plane <= self.limit or self.after == 1:
            step = max(1, self.limit // plane)
            for start in range(0, self.before, step):
                count = min(step, self.before - start)
                self._contiguous(source, target, start * plane, count)
                yield count * plane
            return
        width = max(1, self.limit // 2 // self.n)
        for start in range(0, self.before * plane, plane):
            for column in range(0, self.after, width):
                count = min(width, self.after - column)
                self._columns(source, target, start + column, count)
                yield count * self.n

    def _contiguous(self, source: Data, target: Data, start: int, count: int) -> None:
        stop = start + count * self.n * self.after
        shape = (count, self.n, self.after) if self.over_axis else (count,)
        x, out = source.part(start, stop).reshape(shape), target.part(start, stop).reshape(shape)
        self._call(x, out, axis=1)

    def _columns(self, source: Data, target: Data, start: int, width: int) -> None:
        x, out = np.empty((self.n, width), self.native), np.empty((self.n, width), self.dtype)
        part = max(self.limit // 2, _LEAST_MAPPED // max(self.native.itemsize, self.dtype.itemsize))
        source.copy(x, start, self.after, part)
        self._call(x, out, axis=0)
        target.copy(out, start, self.after, part, back=True)

    def _call(self, x: Array, out: Array, axis: int) -> None:
        keywords = self.keywords | {"axis": axis} if self.over_axis else self.keywords
        self.function(x, out=out, **keywords)


@contextlib.contextmanager
def _progress(name: str, total: int) -> Iterator[Callable[[float], object]]:
    """Show a bar of bytes on the terminal, if stderr is one."""
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
    columns = (TextColumn(name), BarColumn(None), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(name, total=total)
        yield lambda amount: progress.advance(task, amount)


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
