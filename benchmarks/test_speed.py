"""Speed beside the peers, by pytest-benchmark.

A cell is a function, a dtype, a size and whether the output is given. pytest-benchmark times one library after the
other, and a machine changes its pace in between. So the libraries of a cell are timed in several turns, each library
for a few hundredths of a second per turn, on the same array: all of them see the same seconds, and `report.py` takes
the shortest time over all turns. Who is far behind has one turn. Before the first turn each library is warmed up,
compiled and checked against ours.
"""

from __future__ import annotations

import math
from itertools import product
from typing import TYPE_CHECKING

import pytest
from cells import SELECTIONS, Cell, Selection, is_hopeless, prepare
from settings import threads

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture


_WRONG: set[Cell] = set()  # those in which a library cannot be called, or differs from ours


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Within a cell, all libraries have their first turn, then all their second."""
    selection = SELECTIONS[metafunc.config.getoption("selection")]
    cases = [
        pytest.param(selection, cell, turn, library, id=f"{cell}-{turn}-{library}")
        for cell in selection.cells()
        for turn, library in product(range(selection.turns), list(selection.libraries(cell)))
    ]
    metafunc.parametrize(("selection", "cell", "turn", "library"), cases)


def test_speed(selection: Selection, cell: Cell, turn: int, library: str, benchmark: BenchmarkFixture) -> None:
    """Time one library for one turn."""
    if cell in _WRONG:
        pytest.skip("the cell has failed already")
    try:
        prepared = prepare(cell, selection)
    except Exception:
        _WRONG.add(cell)
        raise
    if library not in prepared:
        pytest.skip(f"{library} has no {cell.function} for {cell.dtype}")
    call, hopeless = prepared[library], is_hopeless(library, prepared)
    if hopeless and turn:
        pytest.skip(f"{library} is far behind")
    benchmark.group = str(cell)
    benchmark.extra_info.update(
        vars(cell), threads=threads(), library=library, memory=call.memory, at_work=call.at_work
    )
    benchmark.pedantic(  # type: ignore[no-untyped-call]
        call.call.function,
        call.call.arguments,
        call.call.keywords,
        rounds=1 if hopeless else max(selection.least_rounds, math.ceil(selection.seconds / call.seconds)),
        iterations=call.iterations,
    )
