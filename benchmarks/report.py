"""Run the benchmarks and print where we stand.

``python benchmarks/report.py [--quick] [-k EXPR] [--json FILE]`` times every cell (see `test_speed.py`) and prints
the nanoseconds per element of all libraries and, as a ratio, our time over that of the fastest peer (below 1 is a win),
then the overhead of a call, extra memory, geometric means and the losses.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

OURS, BASELINE = "actufunc", "np.exp"
_NONE_COLLECTED = 5  # pytest's exit status
_CLEAR = 1.05  # a ratio that a repetition would not reverse
_WIDTH = 180  # where the output is no terminal


@dataclass
class Row:
    """What was measured in one cell: nanoseconds per element, and extra memory in multiples of the input."""

    function: str
    dtype: str
    size: int
    output: str
    times: dict[str, float] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)

    @property
    def ours(self) -> float:
        """Our time."""
        return self.times[OURS]

    @property
    def fastest(self) -> str | None:
        """The fastest peer; None if there is no peer."""
        peers = [name for name in self.times if name not in (OURS, BASELINE)]
        return min(peers, key=self.times.__getitem__, default=None)

    @property
    def ratio(self) -> float:
        """Our time over that of the fastest peer."""
        return math.nan if self.fastest is None else self.ours / self.times[self.fastest]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print.

    Parameters
    ----------
    arguments : sequence of str, optional
        Of the command line.

    Returns
    -------
    int
        Exit status: that of pytest, which is not 0 if a library disagreed with ours.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer sizes and shorter measurements: about two minutes")
    parser.add_argument("-k", metavar="EXPR", help="only some cells, as of pytest: 'sigmoid and float32 and 1e6'")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep what pytest-benchmark measured")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory:
        file = chosen.json or Path(directory) / "speed.json"
        status = _measure(file.resolve(), quick=chosen.quick, expression=chosen.k)
        if not file.exists() or not file.stat().st_size:
            return status
        measured = json.loads(file.read_text(encoding="utf-8"))
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH)
    rows = _rows(measured["benchmarks"])
    for title, content in _sections(measured["machine_info"], rows):
        console.print(Text(f"\n{title}", style="bold"))
        console.print(content)
    return status


def _measure(file: Path, *, quick: bool, expression: str | None) -> int:
    here = Path(__file__).parent
    # The options of the tests are not for benchmarks, least of all that they run side by side.
    command = [sys.executable, "-m", "pytest", str(here / "test_speed.py"), "-o", "addopts="]
    command += ["-q", "-rfE", "--tb=short"]
    command += ["--benchmark-only", "--benchmark-quiet", "--benchmark-disable-gc", f"--benchmark-json={file}"]
    command += ["--quick"] if quick else []
    command += ["-k", expression] if expression else []
    status = subprocess.run(command, cwd=here.parent, stdout=sys.stderr, check=False).returncode  # noqa: S603
    if status == _NONE_COLLECTED:
        sys.stderr.write("no cell matches\n")
    return status


def _rows(benchmarks: Iterable[dict[str, Any]]) -> list[Row]:
    rows: dict[str, Row] = {}
    for benchmark in benchmarks:
        info = benchmark["extra_info"]
        cell = {name: info[name] for name in ("function", "dtype", "size", "output")}
        row = rows.setdefault(benchmark["group"], Row(**cell))
        library, time = info["library"], benchmark["stats"]["min"] / row.size * 1e9
        row.times[library] = min(time, row.times.get(library, math.inf))
        if info["memory"] is not None:
            row.memory[library] = info["memory"]
    return [row for row in rows.values() if OURS in row.times]


def _sections(machine: dict[str, Any], rows: list[Row]) -> Iterable[tuple[str, Any]]:
    versions = ", ".join(f"{name} {version}" for name, version in machine["libraries"].items())
    yield (
        "Machine",
        f"{machine['cpu'].get('brand_raw', machine['machine'])}; Python {machine['python_version']}; {versions}",
    )
    yield "Nanoseconds per element, one thread, best of several turns; ratio: ours over the fastest peer", _speed(rows)
    yield "One element: nanoseconds per call beside np.exp on the same array", _overhead(rows)
    yield "Peak extra memory in multiples of the input, of libraries whose arrays NumPy allocates", _memory(rows)
    yield "Geometric mean of the ratio of ours to the fastest peer", _by_size(rows)
    yield "Geometric mean of the ratio of ours to each peer", _by_peer(rows)
    losses = sorted((row for row in rows if row.ratio > 1), key=lambda row: -row.ratio)
    lone = sorted({row.function for row in rows if row.fastest is None})
    compared = sum(row.fastest is not None for row in rows)
    clear = sum(row.ratio > _CLEAR for row in losses)
    yield f"Losses: {len(losses)} of {compared} cells, {clear} of them by more than {_CLEAR - 1:.0%}", _losses(losses)
    if lone:
        yield "Without a peer in some cells", ", ".join(lone)


def _table(*headings: str, left: int) -> Table:
    """Return a table whose first columns are aligned to the left."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for i, heading in enumerate(headings):
        table.add_column(heading, justify="left" if i < left else "right", no_wrap=True)
    return table


def _speed(rows: list[Row]) -> Table:
    names = _names(row.times for row in rows)
    table = _table("function", "dtype", "output", "size", *names, "fastest peer", "ratio", left=3)
    for _, cells in groupby(rows, key=lambda row: (row.function, row.dtype)):
        for row in sorted(cells, key=lambda row: (row.output, row.size)):
            times = [_figure(row.times.get(name)) for name in names]
            table.add_row(
                row.function, row.dtype, row.output, _size(row), *times, row.fastest or "-", _ratio(row.ratio)
            )
        table.add_section()
    return table


def _overhead(rows: list[Row]) -> Table:
    table = _table("function", "dtype", "output", OURS, BASELINE, "ratio", left=3)
    for row in rows:
        if BASELINE in row.times:
            base = row.times[BASELINE]
            table.add_row(
                row.function, row.dtype, row.output, _figure(row.ours), _figure(base), _ratio(row.ours / base)
            )
    return table


def _memory(rows: list[Row]) -> Table:
    largest = max((row.size for row in rows), default=0)
    measured = [row for row in rows if row.memory and row.size == largest]
    names = _names(row.memory for row in measured)
    table = _table("function", "dtype", "output", "size", *names, left=3)
    for row in measured:
        multiples = [f"{row.memory[name]:.2f}" if name in row.memory else "-" for name in names]
        table.add_row(row.function, row.dtype, row.output, _size(row), *multiples)
    return table


def _by_size(rows: list[Row]) -> Table:
    kinds = sorted({(row.dtype, row.output) for row in rows})
    table = _table("size", *(f"{dtype} {output}" for dtype, output in kinds), "all", left=0)
    for size in (*sorted({row.size for row in rows}), None):
        of_size = [row for row in rows if size in (None, row.size)]
        by_kind = [[row for row in of_size if (row.dtype, row.output) == kind] for kind in kinds]
        means = [_ratio(_mean(row.ratio for row in group)) for group in (*by_kind, of_size)]
        table.add_row("all" if size is None else _size(of_size[0]), *means)
    return table


def _by_peer(rows: list[Row]) -> Table:
    table = _table("peer", "cells", "faster in", "ratio", left=1)
    for name in _names(row.times for row in rows):
        ratios = [row.ours / row.times[name] for row in rows if name in row.times]
        if name != OURS:
            table.add_row(name, str(len(ratios)), str(sum(ratio > 1 for ratio in ratios)), _ratio(_mean(ratios)))
    return table


def _losses(rows: list[Row]) -> Table | str:
    if not rows:
        return "none"
    table = _table("function", "dtype", "output", "size", OURS, "fastest peer", "its time", "ratio", left=3)
    for row in rows:
        peer = row.fastest or ""
        times = _figure(row.ours), peer, _figure(row.times[peer])
        table.add_row(row.function, row.dtype, row.output, _size(row), *times, _ratio(row.ratio))
    return table


def _names(tables: Iterable[dict[str, float]]) -> list[str]:
    """Return the libraries, ours first, but for the baseline."""
    peers = {name for table in tables for name in table} - {OURS, BASELINE}
    return [OURS, *sorted(peers, key=str.casefold)]


def _mean(ratios: Iterable[float]) -> float:
    known = [ratio for ratio in ratios if not math.isnan(ratio)]
    return statistics.geometric_mean(known) if known else math.nan


def _size(row: Row) -> str:
    return f"{row.size:,}"


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    digits = 2 if value < 10 else 1 if value < 100 else 0  # noqa: PLR2004 -- three significant ones
    return f"{value:.{digits}f}"


def _ratio(value: float) -> Text:
    return Text("-" if math.isnan(value) else f"{value:.2f}", style="red" if value > 1 else "green")


if __name__ == "__main__":
    sys.exit(main())
