"""Reductions over an axis and gated units: shapes, outputs and derivatives, in every library."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
from array_libraries import Library, load
from cases import GATED, REDUCING, Case

import actufunc
from actufunc import activation, formula, geglu, glu, logsumexp, reglu, softmax, swiglu
from actufunc.accuracy import reference

RANDOM = np.random.default_rng(0)
X = 3 * RANDOM.standard_normal((4, 6, 5))

reducing = pytest.mark.parametrize("case", REDUCING, ids=repr)
gated = pytest.mark.parametrize("case", GATED, ids=repr)
AXES = [-1, 0, 1, (0, 2), (1, 2), None]


def close(library: Library, got: Any, expected: Any) -> None:
    """Compare with NumPy's result; other libraries round in their own way."""
    got = library.asnumpy(got)
    assert got.shape == np.shape(expected)
    tolerance = 1e-13 if got.dtype == np.float64 else 1e-5
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


def naive(x: np.ndarray[Any, Any], axis: Any, *, keepdims: bool = False) -> Any:
    return np.log(np.exp(x).sum(axis=axis, keepdims=keepdims))


@pytest.mark.parametrize("axis", AXES, ids=str)
@pytest.mark.parametrize("keepdims", [False, True])
def test_logsumexp_and_its_vjp(xp: Library, axis: Any, keepdims: bool) -> None:
    x = xp.asarray(X)
    expected = naive(X, axis, keepdims=keepdims)
    result = logsumexp(x, axis=axis, keepdims=keepdims)
    assert xp.is_array(result)
    close(xp, result, expected)
    g = RANDOM.standard_normal(expected.shape)
    wide = g if keepdims else np.expand_dims(g, tuple(range(3)) if axis is None else axis)
    close(xp, logsumexp.vjp(x, xp.asarray(g), axis=axis, keepdims=keepdims), wide * softmax(X, axis=axis))


def test_where_leaves_elements_out(xp: Library) -> None:
    mask = RANDOM.random(X.shape) > 0.4
    mask[0, 0] = False
    x, where = xp.asarray(X), xp.asarray(mask)
    with np.errstate(divide="ignore"):
        expected = naive(np.where(mask, X, -np.inf), -1)
    assert np.isneginf(expected[0, 0])
    close(xp, logsumexp(x, where=where), expected)
    g = np.ones(expected.shape)
    shares = np.where(np.isneginf(expected)[..., None], 0, softmax(X, where=mask))
    close(xp, logsumexp.vjp(x, xp.asarray(g), where=where), shares)


def test_logsumexp_at_special_points(xp: Library) -> None:
    inf, nan = np.inf, np.nan
    rows = [[-inf, -inf], [inf, 1.0], [inf, -inf], [nan, 1.0], [inf, nan], [1000.0, 1000.0], [-inf, 2.0]]
    expected = [-inf, inf, inf, nan, nan, 1000 + np.log(2), 2.0]
    np.testing.assert_allclose(xp.asnumpy(logsumexp(xp.asarray(rows))), expected, rtol=1e-15)


@reducing
def test_empty_and_scalar(case: Case) -> None:
    assert case(np.zeros((3, 0))).tolist() == [-np.inf] * 3
    assert case(np.zeros((0, 3))).shape == (0,)
    assert case(np.zeros((0, 3)), axis=0).tolist() == [-np.inf] * 3
    assert case(np.float64(2.5)) == 2.5
    assert isinstance(case([1.0, 2.0]), np.float64)
    assert case(np.zeros((2, 3)), axis=None, keepdims=True).shape == (1, 1)


@reducing
@pytest.mark.parametrize("name", ["numpy", "cupy"])
def test_output_of_a_reduction(name: str, case: Case) -> None:
    library = load(name)
    x = library.asarray(X)
    for axis in (0, -1, (1, 2)):
        expected = case(X, axis=axis)
        wide = library.asarray(np.full((*expected.shape, 2), 7.0))
        for out in (library.asarray(np.empty_like(expected)), wide[..., 0]):
            assert case(x, axis=axis, out=out) is out
            close(library, out, expected)
        if expected.ndim:
            assert (library.asnumpy(wide)[..., 1] == 7).all()
    kept = library.asarray(np.empty((4, 6, 1)))
    assert case(x, out=kept, keepdims=True) is kept
    with pytest.raises(ValueError, match=r"result of shape \(4, 6\), which does not fit out of shape \(4, 6, 5\)"):
        case(x, out=library.asarray(np.empty_like(X)))
    row = library.asarray(X[0, 0].copy())
    view = row[:1].reshape(())
    case(row, out=view)
    close(library, view, case(X[0, 0]))


@reducing
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "bool"])
def test_every_layout_and_dtype(case: Case, dtype: str) -> None:
    x = (RANDOM.standard_normal((7, 40, 33)) * 3).astype(dtype)
    expected = naive(x.astype("float64"), 1)
    half = {"float16": 2e-3, "float32": 1e-6}.get(dtype, 1e-14)
    views = [x, np.asfortranarray(x), x[:, ::-1], np.moveaxis(np.moveaxis(x, 1, 2).copy(), 2, 1), x[::2]]
    for view in views:
        got = case(view, axis=1)
        assert got.dtype == (dtype if dtype.startswith("float") else "float64")
        np.testing.assert_allclose(got, expected[::2] if len(got) < len(x) else expected, rtol=half, atol=half)


@reducing
def test_an_axis_of_one_element(xp: Library, case: Case) -> None:
    for values in (X[:, :1], X[:, ::2][:, 1:2].astype("float32"), np.ones((4, 1, 5), "int32")):
        x = xp.asarray(values)
        np.testing.assert_allclose(xp.asnumpy(case(x, axis=1)), values[:, 0], rtol=1e-6)
        masked = case(x, axis=1, where=xp.asarray(np.ones(values.shape, bool)))
        np.testing.assert_allclose(xp.asnumpy(masked), values[:, 0], rtol=1e-6)
    assert case(np.float16(2.5)) == 2.5
    np.testing.assert_array_equal(case(X, axis=()), X)


@reducing
def test_masked_arrays(case: Case) -> None:
    x = np.ma.masked_array([[1.0, 2.0], [3.0, 4.0]], [[True, True], [False, True]])
    result = case(x)
    assert result.mask.tolist() == [True, False]
    assert result[1] == 3
    assert case(np.ma.masked_array([1.0, 5.0], [False, True])) == 1


def test_data_frames_cannot_follow() -> None:
    for function in (glu, logsumexp):
        with pytest.raises(TypeError, match="which DataFrame of pandas cannot follow; pass"):
            function(pd.DataFrame(np.ones((2, 4))))


def test_sums_of_nothing() -> None:
    squares = activation(lambda x: formula.axis_sum(x * x))
    for dtype in ("float32", "float16", "int64"):
        assert squares(np.zeros((2, 0), dtype)).tolist() == [0, 0]
    with pytest.raises(TypeError, match="takes no where="):
        activation(lambda x: x - formula.axis_sum(formula.tanh(x)))([1.0, 2.0], where=[True, False])


@reducing
def test_wrong_cotangent(case: Case) -> None:
    with pytest.raises(ValueError, match=r"cannot broadcast g of shape \(5,\) to that of the result, \(4, 6\)"):
        case.vjp(X, np.ones(5))
    with pytest.raises(TypeError, match="unexpected keyword argument 'keepdims'"):
        softmax(X, keepdims=True)


def test_own_reduction() -> None:
    @activation
    def norm(x: Any) -> Any:
        return formula.sqrt(formula.axis_sum(x * x))

    @norm.cotangent
    def _(x: Any, g: Any) -> Any:
        return g * x / formula.sqrt(formula.axis_sum(x * x))

    np.testing.assert_allclose(norm(X), np.linalg.norm(X, axis=-1), rtol=1e-15)
    g = np.ones((4, 6))
    np.testing.assert_allclose(norm.vjp(X, g), X / np.linalg.norm(X, axis=-1, keepdims=True), rtol=1e-15)
    same = pickle.loads(pickle.dumps(norm))  # noqa: S301
    np.testing.assert_array_equal(same.vjp(X, g), norm.vjp(X, g))


@pytest.mark.parametrize("n", [1, 17, 2048, 2049, 16384, 16385])
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda dtype: dtype.__name__)
def test_own_sums_side_by_side(dtype: Any, n: int) -> None:
    """Of what is kept and of other terms, counts, and of a primitive that has one word; along rows and across them."""

    @activation
    def weighted(x):
        e = formula.exp(x - formula.axis_max(x))
        return e * formula.axis_sum(e * x) / formula.axis_sum(e)

    @activation
    def scaled(x):
        t = formula.tanh(x)
        above = formula.axis_sum(formula.where(x < 0, 0, 1)) + formula.axis_sum(formula.where(x > 0, 1, 0))
        return above * t / formula.axis_sum(t * t) + formula.axis_sum(t) * x

    x = np.random.default_rng(n).normal(size=(20, n)).astype(dtype)
    wide = x.astype(np.longdouble)
    e, t = np.exp(wide - wide.max(1, keepdims=True)), np.tanh(wide)
    count = (wide >= 0).sum(1, keepdims=True) + (wide > 0).sum(1, keepdims=True)
    total = [each.sum(1, keepdims=True) for each in (e, e * wide, t, t * t)]
    for function, exact in (
        (weighted, e * total[1] / total[0]),
        (scaled, count * t / total[3] + total[2] * wide),
    ):
        result = function(x)
        np.testing.assert_allclose(result, exact, atol=2 * np.finfo(dtype).eps * float(abs(exact).max()), rtol=0)
        np.testing.assert_array_equal(function(np.ascontiguousarray(x.T), axis=0).T, result)


# Gated units.

MEANING = {glu: actufunc.sigmoid, reglu: actufunc.relu, geglu: actufunc.gelu, swiglu: actufunc.silu}


@gated
@pytest.mark.parametrize("axis", [-1, 1])
def test_gated(xp: Library, case: Case, axis: int) -> None:
    x = X[:, :, :4]
    value, gate = np.split(x, 2, axis=axis)
    expected = value * MEANING[case.function](gate)
    result = case(xp.asarray(x), axis=axis)
    assert xp.is_array(result)
    close(xp, result, expected)
    g = RANDOM.standard_normal(expected.shape)
    slope = MEANING[case.function].grad(gate)
    vjp = np.concatenate([g * MEANING[case.function](gate), g * value * slope], axis=axis)
    close(xp, case.vjp(xp.asarray(x), xp.asarray(g), axis=axis), vjp)


@gated
def test_gated_vjp_is_the_derivative(case: Case) -> None:
    """Against differences of the exact values, of the halves one after the other."""
    half = case.function.halves[0]
    value, gate, h = X[0, :, 0], X[0, :, 1], 2.0**-16
    for which, part in enumerate(case.function.vjp.halves):
        steps = [(value + s * h * (which == 0), gate + s * h * (which == 1)) for s in (1, -1)]
        above, below = (reference(half, v, gate=t) for v, t in steps)
        difference = ((above - below) / (2 * h)).astype("float64")
        np.testing.assert_allclose(part(value, gate, np.ones(6)), difference, rtol=1e-7, atol=1e-9)


@gated
@pytest.mark.parametrize("name", ["numpy", "cupy"])
def test_outputs_of_gated_units(name: str, case: Case) -> None:
    library = load(name)
    rows = np.ascontiguousarray(X[:, :, :4]).reshape(4, 24)
    x, expected = library.asarray(rows), case(rows)
    for out in (library.asarray(np.empty((4, 12))), library.asarray(np.empty((4, 24)))[:, ::2]):
        assert case(x, out=out) is out
        close(library, out, expected)
    inside = library.asarray(rows)
    assert case(inside, out=inside[:, :12]) is not None  # over its own first half
    close(library, inside[:, :12], expected)
    g = RANDOM.standard_normal((4, 12))
    vjp = case.vjp(rows, g)
    inside = library.asarray(rows)
    assert case.vjp(inside, library.asarray(g), out=inside) is inside
    close(library, inside, vjp)
    narrow = library.asarray(np.empty((4, 24), "float32"))
    case.vjp(x, library.asarray(g), out=narrow)
    close(library, narrow, vjp)
    assert case(library.asarray(rows.astype("float16"))).dtype == np.float16
    assert case.vjp(x, library.asarray(g), dtype=np.float32).dtype == np.float32
    assert case(library.asarray(np.arange(4))).dtype == np.float64
    with pytest.raises(ValueError, match="fit"):
        case.vjp(x, library.asarray(g), out=library.asarray(np.empty((4, 12))))


@gated
def test_gated_errors(xp: Library, case: Case) -> None:
    name = case.function.__name__
    with pytest.raises(ValueError, match=f"{name} cannot halve axis 2, which has the odd length 5"):
        case(xp.asarray(X))
    with pytest.raises(ValueError, match=f"{name} halves one axis"):
        case(xp.asarray(X), axis=(0, 1))
    with pytest.raises(ValueError, match=f"{name} halves one axis"):
        case(xp.asarray(np.array(1.0)))
    with pytest.raises(ValueError, match="3 dimensions"):
        case(xp.asarray(X), axis=3)
    with pytest.raises(TypeError, match="unexpected keyword argument 'where'"):
        case(xp.asarray(X), where=True)
    with pytest.raises(AttributeError, match="vjp"):
        _ = case.function.grad
    with pytest.raises(TypeError, match="does not support NoneType for x"):
        case(None)


@gated
def test_gated_of_lists_and_layouts(case: Case) -> None:
    expected = case(np.array([1.0, 2.0, 3.0, -1.0]))
    np.testing.assert_array_equal(case([1, 2, 3, -1]), expected)
    big = RANDOM.standard_normal((300, 2000))
    split = np.ascontiguousarray(big[:, :1000]), np.ascontiguousarray(big[:, 1000:])
    whole = case.function.halves[0](*split)
    for x in (big, np.asfortranarray(big), big[:, ::-1][:, ::-1]):
        np.testing.assert_array_equal(case(x), whole)


def test_own_gated_unit() -> None:
    @activation
    def tanh_gate(x: Any, slope: float = 2) -> Any:
        value, gate = formula.halves(x)
        return value * formula.tanh(slope * gate)

    x = X[:, :, :4]
    np.testing.assert_allclose(tanh_gate(x, slope=3), x[..., :2] * np.tanh(3 * x[..., 2:]), rtol=1e-14)
    assert tanh_gate.vjp(x, x[..., :2]).shape == x.shape
    assert "first_half(x)*tanh(slope*second_half(x))" in repr(tanh_gate)
    same = pickle.loads(pickle.dumps(tanh_gate))  # noqa: S301
    np.testing.assert_array_equal(same.vjp(x, x[..., :2], 3), tanh_gate.vjp(x, x[..., :2], 3))
    with pytest.raises(TypeError, match="halves of x, so it cannot use x besides"):
        activation(lambda x: formula.halves(x)[0] + x)
    with pytest.raises(TypeError, match="takes the argument x itself"):
        activation(lambda x: formula.halves(2 * x)[0])


def test_a_gated_unit_inside_another() -> None:
    doubled = activation(lambda x: 2 * glu(x))
    np.testing.assert_array_equal(doubled(X[:, :, :4]), 2 * glu(X[:, :, :4]))
