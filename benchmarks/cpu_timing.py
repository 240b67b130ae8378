"""Time the libraries of each case alternately, for `report.py`, in a process with one number of threads.

The speed of a machine changes from second to second, so that libraries which are timed one after the other are not
comparable. Here they take turns of a few hundredths of a second each, on the same arrays, and the shortest time over
all turns counts. A library that is far behind has one turn.
"""

from __future__ import annotations

import argparse
import datetime as dt
import gc
import io
import itertools
import math
import os
import platform
import sys
import time
import tracemalloc
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cpu_cases import LARGE, SELECTIONS, CpuCase, Selection, libraries, prepare
from cpu_results import BASELINE, COPY, NO_PEERS, OURS, CpuResults, CpuRow
from libraries import versions
from rich.console import Console
from rich.progress import track
from thread_settings import threads

from actufunc.cli import system

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from libraries import TimedCall

_ROUND = 1e-4  # seconds that one round takes at least
_HOPELESS = 3  # a library that takes so many times as long as the fastest is timed once and not in turns


class Chosen:
    """A plugin of pytest that collects the cases that it would time, each with its libraries."""

    def __init__(self) -> None:
        self.cases: dict[CpuCase, list[str]] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Record the collected cases."""
        for item in session.items:
            given = item.callspec.params  # type: ignore[attr-defined]
            self.cases.setdefault(given["case"], []).append(given["library"])

    @classmethod
    def of(cls, selection: str, expression: str | None) -> dict[CpuCase, list[str]]:
        """Return the cases of a selection that match an expression of ``pytest -k``."""
        command = [str(Path(__file__).with_name("test_speed.py")), "--collect-only", "-q", f"--selection={selection}"]
        command += ["-k", expression] if expression else []
        chosen = cls()
        output = io.StringIO()
        with redirect_stdout(output):
            status = pytest.main(command, plugins=[chosen])
        if status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            sys.exit(output.getvalue())
        return chosen.cases


@dataclass
class Timed:
    """A call of one library, and its shortest time so far.

    Attributes
    ----------
    call : TimedCall
        The call.
    iterations : int
        Number of calls in a round, which is long in comparison with the resolution of the clock.
    seconds : float
        Approximate time of a round.
    at_work : float
        Processor time of all threads over wall time.
    best : float
        Shortest time of one call in a round.
    """

    call: TimedCall
    iterations: int
    seconds: float
    at_work: float
    best: float = math.inf

    @classmethod
    def of(cls, call: TimedCall) -> Timed:
        """Determine the number of iterations."""
        iterations = 1
        while True:
            # The better of two, as the first call after another library's may miss the caches.
            seconds, at_work = min(_clocked(call, iterations) for _ in range(2))
            if seconds >= _ROUND:
                return cls(call, iterations, seconds, at_work)
            iterations *= 2

    @property
    def pace(self) -> float:
        """Approximate seconds of one call."""
        return self.seconds / self.iterations

    def turn(self, rounds: int) -> None:
        """Time some rounds."""
        function, arguments, keywords = self.call
        repeats = range(self.iterations)
        for _ in range(rounds):
            start = time.perf_counter()
            for _ in repeats:
                function(*arguments, **keywords)
            self.best = min(self.best, (time.perf_counter() - start) / self.iterations)


def _clocked(call: TimedCall, iterations: int) -> tuple[float, float]:
    """Return the wall time of some calls in seconds, and their processor time over it."""
    start, worked = time.perf_counter(), time.process_time()
    for _ in range(iterations):
        call()
    seconds = time.perf_counter() - start
    return seconds, (time.process_time() - worked) / seconds


@contextmanager
def _without_collector() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def time_case(case: CpuCase, chosen: Iterable[str], selection: Selection) -> CpuRow:
    """Time a case.

    Parameters
    ----------
    case : CpuCase
        The case.
    chosen : iterable of str
        Names of the libraries.
    selection : Selection
        The schedule.

    Returns
    -------
    CpuRow
        The times of libraries that have a kernel for the dtype.

    Raises
    ------
    AssertionError
        If a library disagrees with ours.
    """
    calls = {name: call for name in chosen if (call := prepare(case, name)) is not None}
    memory = {}
    if selection.memory and case.size >= LARGE:
        memory = {name: peak(call) / case.nbytes for name, call in calls.items() if libraries()[name].traced}
    timed = {name: Timed.of(call) for name, call in calls.items()}
    fastest = min((timed[name].pace for name in timed.keys() - {BASELINE, COPY}), default=math.inf)
    hopeless = {name for name in timed.keys() - NO_PEERS if timed[name].pace > _HOPELESS * fastest}
    with _without_collector():
        for turn, (name, its) in itertools.product(range(selection.turns), timed.items()):
            if name not in hopeless:
                its.turn(max(selection.least_rounds, math.ceil(selection.seconds / its.seconds)))
            elif turn == 0:
                its.turn(1)
    return CpuRow(
        **vars(case),
        threads=threads(),
        times={name: its.best / case.size * 1e9 for name, its in timed.items()},
        memory=memory,
        at_work={name: its.at_work for name, its in timed.items()},
    )


def peak(call: TimedCall) -> int:
    """Return the largest number of bytes that NumPy holds during a call beyond what it held before."""
    tracemalloc.start()
    try:
        result = call()  # kept alive until the peak is read
        return tracemalloc.get_traced_memory()[1]
    finally:
        del result
        tracemalloc.stop()


def facts() -> dict[str, str]:
    """Return the properties of this machine, in words."""
    import cpuinfo  # type: ignore[import-untyped]  # noqa: PLC0415 -- takes a second

    cpu: dict[str, Any] = cpuinfo.get_cpu_info()
    caches = dict(_caches(Path("/sys/devices/system/cpu/cpu0/cache")))
    return {
        "Processor": cpu.get("brand_raw", platform.machine()),
        "Vectors": system.processor(),
        "Cores": str(cpu.get("count", os.cpu_count())),
        **({"Caches": ", ".join(f"{level} {size}" for level, size in caches.items())} if caches else {}),
        "System": f"{platform.system()} {platform.release().partition('-')[0]}",
        "Python": platform.python_version(),
        "Libraries": ", ".join(f"{name} {version}" for name, version in versions().items()),
        "Threads of ours": system.threads(),
        "Date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
    }


def _caches(folder: Path) -> Iterable[tuple[str, str]]:
    """Yield the data caches of the first core, as Linux lists them."""
    for index in sorted(folder.glob("index*")):
        level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        if kind != "Instruction":
            yield f"L{level}", size.replace("K", " KiB")


def main() -> int:
    """Time the cases of a selection and save the results.

    Returns
    -------
    int
        Exit status: 1 if a library could not be called or disagreed with ours, 2 if no case matches.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("selection", choices=SELECTIONS)
    parser.add_argument("file", type=Path)
    parser.add_argument("-k", metavar="EXPR")
    arguments = parser.parse_args()
    chosen = Chosen.of(arguments.selection, arguments.k)
    if not chosen:
        sys.stderr.write("no case matches\n")
        return 2
    found, status = CpuResults(facts()), 0
    # Without a thread that refreshes the bar, which would disturb the timing.
    console = Console(stderr=True)
    for case, names in track(chosen.items(), "timing", console=console, transient=True, auto_refresh=False):
        try:
            row = time_case(case, names, SELECTIONS[arguments.selection])
        except Exception as error:  # noqa: BLE001 -- of any library; the other cases are worth having
            sys.stderr.write(f"{case}: {type(error).__name__}: {error}\n")
            status = 1
            continue
        if OURS in row.times:
            found.rows.append(row)
    found.save(arguments.file)
    return status


if __name__ == "__main__":
    sys.exit(main())
