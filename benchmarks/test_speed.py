"""Speed beside the peers, by pytest-benchmark.

``python -m pytest benchmarks --benchmark-only`` times each library in each case of a selection: a function, a dtype, a
size, and a result that is new or written to a given array. A row is called ``sigmoid[float32-1e6-out-torch]``, and the
rows of one case are one group, hence one table. Every library is warmed up, compiled and checked against ours before.

pytest-benchmark times one library after the other, and a machine changes its pace in between. `report.py` lets the
libraries of a case take turns instead (see `cpu_timing.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cpu_cases import FUNCTIONS, SELECTIONS, CpuCase, prepare, short_name
from thread_settings import threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_benchmark.fixture import BenchmarkFixture


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a row of each library in each case of a function."""
    selection = SELECTIONS[metafunc.config.getoption("selection")]
    rows = [
        pytest.param(
            case,
            library,
            id=f"{case.variant}-{short_name(library)}",
            marks=pytest.mark.benchmark(group=str(case)),
        )
        for case in selection.cases()
        if case.function == metafunc.definition.originalname
        for library in selection.libraries(case)
    ]
    metafunc.parametrize(("case", "library"), rows)


def _timed() -> Callable[..., None]:
    """Return a test that times one library in one case."""

    def time(case: CpuCase, library: str, benchmark: BenchmarkFixture) -> None:
        call = prepare(case, library)
        if call is None:
            pytest.skip(f"{library} has no {case.function} for {case.dtype}")
        benchmark.extra_info.update(vars(case), threads=threads(), library=library)
        benchmark(call.function, *call.arguments, **call.keywords)

    vars(time)["__test__"] = True  # whatever its name is
    return time


# A test for each function, of its name.
globals().update({function: _timed() for function in FUNCTIONS})
