"""Calls that a plan is kept for give what they give without one."""

import numpy as np
import pytest

from actufunc import glu, hard_tanh, relu, relu6, swiglu, tanh

LARGE = 2**63  # an integer that is uint64 to NumPy


@pytest.mark.parametrize("function", [swiglu.vjp, glu.vjp], ids=lambda f: f.__name__)
def test_scalar_cotangents_of_gated_units_are_told_apart(function):
    x = np.arange(4.0)
    one, two = function(x, 1.0), function(x, 2.0)
    np.testing.assert_array_equal(two, 2 * one)


@pytest.mark.parametrize("first", [3, LARGE])
@pytest.mark.parametrize("function", [relu, relu6, hard_tanh], ids=lambda f: f.__name__)
def test_integers_of_any_size_are_told_apart(function, first):
    for x in (first, 3, -1, LARGE, 3):
        result = function(x)
        expected = function(np.asarray(x))
        assert (result, result.dtype) == (expected, expected.dtype)


def test_an_output_takes_integers_of_any_size():
    out = np.zeros(1)
    for x in (3, LARGE):
        assert relu6(x, out=out) == min(x, 6)


@pytest.mark.parametrize("where", [1, 0, 0.5])
def test_a_number_is_a_mask_each_time(where):
    x, out = np.ones(3), np.zeros(3)
    for _ in range(3):
        np.testing.assert_array_equal(tanh(x, where=where, out=out), np.tanh(x) if where else np.zeros(3))


@pytest.mark.parametrize("outputs", [(np.zeros(5), np.zeros(4)), (np.zeros(5), np.zeros(5, int))])
def test_several_results_are_all_written_or_none(outputs):
    x = np.ones(5)
    with pytest.raises((TypeError, ValueError)):
        swiglu.vjp(x, x, x, out=outputs)
    assert not outputs[0].any()
