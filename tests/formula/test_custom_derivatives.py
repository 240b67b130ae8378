"""Formulas that are computed in one way and differentiated in another: pieces, clamps, custom derivatives."""

from __future__ import annotations

import functools
from typing import Any

import mpmath
import numpy as np
import pytest

from actufunc import activation, celu, formula, mish, relu, sigmoid, silu, softplus, tanh


def own_mish(x: Any) -> Any:
    return x * formula.tanh(formula.softplus(x))


def own_silu(x: Any, beta: float = 3) -> Any:
    return x * formula.logistic(beta * x)


def mish_in_pieces(x: Any) -> Any:
    n = formula.exp(-formula.absolute(x))
    right, left = (1 + 2 * n) / (1 + 2 * n * (1 + n)), n * (2 + n) / (2 + n * (2 + n))
    return formula.where(x > 0, x * right, formula.minimum(x, 0) * left)


def sigmoid_in_pieces(x: Any) -> Any:
    n = formula.exp(-formula.absolute(x))
    return formula.where(x < 0, n / (1 + n), 1 / (1 + n))


def clamped_tanh(x: Any) -> Any:
    """Out of the way of an overflow."""
    n = formula.exp(2 * formula.bounded(x, -300, 300))
    return (n - 1) / (n + 1)


def evaluated_tanh(x: Any) -> Any:
    pieces = formula.where(formula.absolute(x) < 1e-9, x, formula.tanh(x))
    return formula.evaluated(formula.tanh(x), by=formula.where(formula.absolute(x) > 1e-30, pieces, 0))


def tanh_with_derivatives(x: Any) -> Any:
    t = formula.tanh(x)
    return formula.with_derivatives(formula.where(x > 0, formula.absolute(t), t), {x: 1 - t * t})


@pytest.mark.parametrize("orders", [2, pytest.param(4, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("own", "known"),
    [
        (own_mish, mish),
        (own_silu, functools.partial(silu, beta=3)),
        (mish_in_pieces, mish),
        (sigmoid_in_pieces, sigmoid),
        (clamped_tanh, tanh),
        (evaluated_tanh, tanh),
        (tanh_with_derivatives, tanh),
    ],
    ids=lambda function: getattr(function, "__name__", ""),
)
def test_own_formulas_are_differentiated_as_what_they_mean(own: Any, known: Any, orders: int) -> None:
    """No clamp, piece or absolute value of them shows at 0."""
    x = np.array([-2.5, -0.5, -1e-9, -1e-40, -5e-324, -0.0, 0.0, 5e-324, 1e-200, 1e-12, 0.25, 3])
    own, keywords = activation(own), getattr(known, "keywords", {})
    known = getattr(known, "func", known)
    for _ in range(orders):
        np.testing.assert_allclose(own(x), known(x, **keywords), rtol=1e-13, atol=1e-14)
        own, known = own.grad, known.grad


def test_evaluated_computes_the_one_and_differentiates_the_other() -> None:
    twice = activation(lambda x: formula.evaluated(x * x, by=3 * x))
    x = np.array([-2.0, 5.0])
    np.testing.assert_array_equal(twice(x), 3 * x)
    np.testing.assert_array_equal(twice.grad(x), 2 * x)
    np.testing.assert_array_equal(twice.grad.grad(x), [2, 2])
    assert "x*x" not in repr(twice)
    outer = activation(lambda x: softplus(twice(x)))
    np.testing.assert_allclose(outer.grad(x), sigmoid(3 * x) * 2 * x, rtol=1e-15)


def test_kinks_keep_the_derivative_of_the_libraries() -> None:
    x = np.array([0.0, -0.0])
    assert relu.grad(x).tolist() == [0, 0]
    assert activation(formula.absolute).grad(x).tolist() == [0, 0]
    edge = activation(lambda x: formula.clip(x, -1, 1))
    assert edge.grad(np.array([-1.0, 1.0])).tolist() == [0, 0]


@pytest.mark.parametrize("alpha", [-0.1, -1.0, -3.0, 2.0])
def test_celu_by_alpha_of_any_sign(alpha: float) -> None:
    x = np.array([-0.01, -0.3, -0.999, -1.0, -1.001, -3.0, -12.0])
    with mpmath.workdps(40):
        exact = [
            mpmath.expm1(mpmath.mpf(a) / alpha) - mpmath.mpf(a) / alpha * mpmath.exp(mpmath.mpf(a) / alpha) for a in x
        ]
    np.testing.assert_allclose(celu.grad(x, alpha, wrt="alpha"), np.array(exact, float), rtol=1e-15)
