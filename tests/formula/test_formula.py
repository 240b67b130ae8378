"""Formulas: what a definition may say, the expression that it becomes, and what is refused."""

from __future__ import annotations

import math
import pickle
import threading
from decimal import Decimal
from typing import Any

import array_api_strict as strict
import numpy as np
import pytest
import scipy.special
from cases import ELEMENTWISE, OVER_AXIS, Case

import actufunc
from actufunc import activation, elu, formula, gelu, relu, sigmoid, silu, softplus
from actufunc.formula.derivative import derivative
from actufunc.formula.expression import Expression, argument, constant

X = np.linspace(-3, 3, 13)


def test_equal_expressions_are_one_object() -> None:
    x = argument("x")
    assert (x + 1) * formula.exp(x) is (x + 1) * formula.exp(x)
    assert constant(0.0) is not constant(-0.0)
    assert constant(1) is not constant(1.0)
    assert pickle.loads(pickle.dumps(formula.exp(x) / 3)) is formula.exp(x) / 3  # noqa: S301


def test_simplifications_change_no_bit() -> None:
    x = argument("x")
    assert x * 1 is x
    assert x / 1 is x
    assert -(-x) is x
    assert x - 0 is x
    # These would: 0*inf is NaN, -0.0 + 0 is 0.0, x - x is NaN at infinity.
    assert x * 0 is not constant(0)
    assert x + 0 is not x
    assert x - x is not constant(0)


def test_a_shared_subexpression_is_computed_once() -> None:
    @activation
    def twice(x: Any) -> Any:
        e = formula.exp(-x * x)
        return e / (1 + e) + e

    text = twice.source("numba", "float64")
    assert text.count("exp(") == 1


@pytest.mark.parametrize("case", [*ELEMENTWISE, *OVER_AXIS], ids=repr)
def test_source_is_what_is_compiled(case: Case) -> None:
    keywords = {k: v for k, v in case.keywords if k in case.function.definition.options}
    for dtype in ("float32", "float64"):
        text = case.function.source("numba", dtype, **keywords)
        compile(text, "text", "exec")
        # What is rounded more than once is computed in float64.
        assert dtype == "float32" or "float32" not in text
        assert dtype == "float64" or "return float32(" in text or "float64" not in text or "store(out" in text
    with pytest.raises(ValueError, match="'numba' or 'cuda'"):
        case.function.source("fortran")
    with pytest.raises(TypeError, match="has no 'speed'"):
        case.function.source("numba", speed=1)


def test_source_with_hyperparameters() -> None:
    assert "float32(0.25)" in actufunc.leaky_relu.source("numba", negative_slope=0.25)
    assert "negative_slope" in actufunc.leaky_relu.source("numba")
    assert "int8(0)" in relu.source("numba", "int8")


def test_own_activation_everywhere() -> None:
    @activation
    def mish(x: Any) -> Any:
        """Mish."""
        return x * formula.tanh(formula.softplus(x))

    @activation
    def scaled(x: Any, temperature: float = 2, shift: float = 0) -> Any:
        """Use an activation, with hyperparameters, inside another."""
        return sigmoid((x + shift) / temperature) - elu(x, alpha=0.5)

    np.testing.assert_allclose(mish(X), X * np.tanh(np.log1p(np.exp(X))), rtol=1e-14)
    expected = 1 / (1 + np.exp(-(X + 1) / 3)) - np.where(X > 0, X, 0.5 * np.expm1(X))
    np.testing.assert_allclose(scaled(X, 3, shift=1), expected, rtol=1e-13, atol=1e-15)
    assert mish.__doc__ == "Mish."
    assert "x*tanh(softplus(x))" in repr(mish)
    h = 1e-6
    np.testing.assert_allclose(mish.grad(X), (mish(X + h) - mish(X - h)) / (2 * h), rtol=1e-8, atol=1e-9)
    by_temperature = (scaled(X, 2 + h) - scaled(X, 2 - h)) / (2 * h)
    np.testing.assert_allclose(scaled.grad(X, wrt="temperature"), by_temperature, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(np.from_dlpack(mish(strict.asarray(X))), mish(X), rtol=1e-13)


def test_any_function_can_be_a_definition() -> None:
    square = activation(lambda x: x * x)
    np.testing.assert_array_equal(square(X), X * X)
    np.testing.assert_array_equal(square.vjp(X, X), 2 * X * X)
    wide = activation(lambda x: formula.axis_sum(x * x))
    np.testing.assert_allclose(wide(X), np.full(X.shape, (X * X).sum()))


def test_options_choose_between_formulas() -> None:
    @activation
    def either(x: Any, smooth: bool = False) -> Any:
        return softplus(x) if smooth else relu(x)

    np.testing.assert_array_equal(either(X), relu(X))
    np.testing.assert_array_equal(either(X, True), softplus(X))
    np.testing.assert_array_equal(either.grad(X, smooth=True), sigmoid(X))
    assert gelu.definition.options == {"approximate": "none"}


def branches(x: Any) -> Any:
    return x if x > 0 else 0


def uses_math(x: Any) -> Any:
    return math.exp(x)


def uses_numpy(x: Any) -> Any:
    return np.exp(x)


def uses_numpy_maximum(x: Any) -> Any:
    return np.maximum(x, 0)


def uses_builtin(x: Any) -> Any:
    return max(x, 0)


def chains(x: Any) -> Any:
    return formula.where(0 < x < 1, x, 0)


def returns_two(x: Any) -> Any:
    return x, x


def returns_nothing(x: Any) -> Any:
    x + 1


def returns_condition(x: Any) -> Any:
    return x > 0


def holds_array(x: Any) -> Any:
    return x * np.ones(3)


def holds_string(x: Any) -> Any:
    return x + "1"


def raises_to_x(x: Any) -> Any:
    return x**x


def no_x(y: Any) -> Any:
    return y


def any_number(x: Any, *others: Any) -> Any:
    return x + others[0]


def reserved(x: Any, out: float = 1) -> Any:
    return x * out


def indexes(x: Any) -> Any:
    return x[0]


def changes_in_place(x: Any) -> Any:
    x[x < 0] = 0
    return x


def loops(x: Any) -> Any:
    return sum(x)


def combines_conditions(x: Any) -> Any:
    return formula.where((x > 0) & (x < 1), x, 0)


def calls_a_method(x: Any) -> Any:
    return x.clip(0, 1)


def takes_the_remainder(x: Any) -> Any:
    return x % 2


def uses_scipy(x: Any) -> Any:
    return scipy.special.expit(x)


def unpacks(x: Any) -> Any:
    a, b = x
    return a * b


def is_tested(x: Any) -> Any:
    return 1 if 0 in x else x


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (branches, "where"),
        (uses_math, r"actufunc\.formula"),
        (uses_numpy, r"actufunc\.formula|supported"),
        (uses_numpy_maximum, r"actufunc\.formula|supported"),
        (uses_builtin, "where"),
        (chains, "where"),
        (returns_two, "one expression"),
        (returns_nothing, "one expression"),
        (returns_condition, "not a condition"),
        (holds_array, "Python numbers|unsupported"),
        (holds_string, "Python numbers"),
        (raises_to_x, "whole power"),
        (no_x, "must be x"),
        (any_number, "one by one"),
        (reserved, "has one already"),
        (indexes, r"where\(condition"),
        (changes_in_place, r"where\(condition"),
        (loops, r"where\(condition"),
        (unpacks, r"where\(condition"),
        (is_tested, r"where\(condition"),
        (combines_conditions, "nest them"),
        (calls_a_method, r"uses \.clip of an argument"),
        (takes_the_remainder, "only the operators"),
        (uses_scipy, r"actufunc\.formula"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_refused_when_defined(function: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        activation(function)


def test_constants_with_more_digits() -> None:
    """A Decimal is rounded to the dtype, and in the argument of an exponential its remainder counts too."""

    @activation
    def third(x: Any) -> Any:
        return x * Decimal("0.333333333333333333333333333333")

    @activation
    def mixed(x: Any) -> Any:
        return formula.exp(x * (Decimal("0.1") + Decimal("0.5")))

    assert third(np.float32(1)) == np.float32(1 / 3)
    np.testing.assert_allclose(mixed(X), np.exp(0.6 * X), rtol=1e-15)
    assert "(float32(0.1)" not in third.source("numba")


def test_arguments_of_exponentials_are_computed_in_extra_precision() -> None:
    """exp(-80.1 * 1.1) would be off by some 40 ulp if its argument were rounded to float32."""

    @activation
    def decay(x: Any, rate: float = 1) -> Any:
        return formula.exp(-rate * x)

    x, rate = np.float32(72.3), np.float32(1.1)
    exact = math.exp(-float(rate) * float(x))
    assert abs(float(decay(x, float(rate))) - exact) <= 1.5 * np.spacing(np.float32(exact))
    assert abs(float(decay(np.array([x]), np.array([rate]))[0]) - exact) <= 1.5 * np.spacing(np.float32(exact))


def test_derivative_of_what_does_not_depend_on_x() -> None:
    assert derivative(constant(3), "x") is constant(0)
    assert derivative(argument("alpha") * 2, "x") is constant(0)

    @activation
    def flat(x: Any) -> Any:
        return formula.where(x > 0, 1, 1)

    assert flat(np.array([1.0, 2.0])).tolist() == [1, 1]
    assert flat.grad(np.array([1.0, 2.0])).tolist() == [0, 0]
    assert np.isnan(flat(np.array([np.nan]))).all()


def test_kinks_take_the_left_hand_derivative() -> None:
    @activation
    def hat(x: Any) -> Any:
        return formula.minimum(formula.maximum(x, 0), 6)

    np.testing.assert_array_equal(hat.grad(np.array([-1.0, 0.0, 3.0, 6.0, 7.0])), [0, 0, 1, 0, 0])
    np.testing.assert_array_equal(relu.grad(np.array([0.0, -0.0])), [0, 0])
    np.testing.assert_array_equal(elu.grad(np.array([0.0]), 2.0), [2])


def test_keywords_of_calls_inside_a_formula() -> None:
    with pytest.raises(TypeError, match="inside a formula sigmoid takes no out"):
        activation(lambda x: sigmoid(x, out=X))


def test_over_axis_has_no_grad() -> None:
    for case in OVER_AXIS:
        with pytest.raises(AttributeError, match="vjp"):
            _ = case.function.grad


def test_threads_trace_one_graph() -> None:
    found: list[Expression] = []

    def trace() -> None:
        found.append(silu.definition.differentiable())

    threads = [threading.Thread(target=trace) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(expression is found[0] for expression in found)
