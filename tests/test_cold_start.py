"""Processes that start together on a cache that is empty, as the tasks of a cluster and the workers of a server do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "everything.py"


def start(number: int, selection: str, cache: Path) -> subprocess.Popen[str]:
    """Start a process that calls functions in an order of its own."""
    command = [sys.executable, "-W", "error", str(PROGRAM), str(number), selection]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True)  # noqa: S603


@pytest.mark.parametrize(
    ("selection", "processes", "rounds"), [("some", 4, 1), pytest.param("all", 4, 2, marks=pytest.mark.slow)]
)
def test_all_get_the_same(selection: str, processes: int, rounds: int, tmp_path: Path) -> None:
    """While they compile and load what others have compiled, and afterwards in a process that loads everything."""
    found = set()
    for round_ in range(rounds):
        cache = tmp_path / str(round_)
        together = [start(round_ * processes + number, selection, cache) for number in range(processes)]
        outcomes = [(*program.communicate(timeout=3000), program.returncode) for program in together]
        kept = sorted(cache.rglob("*"))
        last = start(0, selection, cache)
        outcomes.append((*last.communicate(timeout=3000), last.returncode))
        assert [outcome[1:] for outcome in outcomes] == [("", 0)] * (processes + 1)
        assert sorted(cache.rglob("*")) == kept, "the last process has compiled something"
        assert {path.suffix for path in kept if path.is_file()} == {".kernel"}, "what was written is not renamed"
        found |= {printed for printed, *_ in outcomes}
    assert len(found) == 1
    assert found.pop().count("\n") > 1
