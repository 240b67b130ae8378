"""Rows of the table of containers: blocks, graphs and symbols."""

from __future__ import annotations

import atexit
import functools
from typing import Any

import numpy as np
from container_trials import Container, row


@row("dask.array, chunked along all axes", "dask.array")
def _(da: Any) -> Container:
    return Container(lambda values: da.from_array(values, chunks=2), lambda found: found.compute(scheduler="sync"))


@row("dask.dataframe Series", "dask.dataframe", "pandas")
def _(dd: Any, pd: Any) -> Container:
    return Container(
        lambda values: dd.from_pandas(pd.Series(values), npartitions=2),
        lambda found: np.asarray(found.compute(scheduler="sync")),
        shape=(4,),
    )


@row("dask.dataframe", "dask.dataframe", "pandas")
def _(dd: Any, pd: Any) -> Container:
    return Container(
        lambda values: dd.from_pandas(pd.DataFrame(values, columns=[*"abcd"][: values.shape[1]]), npartitions=2),
        lambda found: np.asarray(found.compute(scheduler="sync")),
    )


@functools.cache
def _cluster(distributed: Any) -> Any:
    """Start a cluster of two workers in this process."""
    cluster = distributed.LocalCluster(2, processes=False, threads_per_worker=1, dashboard_address=None)
    client = cluster.get_client()
    atexit.register(cluster.close)
    atexit.register(client.close)
    return client


@row("dask.distributed", "distributed", "dask.array", process="distributed")
def _(distributed: Any, da: Any) -> Container:
    def read(found: Any) -> Any:
        return _cluster(distributed).compute(found).result()

    return Container(lambda values: da.from_array(values, chunks=2), read)


@row("xarray DataArray over dask", "xarray", "dask.array")
def _(xr: Any, da: Any) -> Container:
    return Container(
        lambda values: xr.DataArray(da.from_array(values, chunks=2), dims=["x", "y"][: values.ndim]),
        lambda found: found.to_numpy(),
        kind=lambda found: (type(found), type(found.data)),
    )


@row("cubed", "cubed", process="cubed")
def _(cubed: Any) -> Container:
    return Container(lambda values: cubed.from_array(values, chunks=(2,) * values.ndim), lambda found: found.compute())


@row("ndonnx", "ndonnx")
def _(ndx: Any) -> Container:
    return Container(ndx.asarray, lambda found: found.unwrap_numpy())


@row("array-api-strict", "array_api_strict")
def _(xp: Any) -> Container:
    return Container(xp.asarray)


@row("pytensor", "pytensor.tensor", process="pytensor")
def _(tensor: Any) -> Container:
    return Container(tensor.as_tensor, lambda found: found.eval(mode="FAST_COMPILE"), kind=lambda _: "variable")


@row("scikit-learn FunctionTransformer", "sklearn.preprocessing", "sklearn.pipeline", "numpy")
def _(preprocessing: Any, pipeline: Any, xp: Any) -> Container:
    def apply(function: Any, x: Any, *others: Any, **keywords: Any) -> Any:
        transformer = preprocessing.FunctionTransformer(lambda x: function(x, *others, **keywords))
        return pipeline.make_pipeline(transformer).fit_transform(x)

    return Container(xp.array, apply=apply)
