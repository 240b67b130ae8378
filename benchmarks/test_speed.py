"""Speed beside the peers, by pytest-benchmark.

A cell is a function, a dtype, a size and whether the output is given. pytest-benchmark times one library after the
other, and a machine changes its pace in between. So the libraries of a cell are timed in several turns, each library
for a few hundredths of a second per turn, on the same array: all of them see the same seconds, and `report.py` takes
the shortest time over all turns. Before the first turn each library is warmed up, compiled and checked against ours.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, NamedTuple

import pytest
from cells import Cell, cells, prepare

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture


class Plan(NamedTuple):
    """How long one library is timed in one cell."""

    turns: int
    seconds: float  # per turn, about
    least_rounds: int  # per turn, however long they take


_FULL, _QUICK = Plan(4, 0.02, 2), Plan(3, 0.005, 3)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Within a cell, all libraries have their first turn, then all their second."""
    quick = metafunc.config.getoption("quick")
    turns = range((_QUICK if quick else _FULL).turns)
    cases = [
        pytest.param(cell, library, id=f"{cell}-{turn}-{library}")
        for cell in cells(quick=quick)
        for turn, library in itertools.product(turns, cell.libraries())
    ]
    metafunc.parametrize(("cell", "library"), cases)


def test_speed(cell: Cell, library: str, benchmark: BenchmarkFixture, request: pytest.FixtureRequest) -> None:
    """Time one library for one turn."""
    prepared = prepare(cell).get(library)
    if prepared is None:
        pytest.skip(f"{library} has no {cell.function} for {cell.dtype}")
    benchmark.group = str(cell)
    benchmark.extra_info.update(vars(cell), library=library, memory=prepared.memory)
    plan = _QUICK if request.config.getoption("quick") else _FULL
    benchmark.pedantic(  # type: ignore[no-untyped-call]
        prepared.call.function,
        prepared.call.arguments,
        prepared.call.keywords,
        rounds=max(plan.least_rounds, math.ceil(plan.seconds / prepared.seconds)),
        iterations=prepared.iterations,
    )
