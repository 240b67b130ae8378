"""Processes that start together on an empty cache of kernels compute the same and leave no broken file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "support" / "all_kernels.py"


def start(number: int, cache: Path) -> subprocess.Popen[str]:
    """Start a process that calls functions in an order of its own."""
    command = [sys.executable, "-W", "error", str(PROGRAM), str(number)]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True)  # noqa: S603


@pytest.mark.slow
def test_all_get_the_same(tmp_path: Path) -> None:
    """While they compile and load what others have compiled, and afterwards in a process that loads everything."""
    together = [start(number, tmp_path) for number in range(3)]
    outcomes = [(*program.communicate(timeout=3000), program.returncode) for program in together]
    kept = sorted(tmp_path.rglob("*"))
    last = start(0, tmp_path)
    outcomes.append((*last.communicate(timeout=3000), last.returncode))
    assert [outcome[1:] for outcome in outcomes] == [("", 0)] * 4
    assert sorted(tmp_path.rglob("*")) == kept, "the last process has compiled something"
    assert {path.suffix for path in kept if path.is_file()} == {".kernel"}, "what was written is not renamed"
    (printed,) = {printed for printed, *_ in outcomes}
    assert printed.count("\n") > 1
