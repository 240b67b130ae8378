"""The outcome of calls on containers: the same kind back, another kind, a clear error, or something wrong.

``python benchmarks/containers.py`` tries all that are installed, beside NumPy's arrays, and prints a table; ``--why``
prints the call and the result of each cell, ``--readme`` writes the table into the README.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import importlib
import importlib.metadata
import itertools
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

from container_trials import COLUMNS, ROWS, NotHereError, Outcome, Verdict, build, try_row
from rich.console import Console
from rich.table import Table

for _module in ("arrays", "frames", "quantities", "lazy", "tensors"):
    importlib.import_module(f"container_{_module}")

_README = Path(__file__).parents[1] / "README.md"
START, END = "<!-- The table of containers, as benchmarks/containers.py writes it. -->", "<!-- Its end. -->"
_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0", "CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}

Found = dict[str, Outcome | None]


def try_here(names: list[str]) -> dict[str, Found]:
    """Try rows in this process, omitting those whose libraries are missing or not usable."""
    found = {}
    for name in names:
        if ROWS[name].is_installed:
            try:
                found[name] = try_row(build(name))
            except NotHereError:
                continue
    return found


def try_apart(process: str, names: list[str]) -> dict[str, Found]:
    """Try rows in a separate process."""
    environment = os.environ | _QUIET
    if process.startswith("keras"):
        environment["KERAS_BACKEND"] = process.partition("-")[2]
    command = [sys.executable, __file__, "--here", *names]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed\n{done.stderr}")
    return _of_json(json.loads(done.stdout.splitlines()[-1]))


def _as_json(found: dict[str, Found]) -> dict[str, Any]:
    return {
        name: {column: cell and (cell.verdict.value, *cell[1:]) for column, cell in cells.items()}
        for name, cells in found.items()
    }


def _of_json(found: dict[str, Any]) -> dict[str, Found]:
    return {
        name: {column: cell and Outcome(Verdict(cell[0]), *cell[1:]) for column, cell in cells.items()}
        for name, cells in found.items()
    }


def try_all(names: list[str]) -> dict[str, Found]:
    """Try rows, two processes at a time, and return them in the order of the table."""
    processes: dict[str, list[str]] = {}
    for name in names:
        if ROWS[name].is_installed:
            processes.setdefault(ROWS[name].process, []).append(name)
    found: dict[str, Found] = {}
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for part in pool.map(try_apart, processes, processes.values()):
            found |= part
    return {name: found[name] for name in names if name in found}


def version(name: str) -> str:
    """Return the library that a row is about, and its version."""
    distributions = _DISTRIBUTIONS.get(ROWS[name].needs[0].partition(".")[0])
    if not distributions:
        return ""
    first = min(distributions)
    return f"{first} {importlib.metadata.version(first).partition('+')[0]}"


_DISTRIBUTIONS = importlib.metadata.packages_distributions()
_WORDS = {Verdict.SAME: "same", Verdict.REFUSED: "error", Verdict.UNCLEAR: "unclear", Verdict.WRONG: "**wrong**"}
_STYLES = {
    Verdict.SAME: "green",
    Verdict.CONVERTED: "cyan",
    Verdict.REFUSED: "yellow",
    Verdict.UNCLEAR: "magenta",
    Verdict.WRONG: "bold red",
}


def word(cell: Outcome | None) -> str:
    """Return what a cell of the README's table says."""
    if cell is None:
        return ""
    if cell.verdict is Verdict.REFUSED and cell.differs:
        return "some"
    return _WORDS.get(cell.verdict) or cell.detail.rpartition(": ")[2]


def markdown(found: dict[str, Found]) -> str:
    """Return the table of the README, in which neighbours with the same cells share a row, and the versions."""
    lines = [f"| | {' | '.join(COLUMNS)} |", "| --- " * (len(COLUMNS) + 1) + "|"]
    rows = [(name, [word(cells[column]) for column in COLUMNS]) for name, cells in found.items()]
    for words, group in itertools.groupby(rows, key=lambda row: row[1]):
        lines.append(f"| {'; '.join(name for name, _ in group)} | {' | '.join(words)} |")
    versions = sorted({version(name) for name in found} - {""}, key=str.lower)
    return "\n".join(lines) + "\n\n" + textwrap.fill(f"Tried with {', '.join(versions)}.", 120, break_on_hyphens=False)


def readme_table() -> str:
    """Return what stands between the markers."""
    return _README.read_text(encoding="utf-8").partition(START)[2].partition(END)[0].strip()


def write_readme(found: dict[str, Found]) -> None:
    """Put the table between the markers."""
    before, _, rest = _README.read_text(encoding="utf-8").partition(START)
    _README.write_text(f"{before}{START}\n\n{markdown(found)}\n\n{END}{rest.partition(END)[2]}", encoding="utf-8")


def show(console: Console, names: list[str], found: dict[str, Found], *, why: bool) -> None:
    """Print the table, how many cells there are of each verdict, and what they rest on."""
    table = Table("", "of", *COLUMNS)
    for name in names:
        if name in found:
            row = [found[name][column] for column in COLUMNS]
            texts = [f"[{_STYLES[cell.verdict]}]{word(cell).strip('*')}" if cell else "" for cell in row]
            table.add_row(name, version(name), *texts)
        else:
            table.add_row(name, "not here", style="dim")
    console.print(table)
    all_cells = [cell for cells in found.values() for cell in cells.values() if cell is not None]
    counts = [f"{sum(cell.verdict is verdict for cell in all_cells)} {verdict.value}" for verdict in Verdict]
    console.print(f"{len(found)} rows: {', '.join(counts)}")
    for name, cells in found.items():
        for column, cell in cells.items():
            if cell is not None and (why or cell.verdict > Verdict.REFUSED):
                console.print(f"{name}, {column}, {cell.verdict.value}: {cell.detail}", markup=False, soft_wrap=True)


def main() -> int:
    """Try and print.

    Returns
    -------
    int
        Exit status: 1 if a cell is wrong or an error not clear.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("rows", nargs="*", help="words of names of rows; by default all")
    parser.add_argument("--why", action="store_true", help="say what each cell rests on")
    parser.add_argument("--readme", action="store_true", help="write the table into the README")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here:
        print(json.dumps(_as_json(try_here(arguments.rows))))
        return 0
    names = [name for name in ROWS if all(each.lower() in name.lower() for each in arguments.rows)]
    found = try_all(names)
    show(Console(highlight=False, width=None if sys.stdout.isatty() else 180), names, found, why=arguments.why)
    if arguments.readme:
        write_readme(found)
    return int(
        any(cell is not None and cell.verdict > Verdict.REFUSED for row in found.values() for cell in row.values())
    )


if __name__ == "__main__":
    sys.exit(main())
