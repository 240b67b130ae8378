"""Array libraries for tests that are parametrized with them."""

from __future__ import annotations

import contextlib
import functools
import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import host_gpu
import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

LIBRARIES = ("numpy", "array_api_strict", "torch", "jax", "dask", "cupy")
OPTIONAL = {"torch": "torch", "jax": "jax", "cupy": "cupy", "tensorflow": "tensorflow", ".zarr": "zarr"}
"""What the extra `test` does not bring, by the parameters of tests that need it."""


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


def load(name: str) -> Library:
    """Import a library, or skip the test if it is missing; without a GPU CuPy computes on the host."""
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


def jax_module() -> Any:
    """Import JAX with float64, or skip."""
    load("jax")
    return importlib.import_module("jax")
