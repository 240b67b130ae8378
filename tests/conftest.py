"""Settings, fixtures and the selection of tests; helpers are modules of ``tests/support``."""

from __future__ import annotations

import functools
import importlib
import signal
from typing import TYPE_CHECKING, Any

import host_gpu
import pytest
import two_runs
from array_libraries import LIBRARIES, OPTIONAL, Library, load
from cases import SORTING, cases, representatives
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

# A script that runs the tests in the background has its processes ignore Ctrl-C, and what they start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile(
    "default", max_examples=200, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
settings.register_profile("long", max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck))
settings.load_profile("default")


def pytest_addoption(pluginmanager: pytest.PytestPluginManager) -> None:
    """Register what is for the tests outside of this folder too, which are those in docstrings."""
    pluginmanager.register(two_runs)


@pytest.fixture(params=LIBRARIES)
def xp(request: pytest.FixtureRequest) -> Library:
    """Each array library that is installed."""
    return load(request.param)


@pytest.fixture
def dynamo() -> Iterator[Any]:
    """Yield torch's compiler, which is to forget then what it has seen."""
    torch = load("torch").module
    module = importlib.import_module("torch._dynamo")
    if not module.is_dynamo_supported():
        pytest.skip("torch.compile does not know this Python yet")
    yield functools.partial(torch.compile, fullgraph=True, backend="aot_eager")
    module.reset()


def pytest_configure() -> None:
    host_gpu.shared_folder()  # before there are workers


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests of which a mark says that they need what is not here."""
    for mark in item.iter_markers("needs_library"):
        for name in mark.args:
            pytest.importorskip(name)
    if item.get_closest_marker("needs_gpu") and not host_gpu.has_gpu():
        pytest.skip("no GPU")


def _mark_libraries(items: list[pytest.Item]) -> None:
    """Mark the tests that are parametrized with an optional library."""
    for item in items:
        given = getattr(getattr(item, "callspec", None), "params", {})
        for value in given.values():
            if isinstance(value, str) and value in OPTIONAL:
                item.add_marker(pytest.mark.needs_library(OPTIONAL[value]))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let one function of every kind do for the tests over all libraries where each function takes long to compile.

    That is CuPy without a GPU, and JAX. The text of all CUDA kernels has tests of its own, and so have the values and
    derivatives of all functions on JAX's arrays.
    """
    _mark_libraries(items)
    chosen = representatives(cases())
    slow = {"jax"} if host_gpu.has_gpu() else {"cupy", "jax"}

    def is_left_out(item: pytest.Item) -> bool:
        given = getattr(getattr(item, "callspec", None), "params", {})
        library = str(given.get("xp") or given.get("name"))
        if library == "dask" and given.get("case") in SORTING:  # its arrays are chunked
            return True
        everywhere = library == "cupy" or item.path.name == "test_namespaces.py"
        return library in slow and everywhere and given.get("case") not in (None, *chosen)

    left_out = [item for item in items if is_left_out(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        gone = set(left_out)
        items[:] = [item for item in items if item not in gone]
