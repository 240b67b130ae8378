"""Floating-point errors: NumPy warns of a call exactly where an element of the result asks for it."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from cases import ELEMENTWISE, GATED, OVER_AXIS, REDUCING, Case, mostly_slow

from actufunc import activation, leaky_relu, log_softmax, relu, relu_squared, sigmoid
from actufunc.accuracy import sample, sample_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from actufunc.formula import Expression

DTYPES = ("float16", "float32", "float64")
KINDS: dict[str, Callable[[Case], Case]] = {
    "value": lambda case: case,
    "grad": lambda case: case.grad,
    "vjp": lambda case: case.vjp,
    "grad.grad": lambda case: case.grad.grad,
}


def raised(function: Callable[..., Any], *arrays: Any, **keywords: Any) -> set[str]:
    """Return the errors that a call raises, as NumPy names them."""
    found: set[str] = set()
    with np.errstate(all="call", call=lambda error, _: found.add(error)):
        function(*arrays, **keywords)
    return found


def asked_for(result: Any, operands: list[Any]) -> dict[str, np.ndarray[Any, Any]]:
    """Return which elements of a result may raise each error."""
    wide = [np.asarray(each, np.float64) for each in operands]
    is_nan, is_infinite = (np.logical_or.reduce([test(each) for each in wide]) for test in (np.isnan, np.isinf))
    pole = np.isinf(result) & ~is_infinite
    return {
        "invalid value": np.isnan(result) & ~is_nan,
        "divide by zero": pole,
        "overflow": pole,
        "underflow": abs(result) <= np.finfo(result.dtype).tiny,
    }


def check(function: Callable[..., Any], *operands: np.ndarray[Any, Any]) -> None:
    """Call with the elements whose result asks for no error of a kind, all of them and in short pieces."""
    with np.errstate(all="ignore"):
        result = np.asarray(function(*operands))
    for error, asking in asked_for(result, list(operands)).items():
        rest = [each[~asking] for each in operands]
        assert not {each for each in raised(function, *rest) if error in each}, error


def extremes(dtype: str) -> np.ndarray[Any, Any]:
    """Return ordinary numbers, and those that nearly overflow or vanish."""
    info = np.finfo(dtype)
    ends = [info.smallest_subnormal, info.tiny, 4 * info.tiny, info.max**-0.5, info.max**0.5, info.max / 4, info.max]
    return np.array([0.3, 7.5, 1e-3, 1e3, *ends], dtype)


@pytest.mark.parametrize("kind", [*list(KINDS)[:3], pytest.param("grad.grad", marks=pytest.mark.slow)])
@pytest.mark.parametrize("case", ELEMENTWISE, ids=repr)
def test_no_error_that_no_result_asks_for(case: Case, kind: str) -> None:
    function = KINDS[kind](case)
    for dtype in DTYPES:
        x = sample(dtype, 1200)
        if kind != "vjp":
            check(function, x)
            continue
        g = np.concatenate([extremes(dtype), np.array([0, -1, np.inf, -np.inf], dtype)])
        pairs = np.array(list(itertools.product(x[::8], g)), dtype)
        check(function, pairs[:, 0].copy(), pairs[:, 1].copy())


@pytest.mark.parametrize("kind", ["value", "grad"])
@pytest.mark.parametrize(
    "case", mostly_slow([case for case in ELEMENTWISE if case.function.definition.hyperparameters]), ids=repr
)
def test_no_such_error_whatever_the_hyperparameter(case: Case, kind: str) -> None:
    options = {key: value for key, value in case.keywords if isinstance(value, str)}
    function = KINDS[kind](Case(case.function, tuple(options.items())))
    count = len(case.function.definition.hyperparameters)
    for dtype in ("float32", "float64"):
        values = extremes(dtype)
        rows = np.array(list(itertools.product(sample(dtype, 400), *[values[:: 2 * count - 1]] * count)), dtype)
        check(function, *(column.copy() for column in rows.T))
        for value in (values[1], values[-1]):  # as a constant of the kernel

            def at(x: Any, value: Any = float(value)) -> Any:
                return function(x, *[value] * count)

            check(at, sample(dtype, 400))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_error_over_an_axis_or_by_gated_units(dtype: str) -> None:
    x = sample_rows(dtype, 64, 8)
    for case in [*OVER_AXIS, *REDUCING]:
        assert not raised(case, x), case
    for case in GATED:
        value, gate = np.split(x, 2, axis=-1)
        with np.errstate(all="ignore"):
            result = case(x)
        rows = ~np.any(list(asked_for(result, [value, gate]).values()), axis=(0, 2))
        assert not raised(case, x[rows]), case


@activation
def _reciprocal(x: Expression) -> Expression:
    return 1 / x


DUE = [
    (relu_squared, (1e200,), "overflow"),
    (_reciprocal, (0.0,), "divide by zero"),
    (relu.vjp, (-1.0, np.inf), "invalid value"),
    (sigmoid, (-740.0,), "underflow"),
    (sigmoid, (-800.0,), "underflow"),
    (leaky_relu, (-1e-307,), "underflow"),
]


@pytest.mark.parametrize(("function", "operands", "error"), DUE)
def test_an_error_that_a_result_asks_for_is_raised_wherever_it_stands(
    function: Callable[..., Any], operands: tuple[float, ...], error: str
) -> None:
    for n in (1, 2, 31, 67):
        for place in range(n):
            arrays = np.ones((len(operands), n))
            arrays[:, place] = operands
            assert raised(function, *arrays) == {error}, (n, place)
    for place in range(3):  # of rows, the kernel computes one after the other
        arrays = np.ones((len(operands), 3, 120))
        arrays[:, place, 6] = operands
        assert raised(function, *arrays[:, :, :100]) == {error}
        assert raised(function, *arrays[:, :, ::2]) == {error}
    out = np.ones(100)
    arrays = [out, *np.ones((len(operands) - 1, 100))]
    for array, value in zip(arrays, operands, strict=True):
        array[7] = value
    assert raised(function, *arrays, out=out) == {error}


def test_half_types_raise_invalid_where_it_is_due() -> None:
    x, g = np.ones(50, "float16"), np.full(50, np.inf, "float16")
    assert raised(relu.vjp, x, g) == set()
    x[20] = -1
    assert raised(relu.vjp, x, g) == {"invalid value"}


def test_warnings_name_what_happened() -> None:
    with pytest.warns(RuntimeWarning, match="overflow"):
        relu_squared(np.array([1e200]))
    with pytest.raises(FloatingPointError, match="invalid"), np.errstate(all="raise"):
        relu.vjp(np.array([-1.0]), np.array([np.inf]))
    assert np.isneginf(log_softmax(np.array([0.0, -np.inf]))[1])
