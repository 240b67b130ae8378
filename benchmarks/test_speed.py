"""Speed beside the peers, by pytest-benchmark.

``python -m pytest benchmarks --benchmark-only`` times each library in each cell of a selection: a function, a dtype, a
size, and a result that is new or written to a given array. A row is called ``sigmoid[float32-1e6-out-torch]``, and the
rows of one cell are one group, hence one table. Every library is warmed up, compiled and checked against ours before.

pytest-benchmark times one library after the other, and a machine changes its pace in between. `report.py` lets the
libraries of a cell take turns instead (see `turns.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cells import FUNCTIONS, SELECTIONS, Cell, prepare, short_name
from settings import threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_benchmark.fixture import BenchmarkFixture


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a row of each library in each cell of a function."""
    selection = SELECTIONS[metafunc.config.getoption("selection")]
    rows = [
        pytest.param(
            cell,
            library,
            id=f"{cell.variant}-{short_name(library)}",
            marks=pytest.mark.benchmark(group=str(cell)),
        )
        for cell in selection.cells()
        if cell.function == metafunc.definition.originalname
        for library in selection.libraries(cell)
    ]
    metafunc.parametrize(("cell", "library"), rows)


def _timed() -> Callable[..., None]:
    """Return a test that times one library in one cell."""

    def time(cell: Cell, library: str, benchmark: BenchmarkFixture) -> None:
        call = prepare(cell, library)
        if call is None:
            pytest.skip(f"{library} has no {cell.function} for {cell.dtype}")
        benchmark.extra_info.update(vars(cell), threads=threads(), library=library)
        benchmark(call.function, *call.arguments, **call.keywords)

    vars(time)["__test__"] = True  # whatever its name is
    return time


# A test for each function, of its name.
globals().update({function: _timed() for function in FUNCTIONS})
