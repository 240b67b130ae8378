"""Rows of the table of containers: NumPy's arrays and their kin, sequences and numbers, sparse arrays, files."""

from __future__ import annotations

import array
import decimal
import fractions
import tempfile
import uuid
from pathlib import Path
from typing import Any

import numpy as np
from container_trials import Container, row


def _fresh_file(suffix: str) -> Path:
    """Return a path where nothing is, in a folder that goes with the process."""
    return Path(_FOLDER.name) / f"{uuid.uuid4().hex}{suffix}"


_FOLDER = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)


@row("NumPy array", "numpy")
def _(xp: Any) -> Container:
    return Container(xp.array)


@row("NumPy masked array", "numpy")
def _(xp: Any) -> Container:
    return Container(xp.ma.masked_invalid, lambda found: xp.ma.filled(found, np.nan), missing=True)


@row("NumPy matrix", "numpy")
def _(xp: Any) -> Container:
    return Container(xp.asmatrix)


@row("NumPy memmap", "numpy")
def _(xp: Any) -> Container:
    def make(values: Any) -> Any:
        mapped = xp.memmap(_fresh_file(".dat"), values.dtype, "w+", shape=values.shape)
        mapped[...] = values
        return mapped

    return Container(make)


@row("NumPy structured array", "numpy.lib.recfunctions")
def _(recfunctions: Any) -> Container:
    def make(values: Any) -> Any:
        return values.view([(name, values.dtype) for name in "abcd"])[:, 0]

    return Container(make, recfunctions.structured_to_unstructured)


@row("NumPy array of Python objects", "numpy")
def _(xp: Any) -> Container:
    return Container(lambda values: xp.array(values, object))


@row("ml_dtypes bfloat16 array", "ml_dtypes")
def _(ml_dtypes: Any) -> Container:
    return Container(lambda values: values.astype(ml_dtypes.bfloat16), rtol=1e-2, kind=lambda found: found.dtype)


@row("numpy_quaddtype array", "numpy_quaddtype")
def _(quad: Any) -> Container:
    return Container(lambda values: values.astype(quad.QuadPrecDType()))


@row("list", "builtins")
def _(_: Any) -> Container:
    return Container(lambda values: values.tolist())


@row("tuple", "builtins")
def _(_: Any) -> Container:
    return Container(lambda values: tuple(values.tolist()), shape=(4,))


@row("float", "builtins")
def _(_: Any) -> Container:
    return Container(float, shape=())


@row("NumPy scalar", "numpy")
def _(xp: Any) -> Container:
    return Container(xp.float64, shape=())


@row("Fraction", "fractions")
def _(_: Any) -> Container:
    return Container(lambda values: fractions.Fraction(float(values)), float, shape=())


@row("Decimal", "decimal")
def _(_: Any) -> Container:
    return Container(lambda values: decimal.Decimal(float(values)), float, shape=())


@row("dict", "builtins")
def _(_: Any) -> Container:
    return Container(lambda values: dict(enumerate(values.tolist())), lambda found: [*found.values()], shape=(4,))


@row("array.array", "array")
def _(_: Any) -> Container:
    return Container(lambda values: array.array("d", values), shape=(4,))


@row("memoryview", "builtins")
def _(_: Any) -> Container:
    return Container(lambda values: values.copy().data)


@row("pydata sparse", "sparse")
def _(sparse: Any) -> Container:
    return Container(sparse.COO.from_numpy, lambda found: found.todense())


@row("SciPy sparse array", "scipy.sparse")
def _(sparse: Any) -> Container:
    return Container(sparse.csr_array, lambda found: found.toarray())


@row("zarr", "zarr")
def _(zarr: Any) -> Container:
    return Container(lambda values: zarr.array(values, chunks=(2, 2)), lambda found: found[...])


@row("h5py", "h5py")
def _(h5py: Any) -> Container:
    def make(values: Any) -> Any:
        return h5py.File(_fresh_file(".h5"), "w").create_dataset("x", data=values)

    return Container(make)


@row("netCDF4", "netCDF4")
def _(library: Any) -> Container:
    def make(values: Any) -> Any:
        file = library.Dataset(_fresh_file(".nc"), "w")
        names = [file.createDimension(f"d{i}", size).name for i, size in enumerate(values.shape)]
        variable = file.createVariable("x", "f8", names)
        variable[...] = values
        return variable

    return Container(make, lambda found: np.ma.filled(found[...], np.nan))


@row("blosc2", "blosc2")
def _(blosc2: Any) -> Container:
    return Container(blosc2.asarray, lambda found: found[...])


@row("tensorstore", "tensorstore")
def _(ts: Any) -> Container:
    def make(values: Any) -> Any:
        kvstore = {"driver": "memory", "path": f"{uuid.uuid4().hex}/"}
        store = ts.open({"driver": "zarr", "kvstore": kvstore}, create=True, dtype=ts.float64, shape=values.shape)
        opened = store.result()
        opened[...] = values
        return opened

    return Container(make)


@row("boost_histogram", "boost_histogram")
def _(bh: Any) -> Container:
    def make(values: Any) -> Any:
        histogram = bh.Histogram(*(bh.axis.Integer(0, size, underflow=False, overflow=False) for size in values.shape))
        histogram.view()[...] = values
        return histogram

    return Container(make, lambda found: found.values())


@row("numexpr", "numexpr")
def _(numexpr: Any) -> Container:
    return Container(
        lambda values: numexpr.evaluate("values + 0", {"values": values}),
        lambda found: numexpr.evaluate("found + 0", {"found": found}),
    )


@row("einops", "einops")
def _(einops: Any) -> Container:
    return Container(
        lambda values: einops.rearrange(values.T.copy(), "b a -> a b"),
        lambda found: einops.rearrange(found, "... -> ..."),
    )


class Blocks:
    """A container that actufunc has never heard of: it computes ufuncs block by block, without a look at their axes."""

    def __init__(self, blocks: list[Any]) -> None:
        self.blocks = blocks

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **keywords: Any) -> Any:
        if method != "__call__" or "out" in keywords:
            return NotImplemented
        blocks = [given.blocks if isinstance(given, Blocks) else [given] * len(self.blocks) for given in inputs]
        return Blocks([ufunc(*parts, **keywords) for parts in zip(*blocks, strict=True)])


@row("a container that nobody knows", "builtins")
def _(_: Any) -> Container:
    return Container(lambda values: Blocks(np.array_split(values, 2)), lambda found: np.concatenate(found.blocks))
