"""What is CuPy's own: no driver, no Numba, rows of every length, devices, how often memory is touched."""

from __future__ import annotations

from typing import Any
from unittest import mock

import ml_dtypes
import numpy as np
import pytest
from conftest import ELEMENTWISE, OVER_AXIS, Case, Library, load
from host_gpu import has_gpu
from programs import run

import actufunc
from actufunc import activation, log_softmax, sigmoid, silu, softmax
from actufunc.formula import Expression, axis_sum, exp

DTYPES = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]


@pytest.fixture
def cupy() -> Library:
    """CuPy, on a GPU or on the host."""
    return load("cupy")


def test_numpy_arrays_with_cupy_installed_and_no_driver() -> None:
    pytest.importorskip("cupy")
    code = """
        import sys, numpy, actufunc
        assert "cupy" not in sys.modules
        import cupy
        x = numpy.linspace(-9, 9, 100_000)
        for function in actufunc.catalogue.ACTIVATIONS.values():
            function(x, **({"alpha": 0.2} if function is actufunc.prelu else {}))
        print(actufunc.sigmoid([0.0, 1.0]), actufunc.softmax(x[None]).sum())
    """
    assert run(code).startswith("[0.5")


def test_needs_no_numba() -> None:
    pytest.importorskip("cupy")
    code = """
        import sys, pathlib
        sys.modules["numba"] = None  # importing it fails
        sys.path.insert(0, "tests")
        import actufunc, host_gpu
        with host_gpu.gpu_on_host():
            x = host_gpu.to_device([[-1.0, 0.0, 1.0]])
            print(actufunc.sigmoid(x).get(), actufunc.softmax(x).get())
            print(actufunc.softmax(x, where=host_gpu.to_device([True, False, True])).get())
    """
    assert run(code).count("\n") == 2


# Over an axis.

# Around the ends of what a warp, a block and its registers hold.
LENGTHS = [1, 3, 8, 33, 256, 257, 1025, 5000]


def bound() -> float:
    """Return the largest error to accept, in ulp: CUDA's exponential is less exact than a C library's."""
    return 3 if has_gpu() else 2.5


def relative_error(result: Any, expected: Any, scale: Any) -> float:
    """Return the largest error in ulp of the result's dtype beside numbers as large as `scale`."""
    information = ml_dtypes.finfo(result.dtype)
    exact, scale = np.asarray(expected, np.float64), np.maximum(np.abs(scale), float(information.tiny))
    spacing = 2.0 ** np.floor(np.log2(scale)) * float(information.eps)
    return float(np.max(np.abs(result.astype(np.float64) - exact) / spacing))


@pytest.mark.parametrize("case", OVER_AXIS, ids=repr)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("n", LENGTHS)
def test_rows_of_every_length(case: Case, dtype: Any, n: int, cupy: Library) -> None:
    rng = np.random.default_rng(n)
    x = (rng.normal(size=(3, n)) * 4).astype(dtype)
    g = rng.normal(size=(3, n)).astype(dtype)
    exact = case(x.astype(np.float64))
    result = cupy.asnumpy(case(cupy.make(x)))
    assert result.dtype == dtype
    assert relative_error(result, exact, exact) <= bound()
    wide = g.astype(np.float64)
    exact = case.vjp(x.astype(np.float64), wide)
    result = cupy.asnumpy(case.vjp(cupy.make(x), cupy.make(g)))
    # Sums of n cotangents of either sign, and a difference: beside the largest term.
    y, size = softmax(x.astype(np.float64)), np.abs(wide)
    if case.function is softmax:
        scale = y * (size + (size * y).sum(axis=-1, keepdims=True))
    else:
        scale = size + y * size.sum(axis=-1, keepdims=True)
    assert relative_error(result, exact, scale) <= 3


@pytest.mark.parametrize("case", OVER_AXIS, ids=repr)
@pytest.mark.parametrize("n", [40_000, 1_000_000])
def test_rows_that_do_not_fit(case: Case, n: int, cupy: Library) -> None:
    x = (np.random.default_rng(0).normal(size=(1, n)) * 4).astype(np.float32)
    exact = case(x.astype(np.float64))
    result = cupy.asnumpy(case(cupy.make(x)))
    assert relative_error(result, exact, exact) <= bound()
    out = cupy.make(x)
    assert case(out, out=out) is out
    np.testing.assert_array_equal(cupy.asnumpy(out), result)


@pytest.mark.parametrize("case", OVER_AXIS, ids=repr)
@pytest.mark.parametrize("shape", [(2, 5, 40), (3, 100, 3), (2, 700, 2)], ids=str)
@pytest.mark.parametrize("order", ["C", "F"])
def test_axis_in_the_middle(case: Case, shape: tuple[int, ...], order: str, cupy: Library) -> None:
    values = np.array(np.random.default_rng(0).normal(size=shape), order=order)
    x = cupy.make(values)
    for axis in (0, 1, 2, (0, 1), (1, 2), (0, 2), None):
        result = case(x, axis=axis)
        assert result.flags.c_contiguous if order == "C" else result.flags.f_contiguous
        np.testing.assert_allclose(cupy.asnumpy(result), case(values, axis=axis), rtol=1e-15, atol=0)


@pytest.mark.parametrize("case", OVER_AXIS, ids=repr)
def test_special_rows(case: Case, cupy: Library) -> None:
    inf, nan = np.inf, np.nan
    rows = [[0, -inf, 1], [inf, 0, 1], [nan, 0, 1], [-inf, -inf, -inf], [1e30, -1e30, 0], [0, 0, 0]]
    for repeat in (1, 50, 500):
        x = np.repeat(np.array(rows), repeat, axis=1)
        np.testing.assert_allclose(cupy.asnumpy(case(cupy.asarray(x))), case(x), rtol=1e-15)


def test_own_function_over_an_axis(cupy: Library) -> None:
    @activation
    def tempered(x: Expression, temperature: float = 2.0) -> Expression:
        return exp(x / temperature) / axis_sum(exp(x / temperature))

    values = np.random.default_rng(0).normal(size=(3, 4))
    x = cupy.asarray(values)
    for temperature in (2.0, 0.5, np.float32(3), 7):
        np.testing.assert_allclose(cupy.asnumpy(tempered(x, temperature)), tempered(values, temperature), rtol=1e-14)
    by_row = np.array([[1.0], [2.0], [3.0]])
    result = tempered(x, cupy.asarray(by_row))
    np.testing.assert_allclose(cupy.asnumpy(result), tempered(values, np.broadcast_to(by_row, (3, 4))), rtol=1e-14)


# Kernels.


def test_values_of_hyperparameters_compile_nothing(cupy: Library) -> None:
    x = cupy.asarray(np.linspace(-3, 3, 50))
    silu(x, 0.5)
    with mock.patch.object(cupy.module, "ElementwiseKernel", side_effect=AssertionError("compiled again")):
        for beta in (0.25, 1.5, np.float64(3), 2):
            np.testing.assert_allclose(cupy.asnumpy(silu(x, beta)), silu(cupy.asnumpy(x), beta), rtol=1e-14)


def test_second_call_looks_at_little(cupy: Library) -> None:
    """The same results from the short path as from the long one, whatever the second array and output are."""
    values = np.linspace(-3, 3, 60)
    x = cupy.asarray(values)
    for function, keywords in ((sigmoid, {}), (silu, {"beta": 0.5})):
        function(x, **keywords)
        assert type(x) in function._elsewhere
        views = [x, x[::2], x[1:], x[:0], x.reshape(3, 20).T, x[0]]
        for view in views:
            expected = function(cupy.asnumpy(view), **keywords)
            np.testing.assert_allclose(cupy.asnumpy(function(view, **keywords)), expected, rtol=1e-14)
            for out in (cupy.module.empty_like(view), cupy.module.empty(view.shape, "float32")):
                assert function(view, out=out, **keywords) is out
                np.testing.assert_allclose(cupy.asnumpy(out), expected, rtol=1e-6)
        with pytest.raises(ValueError, match="does not fit"):
            function(x, out=x[1:], **keywords)
        with pytest.raises(TypeError, match="CuPy array only"):
            function(x, out=[0.0] * 60, **keywords)


@pytest.mark.parametrize("case", ELEMENTWISE, ids=repr)
def test_every_elementwise_function(case: Case, cupy: Library) -> None:
    values = np.concatenate([np.linspace(-30, 30, 500), [-np.inf, np.inf, np.nan, -0.0, 0.0]])
    g = np.linspace(-1, 1, values.size)
    for dtype, rtol in ((np.float16, 1e-3), (np.float64, 1e-15)):  # the others differ in types only
        x, cotangent = values.astype(dtype), g.astype(dtype)
        with np.errstate(invalid="ignore"):
            pairs = [
                (case(cupy.make(x)), case(x.astype(float))),
                (case.grad(cupy.make(x)), case.grad(x.astype(float))),
                (case.vjp(cupy.make(x), cupy.make(cotangent)), case.vjp(x.astype(float), cotangent.astype(float))),
            ]
        for result, exact in pairs:
            assert result.dtype == dtype
            np.testing.assert_allclose(cupy.asnumpy(result).astype(float), exact, rtol=4 * rtol, atol=4 * rtol)


def test_other_device(cupy: Library) -> None:
    x = cupy.asarray(np.zeros(3))
    device = mock.patch.object(cupy.module.cuda.runtime, "getDevice", return_value=1)
    with device, pytest.raises(TypeError, match="on CUDA device 0 while device 1 is current"):
        sigmoid(x)
    with device, pytest.raises(TypeError, match="on CUDA device 0 while device 1 is current"):
        log_softmax(x)
    sigmoid(x)
    with device, pytest.raises(TypeError, match="on CUDA device 0 while device 1 is current"):
        sigmoid(x)


def test_mixing_says_what_to_do(cupy: Library) -> None:
    x = np.zeros(3)
    for arrays in ((x, cupy.asarray(x)), (cupy.asarray(x), x)):
        with pytest.raises(TypeError, match=r"cupy and numpy; convert .*cupy.asarray.*\.get\(\)"):
            sigmoid.vjp(*arrays)
    with pytest.raises(TypeError, match="CuPy array only"):
        sigmoid(cupy.asarray(x), out=[0.0] * 3)
    with pytest.raises(TypeError, match="got list for alpha beside a CuPy array"):
        actufunc.prelu(cupy.asarray(x), [0.1, 0.2, 0.3])


def test_stream_of_the_caller() -> None:
    """Work is queued where CuPy's own is: recorded into a graph of the stream that is current."""
    xp = load("cupy", whole=True).module
    x = xp.linspace(-3, 3, 1000)
    sigmoid(x), softmax(x)  # compiled
    stream = xp.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        y = sigmoid(x)
        z = softmax(y)
        graph = stream.end_capture()
        graph.launch()
    stream.synchronize()
    np.testing.assert_allclose(z.get(), softmax(sigmoid(x.get())), rtol=1e-14)
