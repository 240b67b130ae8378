"""dask arrays: lazy, block by block, and over a chunked axis by a tree that joins the results of the blocks."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import dask
import dask.array as da
import ml_dtypes
import numpy as np
import pytest
from array_libraries import load
from cases import ELEMENTWISE, GATED, OVER_AXIS, REDUCING, SORTING, Case, representatives
from dask import callbacks

from actufunc import activation, glu, prelu, softmax
from actufunc.accuracy import beside, reference, ulp_error
from actufunc.backends.dask import tree
from actufunc.formula import absolute, axis_max, axis_sum, exp, sqrt, where

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Numbers = np.ndarray[Any, Any]


BLOCKWISE = [case for case in [*ELEMENTWISE, *OVER_AXIS, *REDUCING] if case not in SORTING]
JOINED = [case for case in BLOCKWISE if case not in ELEMENTWISE]
WITH_HYPERPARAMETERS = [case for case in ELEMENTWISE if case.function.definition.hyperparameters]
DTYPES = ("float64", "float32", "float16", ml_dtypes.bfloat16)
GENERIC = np.array([[-2.3, -0.7, 0.4], [1.9, 0.1, -1.1]])  # no kink, no tie
X = np.random.default_rng(0).normal(size=(7, 8, 3)) * 3
joined = pytest.mark.parametrize("case", JOINED, ids=repr)


@pytest.fixture(autouse=True)
def _poles() -> Iterator[None]:
    """Let NumPy say nothing of the infinities and the NaN of logit."""
    with np.errstate(all="ignore"):
        yield


def _refuse(*_: Any, **__: Any) -> Any:
    pytest.fail("computed, although nobody asked for the values")


def cotangent(case: Case, values: Numbers, **keywords: Any) -> Numbers:
    """Return a cotangent of a function's result for these values."""
    result = np.asarray(case(values, **keywords))
    return np.random.default_rng(1).normal(size=result.shape).astype(result.dtype)


def check(result: Any, expected: Numbers, ulps: float = 4, beside: float = 0.0) -> None:
    """Compare with what NumPy's arrays give: the same up to a few units in the last place, and the same dtype."""
    assert result.dtype == result._meta.dtype == expected.dtype
    assert result.shape == expected.shape
    computed = np.asarray(result.compute(scheduler="sync"))
    assert computed.dtype == expected.dtype
    assert computed.shape == expected.shape
    if expected.dtype.kind == "i":
        np.testing.assert_array_equal(computed, expected)
        return
    a, b = (np.asarray(each, np.float64) for each in (computed, expected))
    info = ml_dtypes.finfo(expected.dtype)
    with np.errstate(all="ignore"):
        allowed = ulps * (float(info.eps) * np.maximum(abs(b), beside) + float(info.smallest_subnormal))
        same = (a == b) | (np.isnan(a) & np.isnan(b)) | (abs(a - b) <= allowed)
    assert same.all(), (a[~same][:4], b[~same][:4])


# Graphs.


@pytest.mark.parametrize(
    ("case", "dtype"),
    [
        *((case, "float32") for case in BLOCKWISE),
        *itertools.product(representatives(BLOCKWISE), ("float16", "float64", "int64")),
    ],
    ids=str,
)
def test_is_lazy(case: Case, dtype: str) -> None:
    values = (np.random.default_rng(0).normal(size=(7, 8)) * 4).astype(dtype)
    x = da.from_array(values, chunks=(3, 4))
    functions: list[tuple[Callable[..., Any], int]] = [(case, 1), (case.vjp, 2)]
    if case in ELEMENTWISE:
        functions.append((case.grad, 1))
    for function, number in functions:
        arrays = (x, x)[:number]
        expected = function(*(values, values)[:number]) if case not in REDUCING or number == 1 else None
        if expected is None:
            arrays = x, x[:, 0]
            expected = function(values, values[:, 0])
        with dask.config.set(scheduler=_refuse):
            result = function(*arrays)
            assert isinstance(result, da.Array)
            assert isinstance(result._meta, np.ndarray)
            assert result.chunks == x.chunks[: result.ndim]
        check(result, expected, ulps=0 if case in ELEMENTWISE else 4, beside=1)


def test_schedulers() -> None:
    x = da.from_array(GENERIC, chunks=(1, 2))
    chosen = [case for case in BLOCKWISE if case not in REDUCING]
    results = [case(x) for case in chosen] + [case.vjp(x, x) for case in chosen]
    expected = [case(GENERIC) for case in chosen] + [case.vjp(GENERIC, GENERIC) for case in chosen]
    for keywords in ({"scheduler": "threads"}, {"scheduler": "processes", "num_workers": 1}):
        for result, values in zip(dask.compute(*results, **keywords), expected, strict=True):
            np.testing.assert_allclose(result, values, rtol=1e-15, atol=1e-15)
    for kept, values in zip(dask.persist(*results), expected, strict=True):
        assert isinstance(kept, da.Array)
        np.testing.assert_allclose(kept, values, rtol=1e-15, atol=1e-15)


def test_names() -> None:
    """The same call has the same name in the graph, another has another."""
    x = da.from_array(GENERIC, chunks=2)
    for axis in (0, 1):
        assert len({case(x, **({} if case in ELEMENTWISE else {"axis": axis})).name for case in BLOCKWISE * 2}) == len(
            BLOCKWISE
        )
    for case in [*JOINED, *SORTING]:
        for chunks in (-1, 2) if case in JOINED else (-1,):
            given = x.rechunk(chunks)
            masks = True, GENERIC > 0, GENERIC > -1
            assert len({case(given, where=mask).name for mask in masks for _ in range(2)}) == len(masks)
    for case in JOINED:
        assert case(x).dask.keys() == case(x).dask.keys()
        assert len({case(x, axis=axis).name for axis in (0, 1, None)}) == 3
    for case in WITH_HYPERPARAMETERS:
        for name in case.function.definition.hyperparameters:
            names = {case.function(x, **{**dict(case.keywords), name: value}).name for value in (0.5, 0.75)}
            assert len(names) == 2


def largest_block(result: Any) -> int:
    """Return the elements of the largest array that a task gives, none of which is fused with another."""
    sizes: list[int] = []

    def measure(_key: Any, value: Any, *_: Any) -> None:
        sizes.extend(np.size(each) for each in (value if isinstance(value, tuple) else (value,)))

    with callbacks.Callback(posttask=measure):
        dask.compute(*result.to_delayed(optimize_graph=False).ravel(), scheduler="sync", optimize_graph=False)
    return max(sizes)


@pytest.mark.parametrize("case", [*JOINED, *GATED], ids=repr)
def test_no_block_is_larger_than_a_chunk(case: Case) -> None:
    """Over one axis and several; the halves of gated units lie on other chunk boundaries."""
    values = np.random.default_rng(0).normal(size=(60, 140))
    chunks = (40, 20), (30, 50, 40, 20)
    for axis in (0, 1, *([] if case in GATED else [None])):
        g = cotangent(case, values, axis=axis)
        x = da.block(_blocks(values, chunks))
        of_g = da.from_array(g, chunks=17)
        for result in case(x, axis=axis), case.vjp(x, of_g, axis=axis):
            assert largest_block(result) <= 40 * 50
        check(case(x, axis=axis), case(values, axis=axis), beside=1)
        check(case.vjp(x, of_g, axis=axis), case.vjp(values, g, axis=axis), ulps=8, beside=1)


@pytest.mark.parametrize("case", GATED, ids=repr)
def test_gated_units_take_whole_blocks(case: Case) -> None:
    """Where a block holds both halves nothing is cut off, which would keep it in memory twice."""
    values = np.random.default_rng(0).normal(size=(7, 8)).astype("float32")
    x = da.from_array(values, chunks=(3, 8))
    g = cotangent(case, values)
    for result, expected in (
        (case(x), case(values)),
        (case.vjp(x, da.from_array(g, chunks=(3, 4))), case.vjp(values, g)),
        (case.vjp(x, 2.0), case.vjp(values, 2.0)),
        (case(x.astype(int)), case(values.astype(int))),
        (case(x, dtype="float64"), case(values, dtype="float64")),
    ):
        check(result, expected, ulps=0)
        assert not any(name.startswith("getitem") for name in result.dask.layers)
    for chunk, axis in (((3, 8), 1), (3, 0), (3, 1)):
        g = cotangent(case, values[:6], axis=axis)
        x = da.from_array(values[:6], chunks=chunk)
        check(case(x, axis=axis), case(values[:6], axis=axis), ulps=0)
        check(case.vjp(x, da.from_array(g, chunks=2), axis=axis), case.vjp(values[:6], g, axis=axis), ulps=0)


# Values over a chunked axis.


@joined
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: np.dtype(dtype).name)
def test_values(case: Case, dtype: Any) -> None:
    """Over any axes, with masks, and what is derived."""
    values, mask = X.astype(dtype), X > -1
    x, taken = da.from_array(values, chunks=(3, 2, 1)), da.from_array(mask, chunks=(2, 8, 3))
    for axis in (1, (0, 1), None) if dtype == "float64" else (1,):
        g = cotangent(case, values, axis=axis)
        of_g = da.from_array(g, chunks=2)
        check(case(x, axis=axis), case(values, axis=axis))
        check(case(x, axis=axis, where=taken), case(values, axis=axis, where=mask))
        check(case.vjp(x, of_g, axis=axis), case.vjp(values, g, axis=axis), beside=1)
        check(case.vjp(x, of_g, axis=axis, where=taken), case.vjp(values, g, axis=axis, where=mask), beside=1)


@joined
def test_pieces(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of large blocks, which are small here."""
    monkeypatch.setattr(tree, "_PIECE", 8)
    x, mask = da.from_array(X, chunks=(7, 4, 3)), X > -1
    for axis in (1, (0, 1), None):
        g = cotangent(case, X, axis=axis)
        check(case(x, axis=axis), case(X, axis=axis))
        check(case(x, axis=axis, where=mask), case(X, axis=axis, where=mask))
        check(case.vjp(x, da.from_array(g), axis=axis), case.vjp(X, g, axis=axis), beside=1)


@joined
def test_keywords(case: Case) -> None:
    x = da.from_array(X, chunks=(3, 2, 1))
    check(case(x, axis=1, dtype="float32"), case(X, axis=1, dtype="float32"))
    check(case(x.astype(int), axis=1), case(X.astype(int), axis=1))
    if case in REDUCING:
        check(case(x, axis=(0, 1), keepdims=True), case(X, axis=(0, 1), keepdims=True))
        check(case.vjp(x, 2.0, axis=1), case.vjp(X, 2.0, axis=1))
        of_g = np.ones((1, 1, 3))
        result = case.vjp(x, of_g, axis=(0, 1), keepdims=True)
        check(result, case.vjp(X, of_g, axis=(0, 1), keepdims=True))


SPECIAL = [-np.inf, np.inf, np.nan, 0.0, -0.0, 700.0, -700.0, 1000.0, -1000.0, 1e308, -1e308, 5e-324]


@joined
def test_special_values(case: Case) -> None:
    """Whole blocks of -inf, and rows, and what is infinite or NaN in any block; without a warning, as ever."""
    values = np.array(list(itertools.product([-np.inf], [-np.inf], SPECIAL, SPECIAL, SPECIAL)))
    values = np.concatenate([values, -values])
    for chunk in (1, 2, 3):
        x = da.from_array(values, chunks=(-1, chunk))
        with np.errstate(all="warn", under="ignore"):
            check(case(x), case(values))
            for number in (1.5, 0.0, np.inf, np.nan):
                g = np.full_like(np.asarray(case(values)), 1.5)
                g[..., -1] = number
                check(case.vjp(x, da.from_array(g, chunks=-1)), case.vjp(values, g))


@joined
def test_error(case: Case) -> None:
    """Within the bound of `actufunc.backends.dask.stages`."""
    generator = np.random.default_rng(1)
    rows = [generator.normal(size=96), np.cumsum(generator.random(96)), -np.cumsum(generator.random(96) / 8)]
    values = np.stack([*rows, generator.normal(size=96) * 100, np.sort(generator.normal(size=96) * 8)])
    exact = reference(case.function, values)
    for chunk, levels in ((3, 3), (48, 1)):
        result = np.asarray(case(da.from_array(values, chunks=(-1, chunk))).compute(scheduler="sync"))
        assert ulp_error(result, exact, beside=beside(case.function)).max() <= 3.4 + 2.2 * levels
    single = values.astype("float32")
    result = np.asarray(case(da.from_array(single, chunks=(-1, 8))).compute(scheduler="sync"))
    assert ulp_error(result, reference(case.function, single), beside=beside(case.function)).max() <= 0.51


@joined
def test_chunks_of_any_size(case: Case) -> None:
    """None, and those that dask does not know yet."""
    values = X.ravel()
    check(case(da.from_array(values, chunks=((0, 5, 0, 100, 63),))), case(values))
    x = da.from_array(values, chunks=50)
    result = case(x[x > 0])
    np.testing.assert_allclose(result.compute(scheduler="sync"), case(values[values > 0]), rtol=1e-15)


@pytest.mark.parametrize("case", SORTING, ids=repr)
def test_what_sorts_wants_one_block(case: Case) -> None:
    x = da.from_array(X, chunks=(3, 2, 1))
    for function, arrays in ((case, (x,)), (case.vjp, (x, x))):
        with pytest.raises(ValueError, match=r"bring what it sorts into one block first, by x.rechunk\(\{1: -1\}\)"):
            function(*arrays, axis=1)
    check(case(x.rechunk({1: -1}), axis=1), case(X, axis=1), ulps=0)


@joined
def test_masked_arrays_want_one_block(case: Case) -> None:
    mask = X > 0
    x = da.ma.masked_array(da.from_array(X, chunks=(3, 8, 3)), mask=da.from_array(mask, chunks=(3, 8, 3)))
    given, expected = case(x, axis=1).compute(), case(np.ma.masked_array(X, mask), axis=1)
    np.testing.assert_array_equal(np.ma.getmaskarray(given), np.ma.getmaskarray(expected))
    chunked = x.rechunk((3, 2, 1))
    with pytest.raises(TypeError, match=r"give it where=~dask.array.ma.getmaskarray\(x\)"):
        case(chunked, axis=1)
    data, taken = da.ma.getdata(chunked), ~da.ma.getmaskarray(chunked)
    check(case(data, axis=1, where=taken), np.asarray(case(X, axis=1, where=~mask)))
    with pytest.raises(TypeError, match="masked arrays"):  # where dask does not know
        case(chunked.map_blocks(lambda block: block, meta=np.empty(())), axis=1).compute(scheduler="sync")


# Formulas of users.


@activation
def _tempered(x: Any, temperature: float = 2.0) -> Any:
    """Divides what the maximum was subtracted from: each reduction takes a pass."""
    unnormalised = exp((x - axis_max(x)) / temperature)
    return unnormalised / axis_sum(unnormalised)


@activation
def _of_length_one(x: Any) -> Any:
    unnormalised = exp(x - axis_max(x))
    return unnormalised / sqrt(axis_sum(unnormalised * unnormalised))


@activation
def _weighted(x: Any) -> Any:
    largest = axis_max(x)
    unnormalised = exp(x - largest)
    return unnormalised / axis_sum(where(x - largest < -1, unnormalised, 2 * unnormalised))


@activation
def _norm(x: Any, eps: float = 1e-5) -> Any:
    count = axis_sum(where(absolute(x) < math.inf, 1, 0))
    below = x - axis_sum(x) / count
    return below / sqrt(axis_sum(below * below) / count + eps)


@activation
def _largest_share(x: Any) -> Any:
    is_largest = where(x - axis_max(x) == 0, 1, 0)
    return is_largest / axis_sum(is_largest)


@activation
def _spread(x: Any) -> Any:
    return axis_max(x) + axis_max(-x)


@activation
def _second_moment(x: Any) -> Any:
    return axis_sum(x * x)


@pytest.mark.parametrize(
    "function",
    [_tempered, _of_length_one, _weighted, _norm, _largest_share, _spread, _second_moment],
    ids=lambda function: function.__name__,
)
@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
def test_own_formulas(function: Any, dtype: str) -> None:
    values = X.astype(dtype)
    x = da.from_array(values, chunks=(3, 2, 1))
    for axis in (1, (0, 1)) if dtype == "float64" else (1,):
        check(function(x, axis=axis), function(values, axis=axis), ulps=8, beside=1)
    for name in function.definition.hyperparameters:
        expected = function(values, **{name: 0.3}, axis=1)  # the number is rounded to the dtype
        check(function(x, **{name: 0.3}, axis=1), expected, ulps=8, beside=1)
        if dtype == "float32":
            continue
        each = np.random.default_rng(0).random((8, 3)) + 0.5
        expected = function(X, **{name: each}, axis=1)
        check(function(x, **{name: da.from_array(each, chunks=3)}, axis=1), expected, ulps=8, beside=1)


def test_reads_of_the_array() -> None:
    """Softmax and its variants read the array twice, what reduces reads it once."""
    x = da.from_array(X, chunks=(3, 2, 1))
    for case in JOINED:
        graph = case(x, axis=1).dask
        reading = [name for name, layer in graph.layers.items() if x.name in graph.dependencies[name]]
        assert len(reading) == (1 if case in REDUCING else 2)


def _blocks(values: Numbers, chunks: tuple[tuple[int, ...], ...]) -> list[list[Any]]:
    """Return the blocks of an array as arrays of dask's, none of which is cut from a larger one in the graph."""
    rows, columns = (np.cumsum((0, *sizes)) for sizes in chunks)
    return [
        [
            da.from_delayed(dask.delayed(np.array(values[a:b, c:d])), (b - a, d - c), values.dtype)
            for c, d in itertools.pairwise(columns)
        ]
        for a, b in itertools.pairwise(rows)
    ]


@joined
def test_blocks_of_jax(case: Case) -> None:
    """A part of a function is not taken for the function, which JAX has."""
    x = da.from_array(X, chunks=(3, 2, 3)).map_blocks(load("jax").module.asarray, meta=np.empty((0, 0, 0)))
    result = case(x, axis=1).compute()
    np.testing.assert_allclose(np.asarray(result), case(X, axis=1), rtol=1e-14, atol=1e-15)


def test_lengths_that_are_not_known() -> None:
    """Arrays that lie alike need not know how long they are; what has to be halved must."""
    values = np.random.default_rng(0).normal(size=50)
    x = da.from_array(values, chunks=50)
    x, values = x[x > 0], values[values > 0]
    for result, expected in (
        (softmax.vjp(x, x), softmax.vjp(values, values)),
        (softmax(x, where=x > 1), softmax(values, where=values > 1)),
        (prelu(-x, x), prelu(-values, values)),
    ):
        np.testing.assert_array_equal(result.compute(), expected)
    with pytest.raises(ValueError, match=r"of unknown length; use x\.compute_chunk_sizes"):
        glu(x)
