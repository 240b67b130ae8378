"""Array libraries, activations and dtypes for all tests."""

from __future__ import annotations

import contextlib
import functools
import importlib
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import host_gpu
import numpy as np
import pytest
import two_runs
from hypothesis import HealthCheck, settings

from actufunc._catalogue import ACTIVATIONS, variants
from actufunc.backends.promotion import keeps_integers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from actufunc import Activation

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


LIBRARIES = ("numpy", "array_api_strict", "torch", "jax", "dask", "cupy")


@dataclass(frozen=True)
class Library:
    """An array library: how to make its arrays and how to look into them."""

    name: str
    module: Any
    make: Callable[[np.ndarray[Any, Any]], Any]

    def __repr__(self) -> str:
        return self.name

    def asarray(self, values: Any, dtype: str | None = None) -> Any:
        """Make an array of this library."""
        return self.make(np.array(values, dtype))

    def asnumpy(self, array: Any) -> np.ndarray[Any, Any]:
        """Return the values of an array of this library."""
        if self.name == "cupy":
            return np.asarray(array.get())
        if self.name == "dask":
            return np.asarray(array.compute(scheduler="sync"))
        return np.asarray(array.detach() if self.name == "torch" else array)

    def is_array(self, value: object) -> bool:
        """Tell whether a value is an array of this library (for NumPy also the scalar that a 0-d result becomes)."""
        example = self.make(np.zeros(1))
        return isinstance(value, type(example)) or (self.name == "numpy" and isinstance(value, np.generic))


def load(name: str, *, whole: bool = False) -> Library:
    """Import a library, or skip the test if it is missing; without a GPU only part of CuPy is there."""
    module = pytest.importorskip({"dask": "dask.array", "jax": "jax.numpy"}.get(name, name))
    if name == "numpy":
        return Library(name, module, np.asarray)
    if name == "torch":
        return Library(name, module, lambda values: module.from_numpy(np.array(values, order="C")))
    if name == "jax":
        importlib.import_module("jax").config.update("jax_enable_x64", val=True)
        return Library(name, module, module.asarray)
    if name == "dask":
        return Library(name, module, lambda values: module.from_array(values, chunks=3))
    if name == "cupy":
        if whole and not host_gpu.has_gpu():
            pytest.skip("no GPU")
        _without_gpu_on_host()
    return Library(name, module, module.asarray)


@functools.cache
def _without_gpu_on_host() -> contextlib.ExitStack:
    """Let CuPy compute on the host from now on, unless there is a GPU."""
    stack = contextlib.ExitStack()
    if not host_gpu.has_gpu():
        if host_gpu.COMPILER is None:
            pytest.skip("no C++ compiler, nor a GPU")
        stack.enter_context(host_gpu.gpu_on_host())
    return stack


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


@dataclass(frozen=True)
class Case:
    """An activation with values for what has no default, and one set of options."""

    function: Activation
    keywords: tuple[tuple[str, Any], ...] = ()

    def __repr__(self) -> str:
        chosen = ",".join(f"{key}={value}" for key, value in self.keywords)
        return f"{self.function.__name__}({chosen})" if chosen else self.function.__name__

    def __call__(self, *arrays: Any, **keywords: Any) -> Any:
        return self.function(*arrays, **dict(self.keywords), **keywords)

    @property
    def of_halves(self) -> Case:
        """The same with scalar hyperparameters rounded to float32, as they are beside half-precision arrays."""
        values = self.function.definition.hyperparameters | dict(self.keywords)
        return Case(
            self.function,
            tuple(
                (k, v if isinstance(v, str) else float(np.float32(v)))
                for k, v in values.items()
                if isinstance(v, str | int | float)
            ),
        )

    @property
    def grad(self) -> Case:
        return Case(self.function.grad, self.keywords)

    @property
    def vjp(self) -> Case:
        return Case(self.function.vjp, self.keywords)


def cases(kind: str | None = None) -> list[Case]:
    """Return every activation of the catalogue, or of one kind, with each of its options."""
    found = []
    for function in ACTIVATIONS.values():
        if kind is not None and function.definition.kind != kind:
            continue
        found += [Case(function, tuple(keywords.items())) for keywords in variants(function)]
    return found


ELEMENTWISE = cases("elementwise")
OVER_AXIS = cases("over an axis")
REDUCING = cases("reducing")
GATED = cases("gated")
SORTING = [
    case
    for case in OVER_AXIS
    if any(
        node.operation == "axis_threshold" for node in case.function.definition.expression(dict(case.keywords)).nodes()
    )
]
"""What dask refuses over an axis that lies in several blocks."""


def representatives(of: list[Case]) -> list[Case]:
    """Return one case of every kind: elementwise or over an axis, with hyperparameters or not, exact on integers."""
    kinds: dict[Any, Case] = {}
    for case in of:
        definition = case.function.definition
        exact = keeps_integers(definition.expression(definition.options))
        kinds.setdefault((definition.kind, bool(definition.hyperparameters), exact), case)
    return list(kinds.values())


def as_float64(exact: Any) -> np.ndarray[Any, Any]:
    """Round numbers of mpmath; older versions of NumPy warn of the way in which its NaN becomes one of a float."""
    with np.errstate(invalid="ignore"):
        return np.asarray(exact.astype(np.float64))


def mostly_slow(of: list[Case], quick: list[Case] | None = None) -> list[Any]:
    """Return cases to parametrize a test with, of which these, or one of every kind, are not slow."""
    chosen = representatives(of) if quick is None else quick
    return [case if case in chosen else pytest.param(case, marks=pytest.mark.slow) for case in of]


def pytest_configure() -> None:
    host_gpu.shared_folder()  # before there are workers


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let one function of every kind do for the tests over all libraries where each function takes long to compile.

    That is CuPy without a GPU, and JAX. The text of all CUDA kernels has tests of its own, and so have the values and
    derivatives of all functions on JAX's arrays.
    """
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
