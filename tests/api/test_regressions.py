"""Errors that were found once, and must not come back."""

from __future__ import annotations

import copy
import decimal
import gc
import pickle
import typing
import weakref
from typing import Any

import array_api_strict as strict
import dask.array as da
import numpy as np
import pandas as pd
import pytest

from actufunc import (
    Activation,
    activation,
    array_namespace,
    gelu,
    leaky_relu,
    log_softmax,
    logsumexp,
    prelu,
    relu,
    sigmoid,
    silu,
    softmax,
    tanh,
)
from actufunc.backends.numpy.jit import kernels
from actufunc.formula import absolute, axis_sum, exp, log, maximum, where

X = np.array([1.0, 2.0, 3.0])


def test_where_leaves_excluded_elements_as_they_are() -> None:
    wide = np.array([0.1, 1e300, 12345678901234.0])
    before = wide.copy()
    sigmoid(np.ones(3, "float32"), out=wide, where=np.array([False, False, True]))
    np.testing.assert_array_equal(wide[:2], before[:2])
    for dtype in ("int64", "float64"):
        out = np.array([300, 300]).astype(dtype)
        relu(np.array([1, 2], "int8"), out=out, where=np.array([True, False]))
        np.testing.assert_array_equal(out, [1, 300])


def test_any_name_of_a_hyperparameter() -> None:
    names = ("t0", "t1", "log1p", "c", "n", "float32", "out_", "ß")
    scope: dict[str, Any] = {"tanh": tanh, "exp": exp, "axis_sum": axis_sum}
    arguments = ", ".join(f"{name}=1.0" for name in names)
    weights = " + ".join(f"{i} * {name}" for i, name in enumerate(names, 1))
    body = f"def f(x, {arguments}): return tanh(exp(x)) * ({weights})"
    exec(f"{body}\ndef h(x, {arguments}): return x * ({weights}) / axis_sum(x)", scope)  # noqa: S102
    f, h = activation(scope["f"]), activation(scope["h"])
    numbers = dict(zip(names, (2.0, 3.0, 5.0, 7.0, 11.0, 13.0, 17.0, 19.0), strict=True))
    total = sum(i * value for i, value in enumerate(numbers.values(), 1))
    by_keyword, by_position = f(np.zeros(2), **numbers), f(np.zeros(2), *numbers.values())
    np.testing.assert_allclose([by_keyword, by_position], np.full((2, 2), np.tanh(1) * total))
    arrays = {name: value * np.array([1.0, 2.0, 3.0]) for name, value in numbers.items()}
    np.testing.assert_allclose(f(np.zeros(3), **arrays), np.tanh(1) * total * np.array([1, 2, 3]))
    np.testing.assert_allclose(h(X, **arrays), X * total * [1, 2, 3] / 6)


def test_vjp_without_a_custom_one() -> None:
    share = activation(lambda x: x / axis_sum(absolute(x)))
    with pytest.raises(AttributeError, match="cotangent"):
        _ = share.vjp
    for twice in (softmax.vjp, sigmoid.vjp):
        with pytest.raises(AttributeError, match="linear in g"):
            _ = twice.vjp


def test_where_over_axis_leaves_cotangents_out() -> None:
    mask = np.array([True, False, True])
    for function in (softmax, log_softmax):
        for left_out in (7.0, np.nan):
            g = np.array([1.0, left_out, 2.0])
            got = function.vjp(X, g, where=mask)
            np.testing.assert_allclose(got[mask], function.vjp(X[mask], g[mask]), rtol=1e-14)
            assert got[1] == 0
    share = activation(lambda x: x / axis_sum(absolute(x)))
    with pytest.raises(TypeError, match="takes no where="):
        share(X, where=mask)


def test_softmax_of_a_data_frame_and_of_masked_arrays() -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    np.testing.assert_allclose(softmax(frame).to_numpy(), softmax(frame.to_numpy()))
    np.testing.assert_allclose(softmax(frame, axis=0).to_numpy(), softmax(frame.to_numpy(), axis=0))
    for x in (np.ma.MaskedArray(X, [0, 0, 1]), np.ma.MaskedArray([X, X], [[0, 0, 1]] * 2)):
        got = softmax(x)
        np.testing.assert_array_equal(got.mask, x.mask)
        np.testing.assert_allclose(got.compressed().reshape(-1, 2)[0], softmax(X[:2]))


def test_results_do_not_depend_on_earlier_calls() -> None:
    wide = np.ones((40, 40))
    softmax(wide, axis=1)
    with pytest.raises(TypeError, match="axis"):
        softmax(wide, axis=1.0)
    softmax(wide)
    read_only = np.zeros((40, 40))
    read_only.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        softmax(wide, out=read_only)
    integers = np.array([1, 2])
    sigmoid(integers)
    with pytest.raises(TypeError, match=r"^sigmoid cannot cast its result"):
        sigmoid(integers, out=np.zeros(2, "int64"))


def test_redefined_activations_have_other_names_in_dask() -> None:
    d = da.ones(4, chunks=2)
    results = []
    for factor in (2, 3):

        @activation
        def f(x: Any, factor: float = factor) -> Any:
            return x * factor

        results.append(f(d))
    assert results[0].name != results[1].name
    alpha = da.from_array(np.arange(4.0), chunks=((3, 1),))
    np.testing.assert_array_equal(prelu(-d, alpha).compute(scheduler="sync"), -np.arange(4.0))
    rows = da.ones((3, 4), chunks=(2, 2))
    np.testing.assert_array_equal(prelu(-rows, alpha).compute(scheduler="sync")[0], -np.arange(4.0))
    np.testing.assert_array_equal(prelu(-1.0, alpha).compute(scheduler="sync"), -np.arange(4.0))
    with pytest.raises(TypeError, match="got list for x"):
        prelu([1.0] * 4, alpha)


def test_decimal_context_of_the_caller() -> None:
    expected = gelu.grad(1.5, approximate="tanh")
    with decimal.localcontext(prec=4, traps=[decimal.Inexact]):
        fresh = activation(lambda x: x * (decimal.Decimal("0.1234567890123456789") * exp(x)))
        assert gelu.definition.differentiable(approximate="tanh") is not None
        np.testing.assert_allclose(fresh(0.5), 0.5 * 0.12345678901234568 * np.exp(0.5), rtol=1e-15)
        assert gelu.grad(1.5, approximate="tanh") == expected


def test_infinite_sums() -> None:
    with np.errstate(over="ignore"):
        log_sum = activation(lambda x: log(axis_sum(exp(x))))
        np.testing.assert_array_equal(log_sum(np.array([1000.0, 1.0])), [np.inf, np.inf])
    assert log_softmax.vjp(X[:2], np.array([np.inf, 0.0]))[1] == -np.inf


def test_integers_do_not_wrap_around() -> None:
    square = activation(lambda x: x * x)
    assert square(np.array([100], "int8")).tolist() == [10000.0]
    assert leaky_relu(np.array([-100], "int8"), 100).tolist() == [-10000.0]


def test_nothing_keeps_an_input_alive() -> None:
    for function in (softmax, sigmoid):
        x = np.ones((50, 60))
        gone = weakref.ref(x)
        function(x)
        function(x, out=np.empty_like(x))
        del x
        gc.collect()
        assert gone() is None


def test_many_temperatures() -> None:
    soft = activation(lambda x, t=1.0: exp(x / t) / axis_sum(exp(x / t)))
    for t in np.linspace(0.5, 5, 14):
        np.testing.assert_allclose(soft(X, float(t)), softmax(X / t), rtol=1e-14)
    compiled = [key for key in kernels._axis if key[0] is soft.definition.specialised({}, {"t": 5.0})]
    assert compiled == []


@pytest.mark.parametrize(
    "formula",
    [
        lambda x: where(x, 1, 2),
        lambda x: exp(x > 0),
        lambda x: (x > 0) + (x > 1),
        lambda x: maximum(x > 0, x),
        lambda x: -(x > 0),
        lambda x: where(x > 0, x > 1, x),
        lambda x: where((x > 0) * (x < 1), x, 0),
    ],
)
def test_conditions_are_no_numbers(formula: Any) -> None:
    with pytest.raises(TypeError, match="condition"):
        activation(formula)


def test_numpy_scalars_in_formulas() -> None:
    np.testing.assert_allclose(activation(lambda x: np.sqrt(2) * x + np.float32(1))(X), np.sqrt(2) * X + 1)


def test_minus_zero_is_not_lost() -> None:
    assert not np.signbit(activation(lambda x: x - (-0.0))(np.array([-0.0])))[0]


def test_namespace_copies_and_pickles() -> None:
    xp = array_namespace(X)
    assert copy.copy(xp) is xp
    assert pickle.loads(pickle.dumps(xp)) is xp  # noqa: S301


def test_errors_name_the_argument() -> None:
    for call, words in (
        (lambda: leaky_relu(X, "a"), "for negative_slope"),
        (lambda: leaky_relu(X, None), "for negative_slope"),
        (lambda: gelu(X, approximate=["tanh"]), "approximate="),
        (lambda: gelu(X, approximate=1.0), "approximate="),
    ):
        with pytest.raises(TypeError, match=words):
            call()
    with pytest.raises(ValueError, match="too large"):
        leaky_relu(X, 10**400)


def test_asked_dtype_outside_numpy() -> None:
    with pytest.raises(TypeError, match="real floating dtype only"):
        relu(strict.asarray([1.5, -2.0]), dtype=strict.int64)
    np.testing.assert_array_equal(np.from_dlpack(prelu(-1.0, strict.asarray([2.0, 3.0]))), [-2, -3])
    for name in ("float32", np.float32, np.dtype("float32")):  # as NumPy has it
        assert sigmoid(strict.asarray([1.0]), dtype=name).dtype == strict.float32


def test_reductions_of_masked_arrays_keep_the_mask_with_an_open_output() -> None:
    x = np.ma.masked_array([[1.0, 2.0], [3.0, 4.0]], [[0, 1], [1, 1]])
    for out in ({}, {"out": ...}, {"out": (...,)}):
        assert logsumexp(x, **out).tolist() == [1.0, None]


def test_names_of_parameters_of_methods() -> None:
    """A hyperparameter may be called as a parameter of the functions that methods are made of."""

    @activation
    def scaled(x: Any, function: float = 1.0) -> Any:
        return x * function

    assert "2.0" in scaled.source(function=2.0)
    with pytest.raises(ValueError, match="scaled has no reduce"):
        scaled.reduce([1.0], function=2.0)
    assert Activation.from_config(config=silu.get_config()) is silu
    for name in ("at", "outer", "reduce", "resolve_dtypes", "get_config", "source", "__reduce__"):
        assert typing.get_type_hints(getattr(silu, name))
        assert getattr(silu, name).__name__ in {name, "reduce"}
