"""``actufunc apply``: reads, computes and writes a file in bounded memory."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from actufunc.cli._arguments import find_derivative, parse_hyperparameters, result_type, signals_interrupt
from actufunc.cli._errors import format_path, stop

from . import formats
from .npy import Header
from .out_of_core import compute

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from actufunc import Activation

    from .formats import Input, Phase


def run(arguments: argparse.Namespace) -> int:
    """Apply a function to a file, and return the exit status; raise `CommandError` for a bad argument or file."""
    name, target, chunk = arguments.name, Path(arguments.output), arguments.chunk_mb * 1e6
    if not (math.isfinite(chunk) and chunk > 0):
        stop(f"--chunk-mb must be a positive number, not {arguments.chunk_mb:g}")
    function = find_derivative(name)
    keywords = parse_hyperparameters(function, arguments.set)
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
    sys.stdout.write(f"{name}: {what} in {seconds:.3g} s, {rate}, to {format_path(arguments.output)}\n")
    return 0


def _result(function: Activation, given: Input, keywords: dict[str, Any]) -> Header:
    dtype, shape = result_type(function, given.dtype, given.shape, keywords, given.title)
    return Header(dtype, shape, given.fortran_order and len(shape) > 1)


@contextlib.contextmanager
def _progress() -> Iterator[Phase]:
    """Show a progress bar for each phase, if stderr is a terminal."""
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
