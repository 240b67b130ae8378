"""polars: groups, slices, streams and nulls, which show a function over an axis only a part of the values."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pytest

from actufunc import glu, leaky_relu, log_softmax, logsumexp, prelu, sigmoid, softmax

pl = pytest.importorskip("polars")
pytestmark = pytest.mark.needs_library("polars")

V = np.array([0.0, 0.5, 1.0, 1.0, -2.0, 3.0])
FRAME = pl.DataFrame({"g": [1, 1, 2, 2, 2, 1], "v": V, "w": -V, "n": [1.0, None, *V[2:]], "i": [1, 2, None, 4, 5, 6]})
LONG = np.random.default_rng(0).normal(size=500_000)
GROUPS = {group: np.flatnonzero(FRAME["g"].to_numpy() == group) for group in (1, 2)}


def same(result: Any, expected: Any) -> None:
    np.testing.assert_allclose(np.asarray(result), expected, rtol=1e-13)


def test_expressions_of_elementwise_functions() -> None:
    frame = FRAME.select(
        sigmoid(pl.col("v")),
        leaky_relu(pl.col("w"), 0.2),
        prelu(pl.col("v"), pl.col("w")).alias("p"),
        sigmoid(pl.col("n")),
        sigmoid(pl.col("i")),
    )
    same(frame["v"], sigmoid(V))
    same(frame["w"], leaky_relu(-V, 0.2))
    same(frame["p"], prelu(V, -V))
    assert frame["n"].to_list()[1] is frame["i"].to_list()[2] is None
    same(FRAME.select(pl.col("v").map_batches(sigmoid))["v"], sigmoid(V))


def test_groups() -> None:
    frame = FRAME.group_by("g").agg(
        softmax(pl.col("v"), axis=-1),
        logsumexp(pl.col("v")).alias("l"),
        softmax.vjp(pl.col("v"), pl.col("w")).alias("p"),
    )
    for group, values, total, product in frame.iter_rows():
        rows = GROUPS[group]
        same(values, softmax(V[rows]))
        same(total, logsumexp(V[rows]))
        same(product, softmax.vjp(V[rows], -V[rows]))
    over = FRAME.select(softmax(pl.col("v")).over("g"))["v"].to_numpy()
    for rows in GROUPS.values():
        same(over[rows], softmax(V[rows]))


@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
def test_slices_filters_and_streams_see_whole_columns(engine: str) -> None:
    lazy, expected, above = pl.LazyFrame({"v": LONG}), softmax(LONG), LONG > 0
    rows = lazy.select(softmax(pl.col("v")))
    same(rows.collect(engine=engine)["v"], expected)
    same(rows.head(2).collect(engine=engine)["v"], expected[:2])
    same(rows.slice(9, 3).collect(engine=engine)["v"], expected[9:12])
    with_column = lazy.with_columns(s=softmax(pl.col("v")))
    same(with_column.filter(pl.col("v") > 0).collect(engine=engine)["s"], expected[above])
    after = lazy.filter(pl.col("v") > 0).with_columns(s=softmax(pl.col("v")))
    same(after.collect(engine=engine)["s"], softmax(LONG[above]))
    same(lazy.select(sigmoid(pl.col("v"))).collect(engine=engine)["v"], sigmoid(LONG))
    assert lazy.select(logsumexp(pl.col("v"))).collect(engine=engine)["v"].item() == pytest.approx(logsumexp(LONG))


def test_chunks_and_names() -> None:
    series = pl.concat([FRAME["v"], FRAME["v"]], rechunk=False)
    result = log_softmax(series)
    assert result.name == "v"
    same(result, log_softmax(series.to_numpy()))


@pytest.mark.parametrize("function", [softmax, logsumexp])
def test_nulls_over_an_axis_are_refused(function: Any) -> None:
    for column in ("n", "i"):
        with pytest.raises(TypeError, match=r"does not support nulls of polars over an axis; .fill_null\(\) or"):
            function(FRAME[column])
        with pytest.raises(Exception, match="does not support nulls of polars over an axis"):
            FRAME.select(function(pl.col(column)))
    with pytest.raises(TypeError, match="nulls of polars over an axis"):
        softmax.vjp(FRAME["v"], FRAME["n"])
    with pytest.raises(TypeError, match="the nulls in DataFrame of polars"):
        function(FRAME)
    same(FRAME.select(softmax(pl.col("n").drop_nulls()))["n"], softmax(FRAME["n"].drop_nulls().to_numpy()))


@pytest.mark.parametrize(
    "values",
    [[True], [dt.date(2020, 1, 1)], [dt.timedelta(1)], pl.Series(["a"], dtype=pl.Categorical), [[1.0]]],
    ids=repr,
)
def test_types_whose_numbers_mean_something_else(values: Any) -> None:
    for function in (sigmoid, softmax):
        with pytest.raises(TypeError, match=r"of polars; pass it numbers, e.g. by .cast\(polars.Float64\)"):
            function(pl.Series(values))


def test_what_expressions_cannot() -> None:
    with pytest.raises(TypeError, match=r"polars.lit of an array beside expressions"):
        softmax.vjp(pl.col("v"), V)
    with pytest.raises(TypeError, match="takes where= as an array, not as Expr"):
        softmax(pl.col("v"), where=pl.col("v") > 0)
    with pytest.raises(TypeError, match="takes no out= with Series"):
        softmax(FRAME["v"], out=np.zeros(6))
    with pytest.raises(TypeError, match="cannot follow"):
        glu(pl.col("v"))
