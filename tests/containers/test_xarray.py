"""xarray: dimensions by name, whatever their order and labels."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import pytest

from actufunc import activation, glu, logsumexp, sigmoid, softmax

xr = pytest.importorskip("xarray")
pytestmark = pytest.mark.needs_library("xarray")

A = np.random.default_rng(0).normal(size=(2, 3, 4))
X = xr.DataArray(
    A,
    dims=("x", "y", "z"),
    coords={"x": [1, 2], "y": list("abc"), "z": range(4), "place": (("x", "y"), np.ones((2, 3)))},
    attrs={"by": "me"},
    name="n",
)
G = np.random.default_rng(1).normal(size=(2, 3, 4))


@activation
def tempered(x: Any, temperature: float = 1.0) -> Any:
    return softmax(x / temperature)


def same(result: Any, expected: Any, *dims: str) -> None:
    assert isinstance(result, xr.DataArray)
    np.testing.assert_allclose(result.values, expected, rtol=1e-13, atol=1e-15)
    assert result.dims == (dims or X.dims)


@pytest.mark.parametrize(
    ("axis", "place"),
    [("x", 0), ("y", 1), ("z", 2), (1, 1), (-3, 0), (("x", "z"), (0, 2)), ((0, "y"), (0, 1)), (None, None)],
    ids=repr,
)
def test_names_and_places(axis: Any, place: Any) -> None:
    same(softmax(X, axis), softmax(A, place))
    total = logsumexp(X, axis=axis)
    left = [d for i, d in enumerate(X.dims) if place is not None and i not in np.ravel(place)]
    np.testing.assert_allclose(total.values, logsumexp(A, axis=place))
    assert total.dims == tuple(left)
    same(logsumexp.vjp(X, total, axis=axis), logsumexp.vjp(A, logsumexp(A, axis=place), axis=place))


def test_labels_and_attributes() -> None:
    same(softmax(X), softmax(A))
    for result in (softmax(X, "x"), softmax.vjp(X, X, "x")):
        xr.testing.assert_identical(result.coords.to_dataset(), X.coords.to_dataset())
        assert result.name == "n"
    assert softmax(X, "x").attrs == X.attrs
    with xr.set_options(keep_attrs=False):
        assert softmax(X, "x").attrs == {}
    assert set(logsumexp(X, "x").coords) == {"y", "z"}
    assert set(glu(X, "x").coords) == {"y", "z"}  # of two halves no label is left


def test_gated_units() -> None:
    same(glu(X, "z"), glu(A))
    same(glu(X, "x"), glu(A, 0))
    same(glu.vjp(X, glu(X, "x"), "x"), glu.vjp(A, glu(A, 0), 0))
    with pytest.raises(ValueError, match="odd length 3"):
        glu(X, "y")


def test_dimensions_in_another_order() -> None:
    g = xr.DataArray(G, dims=X.dims, coords=X.coords).transpose("z", "x", "y")
    same(softmax.vjp(X, g, "y"), softmax.vjp(A, G, 1))
    same(softmax.vjp(X, g.isel(y=0, drop=True), "x"), softmax.vjp(A, G[:, :1], 0))
    mask = xr.DataArray([[True, False, True]] * 2, dims=("x", "y"))
    for axis, place in (("y", 1), ("z", 2)):
        same(softmax(X, axis, where=mask), softmax(A, place, where=mask.values[:, :, None]))
    same(tempered(X, xr.DataArray([1.0, 2.0], dims="x"), axis="y"), tempered(A, np.array([[[1.0]], [[2.0]]]), axis=1))
    same(tempered(X, xr.DataArray([1.0, 2.0], dims="x"), axis="x"), tempered(A, np.array([[[1.0]], [[2.0]]]), axis=0))


@pytest.mark.parametrize(("axis", "place"), [("x", 0), ("y", 1), ("z", 2)])
def test_arrays_without_names_stand_where_numpy_has_them(axis: str, place: int) -> None:
    """Also where lengths are equal, so that nothing would tell."""
    square = xr.DataArray(A[:, :2, :2], dims=X.dims)
    a, g = square.values, G[:, :2, :2]
    mask = np.array([[True, False], [True, True]])
    same(softmax.vjp(square, g, axis), softmax.vjp(a, g, place))
    same(softmax.vjp(square, g[0].tolist(), axis), softmax.vjp(a, g[0], place))
    same(softmax.vjp(square, g[:, :1], axis), softmax.vjp(a, g[:, :1], place))
    same(softmax(square, axis, where=mask), softmax(a, place, where=mask))
    same(tempered(square, np.exp(g), axis=axis), tempered(a, np.exp(g), axis=place))
    same(logsumexp.vjp(square, g[0], axis=axis), logsumexp.vjp(a, g[0], axis=place))
    with pytest.raises(ValueError, match="cannot broadcast g of shape"):
        softmax.vjp(square, np.ones((1, 1, 2, 2)), axis)


def test_datasets() -> None:
    data = xr.Dataset({"a": X, "b": X.isel(x=0, drop=True)}, attrs={"k": 1})
    for axis in (-1, None, (0, "y")):
        with pytest.raises(TypeError, match="takes axis= as the name of a dimension for a Dataset"):
            softmax(data, axis)
    with pytest.raises(TypeError, match="takes axis= as the name"):
        softmax(data)
    result = softmax(data, "y")
    same(result["a"], softmax(A, 1))
    same(result["b"], softmax(A[0], 0), "y", "z")
    assert result.attrs == data.attrs
    same(softmax.vjp(data, data, "y")["a"], softmax.vjp(A, A, 1))
    same(logsumexp(data, "z")["b"], logsumexp(A[0]), "y")
    with pytest.raises(ValueError, match=r"got axis='x' for an array with the dimensions \('y', 'z'\)"):
        softmax(data, "x")


def test_what_is_refused() -> None:
    for axis in ("q", 5, ("x", "q")):
        with pytest.raises(ValueError, match=r"softmax got axis=.* for an array with the dimensions \('x', 'y', 'z'\)"):
            softmax(X, axis)
    with pytest.raises(ValueError, match="got an axis twice"):
        softmax(X, ("x", 0))
    for other in (X.isel(y=[0, 1]), X.isel(y=[1, 0, 2]), X.isel(x=[1])):
        with pytest.raises(ValueError, match="not equal"):
            softmax.vjp(X, other, "y")
    with pytest.raises(TypeError, match="takes no keepdims= with xarray"):
        logsumexp(X, axis="y", keepdims=True)
    with pytest.raises(TypeError, match="takes no out= with DataArray"):
        softmax(X, out=A.copy())
    with pytest.raises(TypeError, match="beside ndarray for x"):
        softmax.vjp(A, X)
    with pytest.raises(TypeError, match="where= as an array, not as DataArray"):
        sigmoid(X, out=None, where=X > 0)
    with pytest.raises(TypeError, match="takes axis as an integer"):
        softmax(A, "x")


def test_arrays_within() -> None:
    lazy = softmax(X.copy(data=da.from_array(A, chunks=1)), "y")
    assert isinstance(lazy.data, da.Array)
    same(lazy, softmax(A, 1))
    assert softmax(X.astype("float32"), "y").dtype == softmax(X, "y", dtype="float32").dtype == np.float32


@pytest.mark.needs_library("pint")
def test_units_within() -> None:
    import pint

    quantity = pint.UnitRegistry().Quantity
    for function in (sigmoid, softmax):
        result = function(X.copy(data=quantity(A, "")))
        np.testing.assert_allclose(result.data.magnitude, function(A))
        with pytest.raises(TypeError, match="Cannot convert from 'meter'"):
            function(X.copy(data=quantity(A, "m")))
