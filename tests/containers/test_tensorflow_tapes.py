"""TensorFlow's functions and tapes: open shapes, compilers, and derivatives of any order."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from cases import ELEMENTWISE, Case, representatives
from test_tensorflow import (  # noqa: F401 -- a fixture
    ALL,
    COTANGENT,
    GENERIC,
    ROUNDED_ARGUMENT,
    TAILS,
    _poles,
    close,
    elementwise,
    every_function,
    has_formula,
    one_of_each_kind,
    ones_like,
    points,
    slope,
    with_hyperparameters,
)

import actufunc
from actufunc import activation
from actufunc.formula import exp, maximum, minimum

if TYPE_CHECKING:
    from collections.abc import Callable

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.needs_library("tensorflow")


# Open shapes, and compilers.


def everything(case: Case) -> Callable[[Any], Any]:
    """Return a function that computes a function, its derivatives and what tapes make of them."""

    def compute(x: Any) -> Any:
        by_tapes = [slope(lambda x: tf.reduce_sum(case(x) * case(x)), x, order) for order in (1, 2)]
        return [case(x), case.vjp(x, case(x)), *([case.grad(x)] if case in ELEMENTWISE else []), *by_tapes]

    return compute


@every_function
def test_open_shapes(case: Case) -> None:
    """Also of one size after the other."""
    function = tf.function(functools.partial(slope, case), input_signature=[tf.TensorSpec([None, None], tf.float64)])
    x = points(case)
    for values in (x, x[:1]):
        close(function(values), case.vjp(values, ones_like(case, values)), 1e-12)


@one_of_each_kind
@pytest.mark.parametrize("shape", [(None, 4), None], ids=str)
def test_everything_of_open_shapes(case: Case, shape: Any) -> None:
    """What has an axis must know how many there are."""
    function = tf.function(everything(case), input_signature=[tf.TensorSpec(shape, tf.float64)])
    x = points(case)
    if shape is None and case not in ELEMENTWISE:
        with pytest.raises(ValueError, match=r"number of dimensions of x .*; give it by tf\.ensure_shape"):
            function(x)
        return
    for values in (x, x[:1]):
        for result, expected in zip(function(values), everything(case)(tf.constant(values)), strict=True):
            close(result, expected.numpy(), 1e-13)


@one_of_each_kind
def test_xla(case: Case) -> None:
    x = tf.constant(points(case))
    for result, expected in zip(tf.function(everything(case), jit_compile=True)(x), everything(case)(x), strict=True):
        close(result, expected.numpy(), 1e-12)


def test_autograph_does_not_read_activations(monkeypatch: pytest.MonkeyPatch) -> None:
    """It could not, and would say so."""
    monkeypatch.setenv("AUTOGRAPH_STRICT_CONVERSION", "1")

    @tf.function
    def function(x: Any) -> Any:
        if tf.reduce_sum(x) > 0:
            x = actufunc.swiglu(x) + actufunc.mish.grad(x[..., :2])
        return actufunc.silu(x[..., :2], beta=2.0)

    x = np.abs(GENERIC)
    expected = actufunc.silu(actufunc.swiglu(x) + actufunc.mish.grad(x[..., :2]), beta=2.0)
    close(function(tf.constant(x)), expected)
    close(tf.function(actufunc.mish)(tf.constant(x)), actufunc.mish(x))


# Derivatives by tapes.


@elementwise
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tapes_are_as_accurate_as_grad(case: Case, dtype: str) -> None:
    """Where the formula computes, at every number and in both orders; TensorFlow's own functions lose tails."""
    info = np.finfo(dtype)
    x, atol = TAILS.astype(dtype), 1000 * info.tiny
    if not has_formula(case):
        x, atol = x[np.abs(x) <= 30], 64 * info.eps
    rtol = (40 if repr(case) in ROUNDED_ARGUMENT else 8) * info.eps
    expected = case.grad(x.astype("float64"))
    np.testing.assert_allclose(slope(case, tf.constant(x)), expected, rtol=rtol, atol=atol)
    if has_formula(case):
        second = case.grad.grad
        np.testing.assert_allclose(slope(case, tf.constant(x), 2), second(tf.constant(x)), rtol=rtol, atol=atol)


@pytest.mark.parametrize("case", [c for c in representatives(ELEMENTWISE) if has_formula(c)], ids=repr)
def test_tapes_of_higher_order(case: Case) -> None:
    x, second = points(case), case.grad.grad
    close(slope(case, tf.constant(x), 2), second(x), 1e-12, 1e-13)
    close(slope(case, tf.constant(x), 3), second.grad(x), 1e-12, 1e-13)


@every_function
def test_tapes_and_vjp_agree(case: Case) -> None:
    """Also in second order, where the derivatives of both by `x` and by the cotangent are the same."""
    x = tf.constant(points(case))
    g = tf.constant(np.cos(np.arange(np.size(case(points(case))))).reshape(case(points(case)).shape))

    def by_tape(x: Any, g: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            result = case(x)
        return tape.gradient(result, x, output_gradients=g)

    def seconds(first: Callable[..., Any]) -> Any:
        with tf.GradientTape() as tape:
            tape.watch([x, g])
            result = tf.reduce_sum(first(x, g) * COTANGENT)
        return tape.gradient(result, [x, g], unconnected_gradients="zero")

    close(by_tape(x, g), case.vjp(x.numpy(), g.numpy()))
    for result, expected in zip(seconds(case.vjp), seconds(by_tape), strict=True):
        close(result, expected.numpy(), 1e-11, 1e-13)


@pytest.mark.parametrize("case", representatives(ALL), ids=repr)
def test_forward_mode_and_jacobian(case: Case) -> None:
    x = tf.constant(points(case))
    with tf.GradientTape() as tape:
        tape.watch(x)
        result = case(x)
    with tf.autodiff.ForwardAccumulator(x, tf.constant(COTANGENT)) as forward:
        again = case(x)
    close(forward.jvp(again), tf.tensordot(tape.jacobian(result, x), COTANGENT, 2).numpy())


@with_hyperparameters
@pytest.mark.parametrize("make", [tf.constant, tf.Variable], ids=["tensor", "variable"])
def test_gradient_by_hyperparameters(case: Case, make: Callable[[Any], Any]) -> None:
    """It has the shape of the hyperparameter, and a derivative by x."""
    x, name = tf.constant(GENERIC), next(iter(case.function.definition.hyperparameters))
    for shape, axes in (((2, 1), (1,)), ((4,), (0,)), ((), (0, 1)), ((2, 4), ())):
        values = np.linspace(0.5, 0.75, math.prod(shape)).reshape(shape)
        value, given = make(values), {**dict(case.keywords), name: values}
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as tape:
                tape.watch(value)
                result = case.function(x, **{**given, name: value})
            by_value = tape.gradient(result, value)
        close(result, case.function(GENERIC, **given))
        by = functools.partial(case.function.grad, **given, wrt=name)
        close(by_value, np.broadcast_to(by(GENERIC), GENERIC.shape).sum(axes).reshape(shape))
        mixed = Case(case.function.grad).function(x, **{**given, name: value}, wrt=name)
        assert mixed.shape == np.broadcast_shapes(GENERIC.shape, shape)
        by_x = outer.gradient(by_value, x, unconnected_gradients="zero")
        close(by_x, slope(lambda x, by=by: by(x), x).numpy())


@activation
def steep(x: Any, slope: float = -1) -> Any:
    return maximum(slope, 0.25) * minimum(x, 1)


def test_custom_activation_and_its_custom_derivative() -> None:
    """Its kinks are those of grad, and its custom derivative is taken, inside others too."""

    @activation
    def custom(x: Any, alpha: float = 2) -> Any:
        return alpha * x

    custom.derivative(lambda x, alpha: 10 * alpha * x)
    custom.derivative(lambda x, alpha: exp(x), wrt="alpha")

    @activation
    def outer(x: Any) -> Any:
        return custom(3 * x) + x

    x = np.array([-1.5, 0.25, 1.0])
    close(slope(custom, tf.constant(x)), 20 * x)
    close(slope(outer, tf.constant(x)), 3 * 20 * 3 * x + 1)
    close(slope(steep, tf.constant(x)), steep.grad(x))
    close(slope(lambda alpha: custom(tf.constant(x), alpha), tf.Variable([2.0, 2.0, 2.0], dtype="float64")), np.exp(x))


def test_function_of_a_hyperparameter_alone() -> None:
    """Its result has the shape of x, also where that is open."""

    @activation
    def constant(x: Any, value: float = 1.0) -> Any:
        return 2 * value

    function = tf.function(constant, input_signature=[tf.TensorSpec(None, tf.float64), tf.TensorSpec(None, tf.float64)])
    close(function(tf.zeros((2, 3), tf.float64), tf.constant([1.0], tf.float64)), np.full((2, 3), 2.0))
    close(constant(tf.zeros((2, 3)), 0.5), np.full((2, 3), 1.0))
