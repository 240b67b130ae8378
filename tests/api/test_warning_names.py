"""Warnings about overflow and the like name the function by its public name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
from cases import Case, cases

from actufunc import activation, celu
from actufunc.backends.numpy.jit import kernels
from actufunc.formula import exp

if TYPE_CHECKING:
    from collections.abc import Callable


@activation
def steep(x: Any, scale: Any = 1.0) -> Any:
    """Overflow."""
    return exp(x * scale) * x


LARGEST = np.float32(3e38)
X = np.full(3, LARGEST)
HALVES = [np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)]


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: steep(X), "steep"),
        (lambda: steep(X, 2.5), "steep"),
        (lambda: steep(X, X), "steep"),
        (lambda: steep(X[:, np.newaxis], out=np.zeros((3, 2), "f4")[:, :1]), "steep"),
        (lambda: steep(LARGEST), "steep"),
        (lambda: steep.grad(X), "steep.grad"),
        (lambda: steep.grad.grad(X), "steep.grad.grad"),
        (lambda: steep.vjp(X, X), "steep.vjp"),
    ],
)
def test_overflow(call: Callable[[], Any], name: str) -> None:
    """Of a function of the user, in every kind of kernel that NumPy sees errors of."""
    for _ in range(2):  # by way of what looks at everything, and of what looks at little
        with pytest.warns(RuntimeWarning, match=rf"^overflow encountered in {name}$"):
            call()


@pytest.mark.parametrize("case", [case for case in cases() if case.function.definition.kind == "elementwise"], ids=repr)
def test_every_kernel_has_the_name_of_its_function(case: Case) -> None:
    """Compiles nothing where a cache has it; those of several threads are made but for one function alone."""
    x = np.ones(3, np.float32)
    for derived in (case, case.grad, case.vjp):
        arrays = [x] * len(derived.function.definition.arrays)
        derived(*arrays)
        name = derived.function.__name__
        made = [kernel for key, kernel in kernels._elementwise.items() if key[0] == name]
        assert made
        for kernel in made:
            assert isinstance(kernel, kernels.HalfElementwise) or kernel.serial.__name__ == name


def test_parallel_kernels_and_those_of_halves() -> None:
    celu(np.ones(3))
    kernel = next(kernel for key, kernel in kernels._elementwise.items() if key[0] == "celu" and key[-1] == np.float64)
    assert isinstance(kernel, kernels.Elementwise)
    assert kernel.parallel.__name__ == kernel.serial.__name__ == "celu"
    for dtype in HALVES:
        celu(np.ones(3, dtype))
        celu.vjp(np.ones(3, dtype), np.ones(3, dtype))
        for name in ("celu", "celu.vjp"):
            of_bits = next(k for key, k in kernels._elementwise.items() if key[0] == name and key[-1] == dtype)
            assert isinstance(of_bits, kernels.HalfElementwise)
            assert of_bits.serial.func.__name__ == name
