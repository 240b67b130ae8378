"""CuPy's arrays: rows of every length, subnormal numbers, devices, streams, memory; neither Numba nor a driver."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest import mock

import ml_dtypes
import numpy as np
import pytest
from array_libraries import Library, load
from cases import ELEMENTWISE, OVER_AXIS, Case, representatives
from host_gpu import COMPILER, has_gpu
from programs import run

import actufunc
from actufunc import (
    activation,
    elu,
    leaky_relu,
    log_softmax,
    logit,
    prelu,
    relu,
    sigmoid,
    silu,
    softmax,
    softmin,
    softplus,
    sparsemax,
    tanh,
)
from actufunc.backends.cupy.codegen.row_schedule import schedule_rows
from actufunc.formula import Expression, axis_sum, exp, maximum


@pytest.fixture
def cupy() -> Library:
    """CuPy, on a GPU or on the host."""
    return load("cupy")


@pytest.mark.needs_library("cupy")
def test_numpy_arrays_with_cupy_installed_and_no_driver() -> None:
    code = """
        import sys, numpy, actufunc
        assert "cupy" not in sys.modules
        import cupy
        x = numpy.linspace(-9, 9, 100_000)
        for function in actufunc._catalogue.ACTIVATIONS.values():
            function(x, **actufunc._catalogue.examples(function))
        print(actufunc.sigmoid([0.0, 1.0]), actufunc.softmax(x[None]).sum())
    """
    assert run(code).startswith("[0.5")


@pytest.mark.needs_library("cupy")
def test_needs_no_numba() -> None:
    if COMPILER is None:
        pytest.skip("no C++ compiler")
    code = """
        import sys
        sys.modules["numba"] = None  # importing it fails
        import actufunc, host_gpu
        with host_gpu.gpu_on_host():
            x = host_gpu.to_device([[-1.0, 0.0, 1.0]])
            print(actufunc.sigmoid(x).get(), actufunc.softmax(x).get())
            print(actufunc.softmax(x, where=host_gpu.to_device([True, False, True])).get())
    """
    assert run(code).count("\n") == 2


# Over an axis.

# Around the ends of what a warp, a block and its registers hold.
LENGTHS = [1, 3, 33, 256, 1025, 5000]


def bound() -> float:
    """Return the largest error to accept, in ulp: CUDA's exponential is less exact than a C library's."""
    return 4 if has_gpu() else 2.5


def relative_error(result: Any, expected: Any, scale: Any) -> float:
    """Return the largest error in ulp of the result's dtype beside numbers as large as `scale`."""
    information = ml_dtypes.finfo(result.dtype)
    exact, scale = np.asarray(expected, np.float64), np.maximum(np.abs(scale), float(information.tiny))
    spacing = 2.0 ** np.floor(np.log2(scale)) * float(information.eps)
    return float(np.max(np.abs(result.astype(np.float64) - exact) / spacing))


def terms(case: Case, x: Any, size: Any) -> Any:
    """Return the largest terms of a vjp: sums of cotangents of these sizes, and a difference."""
    y = softmax(-x if case.function is softmin else x)
    if case.function is log_softmax:
        return size + y * size.sum(axis=-1, keepdims=True)
    return 1 if case.function is sparsemax else y * (size + (size * y).sum(axis=-1, keepdims=True))


def beside(case: Case, exact: Any) -> Any:
    """Return what the error of a value counts beside; of sparsemax, the total of its shares."""
    return np.ones_like(exact) if case.function is sparsemax else exact


@pytest.mark.parametrize("case", OVER_AXIS, ids=repr)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("n", LENGTHS)
def test_rows_of_every_length(case: Case, dtype: Any, n: int, cupy: Library) -> None:
    rng = np.random.default_rng(n)
    x = (rng.normal(size=(3, n)) * 4).astype(dtype)
    g = rng.normal(size=(3, n)).astype(dtype)
    exact = case(x.astype(np.float64))
    result = cupy.asnumpy(case(cupy.make(x)))
    assert result.dtype == dtype
    assert relative_error(result, exact, beside(case, exact)) <= bound()
    wide = g.astype(np.float64)
    exact = case.vjp(x.astype(np.float64), wide)
    result = cupy.asnumpy(case.vjp(cupy.make(x), cupy.make(g)))
    # The shares are off by what values may be, and a difference, a product and the sum are rounded.
    assert relative_error(result, exact, terms(case, x.astype(np.float64), np.abs(wide))) <= bound() + 1.5


@pytest.mark.parametrize("function", [elu, leaky_relu, logit, relu, sigmoid, softmax, softplus, tanh])
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16], ids=["float32", "bfloat16"])
def test_subnormal_numbers_count(function: Any, dtype: Any, cupy: Library) -> None:
    """As arguments, results and in between, though CuPy tells the compiler to take them for zero."""
    information = ml_dtypes.finfo(dtype)
    least, tiny = float(information.smallest_subnormal), float(information.tiny)
    magnitudes = [least, 3 * least, 50 * least, tiny / 2, tiny - least, tiny, 9 * tiny, 87.5, 90, 95]
    x = np.array([*magnitudes, *(-each for each in magnitudes)], dtype)
    with np.errstate(invalid="ignore"):
        exact = function(x.astype(np.float64))
        result = cupy.asnumpy(function(cupy.make(x)))
    np.testing.assert_array_equal(np.isnan(result), np.isnan(exact))
    some = ~np.isnan(exact)
    assert relative_error(result[some], exact[some], exact[some]) <= (bound() if dtype == np.float32 else 0.57)


def test_subnormal_numbers_are_converted(cupy: Library) -> None:
    x = np.array([1e-45, 1e-40, 1e-30], np.float32)
    wide = x.astype(np.float64)
    for array, dtype in ((x, np.float64), (wide, np.float32)):
        given = cupy.make(array)
        result = relu(given, out=cupy.make(np.zeros(3, dtype)))
        np.testing.assert_array_equal(cupy.asnumpy(result), array.astype(dtype))
    result = prelu(cupy.make(-x), cupy.make(np.ones(3)))
    np.testing.assert_array_equal(cupy.asnumpy(result), -wide)
    result = softmax(cupy.make(np.zeros((3, 2), np.float32)), out=cupy.make(np.zeros((3, 2))))
    np.testing.assert_array_equal(cupy.asnumpy(result), 0.5)


@pytest.mark.parametrize("case", OVER_AXIS, ids=repr)
@pytest.mark.parametrize("n", [40_000, 1_000_000])
def test_rows_that_do_not_fit(case: Case, n: int, cupy: Library) -> None:
    x = (np.random.default_rng(0).normal(size=(1, n)) * 4).astype(np.float32)
    exact = case(x.astype(np.float64))
    result = cupy.asnumpy(case(cupy.make(x)))
    assert relative_error(result, exact, beside(case, exact)) <= bound()
    out = cupy.make(x)
    assert case(out, out=out) is out
    np.testing.assert_array_equal(cupy.asnumpy(out), result)


@pytest.mark.parametrize("case", OVER_AXIS, ids=repr)
def test_rows_that_fit_as_halves(case: Case, cupy: Library) -> None:
    assert schedule_rows(1 << 16, np.dtype(np.float16), 1, inner=1, lanes=8).packed
    assert schedule_rows(1 << 15, np.dtype(np.float16), 2, inner=1, lanes=8).packed
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(1, 1 << 16)) * 4).astype(np.float16)
    exact = case(x.astype(float))
    assert relative_error(cupy.asnumpy(case(cupy.make(x))), exact, beside(case, exact)) <= 0.57
    x, g = x[:, : 1 << 15], rng.uniform(0.5, 1, (1, 1 << 15)).astype(np.float16)
    size = g.astype(float)
    result = cupy.asnumpy(case.vjp(cupy.make(x), cupy.make(g)))
    assert relative_error(result, case.vjp(x.astype(float), size), terms(case, x.astype(float), size)) <= 0.57


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


@pytest.mark.parametrize("case", OVER_AXIS, ids=repr)
def test_half_results_are_rounded_once(case: Case, cupy: Library) -> None:
    values = np.array([[100.03, 100.01, 99.97]])
    for x in (values, values.astype("float32")):
        np.testing.assert_array_equal(cupy.asnumpy(case(cupy.make(x), dtype="e")), case(x, dtype="e"))
    low = np.array([[1.0, 2.0, 3.0]], "float16")
    out = cupy.make(np.zeros((1, 3), "float32"))
    case(cupy.make(low), out=out)
    np.testing.assert_allclose(cupy.asnumpy(out), case(low.astype("float32")), rtol=3e-7)


def test_a_mask_that_is_the_input(cupy: Library) -> None:
    mask = cupy.asarray([True, False, True])
    np.testing.assert_array_equal(cupy.asnumpy(softmax(mask, where=mask)), [0.5, 0, 0.5])


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


@pytest.mark.parametrize("case", OVER_AXIS, ids=repr)
def test_the_output_is_an_input(case: Case, cupy: Library) -> None:
    """The very same object, in layouts that a kernel cannot take as they are."""
    values = np.random.default_rng(0).normal(size=(6, 10))
    mask = cupy.asarray(values > -1)
    for view in (np.s_[:, ::2], np.s_[::-1], np.s_[:, 3:4]):
        for keywords in ({}, {"where": mask[view]}, {"axis": 0}):
            of_numpy = {key: cupy.asnumpy(v) if key == "where" else v for key, v in keywords.items()}
            x, g = cupy.asarray(values)[view], cupy.asarray(values + 1)[view]
            assert case(x, out=x, **keywords) is x
            np.testing.assert_allclose(cupy.asnumpy(x), case(values[view], **of_numpy), rtol=1e-14)
            x = cupy.asarray(values)[view]
            assert case.vjp(x, g, out=g, **keywords) is g
            expected = case.vjp(values[view], values[view] + 1, **of_numpy)
            np.testing.assert_allclose(cupy.asnumpy(g), expected, rtol=1e-13, atol=1e-15)
    cube = cupy.asarray(values.reshape(2, 5, 6))
    case(cube, axis=(0, 2), out=cube)
    np.testing.assert_allclose(cupy.asnumpy(cube), case(values.reshape(2, 5, 6), axis=(0, 2)), rtol=1e-14)


@activation
def blended(x: Expression, a: Expression, b: Expression, c: Expression, d: Expression) -> Expression:
    """Five arrays: few elements of each fit into a thread, so that few threads share a row."""
    return exp(a * x) / axis_sum(exp(a * x) * (1 + b * b + c * c)) + d


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("n", [20, 100, 200, 300, 520])
def test_rows_of_many_arrays_share_no_sums(dtype: Any, n: int, cupy: Library) -> None:
    values = (np.random.default_rng(0).uniform(0.1, 1, size=(5, 7, n)) * [[[1]], [[1]], [[1]], [[2]], [[0.01]]]).astype(
        dtype
    )
    result = cupy.asnumpy(blended(*map(cupy.make, values)))
    exact = blended(*values.astype(float))
    np.testing.assert_allclose(result.astype(float), exact, rtol=8 * float(np.finfo(dtype).eps))
    mask = values[1] > 0.3
    result = cupy.asnumpy(blended(*map(cupy.make, values), where=cupy.asarray(mask)))
    exact = blended(*values.astype(float), where=mask)
    np.testing.assert_allclose(result.astype(float), exact, rtol=8 * float(np.finfo(dtype).eps))


def test_many_sums_side_by_side(cupy: Library) -> None:
    @activation
    def sums(x: Expression) -> Expression:
        total = axis_sum(x)
        for power in range(1, 8):
            total = total + axis_sum(x * power + 1) / power
        return x / total

    values = np.random.default_rng(0).uniform(1, 2, size=(3, 200, 5))
    np.testing.assert_allclose(cupy.asnumpy(sums(cupy.asarray(values), axis=1)), sums(values, axis=1), rtol=1e-14)


# Kernels.


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "uint32", "int64", "uint64"])
def test_integers_into_every_output(dtype: str, cupy: Library) -> None:
    values = np.array([0, 1, 7, 100], dtype)
    for target in (np.float16, ml_dtypes.bfloat16, np.float32, np.float64):
        out = cupy.make(np.zeros(4, target))
        assert relu(cupy.asarray(values), out=out) is out
        np.testing.assert_array_equal(cupy.asnumpy(out).astype(float), [0, 1, 7, 100])


def test_a_function_called_pack(cupy: Library) -> None:
    @activation
    def pack(x: Expression) -> Expression:
        return x * x + 1

    np.testing.assert_array_equal(cupy.asnumpy(pack(cupy.asarray(np.arange(4.0)))), [1, 2, 5, 10])


def test_no_array_but_the_output(cupy: Library) -> None:
    for dtype in (np.float32, np.float64):
        out = cupy.make(np.zeros(5, dtype))
        assert sigmoid(1.0, out=out) is out
        np.testing.assert_allclose(cupy.asnumpy(out), np.full(5, sigmoid(1.0)), rtol=1e-6)
        assert actufunc.prelu(-1.0, 2.0, out=out[::2]).shape == (3,)
        assert cupy.asnumpy(out)[0] == -2
    result = sigmoid(1.0, out=None, where=cupy.asarray([True, False]))
    np.testing.assert_allclose(cupy.asnumpy(result), [sigmoid(1.0), 0])


def test_many_arrays_and_odd_names(cupy: Library) -> None:
    names = [f"a{number}" for number in range(30)]
    space: dict[str, Any] = {}
    exec(f"def total(x, {', '.join(names)}): return x + {' + '.join(names)}", space)  # noqa: S102
    total = activation(space["total"])
    values = np.arange(10.0)
    for view in (np.s_[:], np.s_[::-1]):
        given = dict.fromkeys(names, cupy.asarray(values))
        np.testing.assert_allclose(cupy.asnumpy(total(cupy.asarray(values)[view], **given)), 30 * values + values[view])

    @activation
    def two(x: Expression, é: float = 0.5, xe9: float = 2.0) -> Expression:  # noqa: PLC2401
        return x * é + xe9

    for given in ({}, {"é": 3.0}, {"xe9": 1.0, "é": 0.25}):
        np.testing.assert_allclose(cupy.asnumpy(two(cupy.asarray(values), **given)), two(values, **given))


def test_threads_compile_at_once(cupy: Library) -> None:
    @activation
    def fresh(x: Expression, gain: float = 0.3) -> Expression:
        return gain * sigmoid(x) + axis_sum(x)

    values = np.random.default_rng(0).normal(size=(4, 50))
    x = cupy.asarray(values)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda gain: cupy.asnumpy(fresh(x, gain)), [0.3, 0.5] * 8))
    for result, gain in zip(results, [0.3, 0.5] * 8, strict=True):
        np.testing.assert_allclose(result, fresh(values, gain), rtol=1e-13, atol=1e-14)


def test_a_trained_hyperparameter_takes_no_memory(cupy: Library) -> None:
    x = cupy.asarray(np.zeros(5))
    for beta in np.linspace(0.1, 2, 200):
        silu(x, float(beta))
    known = silu._plans
    assert 1 < len(known) <= 64
    before = len(known)
    silu(x[::2], float(beta))  # what misses the short path, but is known, drops nothing
    assert len(known) == before


def test_values_of_hyperparameters_compile_nothing(cupy: Library) -> None:
    @activation
    def floor_at(x: Expression, least: int = 0) -> Expression:
        return maximum(x, least)

    @activation
    def gain(x: Expression, alpha: int = 2) -> Expression:
        return x * alpha

    integers = cupy.asarray(np.arange(5))
    for alpha in (1, 2, 3):  # by 1 it keeps integers, and needs another kernel
        result = gain(integers, alpha)
        assert result.dtype == gain(np.arange(5), alpha).dtype
        np.testing.assert_array_equal(cupy.asnumpy(result), np.arange(5) * alpha)
    floor_at(integers, 1)
    x = cupy.asarray(np.linspace(-3, 3, 50))
    silu(x, 0.5)
    with mock.patch.object(cupy.module, "ElementwiseKernel", side_effect=AssertionError("compiled again")):
        for beta in (0.25, 1.5, np.float64(3), 2):
            np.testing.assert_allclose(cupy.asnumpy(silu(x, beta)), silu(cupy.asnumpy(x), beta), rtol=1e-14)
        for least in (2, 3, np.int64(4)):
            assert cupy.asnumpy(floor_at(integers, least)).min() == least


def test_second_call_looks_at_little(cupy: Library) -> None:
    """The same results from the short path as from the long one, whatever the second array and output are."""
    values = np.linspace(-3, 3, 60)
    x = cupy.asarray(values)
    for function, keywords in ((sigmoid, {}), (silu, {"beta": 0.5})):
        function._plans.clear()
        function(x, **keywords)
        assert len(function._plans) == 1
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


@pytest.mark.parametrize("case", representatives(ELEMENTWISE), ids=repr)
def test_elementwise_functions(case: Case, cupy: Library) -> None:
    """Of every kind: the text of all has tests of its own, and on a GPU benchmarks/gpu.py measures all."""
    values = np.concatenate([np.linspace(-30, 30, 500), [-np.inf, np.inf, np.nan, -0.0, 0.0]])
    g = np.linspace(0.5, 1, values.size)
    for dtype, largest in ((np.float16, 0.57), (np.float64, 4.5)):  # the others differ in types only
        x, cotangent = values.astype(dtype), g.astype(dtype)
        beside = np.where(np.abs(values) < 4, 1, 0)  # next to roots of derivatives, beside the terms that cancel
        with np.errstate(invalid="ignore"):
            triples = [
                (case(cupy.make(x)), case(x.astype(float)), 0),
                (case.grad(cupy.make(x)), case.grad(x.astype(float)), beside),
                (
                    case.vjp(cupy.make(x), cupy.make(cotangent)),
                    case.vjp(x.astype(float), cotangent.astype(float)),
                    beside,
                ),
            ]
        for result, exact, scale in triples:
            assert result.dtype == dtype
            got, finite = cupy.asnumpy(result), np.isfinite(exact)
            np.testing.assert_array_equal(got[~finite].astype(float), exact[~finite])
            assert relative_error(got[finite], exact[finite], np.maximum(np.abs(exact), scale)[finite]) <= largest


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


@pytest.mark.needs_gpu
@pytest.mark.needs_library("cupy")
def test_stream_of_the_caller() -> None:
    """Work is queued where CuPy's own is: recorded into a graph of the stream that is current."""
    xp = load("cupy").module
    x = xp.linspace(-3, 3, 1000)
    sigmoid(x), softmax(x)  # compiled
    xp.cuda.Device().synchronize()
    stream = xp.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        y = sigmoid(x)
        z = softmax(y)
        graph = stream.end_capture()
        graph.launch()
    stream.synchronize()
    np.testing.assert_allclose(z.get(), softmax(sigmoid(x.get())), rtol=1e-14)
