"""Half types on NumPy arrays are correctly rounded on every number, in every layout."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from cases import ELEMENTWISE, Case, representatives
from numba import vectorize

import actufunc
from actufunc import gelu, leaky_relu, prelu, relu, sigmoid, silu, swiglu
from actufunc.accuracy import _exact, reference
from actufunc.backends.numpy.jit import compiler
from actufunc.backends.numpy.jit.kernels import to_bits
from actufunc.backends.numpy.threading import schedule

Array = np.ndarray[Any, Any]

FLOAT16, BFLOAT16 = HALF_TYPES = (np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))
BITS = np.arange(1 << 16, dtype=np.uint16)
half_types = pytest.mark.parametrize("dtype", HALF_TYPES, ids=str)


def nearest(values: Array, dtype: np.dtype[Any]) -> Array:
    """Round float64 once, by others' code; NaN becomes one NaN."""
    with np.errstate(all="ignore"):
        if dtype == BFLOAT16:  # ml_dtypes rounds to float32 first: let that be odd where it is not exact
            single = values.astype(np.float32)
            inward = np.where(abs(single) > abs(values), np.nextafter(single, np.float32(0)), single)
            odd = (inward.view(np.uint32) | ((inward != values) & np.isfinite(values))).view(np.float32)
            return same_nan(odd.astype(dtype))
        return same_nan(values.astype(dtype))


def same_nan(values: Array) -> Array:
    """Return bits in which all NaN are alike."""
    return np.where(np.isnan(values), 0xFFFF, values.view(np.uint16))


@half_types
def test_every_number_becomes_float64(dtype: np.dtype[Any]) -> None:
    written = compiler.function("widen", f"def widen(x):\n    return from_{dtype.name}(x)\n")
    with np.errstate(all="raise"):  # signalling NaN included
        wide = vectorize(["float64(uint16)"])(written)(BITS)
    with np.errstate(all="ignore"):
        expected = BITS.view(dtype).astype(np.float64)
    np.testing.assert_array_equal(wide, expected)
    np.testing.assert_array_equal(np.signbit(wide), np.signbit(expected))
    with np.errstate(all="raise"):
        back = to_bits(dtype)(wide)
    is_nan = np.isnan(wide)
    np.testing.assert_array_equal(back[~is_nan], BITS[~is_nan])
    assert np.isnan(back.view(dtype)[is_nan]).all()
    np.testing.assert_array_equal(np.signbit(back.view(dtype)), np.signbit(wide))


@half_types
def test_float64_is_rounded_at_every_midpoint(dtype: np.dtype[Any]) -> None:
    infinity = int(np.array(np.inf, dtype).view(np.uint16))
    below = BITS[:infinity]
    numbers = below.view(dtype).astype(np.float64)
    numbers = np.append(numbers, 2 * numbers[-1] - numbers[-2])  # where infinity begins, halfway
    midpoints = (numbers[1:] + numbers[:-1]) / 2
    for sign, bits in ((1, 0), (-1, 1 << 15)):
        with np.errstate(all="raise"):
            np.testing.assert_array_equal(to_bits(dtype)(sign * midpoints), (below + (below & 1)) | bits)
            np.testing.assert_array_equal(to_bits(dtype)(sign * np.nextafter(midpoints, 0)), below | bits)
            np.testing.assert_array_equal(to_bits(dtype)(sign * np.nextafter(midpoints, np.inf)), (below + 1) | bits)
            extremes = sign * np.array([0.0, 5e-324, 1e-310, 2.3e-308, 1e300, 1.7e308, np.inf])
            expected = np.array([0] * 4 + [infinity] * 3) | bits
            np.testing.assert_array_equal(to_bits(dtype)(extremes), expected)


def exactly(case: Case, x: Array) -> Array:
    """Return the values by mpmath, as float64 that is odd where it is not exact, so that no tie is made."""
    wide = x.astype(np.float64)
    with pytest.MonkeyPatch.context() as patch:  # x/2 less x**3/24 is no tie, of the smallest numbers either
        patch.setattr(_exact, "_FIRST", 512)
        exact = reference(case.function, wide, **dict(case.keywords))
    values = exact.astype(np.float64)
    step = np.array([np.sign(float(e - v)) for e, v in zip(exact, values, strict=True)])
    is_even = (values.view(np.int64) & 1) == 0
    return np.where(is_even & (step != 0), np.nextafter(values, np.copysign(np.inf, step)), values)


@half_types
@pytest.mark.parametrize("case", [*ELEMENTWISE, *(case.grad for case in ELEMENTWISE)], ids=repr)
def test_every_number(case: Case, dtype: np.dtype[Any]) -> None:
    """Values and gradients are those of float64 rounded once, and of mpmath where the errors of float64 may decide."""
    x = BITS.view(dtype)
    with np.errstate(all="raise"):
        result = case(x)
    assert result.dtype == dtype
    with np.errstate(all="ignore"):
        wide = case.of_halves(x.astype(np.float64))
        margin = 4 * np.spacing(abs(wide))
        is_close = nearest(wide - margin, dtype) != nearest(wide + margin, dtype)
    is_close &= np.isfinite(wide) & (wide != 0)  # a zero of mpmath has no sign
    expected = nearest(wide, dtype)
    if is_close.any():
        expected[is_close] = nearest(exactly(case.of_halves, x[is_close]), dtype)
    np.testing.assert_array_equal(same_nan(result), expected)


# Each compiles for a fifth of a second, so that some do for all; test_fuzz_guard.py has random numbers for each.
@half_types
@pytest.mark.parametrize("case", [*representatives(ELEMENTWISE), Case(gelu), Case(silu)], ids=repr)
def test_every_number_in_a_vjp(case: Case, dtype: np.dtype[Any]) -> None:
    x = BITS.view(dtype)
    with np.errstate(all="ignore"):
        for g in (np.ones_like(x), np.random.default_rng(0).permutation(x)):
            exact = case.vjp.of_halves(x.astype(np.float64), g.astype(np.float64))
            np.testing.assert_array_equal(same_nan(case.vjp(x, g)), nearest(exact, dtype))


@half_types
@pytest.mark.parametrize("case", [Case(relu), Case(gelu), Case(gelu.vjp), Case(prelu)], ids=repr)
def test_every_way_gives_the_same_bits(case: Case, dtype: np.dtype[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(schedule.GRAINS, ("pool", "costly"), 1 << 10)
    rng = np.random.default_rng(0)
    shape = (40, 3, 100)
    arrays = [(4 * rng.standard_normal(shape)).astype(dtype) for _ in range(1 + (case.function in {gelu.vjp, prelu}))]
    expected = nearest(case.of_halves(*(a.astype(np.float64) for a in arrays)), dtype)

    def check(got: Any, part: Any = ...) -> None:
        assert got.dtype == dtype
        np.testing.assert_array_equal(np.asarray(got).view(np.uint16), expected[part])

    for threads in (1, 2):
        with actufunc.num_threads(threads):
            for _ in range(2):  # the second call takes the way that the first has found
                check(case(*arrays))
                check(case(*(np.asfortranarray(a) for a in arrays)))
                out = np.empty_like(arrays[0])
                assert case(*arrays, out=out) is out
                check(out)
            part: Any
            for part in (
                np.s_[:, :, ::2],
                np.s_[:, :, :50],
                np.s_[::-1],
                np.s_[3, 1, :5:2],
                np.s_[0, 0, 0, ...],
                np.s_[:0],
            ):
                check(case(*(a[part] for a in arrays)), part)
                wide = np.zeros(shape, dtype)
                case(*(a[part] for a in arrays), out=wide[part])
                check(wide[part], part)
            in_place = arrays[0].copy()
            case(in_place, *arrays[1:], out=in_place)
            check(in_place)
            mask, out = rng.random(shape) < 0.5, np.full(shape, 7, dtype)
            case(*arrays, where=mask, out=out)
            check(out[mask], mask)
            assert (out[~mask] == 7).all()


@half_types
def test_beside_other_dtypes(dtype: np.dtype[Any]) -> None:
    """Computed in float64, from the numbers as they are, and rounded once to what is asked for."""
    x = np.random.default_rng(0).normal(size=1000) * 4
    half = x.astype(dtype)
    exact = silu(half.astype(np.float64))
    for wider in (np.float32, np.float64):
        out = np.empty(x.shape, wider)
        np.testing.assert_array_equal(silu(half, out=out), exact.astype(wider))
    np.testing.assert_array_equal(silu(x, dtype=dtype).view(np.uint16), nearest(silu(x), dtype))
    np.testing.assert_array_equal(
        silu(half, where=x > 0, out=np.zeros_like(half)).view(np.uint16), nearest(np.where(x > 0, exact, 0), dtype)
    )
    assert type(sigmoid(half[0])) is dtype.type
    # Hyperparameters are rounded to float32, also where there are too many for kernels of their own.
    for slope in np.linspace(0.1, 0.9, 15):
        exact = leaky_relu(half.astype(np.float64), float(np.float32(slope)))
        np.testing.assert_array_equal(leaky_relu(half, float(slope)).view(np.uint16), nearest(exact, dtype))


@half_types
def test_gated_units(dtype: np.dtype[Any]) -> None:
    x = (np.random.default_rng(0).normal(size=(50, 128)) * 4).astype(dtype)
    np.testing.assert_array_equal(swiglu(x).view(np.uint16), nearest(swiglu(x.astype(np.float64)), dtype))


def test_own_formula_of_several_arrays() -> None:
    """Parts of one argument are looked up, each once; conditions and parts of several are computed."""

    @actufunc.activation
    def mixed(x: Any, table0: Any, stop: Any) -> Any:
        """Mix."""
        costly = sigmoid(x)
        return actufunc.formula.where(
            actufunc.formula.exp(table0) < 2, costly * table0 + costly, sigmoid(x * stop) + stop
        )

    arrays = (np.random.default_rng(0).normal(size=(3, 1000)) * 2).astype(np.float16)
    exact = mixed(*arrays.astype(np.float64))
    np.testing.assert_array_equal(mixed(*arrays).view(np.uint16), nearest(exact, FLOAT16))
