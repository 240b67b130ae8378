"""The options of the benchmarks, and what their speed is measured with.

The settings of threads must be in the environment before NumPy and the others are imported, which pytest does after it
has read this file. `report.py` has set them by then; by hand it is one thread.
"""

from __future__ import annotations

import importlib.metadata
import os
from typing import TYPE_CHECKING, Any

from settings import environment, threads

if TYPE_CHECKING:
    import pytest

os.environ |= environment(threads())

_DISTRIBUTIONS = ("actufunc", "numpy", "numba", "scipy", "torch", "jax", "onnxruntime", "numexpr")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--selection``."""
    parser.addoption("--selection", default="full", help="which cells: a name in SELECTIONS of cells.py")


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:  # noqa: ARG001
    """Note in the report which libraries there are, and how ours sees the machine."""
    from actufunc.cli import machine  # noqa: PLC0415 -- imports NumPy

    machine_info["libraries"] = {name: version for name in _DISTRIBUTIONS if (version := _version(name))}
    machine_info |= {"vectors": machine.processor(), "threads": machine.threads()}


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
