"""Calls with a cached plan give what they give without one; calls that only look alike have plans of their own."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from cases import ELEMENTWISE, GATED, OVER_AXIS, Case, cases, mostly_slow

from actufunc import activation, gelu, leaky_relu, relu6, relu_squared, softmax
from actufunc.formula import where

LARGE = 2**63  # an integer that is uint64 to NumPy
_SLOPED = activation(lambda x, slope: where(x < 0, slope * x, x))
X = np.array([[-2.0, -0.5, 0.25, 1.5], [3.0, -1.0, 0.5, 0.0]])


@pytest.mark.parametrize("case", mostly_slow(cases()), ids=repr)
def test_scalar_cotangents_are_told_apart(case: Case) -> None:
    for g in (1.0, 2.0, 3, np.float32(4), ml_dtypes.bfloat16(5), 6.0):
        expected = case.vjp(X, np.broadcast_to(np.float64(g), np.shape(case(X))))
        np.testing.assert_array_equal(case.vjp(X, g), expected)


@pytest.mark.parametrize("first", [3, LARGE])
@pytest.mark.parametrize("case", ELEMENTWISE, ids=repr)
def test_integers_of_any_size_are_told_apart(case: Case, first: int) -> None:
    for x in (first, 3, -1, LARGE, 3):
        result = case(x)
        expected = case(np.asarray(x))
        assert result.dtype == expected.dtype
        np.testing.assert_array_equal(result, expected)


def test_an_output_takes_integers_of_any_size() -> None:
    out = np.zeros(1)
    for x in (3, LARGE):
        assert relu6(x, out=out) == min(x, 6)


@pytest.mark.parametrize("where", [1, 0, 0.5])
@pytest.mark.parametrize("case", [*ELEMENTWISE, *OVER_AXIS], ids=repr)
def test_a_number_is_a_mask_each_time(case: Case, where: Any) -> None:
    out = np.full_like(X, 7)
    expected = case(X, out=out.copy(), where=bool(where))
    for _ in range(3):
        np.testing.assert_array_equal(case(X, where=where, out=out.copy()), expected)


@pytest.mark.parametrize("second", [np.zeros((2, 3)), np.zeros((2, 4), int), np.broadcast_to(0.0, (2, 4)), [0.0]])
@pytest.mark.parametrize("case", [*GATED, Case(leaky_relu)], ids=repr)
def test_several_results_are_all_written_or_none(case: Case, second: Any) -> None:
    outputs = np.zeros_like(X), second
    arrays, keywords = ((X, X, X), {}) if case in GATED else ((X, X), {"wrt": ("x", "negative_slope")})
    with pytest.raises((TypeError, ValueError)):
        case.vjp(*arrays, out=outputs, **keywords)
    assert not outputs[0].any()


def test_several_results_may_be_written_over_the_inputs() -> None:
    x, g = X.copy(), X[::-1].copy()
    expected = leaky_relu.vjp(x, g, wrt=("x", "negative_slope"))
    leaky_relu.vjp(x, g, wrt=("x", "negative_slope"), out=(x, g))
    np.testing.assert_array_equal(x, expected[0])
    np.testing.assert_array_equal(g, expected[1])


def test_positions_and_keywords_are_told_apart() -> None:
    gelu(X, approximate="tanh")
    with pytest.raises(TypeError, match="at most 2 positional arguments, not 3"):
        gelu(X, "approximate", "tanh")


def test_equal_hyperparameters_are_told_apart() -> None:
    values = (0.0, -0.0, 1, True, 1.0, np.int8(1), np.float32(1), np.float64(1), np.nan, False, 0, np.float32(-0.0))
    for x in (X, X.astype(np.float32), X.astype(int)):
        for value in values:
            fresh = activation(lambda x, slope: where(x < 0, slope * x, x))
            for name, args, keywords in (("position", (value,), {}), ("keyword", (), {"slope": value})):
                expected = fresh(x.copy(), *args, **keywords)
                for _ in range(2):
                    result = _SLOPED(x, *args, **keywords)
                    assert result.dtype == expected.dtype, name
                    assert result.tobytes() == expected.tobytes(), name


def test_the_same_call_with_other_keywords() -> None:
    x, out = X.astype(np.float32), np.empty_like(X, np.float32)
    for _ in range(2):
        leaky_relu(x, 0.5, dtype=np.float64)
        leaky_relu(x, 0.5, out=out, dtype=np.float64)
        with pytest.raises(TypeError, match="cast"):
            leaky_relu(x, 0.5, out=out, dtype=np.float64, casting="safe")
        assert leaky_relu(np.asfortranarray(x), 0.5, order="C").flags.c_contiguous


@pytest.mark.parametrize("axis", [{}, {"axis": 0}], ids=str)
@pytest.mark.parametrize("case", OVER_AXIS, ids=repr)
def test_an_output_of_integers_is_refused_each_time(case: Case, axis: dict[str, int]) -> None:
    x = np.array([[1, -2, 3], [0, 2, 5]])
    for _ in range(2):
        case(x, **axis)
        out = x.copy()
        with pytest.raises(TypeError, match="cannot cast its result"):
            case(x, out=out, **axis)
        np.testing.assert_array_equal(out, x)


@pytest.mark.parametrize("case", GATED, ids=repr)
def test_an_output_of_a_gated_unit_is_half_as_long(case: Case) -> None:
    x = np.arange(4.0).reshape(2, 2)
    for given in (x, np.ma.array(x)):
        out = np.zeros_like(given)
        for _ in range(2):
            with pytest.raises(ValueError, match="does not fit out of shape"):
                case(given, out=out)
        assert not out.any()


@pytest.mark.parametrize("case", GATED, ids=repr)
def test_masked_halves_mask_both_results_of_a_vjp(case: Case) -> None:
    x, g = np.array([1.0, 2.0, 3.0, 4.0]), np.ones(2)
    expected = case.vjp(x, g)
    hidden = np.ma.array(np.where([1, 0, 0, 0], np.nan, x), mask=[1, 0, 0, 0])
    for operands in ((hidden, g), (x, np.ma.array(g, mask=[1, 0]))):
        result = case.vjp(*operands)
        np.testing.assert_array_equal(result.mask, [True, False, True, False])
        np.testing.assert_array_equal(result.compressed(), expected[1::2])


def test_arguments_that_no_key_holds() -> None:
    with pytest.raises(TypeError, match="takes axis as an integer"):
        softmax(X, axis=([0],))
    with pytest.raises(TypeError, match="does not support"):
        leaky_relu(X, np.timedelta64(3, "s"))


def test_metadata_of_a_dtype_is_not_kept() -> None:
    marked = np.dtype("f8", metadata={"a": 1})
    for f, arrays in ((softmax, (X,)), (relu6, (X,)), (relu6.vjp, (X, X))):
        f(*(a.astype(marked) for a in arrays))
        assert f(*arrays).dtype.metadata is None


@pytest.mark.parametrize("case", ELEMENTWISE, ids=repr)
def test_many_dimensions(case: Case) -> None:
    x = X[0].reshape((1,) * 39 + (4,))
    np.testing.assert_array_equal(case.vjp(x, X[0]).ravel(), case.vjp(X[0], X[0]))
    np.testing.assert_array_equal(case(x, where=X[0] > -9, out=None).ravel(), case(X[0]))


@pytest.mark.parametrize("shape", [(4, 6), (20, 30), (200, 300)])
def test_results_lie_in_memory_as_those_of_a_ufunc(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=shape)
    for a in (x, np.asfortranarray(x), x[::-1]):
        for b in (x, np.asfortranarray(x), x[:1], x[:, :1], np.asfortranarray(x)[:, :1]):
            for _ in range(2):
                assert relu6.vjp(a, b).strides == np.add(a, b).strides


def test_what_a_mask_leaves_out_raises_nothing() -> None:
    for size in (2, 40, 40_000):
        x = np.full(size, 1e200)
        x[-1] = 1
        with np.errstate(all="raise"):
            result = relu_squared(x, where=x == 1, out=np.zeros(size))
        assert result.sum() == 1
        assert relu_squared(x, where=x == 2, out=np.zeros(size)).sum() == 0


def test_an_input_ahead_of_its_output_keeps_its_flags() -> None:
    memory = np.array([0.0, 1e200, np.inf])
    with pytest.warns(RuntimeWarning, match="overflow"):
        relu_squared(memory[1:], out=memory[:-1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_any_overlap(dtype: Any) -> None:
    """Loops are said to be parallel, which they are not with the input ahead: they only load before they store."""
    for size in (*range(1, 70), 129, 1000, 5000):
        values = np.random.default_rng(size).normal(size=size + 70).astype(dtype)
        expected = gelu(values)
        for ahead in (1, 2, 3, 5, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65):
            for source, target in ((np.s_[ahead:], np.s_[:-ahead]), (np.s_[:-ahead], np.s_[ahead:])):
                memory = values.copy()
                gelu(memory[source], out=memory[target])
                np.testing.assert_array_equal(memory[target], expected[source])
