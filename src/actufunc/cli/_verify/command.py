"""``actufunc verify``: measures the errors of values and gradients over all inputs."""

from __future__ import annotations

import contextlib
import datetime as dt
import multiprocessing
import shlex
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from actufunc import _catalogue as catalogue
from actufunc._formats import FORMATS
from actufunc._threads import processors
from actufunc.cli._arguments import find_function, signals_interrupt
from actufunc.cli._errors import format_path, reason, stop
from actufunc.cli.system import processor, versions

from .tables import failures, legend, markdown, table
from .tasks import Results, tasks

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator

    from actufunc.accuracy.findings import Findings

    from .tasks import Task

_SAVE_EVERY = 5.0  # seconds
_FAILED = 1
_MOST_POINTS, _LEAST_POINTS = 10_000_000, 100


def run(arguments: argparse.Namespace) -> int:
    """Measure functions, print the findings, and return the exit status: 0 if everything holds, else 1."""
    wanted = _tasks(arguments)
    for path in (arguments.json, arguments.markdown):
        if path is not None and not Path(path).parent.is_dir():
            stop(f"cannot write {format_path(path)}: {format_path(Path(path).parent)} is not a directory")
    about = {
        "Command": _command(arguments),
        "Date": dt.datetime.now(dt.UTC).date().isoformat(),
        **versions(),
        "CPU": processor(),
    }
    results = Results(None if arguments.json is None else Path(arguments.json))
    errors = Console(stderr=True, highlight=False)
    outdated = results.load(wanted)
    if outdated:
        errors.print(f"{outdated} results of another version, machine or size are measured anew")
    _measure(results, arguments.jobs or processors(), about, errors)
    console = Console(highlight=False)
    console.print(table(results))
    console.print()
    for line in legend(results):
        console.print(Text(line, "dim"))
    if arguments.markdown is not None:
        try:
            Path(arguments.markdown).write_text(markdown(results, about), encoding="utf-8")
        except OSError as error:
            stop(f"cannot write {format_path(arguments.markdown)}: {reason(error)}")
    failed = failures(results)
    console.print()
    console.print(Text(f"{len(failed)} of {len(wanted)} measurements do not hold:" if failed else "Everything holds."))
    for line in failed:
        console.print(Text(line), soft_wrap=True)
    return _FAILED if failed else 0


def _tasks(arguments: argparse.Namespace) -> list[Task]:
    if arguments.stride < 1:
        stop(f"--stride must be a positive number, not {arguments.stride}")
    if not _LEAST_POINTS <= arguments.points <= _MOST_POINTS:
        stop(f"--points must be from {_LEAST_POINTS} to {_MOST_POINTS}, not {arguments.points}")
    if arguments.jobs is not None and arguments.jobs < 1:
        stop(f"--jobs must be a positive number, not {arguments.jobs}")
    functions = dict.fromkeys(map(find_function, arguments.names)) or catalogue.ACTIVATIONS.values()
    dtypes = [dtype for dtype in FORMATS if dtype in (arguments.dtype or FORMATS)]
    wanted = tasks(list(functions), dtypes, arguments.stride, arguments.points)
    if not wanted:
        stop("there is nothing to measure: half types need elementwise functions, and bfloat16 needs ml_dtypes")
    return wanted


def _command(arguments: argparse.Namespace) -> str:
    """Return the command that gives the same results."""
    parts = ["python -m actufunc verify", *arguments.names]
    parts += ["--exhaustive" if arguments.stride == 1 else f"--stride {arguments.stride}"]
    parts += [f"--points {arguments.points}", *(f"--dtype {dtype}" for dtype in arguments.dtype)]
    for name in ("json", "markdown"):
        path = getattr(arguments, name)
        parts += [] if path is None else [f"--{name} {shlex.quote(path)}"]
    return " ".join(parts)


def _measure(results: Results, jobs: int, about: dict[str, str], errors: Console) -> None:
    """Measure the remaining tasks, saving the file repeatedly, at the end and when interrupted."""
    left = results.left()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    progress = Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal)
    saved = time.monotonic()
    try:
        with signals_interrupt(), progress, _workers(min(jobs, len(left))) as imap:
            shown_task = progress.add_task("starting", total=len(left))
            for task, block, findings in imap(_work, left):
                results.add(task, block, findings)
                progress.update(shown_task, description=task.key, advance=1)
                if time.monotonic() > saved + _SAVE_EVERY:
                    results.save(about)
                    saved = time.monotonic()
    except KeyboardInterrupt:
        if results.path is not None:
            errors.print(f"{format_path(results.path)} keeps what is done; the same command goes on from there")
        raise
    finally:
        results.save(about)


def _work(job: tuple[Task, int]) -> tuple[Task, int, Findings]:
    task, block = job
    return task, block, task.measure(block)


@contextlib.contextmanager
def _workers(count: int) -> Iterator[Callable[..., Iterable[Any]]]:
    """Yield a function like `map` over processes, since mpmath holds the GIL."""
    if count <= 1:
        yield map
        return
    with multiprocessing.get_context("spawn").Pool(count, _ignore_interrupts) as pool:
        yield pool.imap_unordered


def _ignore_interrupts() -> None:
    """Ignore Ctrl-C, which the terminal sends to all processes, in a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
