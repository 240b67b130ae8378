"""Quantities with units: dimensionless in, dimensionless out; other units are the library's own error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from actufunc import gelu, glu, leaky_relu, logsumexp, prelu, sigmoid, softmax, swiglu, tanh

X = np.array([-1.0, 2.0, 0.5, 3.0])
MASK = np.array([True, False, True, True])


@pytest.fixture(params=["pint", "astropy"])
def units(request: pytest.FixtureRequest) -> Any:
    """Return how to make a quantity, and how to get its number, and the error for units."""
    if request.param == "pint":
        pint = pytest.importorskip("pint")
        return pint.UnitRegistry().Quantity, lambda q: q.m_as(""), pint.DimensionalityError
    astropy = pytest.importorskip("astropy.units")
    return astropy.Quantity, lambda q: q.to_value(""), astropy.UnitTypeError


CALLS = {
    "sigmoid": lambda q, n: (sigmoid(q(X)), sigmoid(X)),
    "tanh": lambda q, n: (tanh(q(X)), tanh(X)),
    "grad": lambda q, n: (gelu.grad(q(X)), gelu.grad(X)),
    "grad.vjp": lambda q, n: (sigmoid.grad.vjp(q(X), X), sigmoid.grad.vjp(X, X)),
    "option": lambda q, n: (gelu(q(X), approximate="tanh"), gelu(X, approximate="tanh")),
    "scalar": lambda q, n: (leaky_relu(q(X), 0.2), leaky_relu(X, 0.2)),
    "hyperparameter": lambda q, n: (leaky_relu(X, negative_slope=q(0.2)), leaky_relu(X, np.array(0.2))),
    "array": lambda q, n: (prelu(q(X), q(X)), prelu(X, X)),
    "vjp": lambda q, n: (sigmoid.vjp(q(X), X), sigmoid.vjp(X, X)),
    "axis": lambda q, n: (softmax(q(X), axis=0), softmax(X)),
    "where": lambda q, n: (softmax(q(X), where=MASK), softmax(X, where=MASK)),
    "axis vjp": lambda q, n: (softmax.vjp(q(X), q(X)), softmax.vjp(X, X)),
    "reducing": lambda q, n: (logsumexp(q(X)), logsumexp(X)),
    "gated": lambda q, n: (glu(q(X)), glu(X)),
    "halves": lambda q, n: (swiglu(q(X), X), swiglu(X, X)),
}


@pytest.mark.parametrize("call", CALLS)
def test_dimensionless(units: Any, call: str) -> None:
    make, number, error = units
    for unit, scale in (("", 1.0), ("percent", 100.0)):
        result, expected = CALLS[call](lambda x, unit=unit, scale=scale: make(x * scale, unit), number)
        assert isinstance(result, make)
        np.testing.assert_allclose(number(result), expected, rtol=1e-13)
    with pytest.raises(error):
        CALLS[call](lambda x: make(x, "m"), number)


def test_out(units: Any) -> None:
    make, _, error = units
    out = np.full(4, 9.0)
    sigmoid(make(X, ""), out=out)
    np.testing.assert_array_equal(out, sigmoid(X))
    with pytest.raises(error):
        softmax(make(X, "m"), out=out)
    np.testing.assert_array_equal(out, sigmoid(X))


def test_units_in_lists_are_not_stripped(units: Any) -> None:
    make, _, _ = units
    with pytest.raises(TypeError, match="does not support a list with Quantity of"):
        sigmoid([make(1.0, "m"), make(1.0, "km")])


@pytest.mark.needs_library("astropy")
def test_masks_of_astropy() -> None:
    from astropy.units import Quantity
    from astropy.utils.masked import Masked

    for x in (Masked(X, ~MASK), Masked(Quantity(X, ""), ~MASK)):
        assert sigmoid(x).mask.tolist() == (~MASK).tolist()
        with pytest.raises(TypeError, match="is not known to give"):
            softmax(x)


@pytest.mark.needs_library("unyt")
def test_unyt_is_refused() -> None:
    import unyt

    for function in (sigmoid, softmax, glu):
        with pytest.raises(TypeError, match="unyt_array"):
            function(unyt.unyt_array(X, "m"))


@pytest.mark.needs_library("quantities")
def test_units_that_only_wrap_results_are_not_lost() -> None:
    import quantities

    x = quantities.Quantity(X, "m")
    for function in (sigmoid, softmax, logsumexp, glu):
        with pytest.raises(TypeError, match="does not know the unit of Quantity of quantities"):
            function(x)
    with pytest.raises(TypeError, match="does not know the unit of Quantity of quantities"):
        sigmoid(X, out=x)
