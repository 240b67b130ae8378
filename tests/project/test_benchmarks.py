"""The benchmarks run by pytest-benchmark, with the commands of the README."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from actufunc._catalogue import ACTIVATIONS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
COMMANDS = re.findall(r"^ {4}(python -m pytest benchmarks .*?)(?: +#.*)?$", README, re.MULTILINE)
ROW = r"(\w+)\[(float(?:32|64)-1e\d-(?:fresh|out))-([a-z.]+)\]"


def run(command: str, *more: str) -> str:
    """Run a command of the README at the top of the checkout, and return what it prints."""
    arguments = [sys.executable, *shlex.split(command)[1:], *more]
    # Of the workers of pytest-xdist, beside which pytest-benchmark does not measure, these processes are none.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(arguments, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_there_are_four_commands() -> None:
    assert len(COMMANDS) == 4
    assert COMMANDS[0] == "python -m pytest benchmarks --benchmark-only"
    assert all(command.startswith(COMMANDS[0]) for command in COMMANDS)


@pytest.mark.parametrize(("command", "functions"), [(COMMANDS[0], 10), (COMMANDS[-1], len(ACTIVATIONS) + 1)])
def test_rows_have_readable_names(command: str, functions: int) -> None:
    names = re.findall(r"^test_speed\.py::(.*)$", run(command, "--collect-only", "-q"), re.MULTILINE)
    rows = [re.fullmatch(ROW, name) for name in names]
    assert None not in rows
    assert len(set(names)) == len(names)
    found = {row[1] for row in rows if row}
    assert found <= {*ACTIVATIONS, "gelu_tanh"}
    assert len(found) == functions


@pytest.mark.slow
def test_tables_compare_libraries_and_runs(tmp_path: Path) -> None:
    save, compare = COMMANDS[1:3]
    assert "--benchmark-save" in save
    assert "--benchmark-compare" in compare
    more = ("-k", "float32-1e4-fresh and softmax", f"--benchmark-storage={tmp_path}")
    run(save, *more)
    assert len(list(tmp_path.rglob("*.json"))) == 1
    printed = run(compare, *more)
    tables = re.split(r"-+ benchmark '(.*?)': \d+ tests -+\n", printed)
    by_case = dict(zip(tables[1::2], tables[2::2], strict=True))
    assert by_case.keys() == {f"{name}-float32-1e4-fresh" for name in ("softmax", "log_softmax")}
    for case, table in by_case.items():
        rows = re.findall(rf"^{ROW} \((NOW|0001_\w+)\)", table, re.MULTILINE)
        assert {f"{function}-{variant}" for function, variant, _, _ in rows} == {case}
        assert {(library, kept == "NOW") for *_, library, kept in rows} >= {
            (library, now) for library in ("actufunc", "numpy", "scipy") for now in (True, False)
        }


@pytest.mark.slow
def test_histogram(tmp_path: Path) -> None:
    if importlib.util.find_spec("pygal") is None:  # not imported here: it changes how Python imports
        pytest.skip("could not import 'pygal'")
    prefix = f"--benchmark-histogram={tmp_path / 'speed'}"
    assert "--benchmark-histogram" in COMMANDS[-1]
    run(COMMANDS[0], "-k", "float32-1e4-out and tanh and (numpy or actufunc)", prefix)
    assert [file.name for file in tmp_path.iterdir()] == ["speed-tanh-float32-1e4-out.svg"]
