"""A cluster of two processes, from store to store; benchmarks/dask_cluster.py tries arrays larger than memory."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import dask.array as da
import numpy as np
import pytest

from actufunc import activation, logsumexp, sigmoid, softmax, sparsemax
from actufunc.formula import axis_max, axis_sum, exp

if TYPE_CHECKING:
    from collections.abc import Iterator

distributed = pytest.importorskip("distributed")
zarr = pytest.importorskip("zarr")
pytestmark = pytest.mark.needs_library("distributed", "zarr")

ROWS, COLUMNS, BLOCK = 320, 2000, 20
with mock.patch.object(sys, "path", [str(Path(__file__).parents[2] / "benchmarks"), *sys.path]):
    FUNCTIONS = importlib.import_module("dask_cluster").FUNCTIONS


@activation
def own(x: Any) -> Any:
    """Travels to the workers as a formula."""
    y = exp(x - axis_max(x))
    return y / axis_sum(y * y)


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Start two processes of one thread."""
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def test_from_store_to_store(client: Any, tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(ROWS, COLUMNS)).astype("float32") * 4
    store = zarr.create_array(tmp_path / "x", shape=values.shape, chunks=(BLOCK, COLUMNS), dtype="float32")
    store[:] = values
    x = da.from_zarr(str(tmp_path / "x"))
    for number, (name, function) in enumerate(FUNCTIONS.items()):
        result, expected = function(x), function(values)
        assert result.shape == expected.shape
        result = result.rechunk((BLOCK, COLUMNS)[-result.ndim :])  # two blocks must not write to one of the store
        into = zarr.create_array(
            tmp_path / str(number), shape=result.shape, chunks=result.chunksize, dtype=result.dtype
        )
        future = client.compute(da.store(result, into, lock=False, compute=False))
        distributed.progress(future, notebook=False)
        future.result()
        np.testing.assert_allclose(into[:], expected, rtol=1e-6, atol=1e-6, err_msg=name)


def test_small(client: Any) -> None:
    values = np.random.default_rng(0).normal(size=(40, 30))
    x = da.from_array(values, chunks=(7, 4))
    for function in (sigmoid, sigmoid.grad, softmax, logsumexp, own):
        np.testing.assert_allclose(client.compute(function(x)).result(), function(values), rtol=1e-14)
    assert client.compute(x).result().shape == values.shape
    with pytest.raises(ValueError, match=r"x.rechunk\(\{1: -1\}\)"):
        sparsemax(x)
