"""The options of the benchmarks, and the number of threads.

That must be in the environment before NumPy and the others are imported, which pytest does after it has read this file.
`report.py` sets it before; otherwise it is one thread.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from thread_settings import environment, threads

os.environ |= environment(threads())


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--selection``."""
    parser.addoption(
        "--selection", default="main", help="cases to time: main (about a minute, the default), quick, cpu or full"
    )


def pytest_collection(session: pytest.Session) -> None:
    """Refuse an unknown selection."""
    from cpu_cases import SELECTIONS  # noqa: PLC0415 -- imports all libraries

    name = session.config.getoption("selection")
    if name not in SELECTIONS:
        raise pytest.UsageError(f"--selection takes {', '.join(SELECTIONS)}, not {name}")


def pytest_pycollect_makeitem(collector: pytest.Module, name: str, obj: object) -> list[pytest.Item] | None:
    """Omit functions without a case in the selection."""
    if getattr(obj, "__test__", None) is not True:
        return None
    from cpu_cases import SELECTIONS  # noqa: PLC0415 -- imports all libraries

    return None if name in SELECTIONS[collector.config.getoption("selection")].functions else []


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:  # noqa: ARG001
    """Add the versions of libraries, and our view of the processor and threads, to the report."""
    from libraries import versions  # noqa: PLC0415 -- imports NumPy

    from actufunc.cli import system  # noqa: PLC0415

    machine_info["libraries"] = versions()
    machine_info |= {"vectors": system.processor(), "threads": system.threads()}
