"""Under flush-to-zero normal results keep their bits; only subnormal numbers may become zero."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from cases import ELEMENTWISE, OVER_AXIS, REDUCING, Case, mostly_slow
from flushing import IS_KNOWN, flushing

from actufunc import activation, num_threads
from actufunc.accuracy import largest_error, sample, sample_rows
from actufunc.backends.numpy.codegen import elementwise as lower
from actufunc.backends.numpy.jit import kernels
from actufunc.formula import Expression, damped, exp, logistic, normal_cdf, normal_pdf, raised, rounded_once

pytestmark = pytest.mark.skipif(not IS_KNOWN, reason="x86-64 and POSIX only")

DTYPES = ("float32", "float64")


def is_normal(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Tell which numbers are normal, and not the smallest one; zero is."""
    return ~(abs(values) <= np.finfo(values.dtype).tiny) | (values == 0)


def check(function: Any, *arrays: np.ndarray[Any, Any]) -> None:
    """Compare results where operands and results are normal."""
    with np.errstate(all="ignore"), num_threads(1):
        expected = np.asarray(function(*arrays))
        with flushing():
            got = np.asarray(function(*arrays))
    normal = np.logical_and.reduce([is_normal(each) for each in (*arrays, expected)]) & (expected != 0)
    np.testing.assert_array_equal(got[normal], expected[normal])


def test_subnormal_numbers_are_flushed() -> None:
    tiny = np.array([1e-300])
    with flushing():
        assert (tiny * 1e-20)[0] == 0
    assert (tiny * 1e-20)[0] > 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", ELEMENTWISE, ids=repr)
def test_elementwise(case: Case, dtype: str) -> None:
    tails = np.linspace(-760, 760, 20_001)
    x = np.concatenate([sample(dtype, 2000), tails, tails / 18]).astype(dtype)
    check(case, x)
    check(case.grad, x)
    # The derivative, which a vjp multiplies, is normal too.
    with np.errstate(all="ignore"):
        x = x[is_normal(case.grad(x))]
    check(case.vjp, x, np.resize(np.array([1, -3, 1e-20, 1e20], dtype), x.size))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "case", mostly_slow([case for case in ELEMENTWISE if case.function.definition.hyperparameters]), ids=repr
)
def test_other_hyperparameters(case: Case, dtype: str) -> None:
    for name in case.function.definition.hyperparameters:
        for value in (1e-3, 1e3):
            keywords = {**dict(case.keywords), name: value}
            tails = np.linspace(-760, 760, 3001)
            x = np.concatenate([sample(dtype, 2000), tails * value, tails / value]).astype(dtype)
            check(lambda x, keywords=keywords: case.function(x, **keywords), x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", [*OVER_AXIS, *REDUCING], ids=repr)
def test_over_axis(case: Case, dtype: str) -> None:
    rows = sample_rows(dtype, 200, 9)
    with np.errstate(all="ignore"):
        expected = case(rows)
        with flushing():
            got = case(rows)
    normal = is_normal(expected)
    np.testing.assert_array_equal(got[normal], expected[normal])


@pytest.mark.parametrize("case", ELEMENTWISE, ids=repr)
def test_the_text_of_a_kernel_is_the_same(case: Case) -> None:
    """What is kept on disk is known by its text."""
    definition = case.function.definition
    for dtype in map(np.dtype, DTYPES):
        expression = definition.computed(definition.options)
        text = lower.source("probe", expression, definition.arguments, dtype)
        with flushing():
            assert lower.source("probe", expression, definition.arguments, dtype) == text


def test_raised_sums_are_exact_whatever_their_terms() -> None:
    @activation
    def sums(x: Expression) -> Expression:
        exponentials = logistic(x) - damped(x, exp(x)) + 0.25 * exp(x)
        return raised(exponentials + (normal_cdf(x) - damped(x, normal_pdf(x))))

    x = np.concatenate([np.linspace(-745, 0, 800), np.linspace(-40, 0, 200)])
    assert largest_error(sums, x).ulp <= 1
    check(sums, x)


def test_what_is_compiled_meanwhile_is_right_afterwards() -> None:
    def twice(x: Expression) -> Expression:
        return rounded_once(damped(x, logistic(x * 0.7) + exp(-(x * x)))) * 1.25

    x = np.concatenate([sample("float64", 2000), np.linspace(-760, 760, 2001)])
    before = activation(twice)

    def twice(x: Expression) -> Expression:  # type: ignore[no-redef]
        return 1.25 * rounded_once(damped(x, logistic(x * 0.7) + exp(-(x * x))))

    after = activation(twice)
    with np.errstate(all="ignore"):
        with flushing():
            after(x)
        np.testing.assert_array_equal(after(x), before(x))


def test_tables_of_half_types_are_right_afterwards() -> None:
    for dtype in map(np.dtype, ("float16", ml_dtypes.bfloat16)):
        numbers = np.arange(1 << 16, dtype=np.uint16).view(dtype)
        with np.errstate(all="ignore"):
            expected = numbers.astype(np.float64)
        with flushing():
            got = kernels._all_numbers(dtype)
        np.testing.assert_array_equal(got, expected)
        finite = ~np.isnan(got)
        np.testing.assert_array_equal(np.signbit(got[finite]), np.signbit(expected[finite]))
