"""Rows of the table of containers: tables and labelled arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from container_trials import Container, row

_INDEX = ["a", "b", "c", "d"]


@row("pandas Series", "pandas")
def _(pd: Any) -> Container:
    return Container(lambda values: pd.Series(values, _INDEX), shape=(4,))


@row("pandas DataFrame", "pandas")
def _(pd: Any) -> Container:
    return Container(lambda values: pd.DataFrame(values, columns=_INDEX[: values.shape[1]]))


@row("pandas Index", "pandas")
def _(pd: Any) -> Container:
    return Container(pd.Index, shape=(4,))


def _of_dtype(pd: Any, dtype: str) -> Container:
    """Make a Series of a nullable dtype."""

    def make(values: Any) -> Any:
        held = np.round(values) if "int" in dtype.lower() else values
        return pd.Series([None if np.isnan(value) else value for value in held], _INDEX, dtype=dtype)

    return Container(
        make,
        lambda found: found.to_numpy(np.float64, na_value=np.nan),
        make_out=lambda values: pd.Series(values, _INDEX, dtype=dtype.replace("Int", "Float")),
        shape=(4,),
        missing=True,
        kind=lambda found: (type(found), type(found.array).__mro__[1]),
    )


@row("pandas Series, Int64 with NA", "pandas")
def _(pd: Any) -> Container:
    return _of_dtype(pd, "Int64")


@row("pandas Series, Float64 with NA", "pandas")
def _(pd: Any) -> Container:
    return _of_dtype(pd, "Float64")


@row("pandas Series, arrow with null", "pandas", "pyarrow")
def _(pd: Any, _: Any) -> Container:
    return _of_dtype(pd, "double[pyarrow]")


@row("pandas DataFrame, Float64 with NA", "pandas")
def _(pd: Any) -> Container:
    return Container(
        lambda values: pd.DataFrame(values, columns=_INDEX[: values.shape[1]]).convert_dtypes(
            convert_floating=True, convert_integer=False
        ),
        lambda found: found.to_numpy(np.float64, na_value=np.nan),
        missing=True,
        kind=lambda found: (type(found), type(found.iloc[:, 0].dtype)),
    )


@row("pandas groupby.apply", "pandas")
def _(pd: Any) -> Container:
    """Three groups: the rows of the values."""

    def apply(function: Any, x: Any, *others: Any, **keywords: Any) -> Any:
        series = [pd.Series(other, x.index) for other in others]
        return x.groupby(np.repeat(np.arange(3), 4), group_keys=False).apply(
            lambda group: function(group, *(other[group.index] for other in series), **keywords)
        )

    return Container(lambda values: pd.Series(values.reshape(-1)), _by_groups, axes=(-1,), apply=apply)


def _by_groups(column: Any) -> Any:
    """Return a row for each of three groups; or one number, if there are no more."""
    values = np.asarray(column)
    return values if len(values) == 3 else values.reshape(3, -1)  # noqa: PLR2004


@row("polars Series", "polars")
def _(pl: Any) -> Container:
    return Container(pl.Series, lambda found: found.to_numpy(), shape=(4,))


@row("polars Series with null", "polars")
def _(pl: Any) -> Container:
    return Container(
        lambda values: pl.Series(values, nan_to_null=True), lambda found: found.to_numpy(), shape=(4,), missing=True
    )


@row("polars DataFrame", "polars")
def _(pl: Any) -> Container:
    return Container(
        lambda values: pl.DataFrame(values, schema=_INDEX[: values.shape[1]]), lambda found: found.to_numpy()
    )


@row("polars LazyFrame", "polars")
def _(pl: Any) -> Container:
    return Container(
        lambda values: pl.LazyFrame(values, schema=_INDEX[: values.shape[1]]), lambda found: found.collect().to_numpy()
    )


def _evaluated(frame: Any) -> Any:
    """Return a column, or one number, which polars has no other place for."""
    values = frame.to_series().to_numpy()
    return values if len(values) > 1 else values[0]


@row("polars expression", "polars")
def _(pl: Any) -> Container:
    return Container(lambda values: pl.lit(pl.Series(values)), lambda found: _evaluated(pl.select(found)), shape=(4,))


@row("polars expression, .head", "polars")
def _(pl: Any) -> Container:
    """Ask for the first rows only, which must be those of the whole."""

    def read(found: Any) -> Any:
        whole = _evaluated(pl.select(found))
        head = _evaluated(pl.LazyFrame().select(found).head(2).collect())
        return whole if whole.ndim == 0 else np.concatenate([head, whole[len(head) :]])

    return Container(lambda values: pl.lit(pl.Series(values)), read, shape=(4,))


class _Columns:
    """Expressions of a frame whose groups are the rows of the values, evaluated group by group."""

    def __init__(self, pl: Any, context: str) -> None:
        self.pl, self.context = pl, context
        self.columns: dict[str, Any] = {}

    def make(self, values: Any) -> Any:
        name = f"c{len(self.columns)}"
        self.columns[name] = self.pl.Series(values.reshape(-1), nan_to_null=True)
        return self.pl.col(name)

    def read(self, found: Any) -> Any:
        frame = self.pl.DataFrame({"group": np.repeat(np.arange(3), 4), **self.columns})
        if self.context == "over":
            result = frame.select(found.over("group").alias("r"))
        else:
            result = frame.group_by("group", maintain_order=True).agg(found.alias("r")).select("r")
            if result["r"].dtype == self.pl.List:
                result = result.explode("r")
        return _by_groups(result.to_series().to_numpy())


@row("polars group_by().agg", "polars")
def _(pl: Any) -> Container:
    columns = _Columns(pl, "agg")
    return Container(columns.make, columns.read, axes=(-1,))


@row("polars .over, with null", "polars")
def _(pl: Any) -> Container:
    columns = _Columns(pl, "over")
    return Container(columns.make, columns.read, axes=(-1,), missing=True)


@row("pyarrow Array", "pyarrow")
def _(pa: Any) -> Container:
    return Container(pa.array, lambda found: found.to_numpy(zero_copy_only=False), shape=(4,))


@row("pyarrow Array with null", "pyarrow")
def _(pa: Any) -> Container:
    return Container(
        lambda values: pa.array(values, from_pandas=True),
        lambda found: found.to_numpy(zero_copy_only=False),
        shape=(4,),
        missing=True,
    )


@row("pyarrow ChunkedArray", "pyarrow")
def _(pa: Any) -> Container:
    return Container(
        lambda values: pa.chunked_array([values[:2], values[2:]]), lambda found: found.to_numpy(), shape=(4,)
    )


@row("pyarrow Tensor", "pyarrow")
def _(pa: Any) -> Container:
    return Container(pa.Tensor.from_numpy, lambda found: found.to_numpy())


@row("awkward", "awkward")
def _(ak: Any) -> Container:
    return Container(ak.from_numpy, ak.to_numpy)


@row("awkward, ragged", "awkward")
def _(ak: Any) -> Container:
    """Rows end where the values are NaN."""

    def read(found: Any) -> Any:
        if found.ndim == 1:
            return ak.to_numpy(found)
        return ak.to_numpy(ak.fill_none(ak.pad_none(found, 4, clip=True), np.nan))

    return Container(lambda values: ak.Array([[v for v in r if not np.isnan(v)] for r in values]), read, missing=True)


@row("xarray DataArray", "xarray")
def _(xr: Any) -> Container:
    return Container(lambda values: xr.DataArray(values, dims=["x", "y"][: values.ndim]))


@row("xarray Dataset", "xarray")
def _(xr: Any) -> Container:
    """Two variables with the same values, whose dimensions stand in different order."""

    def make(values: Any) -> Any:
        return xr.Dataset({"a": (("x", "y"), values), "b": (("y", "x"), values.T)})

    def read(found: Any) -> Any:
        a, b = found["a"].to_numpy(), found["b"].to_numpy()
        return np.where(a == b.T, a, np.inf) if a.shape == b.T.shape else np.full(a.shape, np.inf)

    return Container(make, read)


@row("larray", "larray")
def _(la: Any) -> Container:
    return Container(
        lambda values: la.Array(values, "x=0..2;y=0..3" if values.ndim > 1 else "x=0..3"), lambda found: found.data
    )


@row("scipp", "scipp")
def _(sc: Any) -> Container:
    return Container(lambda values: sc.array(dims=["x", "y"][: values.ndim], values=values), lambda found: found.values)
