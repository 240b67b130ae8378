"""Libraries that differentiate or compute later and are not supported: refused by name in every place of a call."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from actufunc import elu, gelu, logsumexp, prelu, sigmoid, softmax, sparsemax, swiglu

X = np.array([1.0, 2.0])


def refused(value: Any, kind: str) -> None:
    for call in (
        lambda: sigmoid(value),
        lambda: softmax(value),
        lambda: logsumexp(value),
        lambda: swiglu(X, value),
        lambda: prelu(X, value),
        lambda: elu(X, alpha=value),
        lambda: gelu.vjp(X, value),
        lambda: softmax.vjp(X, value),
        lambda: sigmoid([value, value]),
    ):
        with pytest.raises(TypeError, match=rf"does not support .*{kind} for \w+; its gradients or graph would be"):
            call()


@pytest.mark.needs_library("autograd")
def test_autograd_is_refused_and_takes_an_operation() -> None:
    import autograd

    def look(x: Any) -> Any:
        refused(x, "ArrayBox of autograd")
        return x[0] * 2

    autograd.grad(look)(X)
    operation = autograd.extend.primitive(softmax)
    autograd.extend.defvjp(operation, lambda _, x: lambda g: softmax.vjp(x, g))
    np.testing.assert_allclose(autograd.grad(lambda x: operation(x)[0])(X), softmax.vjp(X, [1.0, 0.0]))


@pytest.mark.needs_library("pytensor.tensor")
def test_pytensor() -> None:
    import pytensor.tensor as pt

    refused(pt.vector("x"), "TensorVariable of pytensor")
    refused(pt.constant(X), "TensorConstant of pytensor")


@pytest.mark.needs_library("sympy")
def test_sympy() -> None:
    import sympy

    refused(sympy.Symbol("x"), "Symbol of sympy")
    refused(sympy.Matrix([1.0, 2.0]), r"\w*Matrix of sympy")


@pytest.mark.needs_library("mlx.core")
def test_mlx() -> None:
    import mlx.core as mlx

    refused(mlx.array(X), "array of mlx")


@pytest.mark.needs_library("sparse")
def test_what_a_namespace_lacks_is_named() -> None:
    import sparse

    x = sparse.COO(np.array([[0.0, 1.0], [2.0, 0.0]]))
    with pytest.raises(TypeError, match="sparsemax needs cumulative_sum of the array API standard, which sparse lacks"):
        sparsemax(x)
