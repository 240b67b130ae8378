"""The command line, called in the working directory: its files, output and errors."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from actufunc.cli import main

if TYPE_CHECKING:
    import pytest

COMMAND = [sys.executable, "-m", "actufunc"]
INTERRUPTED = 130
TERMINATED = 143
PEAK = """
import os, re, sys
from pathlib import Path
from actufunc.cli import main
os.fsync = lambda descriptor: None  # only for the speed of the test
assert main(sys.argv[1:]) == 0
# Unlike ru_maxrss it does not begin with what the parent had.
print(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""

Array = np.ndarray[Any, Any]


def names(folder: Path | str = ".") -> list[str]:
    """Names of all files in a directory."""
    return sorted(path.name for path in Path(folder).iterdir())


def is_same(a: Array, b: Array) -> bool:
    """Tell whether arrays are alike to the bit, NaN aside."""
    b = np.asarray(b)
    return a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


def problem(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must fail, and return its one line on stderr; nothing may appear or change on the disk."""

    def look() -> dict[str, tuple[int, int]]:
        return {p.name: (p.lstat().st_size, p.lstat().st_mtime_ns) for p in Path().iterdir()}

    before = look()
    try:
        status: object = main(arguments)
    except SystemExit as end:  # of argparse
        status = end.code
    assert status == 2
    assert look() == before
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert "Traceback" not in err
    return err
