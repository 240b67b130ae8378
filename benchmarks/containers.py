"""What becomes of each container in a call: the same kind back, another kind, a clear error, or something wrong.

``python benchmarks/containers.py`` tries all that are installed, beside NumPy's arrays, and prints a table; ``--why``
says of each cell which call it is and what came, ``--readme`` writes the table into the README.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import importlib
import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from container_cells import COLUMNS, ROWS, Cell, NotHereError, Verdict, build, try_row
from rich.console import Console
from rich.table import Table

for _module in ("arrays", "frames", "quantities", "lazy", "tensors"):
    importlib.import_module(f"container_{_module}")

ROOT = Path(__file__).parent.parent
START, END = "<!-- The table of containers, as benchmarks/containers.py writes it. -->", "<!-- Its end. -->"
_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0", "CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}

Found = dict[str, Cell | None]


def try_here(names: list[str]) -> dict[str, Found]:
    """Try rows in this process; of those that cannot be tried there is none in the result."""
    found = {}
    for name in names:
        if ROWS[name].is_installed:
            try:
                found[name] = try_row(build(name))
            except NotHereError:
                continue
    return found


def try_apart(process: str) -> dict[str, Found]:
    """Try the rows of one process in one."""
    environment = os.environ | _QUIET
    if process.startswith("keras"):
        environment["KERAS_BACKEND"] = process.partition("-")[2]
    command = [sys.executable, __file__, "--process", process]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed\n{done.stderr}")
    return {
        name: {column: cell and Cell(Verdict(cell[0]), cell[1]) for column, cell in cells.items()}
        for name, cells in json.loads(done.stdout.splitlines()[-1]).items()
    }


def try_all(names: list[str]) -> dict[str, Found]:
    """Try rows, two processes at a time, and return them in the order of the table."""
    processes = dict.fromkeys(ROWS[name].process for name in names if ROWS[name].is_installed)
    found: dict[str, Found] = {}
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for part in pool.map(try_apart, sorted(processes, key=lambda process: process == "light")):
            found |= part
    return {name: found[name] for name in names if name in found}


def version(name: str) -> str:
    """Return the version of the library that a row is about."""
    top = ROWS[name].needs[0].partition(".")[0]
    distributions = importlib.metadata.packages_distributions().get(top)
    return importlib.metadata.version(distributions[0]) if distributions else ""


_WORDS = {Verdict.SAME: "same", Verdict.REFUSED: "error", Verdict.UNCLEAR: "unclear", Verdict.WRONG: "**wrong**"}
_STYLES = {
    Verdict.SAME: "green",
    Verdict.CONVERTED: "cyan",
    Verdict.REFUSED: "yellow",
    Verdict.UNCLEAR: "magenta",
    Verdict.WRONG: "bold red",
}


def word(cell: Cell | None) -> str:
    """Return what a cell of the README's table says."""
    if cell is None:
        return ""
    return _WORDS.get(cell.verdict) or cell.detail.rpartition(": ")[2]


def markdown(found: dict[str, Found]) -> str:
    """Return the table of the README."""
    lines = [f"| | version | {' | '.join(COLUMNS)} |", "| --- " * (len(COLUMNS) + 2) + "|"]
    for name, cells in found.items():
        words = [word(cells[column]) for column in COLUMNS]
        lines.append(f"| {name} | {version(name)} | {' | '.join(words)} |")
    return "\n".join(lines)


def write_readme(found: dict[str, Found]) -> None:
    """Put the table between the markers."""
    path = ROOT / "README.md"
    before, _, rest = path.read_text(encoding="utf-8").partition(START)
    _, _, after = rest.partition(END)
    path.write_text(f"{before}{START}\n\n{markdown(found)}\n\n{END}{after}", encoding="utf-8")


def show(console: Console, found: dict[str, Found], *, why: bool) -> None:
    """Print the table, how many cells there are of each verdict, and what they rest on."""
    table = Table("", "version", *COLUMNS)
    for name in ROWS:
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
    parser.add_argument("--json", type=Path, help="write what was found to a file")
    parser.add_argument("--process", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.process:
        found = try_here([name for name in ROWS if ROWS[name].process == arguments.process])
        print(json.dumps(_as_json(found)))
        return 0
    names = [name for name in ROWS if all(each.lower() in name.lower() for each in arguments.rows)]
    found = try_all(names)
    show(Console(highlight=False, width=None if sys.stdout.isatty() else 180), found, why=arguments.why)
    if arguments.json:
        arguments.json.write_text(json.dumps(_as_json(found), indent=1), encoding="utf-8")
    if arguments.readme:
        write_readme(found)
    return int(
        any(cell is not None and cell.verdict > Verdict.REFUSED for row in found.values() for cell in row.values())
    )


def _as_json(found: dict[str, Found]) -> dict[str, Any]:
    return {
        name: {column: cell and (cell.verdict.value, cell.detail) for column, cell in cells.items()}
        for name, cells in found.items()
    }


if __name__ == "__main__":
    sys.exit(main())
