"""pandas, dask.dataframe, awkward, Arrow, narwhals and files: functions over an axis see all values or are refused."""

from __future__ import annotations

import contextlib
import functools
from typing import Any

import numpy as np
import pandas as pd
import pytest

from actufunc import leaky_relu, logsumexp, prelu, sigmoid, softmax, sparsemax

X = np.array([-1.0, 0.0, 2.0])


def missing() -> dict[str, Any]:
    """Return columns of which one element is missing, or stored elsewhere."""
    columns = {
        "Int64": pd.Series([-1, 0, None], dtype="Int64"),
        "Float64": pd.Series([-1.0, 0.0, None], dtype="Float64"),
        "boolean": pd.Series([True, False, None], dtype="boolean"),
        "Sparse": pd.Series(pd.arrays.SparseArray([0.0, 0.0, 2.0])),
    }
    with contextlib.suppress(ImportError):
        columns["pyarrow"] = pd.Series([-1, 0, None], dtype="int64[pyarrow]")
    return columns


@pytest.mark.parametrize("name", missing())
@pytest.mark.parametrize("function", [softmax, sparsemax, logsumexp])
def test_nullable_columns_over_an_axis_are_refused(name: str, function: Any) -> None:
    column = missing()[name]
    with pytest.raises(TypeError, match=rf"{name}.* of pandas over an axis; fill or drop what is missing, then"):
        function(column)
    if function is not logsumexp:
        with pytest.raises(TypeError, match="of pandas over an axis; fill or drop"):
            function(pd.DataFrame({"a": X, "b": column}))
        with pytest.raises(TypeError, match="of pandas over an axis; fill or drop"):
            function.vjp(pd.Series(X), column)
    filled = column.dropna().astype("float64")
    np.testing.assert_allclose(np.asarray(function(filled)), function(filled.to_numpy()))


@pytest.mark.parametrize("name", missing())
def test_nullable_columns_keep_their_kind_elementwise(name: str) -> None:
    column = missing()[name]
    result = sigmoid(column)
    assert result.isna().tolist() == column.isna().tolist()
    known = ~column.isna()
    np.testing.assert_allclose(result[known].astype(float), sigmoid(column[known].astype(float).to_numpy()))


def test_groups_of_pandas() -> None:
    frame = pd.DataFrame({"g": [1, 1, 2], "v": X, "w": -X})
    expected = [*softmax(X[:2]), 1.0]
    np.testing.assert_allclose(frame.groupby("g")["v"].transform(softmax), expected)
    np.testing.assert_allclose(frame.groupby("g").transform(softmax)["v"], expected)
    np.testing.assert_allclose(frame.groupby("g")["v"].agg(logsumexp), [logsumexp(X[:2]), X[2]])
    np.testing.assert_allclose(frame[["v", "w"]].apply(softmax)["w"], softmax(-X))


def test_columns_of_several_dtypes_are_rows_together() -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": np.float32([0.5, 0.25]), "c": [True, False]})
    np.testing.assert_allclose(softmax(frame[["a", "b"]]), softmax(frame[["a", "b"]].to_numpy()))
    out = frame[["a", "b"]].astype(float)
    softmax(frame[["a", "b"]], out=out)
    np.testing.assert_allclose(out, softmax(frame[["a", "b"]].to_numpy()))


def test_labels_that_differ_leave_nothing_to_sum() -> None:
    x = pd.Series(X, index=list("abc"))
    np.testing.assert_allclose(softmax.vjp(x, x[::-1])[x.index], softmax.vjp(X, X))
    assert softmax.vjp(x, pd.Series(X, index=list("abd"))).isna().all()


@pytest.mark.needs_library("dask.dataframe")
def test_partitions_of_dask() -> None:
    import dask.dataframe as dd

    frame = dd.from_pandas(pd.DataFrame({"a": np.arange(6.0), "b": np.arange(6.0)}), npartitions=2)
    for x in (frame, frame.a):
        np.testing.assert_allclose(sigmoid(x).compute(scheduler="sync"), sigmoid(x.compute(scheduler="sync")))
        for function in (softmax, logsumexp):
            with pytest.raises(TypeError, match=r"not known to give; pass x.to_dask_array\(lengths=True\)"):
                function(x)
    np.testing.assert_allclose(softmax(frame.a.to_dask_array(lengths=True)).compute(), softmax(np.arange(6.0)))
    with pytest.raises(TypeError, match="gradients or graph would be lost"):
        sigmoid(__import__("dask").delayed(1.0))


@pytest.mark.needs_library("awkward")
def test_lists_of_awkward() -> None:
    import awkward as ak

    ragged = ak.Array([[1.0, 2.0], [3.0]])
    assert ak.to_list(leaky_relu(ragged, 0.1)) == [[1.0, 2.0], [3.0]]
    assert ak.to_list(sigmoid(ak.Array([0.0, None]))) == [0.5, None]
    for x in (ragged, ak.Array(np.ones((2, 2)))):
        for function in (softmax, logsumexp):
            with pytest.raises(TypeError, match=r"Array of awkward is not known to give; pass x.to_numpy\(\)"):
                function(x)


@pytest.mark.needs_library("pyarrow")
def test_arrays_of_arrow() -> None:
    import pyarrow as pa

    for x in (pa.array(X), pa.array([1, 2, 3]), pa.chunked_array([[1.0], [2.0, 3.0]]), pa.table({"a": X, "b": -X})):
        for function in (sigmoid, softmax, logsumexp):
            np.testing.assert_array_equal(function(x), function(np.asarray(x)))
    holes = (pa.array([1.0, None]), pa.array([1, None]), pa.chunked_array([[1.0], [None]]), pa.table({"a": [1, None]}))
    for x in holes:
        partial = functools.partial
        for call in (sigmoid, softmax, partial(prelu, X[:2]), partial(softmax.vjp, X[:2])):
            with pytest.raises(TypeError, match=r"does not support the nulls in \w+ of pyarrow for \w+; fill or drop"):
                call(x)
    with pytest.raises(TypeError, match=r"does not support DoubleScalar of pyarrow for x; pass x.as_py\(\)"):
        sigmoid(pa.scalar(1.0))


@pytest.mark.needs_library("h5py", "zarr")
def test_files(tmp_path: Any) -> None:
    import h5py
    import zarr

    values = np.random.default_rng(0).normal(size=(4, 6))
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for x in (file.create_dataset("x", data=values), zarr.array(values)):
            np.testing.assert_array_equal(sigmoid(x), sigmoid(values))
            np.testing.assert_array_equal(softmax(x, axis=0), softmax(values, axis=0))
            np.testing.assert_array_equal(softmax.vjp(values, x), softmax.vjp(values, values))
            with pytest.raises(TypeError, match="to a NumPy array only, not to"):
                sigmoid(values, out=x)


@pytest.mark.needs_library("narwhals", "polars")
def test_frames_of_narwhals() -> None:
    import narwhals
    import polars as pl

    frame = narwhals.from_native(pd.DataFrame({"a": X, "b": -X}), eager_only=True)
    np.testing.assert_array_equal(softmax(frame), softmax(frame.to_numpy()))
    holes = narwhals.from_native(pl.DataFrame({"a": [1.0, None]}), eager_only=True)
    for x in (holes, holes["a"]):
        with pytest.raises(TypeError, match=r"does not support the nulls in \w+ of narwhals for x; fill or drop"):
            sigmoid(x)


@pytest.mark.needs_library("netCDF4")
def test_masks_of_files_stay() -> None:
    import netCDF4

    with netCDF4.Dataset("x.nc", "w", diskless=True) as file:
        file.createDimension("x", 3)
        variable = file.createVariable("v", "f8", ("x",))
        variable[:] = np.ma.masked_array(X, [False, True, False])
        assert sigmoid(variable).mask.tolist() == [False, True, False]
        np.testing.assert_allclose(softmax(variable).compressed(), softmax(X[[0, 2]]))
