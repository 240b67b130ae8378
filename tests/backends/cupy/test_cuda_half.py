"""The CUDA text for half types, run on the host on every number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np
import pytest
from cuda_loops import KERNELS, STRICT, Kernel, call, loop
from host_gpu import compile_text

from actufunc import logit

if TYPE_CHECKING:
    import ctypes

HALF_TYPES = {"float16": 11, "bfloat16": 8}  # bits of the significand
HALF_KERNELS = [Kernel(k.function, k.options, dtype) for k in KERNELS if k.dtype == "float32" for dtype in HALF_TYPES]


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    """The text for half types, on floats that are such, with results that are not rounded yet, and for float64."""
    doubles = [kernel for kernel in KERNELS if kernel.dtype == "float64"]
    return compile_text("".join(map(loop, [*HALF_KERNELS, *doubles])), STRICT)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", HALF_KERNELS, ids=repr)
def test_half_types_are_right_but_for_ties(kernel: Kernel, library: ctypes.CDLL) -> None:
    """All 65536 numbers: the float to be rounded is off by less than 1/16 of an ulp of the half type."""
    dtype = np.dtype(getattr(ml_dtypes, kernel.dtype, kernel.dtype))
    with np.errstate(invalid="ignore"):
        x = np.arange(1 << 16, dtype=np.uint16).view(dtype).astype("float32")
    x[np.isnan(x)] = np.nan  # none that signals
    x[np.isfinite(x) & (np.abs(x) > 2.0**125)] /= 8  # products with hyperparameters overflow in float
    if kernel.function is logit.vjp:
        x[np.abs(x) < 2.0**-125] = 0.5  # the derivative overflows, before the cotangent brings it back
    values = {"x": x}
    defaults = {"g": 1.0, **kernel.function.definition.hyperparameters}
    rng = np.random.default_rng(0)
    for name in kernel.function.definition.arguments[1:]:
        default = defaults[name] if isinstance(defaults[name], int | float) else 0.25
        values[name] = np.where(rng.random(x.size) < 0.5, default, rng.uniform(0.1, 4, x.size)).astype("float32")
    results = call(library[f"loop_{kernel.symbol}"], values).astype("float64")
    exact_kernel = Kernel(kernel.function, kernel.options, "float64")
    wide = {name: array.astype("float64") for name, array in values.items()}
    exact = call(library[f"loop_{exact_kernel.symbol}"], wide)
    np.testing.assert_array_equal(np.isnan(results), np.isnan(exact))
    information = ml_dtypes.finfo(dtype)
    largest = float(information.max)
    with np.errstate(invalid="ignore"):
        magnitude = np.clip(np.abs(exact), float(information.tiny), largest)
        spacing = 2.0 ** (np.floor(np.log2(magnitude)) + 1 - HALF_TYPES[kernel.dtype])
        off = np.abs(np.clip(results, -largest, largest) - np.clip(exact, -largest, largest))
    allowed = spacing / 16
    if "." in kernel.function.__name__:
        # Where terms cancel, next to a root, a few ulp of float of the terms; by a hyperparameter these grow like x.
        by_hyperparameter = dict(kernel.options).get("wrt", "x") != "x"
        allowed += 2e-5 * np.fmin(np.abs(x), largest) if by_hyperparameter else 2e-6 * (np.abs(x) < 3)
    worst = int(np.nanargmax(off / allowed))
    assert off[worst] <= allowed[worst], {name: array[worst] for name, array in values.items()} | {
        "result": results[worst],
        "exact": exact[worst],
    }
