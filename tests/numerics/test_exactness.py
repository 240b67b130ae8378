"""Results against mpmath: errors in ulp over the whole range, special values, derivatives, ranges."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from cases import ELEMENTWISE, OVER_AXIS, REDUCING, Case, as_float64, mostly_slow
from digests import bits
from scipy import special

from actufunc import log_softmax, logit, logsumexp, softmax, softmin
from actufunc._catalogue import ACTIVATIONS
from actufunc._docstrings import properties
from actufunc.accuracy import largest_error, reference, sample, sample_rows, ulp_error
from actufunc.accuracy.target import NEAR_ROOT, OF_TERMS, Target

every_size = pytest.mark.parametrize("points", [300, pytest.param(1000, marks=pytest.mark.slow)])
# Measured: 0.501 in float32, 0.918 (tanh_shrink) in float64.
LARGEST = {"float32": 0.51, "float64": 1.0}
DTYPES = ("float32", "float64")
WITH_HYPERPARAMETERS = [case for case in ELEMENTWISE if case.function.definition.hyperparameters]


@every_size
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", ELEMENTWISE, ids=repr)
def test_value(case: Case, dtype: str, points: int) -> None:
    error = largest_error(case.function, sample(dtype, points), **dict(case.keywords))
    assert error.ulp <= LARGEST[dtype], error


@every_size
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", [*OVER_AXIS, *REDUCING], ids=repr)
def test_over_axis(case: Case, dtype: str, points: int) -> None:
    # The sum and the quotient add half an ulp each to the error of the exponential.
    for length in (2, 10, 130):
        error = largest_error(case.function, sample_rows(dtype, 2 * points // length, length))
        assert error.ulp <= 2, (length, error)


def test_long_rows_are_summed_exactly() -> None:
    x = np.random.default_rng(0).normal(size=300_000)
    for dtype in DTYPES:
        row = x.astype(dtype)
        shifted = row.astype(np.longdouble) - np.longdouble(row.max())
        total = np.exp(shifted).sum()
        expected = {
            softmax: np.exp(shifted) / total,
            log_softmax: shifted - np.log(total),
            logsumexp: np.log(total) + row.max(),
        }
        for function, values in expected.items():
            got = function(row)
            assert np.all(abs(got - values) <= 2 * np.spacing(abs(got)))


GRADIENT = {"float32": 0.51, "float64": 1.0}


@every_size
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", ELEMENTWISE, ids=repr)
def test_gradient(case: Case, dtype: str, points: int) -> None:
    x = sample(dtype, points)
    if case.function is logit:
        x = np.concatenate([x, np.linspace(0, 1, points // 2, dtype=dtype)])
    with np.errstate(all="ignore"):
        values = case.grad(x)
    exact = reference(case.function.grad, x, **dict(case.keywords))
    has_root = (abs(x) <= NEAR_ROOT) & Target(case.function, gradient=True, keywords=dict(case.keywords)).has_root
    bound = GRADIENT[dtype]
    assert ulp_error(values[~has_root], exact[~has_root]).max() <= bound
    if has_root.any():
        assert ulp_error(values[has_root], exact[has_root], beside=OF_TERMS).max() <= bound


@pytest.mark.parametrize("case", ELEMENTWISE, ids=repr)
def test_gradient_is_the_derivative(case: Case) -> None:
    """By a central difference in mpmath, exact to 1e-9, away from kinks."""
    x = np.linspace(-6.3, 6.7, 41)
    h = 2.0**-16
    keywords = dict(case.keywords)
    difference = (reference(case.function, x + h, **keywords) - reference(case.function, x - h, **keywords)) / (2 * h)
    np.testing.assert_allclose(case.grad(x), as_float64(difference), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("case", ELEMENTWISE, ids=repr)
def test_gradient_by_hyperparameters(case: Case) -> None:
    x = np.linspace(-6.3, 6.7, 41)
    h = 2.0**-16
    definition = case.function.definition
    for name, default in definition.hyperparameters.items():
        keywords = dict(case.keywords)
        at = keywords.get(name, default)
        keywords.pop(name, None)
        above, below = (reference(case.function, x, **keywords, **{name: at + s * h}) for s in (1, -1))
        difference = as_float64((above - below) / (2 * h))
        np.testing.assert_allclose(case.grad(x, wrt=name), difference, rtol=1e-7, atol=1e-9)
    with pytest.raises(ValueError, match="no argument 'temperature'"):
        case.grad(x, wrt="temperature")


@pytest.mark.parametrize("case", ELEMENTWISE, ids=repr)
def test_second_derivative(case: Case) -> None:
    x = np.linspace(-6.3, 6.7, 41)
    h = 2.0**-16
    keywords = dict(case.keywords)
    grad = case.function.grad
    difference = (reference(grad, x + h, **keywords) - reference(grad, x - h, **keywords)) / (2 * h)
    np.testing.assert_allclose(case.grad.grad(x), as_float64(difference), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", ["squareplus", "mish", "softplus", "sigmoid", "tanh", "gaussian"])
def test_second_derivative_in_the_tails(name: str) -> None:
    second = ACTIVATIONS[name].grad.grad
    x = np.concatenate([np.linspace(7, 25, 10), -np.linspace(7, 25, 10), [1e4, -1e4] if name == "squareplus" else []])
    exact = reference(second, x).astype("float64")
    np.testing.assert_allclose(second(x), exact, rtol=1e-13, atol=0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("gradient", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["value", "grad"])
@pytest.mark.parametrize("case", WITH_HYPERPARAMETERS, ids=repr)
def test_other_hyperparameters(case: Case, gradient: bool, dtype: str) -> None:
    """Over all binades, subnormal results included, and where the tails are that a hyperparameter stretches.

    Each is an array, so that one kernel serves all of its values.
    """
    function = case.function.grad if gradient else case.function
    exponential = np.log(float(np.finfo(dtype).max)) * np.linspace(-1.1, 1.1, 40)
    for name in case.function.definition.hyperparameters:
        for value in (1e-3, 0.0137, 0.3, 7.5, 100.0, 1e3):
            stretched = np.concatenate([exponential * value, exponential / value]).astype(dtype)
            x = np.concatenate([sample(dtype, 60), stretched])
            if Target(case.function, gradient=gradient, keywords=dict(case.keywords)).has_root:
                x = x[~(abs(x) <= NEAR_ROOT / value)]
            keywords = {**dict(case.keywords), name: np.full(x.shape, value, dtype)}
            error = largest_error(function, x, **keywords)
            assert error.ulp <= 1.6, (name, value, error)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", mostly_slow(WITH_HYPERPARAMETERS), ids=repr)
def test_numbers_and_arrays_as_hyperparameters_give_the_same_bits(case: Case, dtype: str) -> None:
    """Although numbers are compiled in."""
    x = sample(dtype, 300)
    for function in (case.function, case.function.grad):
        for name, value in case.function.definition.hyperparameters.items():
            number = {**dict(case.keywords), name: value if isinstance(value, int | float) else 0.25}
            array = {**number, name: np.full(x.shape, number[name], dtype)}
            with np.errstate(all="ignore"):
                np.testing.assert_array_equal(bits(function(x, **number)), bits(function(x, **array)))


@pytest.mark.parametrize("case", ELEMENTWISE, ids=repr)
def test_vjp_is_gradient_times_cotangent(case: Case) -> None:
    random = np.random.default_rng(0)
    x, g = random.normal(size=(2, 50)) * 4
    np.testing.assert_allclose(case.vjp(x, g), g * case.grad(x), rtol=1e-15)


@pytest.mark.parametrize("case", OVER_AXIS, ids=repr)
def test_vjp_over_axis(case: Case) -> None:
    """Against the Jacobian by differences of the exact values."""
    random = np.random.default_rng(0)
    x, g = random.normal(size=(2, 5))
    h = 2.0**-16
    jacobian = np.empty((5, 5))
    for j, step in enumerate(np.eye(5) * h):
        jacobian[j] = ((reference(case.function, x + step) - reference(case.function, x - step)) / (2 * h)).astype(
            float
        )
    for dtype, tolerance in (("float64", 1e-9), ("float32", 1e-6)):
        got = case.vjp(x.astype(dtype), g.astype(dtype))
        np.testing.assert_allclose(got, jacobian @ g, rtol=tolerance, atol=tolerance)
    for axis in (0, 1, (0, 1)):
        wide = random.normal(size=(2, 4, 40))
        y, cotangent = wide
        moved = case.vjp(np.moveaxis(y, 0, -1), np.moveaxis(cotangent, 0, -1), axis={0: 1, 1: 0}.get(axis, (0, 1)))
        np.testing.assert_allclose(case.vjp(y, cotangent, axis=axis), np.moveaxis(moved, -1, 0), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("dtype", ["float16", *DTYPES])
@pytest.mark.parametrize("case", ELEMENTWISE, ids=repr)
def test_special_values(case: Case, dtype: str) -> None:
    documented = properties(case.function, **dict(case.keywords)).values
    assert {str(x) for x, _ in documented} >= {"-inf", "-0.0", "0.0", "inf", "nan"}
    for x, expected in documented:
        # Alone, and in the vectorised body of a loop.
        for n in (1, 100):
            got = case(np.full(n, x, dtype))
            np.testing.assert_array_equal(got, np.full(n, expected, dtype))
            np.testing.assert_array_equal(np.signbit(got[~np.isnan(got)]), np.signbit(expected))


@pytest.mark.parametrize("case", [*ELEMENTWISE, *(case.grad for case in ELEMENTWISE)], ids=repr)
def test_nan_in_nan_out(case: Case) -> None:
    for dtype in ("float16", *DTYPES):
        assert np.isnan(case(np.array([np.nan, -np.nan] * 20, dtype))).all()


@pytest.mark.parametrize("case", OVER_AXIS, ids=repr)
def test_special_rows(case: Case) -> None:
    inf, nan = np.inf, np.nan
    least = -inf if case.function is log_softmax else 0.0
    up = -1 if case.function is softmin else 1  # where the large shares are
    for dtype in DTYPES:
        np.testing.assert_array_equal(case(up * np.array([-inf, -inf], dtype)), [nan, nan])
        np.testing.assert_array_equal(case(up * np.array([inf, 1.0], dtype)), [nan, nan])
        for sign in (1, -1):
            np.testing.assert_array_equal(case(np.array([sign * nan, 1.0, 2.0], dtype)), [nan] * 3)
        alone = [least, case(np.zeros(1))[0], least]
        np.testing.assert_array_equal(case(up * np.array([-inf, 1.0, -inf], dtype)), alone)
        assert case(up * np.array([1000.0, 0.0], dtype))[0] == alone[1]
        # Masked elements take no part; a row of nothing else gets what a masked element gets.
        x, mask = np.array([[5.0, 1.0, nan], [1.0, 2.0, 3.0]], dtype), np.array([[1, 1, 0], [0, 0, 0]], bool)
        expected = np.array([[*case(x[0, :2]), least], [least] * 3])
        np.testing.assert_array_equal(case(x, where=mask), expected)


def test_same_bits_wherever_an_element_stands() -> None:
    random = np.random.default_rng(0)
    for case in ELEMENTWISE:
        for dtype in DTYPES:
            x = (random.normal(size=67) * 10).astype(dtype)
            whole = case(x)
            for i in range(x.size):
                np.testing.assert_array_equal([case(x[i:])[0], case(x[: i + 1])[-1]], whole[i])


# Independent of the formulas: the functions as textbooks define them, and the ranges they keep.
EDGES = {"sigmoid": (0, 1), "tanh": (-1, 1), "relu": (0, np.inf), "softplus": (0, np.inf), "log_sigmoid": (-np.inf, 0)}


@pytest.mark.parametrize("dtype", DTYPES)
def test_ranges_and_monotonicity(dtype: str) -> None:
    x = np.sort(np.concatenate([sample(dtype, 4000), np.linspace(-30, 30, 30_001).astype(dtype)]))
    x = x[~np.isnan(x)]
    for case in ELEMENTWISE:
        if case.function.__name__ in EDGES:
            with np.errstate(all="ignore"):
                y = case(x)
            least, largest = EDGES[case.function.__name__]
            assert (y >= least).all()
            assert (y <= largest).all()


def test_against_scipy_and_mpmath() -> None:
    """The meaning of each name, by other people's code."""
    x = np.linspace(-12, 12, 97)
    others: dict[str, Any] = {
        "sigmoid": special.expit,
        "log_sigmoid": special.log_expit,
        "tanh": np.tanh,
        "softplus": lambda x: np.logaddexp(0, x),
        "relu": lambda x: np.maximum(x, 0),
        "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
        "prelu": lambda x: np.where(x > 0, x, 0.25 * x),
        "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
        "silu": lambda x: x * special.expit(x),
        "gelu": lambda x: x * special.ndtr(x),
        "gelu(approximate=tanh)": lambda x: x * special.expit(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)),
        "softmax": special.softmax,
        "log_softmax": special.log_softmax,
    }
    checked = 0
    for case in [*ELEMENTWISE, *OVER_AXIS]:
        other = others.get(repr(case), others.get(case.function.__name__))
        if other is not None:
            np.testing.assert_allclose(case(x), other(x), rtol=1e-12, atol=1e-300)
            checked += 1
    assert checked >= len(others)
