"""Run the benchmarks and print the comparison with other libraries.

``python benchmarks/report.py [--quick]`` times every case (see `cpu_timing.py`) and prints the nanoseconds per element
of all libraries and how many times as fast as the fastest peer we are (above 1 is a win), then the overhead of a call,
extra memory, geometric means and the losses. ``--cpu`` measures what `benchmarks/results` shows and writes it there:
`cpu.md`, its chart `cpu.png`, and the figures in `cpu.json`. With ``--from FILE`` both print the figures of a
file, and measure nothing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cpu_chart
import cpu_report
from cpu_results import BASELINE, CLEAR, OURS, CpuResults, CpuRow, against, figure, mean, names
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text
from thread_settings import environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

RESULTS = Path(__file__).parent / "results"
_WIDTH = 180  # of an output that is not a terminal


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write what the arguments ask for.

    Parameters
    ----------
    arguments : sequence of str, optional
        Arguments of the command line.

    Returns
    -------
    int
        Exit status: not 0 if a library disagreed with ours, or no case matches.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--quick", action="store_true", help="fewer sizes and shorter measurements: about two minutes")
    kind.add_argument("--cpu", action="store_true", help="write benchmarks/results/cpu.*: about ten minutes")
    parser.add_argument("-k", metavar="EXPR", help="only some cases, as of pytest: 'sigmoid and float32 and 1e6'")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures (with --cpu: not in cpu.json)")
    parser.add_argument("--from", type=Path, metavar="FILE", dest="kept", help="tell what is kept, measure nothing")
    parser.add_argument("--to", type=Path, metavar="FOLDER", default=RESULTS, help="where --cpu writes")
    chosen = parser.parse_args(arguments)
    status = 0
    if chosen.kept:
        results = CpuResults.load(chosen.kept)
    else:
        selection = "cpu" if chosen.cpu else "quick" if chosen.quick else "full"
        status, results = measure(selection, chosen.k)
    if not results.rows:
        return status
    keep = chosen.json or (chosen.to / "cpu.json" if chosen.cpu and not chosen.kept else None)
    if keep:
        results.save(keep)
    if chosen.cpu:
        cpu_chart.draw(results, chosen.to / "cpu.png")
        (chosen.to / "cpu.md").write_text(cpu_report.as_markdown(results), encoding="utf-8")
        print(cpu_report.verdict(results))
    else:
        _print(results)
    return status


def measure(name: str, expression: str | None) -> tuple[int, CpuResults]:
    """Time a selection in one process for each number of threads; return the exit status and the results.

    Parameters
    ----------
    name : str
        Name of the selection.
    expression : str or None
        Which of its cases, an expression of ``pytest -k``.
    """
    from cpu_cases import SELECTIONS  # noqa: PLC0415 -- imports all libraries

    status, results = 0, CpuResults()
    for threads in SELECTIONS[name].threads:
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / "results.json"
            found = _run(file, name, threads, expression)
            status = status or found
            if not file.exists():
                return status, results
            part = CpuResults.load(file)
        results.rows += part.rows
        results.machine = part.machine
    if name == "cpu":
        from peer_errors import peer_errors  # noqa: PLC0415 -- imports all libraries

        results.errors = peer_errors(SELECTIONS[name], dict.fromkeys(row.function for row in results.rows))
    return status, results


def _run(file: Path, selection: str, threads: int, expression: str | None) -> int:
    command = [sys.executable, str(Path(__file__).with_name("cpu_timing.py")), selection, str(file)]
    command += ["-k", expression] if expression else []
    return subprocess.run(command, env=os.environ | environment(threads), check=False).returncode  # noqa: S603


def _print(results: CpuResults) -> None:
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH)
    for title, content in _sections(results):
        console.print(Text(f"\n{title}", style="bold"))
        console.print(content)


def _sections(results: CpuResults) -> Iterable[tuple[str, Any]]:
    rows, losses = results.rows, results.losses
    yield "Machine", "; ".join(f"{name}: {fact}" for name, fact in results.machine.items())
    yield "Nanoseconds per element, best of several turns; ratio: the fastest peer's over ours", _speed(rows)
    yield "One element: nanoseconds per call beside np.exp on the same array", _overhead(rows)
    yield "Peak extra memory in multiples of the input, of libraries whose arrays NumPy allocates", _memory(rows)
    yield "Geometric mean of the ratio of the fastest peer to ours", _by_size(rows)
    yield "Geometric mean of the ratio of each peer to ours", _by_peer(rows)
    clear = sum(row.ratio < 1 / CLEAR for row in losses)
    yield (
        f"Losses: {len(losses)} of {len(results.compared)} cases, {clear} of them by more than {CLEAR - 1:.0%}",
        _losses(losses),
    )
    if lone := sorted({row.function for row in rows if row.fastest is None}):
        yield "Without a peer in some cases", ", ".join(lone)


def _table(*headings: str, left: int) -> Table:
    """Return a table whose first columns are aligned to the left."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for i, heading in enumerate(headings):
        table.add_column(heading, justify="left" if i < left else "right", no_wrap=True)
    return table


def _speed(rows: list[CpuRow]) -> Table:
    libraries = names(row.times for row in rows)
    table = _table("function", "dtype", "output", "size", *libraries, "fastest peer", "ratio", left=3)
    for _, cases in groupby(rows, key=lambda row: (row.function, row.dtype)):
        for row in sorted(cases, key=lambda row: (row.output, row.size)):
            times = [figure(row.times.get(name)) for name in libraries]
            table.add_row(
                row.function, row.dtype, row.output, _size(row), *times, row.fastest or "-", _ratio(row.ratio)
            )
        table.add_section()
    return table


def _overhead(rows: list[CpuRow]) -> Table:
    table = _table("function", "dtype", "output", OURS, BASELINE, "ratio", left=3)
    for row in rows:
        if BASELINE in row.times:
            base = row.times[BASELINE]
            table.add_row(row.function, row.dtype, row.output, figure(row.ours), figure(base), _ratio(base / row.ours))
    return table


def _memory(rows: list[CpuRow]) -> Table:
    largest = max((row.size for row in rows), default=0)
    largest_rows = [row for row in rows if row.memory and row.size == largest]
    libraries = names(row.memory for row in largest_rows)
    table = _table("function", "dtype", "output", "size", *libraries, left=3)
    for row in largest_rows:
        multiples = [f"{row.memory[name]:.2f}" if name in row.memory else "-" for name in libraries]
        table.add_row(row.function, row.dtype, row.output, _size(row), *multiples)
    return table


def _by_size(rows: list[CpuRow]) -> Table:
    kinds = sorted({(row.dtype, row.output) for row in rows})
    table = _table("size", *(f"{dtype} {output}" for dtype, output in kinds), "all", left=0)
    for size in (*sorted({row.size for row in rows}), None):
        of_size = [row for row in rows if size in (None, row.size)]
        by_kind = [[row for row in of_size if (row.dtype, row.output) == kind] for kind in kinds]
        means = [_ratio(mean(row.ratio for row in group)) for group in (*by_kind, of_size)]
        table.add_row("all" if size is None else _size(of_size[0]), *means)
    return table


def _by_peer(rows: list[CpuRow]) -> Table:
    table = _table("peer", "cases", "faster in", "ratio", left=1)
    for name in names(row.times for row in rows)[1:]:
        ratios = against(name, rows)
        table.add_row(name, str(len(ratios)), str(sum(ratio < 1 for ratio in ratios)), _ratio(mean(ratios)))
    return table


def _losses(rows: list[CpuRow]) -> Table | str:
    if not rows:
        return "none"
    table = _table("function", "dtype", "output", "size", OURS, "fastest peer", "its time", "ratio", left=3)
    for row in rows:
        peer = row.fastest or ""
        times = figure(row.ours), peer, figure(row.times[peer])
        table.add_row(row.function, row.dtype, row.output, _size(row), *times, _ratio(row.ratio))
    return table


def _size(row: CpuRow) -> str:
    return f"{row.size:,}"


def _ratio(value: float) -> Text:
    return Text(figure(value), style="red" if value < 1 else "green")


if __name__ == "__main__":
    sys.exit(main())
