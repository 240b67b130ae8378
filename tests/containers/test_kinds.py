"""Every kind of container in the table: each function over an axis follows it, or is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from cases import ELEMENTWISE, GATED, OVER_AXIS, REDUCING, Case

from actufunc import _containers as containers
from actufunc import sigmoid, softmax
from actufunc._containers import SUPPORTED

if TYPE_CHECKING:
    from collections.abc import Callable

X = np.random.default_rng(0).normal(size=(4, 6))
CASES = {containers.KEPT: OVER_AXIS, containers.REDUCED: REDUCING, containers.GATED: GATED}


def _pandas_series() -> tuple[Any, Any]:
    return pd.Series, X[0]


def _pandas_frame() -> tuple[Any, Any]:
    return pd.DataFrame, X


def _polars_series() -> tuple[Any, Any]:
    polars = pytest.importorskip("polars")
    return polars.Series, X[0]


def _polars_expression() -> tuple[Any, Any]:
    polars = pytest.importorskip("polars")
    return (lambda values: polars.lit(polars.Series(values))), X[0]


def _xarray(name: str) -> Callable[[], tuple[Any, Any]]:
    def make() -> tuple[Any, Any]:
        xarray = pytest.importorskip("xarray")

        def of(values: Any) -> Any:
            if np.ndim(values) == 0:
                return values
            dims = ("row", "column")[: np.ndim(values)]
            return (
                xarray.Dataset({"a": (dims, values)})
                if name == "Dataset"
                else getattr(xarray, name)(*((values, None, dims) if name == "DataArray" else (dims, values)))
            )

        return of, X

    return make


def _pint() -> tuple[Any, Any]:
    registry = pytest.importorskip("pint").UnitRegistry()
    return (lambda values: registry.Quantity(100 * values, "percent")), X


def _astropy() -> tuple[Any, Any]:
    units = pytest.importorskip("astropy.units")
    return (lambda values: units.Quantity(100 * values, "percent")), X


MAKERS = {
    ("pandas", "Series"): _pandas_series,
    ("pandas", "DataFrame"): _pandas_frame,
    ("polars", "Series"): _polars_series,
    ("polars", "Expr"): _polars_expression,
    ("xarray", "DataArray"): _xarray("DataArray"),
    ("xarray", "Variable"): _xarray("Variable"),
    ("xarray", "Dataset"): _xarray("Dataset"),
    ("pint", "Quantity"): _pint,
    ("astropy", "Quantity"): _astropy,
}
each_kind = pytest.mark.parametrize("kind", SUPPORTED, ids=".".join)


def values_of(result: Any) -> Any:
    """Return the numbers in a container."""
    for attribute in ("magnitude", "value"):
        result = getattr(result, attribute, result)
    if type(result).__name__ == "Expr":
        result = __import__("polars").select(result).to_series()
    if type(result).__name__ == "Dataset":
        result = result["a"]
    return np.asarray(result)


def test_every_kind_is_tested() -> None:
    assert MAKERS.keys() == SUPPORTED.keys()


def axis_of(kind: tuple[str, str]) -> Any:
    return "column" if kind[1] == "Dataset" else -1


@each_kind
@pytest.mark.parametrize("case", [*OVER_AXIS, *REDUCING, *GATED], ids=repr)
def test_over_an_axis(kind: tuple[str, str], case: Case) -> None:
    make, x = MAKERS[kind]()
    of_case = next(of_case for of_case, cases in CASES.items() if case in cases)
    expected, axis = case(x), axis_of(kind)
    if of_case not in SUPPORTED[kind].kinds:
        with pytest.raises(TypeError, match=r"changes shapes, which .* cannot follow; pass"):
            case(make(x), axis=axis)
        return
    result = case(make(x), axis=axis)
    np.testing.assert_allclose(values_of(result), expected, rtol=1e-13)
    if np.ndim(expected):
        assert type(result) is type(make(x))
    if of_case == containers.KEPT or (kind[1] != "Series" and kind[1] != "Expr"):  # which the gradient of a sum is not
        g = np.random.default_rng(1).normal(size=np.shape(expected))
        product = case.vjp(make(x), make(g), axis=axis)
        np.testing.assert_allclose(values_of(product), case.vjp(x, g), rtol=1e-12, atol=1e-13)
        assert type(product) is type(make(x))


@each_kind
@pytest.mark.needs_library("jax", "torch")
def test_beside_arrays_that_carry_gradients(kind: tuple[str, str]) -> None:
    """A container would convert them."""
    import jax
    import torch

    make, x = MAKERS[kind]()
    for g in (jax.numpy.ones(x.shape), torch.ones(x.shape)):
        for operands in ((make(x), g), (g, make(x))):
            for function in (sigmoid, softmax):
                with pytest.raises(TypeError, match="convert them to one library first"):
                    function.vjp(*operands)


@each_kind
@pytest.mark.parametrize("case", ELEMENTWISE, ids=repr)
def test_elementwise(kind: tuple[str, str], case: Case) -> None:
    make, x = MAKERS[kind]()
    for function in (case, case.grad):
        result = function(make(x))
        np.testing.assert_allclose(values_of(result), function(x), rtol=1e-12, atol=1e-14)
        assert type(result) is type(make(x))
