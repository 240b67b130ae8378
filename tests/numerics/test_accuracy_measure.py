"""The measure of accuracy itself: references, units in the last place, samples."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import mpmath
import numpy as np
import pytest
import scipy.special
from cases import as_float64

from actufunc import activation, gelu, leaky_relu, log_sigmoid, log_softmax, prelu, sigmoid, silu, softmax
from actufunc._formats import FORMATS
from actufunc.accuracy import largest_error, reference, sample, sample_rows, ulp_error
from actufunc.formula import Expression, exp, log

DTYPES = ["float16", "float32", "float64"]


def numbers(*values: Any) -> np.ndarray[Any, Any]:
    """Make an array of mpmath numbers."""
    with mpmath.workprec(300):
        array = np.empty(len(values), dtype=object)
        array[:] = [mpmath.mpf(value) for value in values]
    return array


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_nearest_number_is_at_most_half_an_ulp_away_and_its_neighbours_one_and_a_half(dtype: str) -> None:
    with mpmath.workprec(200):
        exact = numbers(*(mpmath.pi * mpmath.mpf(2) ** k for k in (-30, -16, -10, -1, 0, 1, 10)))
    nearest = np.array([float(e) for e in exact]).astype(dtype)
    assert ulp_error(nearest, exact).max() <= 0.5
    for towards in (np.inf, -np.inf):
        away = ulp_error(np.nextafter(nearest, np.array(towards, dtype)), exact)
        assert np.all((away >= 0.5) & (away <= 1.5))


@pytest.mark.parametrize("dtype", DTYPES)
def test_below_the_normal_range_the_unit_is_the_smallest_subnormal_number(dtype: str) -> None:
    smallest = np.finfo(dtype).smallest_subnormal
    values = np.array([smallest, 0, 3 * smallest, -smallest], dtype)
    assert ulp_error(values, numbers(0, float(smallest), float(smallest), 0)).tolist() == [1, 1, 2, 1]


@pytest.mark.parametrize("dtype", DTYPES)
def test_infinity_is_the_power_of_two_behind_the_largest_number(dtype: str) -> None:
    form = FORMATS[dtype]
    largest = float(np.finfo(dtype).max)
    with mpmath.workprec(300):
        beyond = mpmath.ldexp(1, form.highest + 1)
        exact = numbers(beyond * 1000, beyond, largest, -beyond, mpmath.inf, beyond, mpmath.inf, beyond)
    values = np.array([np.inf, np.inf, np.inf, -np.inf, np.inf, largest, largest, -np.inf], dtype)
    first, last = ulp_error(values, exact)[:7], ulp_error(values, exact)[7]
    assert first.tolist() == [0, 0, 1, 0, 0, 1, math.inf]
    assert last == 2.0 ** (form.precision + 1)


def test_nan_is_right_only_where_it_is_exact() -> None:
    errors = ulp_error(np.array([np.nan, np.nan, 1.0, 0.0]), numbers("nan", 1, "nan", -0.0))
    assert errors.tolist() == [0, math.inf, math.inf, 0]


def test_bfloat16() -> None:
    values = np.array([1.0, 1.0078125, 3e38, np.inf]).astype(ml_dtypes.bfloat16)
    assert ulp_error(values, numbers(1, 1, float(values[2]), 1e39)).tolist() == [0, 1, 0, 0]
    assert largest_error(sigmoid, sample(ml_dtypes.bfloat16, 300)).ulp < 0.51


def test_references_agree_with_independent_formulas() -> None:
    with mpmath.workdps(400):
        for x in (-38.0, -5.5, -1e-9, 0.3, 7.0, 30.0):
            at = np.array([x])
            expected = {
                sigmoid: 1 / (1 + mpmath.exp(-x)),
                log_sigmoid: -mpmath.log(1 + mpmath.exp(-x)),
                silu: x / (1 + mpmath.exp(-x)),
                gelu: x * mpmath.ncdf(x),
            }
            for function, value in expected.items():
                assert abs(reference(function, at)[0] / value - 1) < mpmath.mpf(2) ** -100, (function, x)


def test_the_precision_grows_where_the_formula_cancels() -> None:
    @activation
    def naive(x: Expression) -> Expression:
        return log(1 + exp(-x))

    @activation
    def cancelling(x: Expression) -> Expression:
        return (1 + exp(-x)) - 1

    x = np.array([300.0, 700.0, 740.0])
    expected = np.exp(-x)
    assert reference(naive, x).astype(float) == pytest.approx(expected, rel=1e-15)
    assert reference(cancelling, x).astype(float) == pytest.approx(expected, rel=1e-15)
    special = np.array([1e308, -np.inf, np.inf, np.nan])
    assert as_float64(reference(naive, special)).tolist()[:3] == [0, math.inf, 0]


def test_references_at_special_points() -> None:
    x = np.array([-np.inf, np.inf, np.nan, 0.0, 1e300, -1e300])
    for function, left in ((sigmoid, 0.0), (gelu, 0.0), (silu, 0.0)):
        values = as_float64(reference(function, x))
        assert values[0] == values[5] == left
        assert math.isnan(values[2])
    assert float(reference(gelu, x, approximate="tanh")[0]) == 0


def test_references_over_an_axis() -> None:
    x = np.array([[1.0, 2.0, -3.0], [1000.0, 0.0, 1000.0]])
    assert reference(softmax, x).astype(float) == pytest.approx(scipy.special.softmax(x, axis=-1))
    assert reference(log_softmax, x).astype(float) == pytest.approx(scipy.special.log_softmax(x, axis=-1))


def test_hyperparameters_are_rounded_to_the_dtype() -> None:
    for dtype in ("float32", "float64"):
        exact = reference(leaky_relu, np.array([-1.0], dtype), negative_slope=0.1)[0]
        assert exact == -mpmath.mpf(float(np.dtype(dtype).type(0.1)))


def test_array_arguments_and_vjp() -> None:
    x = sample("float64", 60)
    slopes = np.linspace(0, 1, 60)
    assert largest_error(prelu, x, alpha=slopes).ulp <= 0.5
    assert largest_error(prelu.vjp, x, alpha=0.25, g=np.ones(60)).ulp <= 0.5


def test_wrong_arguments() -> None:
    with pytest.raises(TypeError, match="alpha"):
        reference(prelu, np.zeros(1))
    with pytest.raises(TypeError, match="nix"):
        reference(sigmoid, np.zeros(1), nix=1)


def test_the_precision_of_mpmath_is_left_alone() -> None:
    before = mpmath.mp.prec
    largest_error(sigmoid, sample("float32", 20))
    assert mpmath.mp.prec == before


def test_the_largest_error_is_found_where_it_is() -> None:
    x = np.array([0.5, 1.0, 2.0, 4.0])

    class Off:
        definition = sigmoid.definition

        def __call__(self, x: Any) -> Any:
            y = sigmoid(x)
            y[2] += 8 * np.spacing(y[2])
            return y

    off: Any = Off()
    error = largest_error(off, x)
    assert error.at == 2
    assert 7 < error.ulp < 9


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [0, 1, 30, 3000])
def test_samples(dtype: str, n: int) -> None:
    points = sample(dtype, n)
    assert points.shape == (n,)
    assert points.dtype == dtype
    assert np.array_equal(points, sample(dtype, n), equal_nan=True)
    if n == 3000:
        finite = points[np.isfinite(points)]
        info = np.finfo(dtype)
        exponents = np.frexp(np.abs(finite[finite != 0]))[1]
        # Every exponent of float16 and float32; float64 has more than points allow, and gets some in each twentieth.
        steps = np.linspace(info.minexp, info.maxexp - 1, 20).astype(int) if dtype == "float64" else None
        wanted = range(info.minexp + 1, info.maxexp + 1)
        if steps is None:
            assert set(wanted) <= set(exponents.tolist())
        else:
            assert np.histogram(exponents, steps)[0].min() > 10
        assert (np.abs(finite) <= 20).sum() > n / 2
        assert {0.0, float(info.max), -float(info.max), float(info.smallest_subnormal)} <= set(finite.tolist())
        assert np.isnan(points).any()
        assert np.isinf(points).sum() == 2


def test_rows() -> None:
    rows = sample_rows("float32", 128, 5)
    assert rows.shape == (128, 5)
    assert rows.dtype == np.float32
    assert np.isnan(rows).any()
    assert np.isneginf(rows).any()
