"""Arguments by position and by name, scalars, masks as lists; the second call of a kind is not planned again."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
from array_libraries import Library, load
from cases import ELEMENTWISE, GATED, OVER_AXIS, REDUCING, Case, cases, mostly_slow, representatives

from actufunc import _activation as ufunc
from actufunc import activation, prelu, sigmoid, silu, softmax

if TYPE_CHECKING:
    from collections.abc import Callable

X = np.array([[-2.0, -0.5, 0.25, 1.5], [3.0, -1.0, 0.5, 0.0]])
ALONG = [*OVER_AXIS, *REDUCING, *GATED]
WITH_OUT = [case for case in ELEMENTWISE if case.function.positions.follows == "out"]


@pytest.mark.parametrize("case", ALONG, ids=repr)
def test_axis_by_position(case: Case) -> None:
    for axis in (0, 1, -1, -2):
        np.testing.assert_array_equal(case(X, axis), case(X, axis=axis))
        g = case(X, axis=axis)
        np.testing.assert_array_equal(case.vjp(X, g, axis), case.vjp(X, g, axis=axis))
    with pytest.raises(TypeError, match="'axis' by position and by keyword"):
        case(X, 0, axis=0)
    with pytest.raises(TypeError, match="takes at most 2 positional arguments, not 3"):
        case(X, 0, 1)


@pytest.mark.parametrize("name", ["torch", "jax", "dask", "array_api_strict"])
@pytest.mark.parametrize("case", representatives(ALONG), ids=repr)
def test_axis_by_position_everywhere(name: str, case: Case) -> None:
    library = load(name)
    result = library.asnumpy(case(library.asarray(X), 0))
    np.testing.assert_allclose(result, case(X, axis=0), rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("case", WITH_OUT, ids=repr)
def test_output_by_position(case: Case) -> None:
    for function, arrays in ((case, (X,)), (case.grad, (X,)), (case.vjp, (X, X[::-1]))):
        for _ in range(2):
            out = np.empty_like(X)
            assert function(*arrays, out) is out
            np.testing.assert_array_equal(out, function(*arrays))
        assert type(function(*arrays, None)) is np.ndarray
        with pytest.raises(TypeError, match="'out' by position and by keyword"):
            function(*arrays, out, out=out)
        with pytest.raises(TypeError, match="positional arguments"):
            function(*arrays, out, out)


@pytest.mark.parametrize("case", cases(), ids=repr)
def test_x_by_name(case: Case) -> None:
    np.testing.assert_array_equal(case(x=X), case(X))
    np.testing.assert_array_equal(case.vjp(X, g=case(X)), case.vjp(X, case(X)))
    with pytest.raises(TypeError, match="needs 'x'"):
        case()
    with pytest.raises(TypeError, match="'x' by position and by keyword"):
        case(X, x=X)


@pytest.mark.parametrize("case", GATED, ids=repr)
def test_halves_apart(case: Case, xp: Library) -> None:
    first, second, g = X, X[::-1] * 0.75, X - 1
    joined = np.concatenate([first, second], axis=-1)
    arrays = list(map(xp.asarray, (first, second, g)))
    expected = case(joined)
    for result in (case(*arrays[:2]), case(arrays[0], gate=arrays[1]), case(x=arrays[0], gate=arrays[1])):
        np.testing.assert_allclose(xp.asnumpy(result), expected, rtol=1e-14)
    expected = np.split(case.vjp(joined, g), 2, axis=-1)
    for part, right in zip(case.vjp(*arrays), expected, strict=True):
        np.testing.assert_allclose(xp.asnumpy(part), right, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("case", GATED, ids=repr)
def test_a_number_is_an_axis_and_no_gate(case: Case) -> None:
    x = np.ones((2, 2))
    for wrong in (1.0, np.float64(1)):
        with pytest.raises(TypeError, match="takes axis as an integer"):
            case(x, wrong)


@pytest.mark.parametrize("case", GATED, ids=repr)
def test_outputs_of_halves_apart(case: Case) -> None:
    out = np.empty_like(X)
    assert case(X, X, out=out) is out
    np.testing.assert_array_equal(out, case(X, X))
    outputs = np.empty_like(X), np.empty_like(X)
    assert case.vjp(X, X, X, out=outputs) == outputs or all(
        a is b for a, b in zip(case.vjp(X, X, X, out=outputs), outputs, strict=True)
    )
    with pytest.raises(ValueError, match="tuple of as many"):
        case.vjp(X, X, X, out=out)
    with pytest.raises(TypeError, match="unexpected keyword argument 'axis'"):
        case(X, gate=X, axis=0)


@pytest.mark.parametrize("case", ELEMENTWISE, ids=repr)
def test_mask_is_seen_as_by_numpy(case: Case) -> None:
    x, expected = X[0], np.where([True, False, True, False], case(X[0]), 7.0)
    for where in ([1, 0, 1, 0], (1.0, 0.0, 2.0, 0.0), [True, False, True, False], np.array([True, False] * 2)):
        for _ in range(2):
            out = np.full(4, 7.0)
            np.testing.assert_array_equal(case(x, out=out, where=where), expected)
    for where, kept in ((0, 7.0), (False, 7.0), (np.False_, 7.0), (1, None)):
        out = np.full(4, 7.0)
        np.testing.assert_array_equal(case(x, out=out, where=where), case(x) if kept is None else kept)
    for where in (np.array([1, 0, 1, 0]), None):  # np.exp takes None for False
        with pytest.raises(TypeError, match="array of booleans"):
            case(x, out=np.empty(4), where=where)


@pytest.mark.parametrize("name", ["numpy", "cupy"])
def test_rest_of_a_fresh_result_is_warned_of(name: str) -> None:
    library = load(name)
    x, where = library.asarray(X), library.asarray(X > 0)
    for _ in range(2):
        with pytest.warns(UserWarning, match="'where' used without 'out': sigmoid gives 0") as warned:
            result = sigmoid(x, where=where)
        assert warned[0].filename == __file__
        np.testing.assert_allclose(library.asnumpy(result), np.where(X > 0, sigmoid(X), 0), rtol=1e-14)
        sigmoid(x, where=where, out=None)
        sigmoid(x, where=True)
        softmax(x, where=where)


NUMBERS: list[Any] = [0.75, 1, True]
NUMBERS += [np.dtype(kind).type(1) for kind in "?bBhHiIqQefd"]
NUMBERS += [ml_dtypes.bfloat16(0.75), np.float16(-0.75), np.float32(np.nan), np.float16(np.nan)]


@pytest.mark.parametrize("case", mostly_slow(ELEMENTWISE), ids=repr)
@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: f"{type(number).__name__}-{number}")
def test_scalars_are_arrays_without_dimensions(case: Case, number: Any) -> None:
    for function in (case, case.grad, lambda x, **keywords: case.vjp(x, x, **keywords)):
        expected = function(np.asarray(number).reshape(1))
        for given in (number, np.asarray(number)):
            for _ in range(2):
                result = function(given)
                assert type(result) is expected.dtype.type
                np.testing.assert_array_equal(np.asarray([result]), expected)
                assert function(given, out=...).shape == ()


def test_integers_that_no_dtype_holds() -> None:
    for _ in range(2):
        assert sigmoid(1) == sigmoid(1.0)
        with pytest.raises(TypeError, match="does not support integers of more than 64 bits"):
            sigmoid(10**30)
        with pytest.raises(TypeError, match="does not support integers of more than 64 bits"):
            prelu(10**30, X)
        assert prelu(-1, X).dtype == X.dtype


class Tagged(np.ndarray[Any, Any]):
    """A subclass that notes what it is asked to wrap."""

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: Any = False) -> Any:
        self.seen.append((context, return_scalar))
        return super().__array_wrap__(array, context, return_scalar)

    seen: list[Any] = []  # noqa: RUF012


class Foreign:
    """Something that NumPy makes an array of, and that makes something of the result."""

    __array_priority__ = 5.0

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return X.astype(dtype) if dtype else X

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: Any = False) -> Any:
        return "wrapped", array, context


@pytest.mark.parametrize("case", [*ELEMENTWISE, *OVER_AXIS], ids=repr)
def test_results_are_wrapped(case: Case) -> None:
    expected = case(X)
    Tagged.seen.clear()
    assert type(case(X.view(Tagged))) is Tagged
    assert Tagged.seen[0][0][0] is case.function
    out = np.empty_like(X).view(Tagged)
    result = case(X, out=out)
    assert type(result) is Tagged
    np.testing.assert_array_equal(np.asarray(result), expected)
    if not case.function.definition.over_axis:
        assert type(case(X.view(Tagged), subok=False)) is np.ndarray
    np.testing.assert_array_equal(out, expected)
    assert Tagged.seen[1][0][1][-1] is out
    base = np.empty_like(X)
    assert case(X.view(Tagged), out=base) is base
    wrapped, array, context = case(Foreign())
    assert wrapped == "wrapped"
    assert context[0] is case.function
    np.testing.assert_array_equal(array, expected)


def test_output_of_masked_arrays_keeps_the_mask() -> None:
    x = np.ma.MaskedArray(X[0], mask=[False, True, False, False])
    out = np.ma.MaskedArray(np.zeros(4))
    assert sigmoid(x, out=out) is out
    np.testing.assert_array_equal(np.ma.getmaskarray(out), x.mask)


# The first call of a kind makes the plan; no later one does.

DTYPES = ["?", "i1", "u8", "e", ml_dtypes.bfloat16, "f", "d", ">f4", ">f8"]
LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "C": lambda x: x,
    "F": np.asfortranarray,
    "reversed": lambda x: x[::-1],
    "gaps": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "broadcast": lambda x: np.broadcast_to(x[:1], x.shape),
    "0-d": lambda x: x[0, 0],
    "unaligned": lambda x: np.frombuffer(b" " + x.tobytes(), np.uint8)[1:].view(x.dtype).reshape(x.shape),
}
KEYWORDS: list[dict[str, Any]] = [
    {},
    {"out": "like"},
    {"out": "in place"},
    {"out": "float64", "where": True},
    {"out": "float64", "where": X > 0},
    {"dtype": np.float32, "casting": "unsafe"},
    {"dtype": "float64", "order": "F"},
    {"subok": False, "order": "C"},
]


def calls(case: Case) -> dict[str, Callable[..., Any]]:
    """Return ways to call a function of arrays."""
    kind = case.function.definition.kind
    ways: dict[str, Callable[..., Any]] = {"value": case}
    if kind == "elementwise":
        ways |= {"grad": case.grad, "vjp": lambda x, **k: case.vjp(x, x, **k)}
        ways["vjp of a row"] = lambda x, **k: case.vjp(x, X.astype("f")[0], **k)
        if case.function.definition.hyperparameters and not dict(case.keywords):
            ways["number"] = lambda x, **k: case(x, 0.5, **k)
            ways["NumPy's number"] = lambda x, **k: case(x, np.float32(0.5), **k)
            ways["array"] = lambda x, **k: case(x, X, **k)
    elif kind == "over an axis":
        ways["vjp"] = lambda x, **k: case.vjp(x, x, **k)
        ways["first axis"] = lambda x, **k: case(x, 0, **k)
        ways["all axes"] = lambda x, **k: case(x, axis=(0, 1), **k)
        ways["mask"] = lambda x, **k: case(x, where=X > -1, **k)
    return ways


@pytest.mark.parametrize("case", representatives(cases()), ids=repr)
def test_nothing_is_planned_twice(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the dtype, layout, keyword or hyperparameter, the second call finds the plan that the first one made."""
    served = 0
    evaluate = ufunc.plan
    for (name, call), dtype, layout, given in itertools.product(
        calls(case).items(), DTYPES, LAYOUTS.values(), KEYWORDS
    ):
        x = layout(X.astype(dtype))
        keywords = dict(given)
        if given.get("out") == "like":
            keywords["out"] = np.empty(X.shape, x.dtype)
        elif given.get("out") == "in place":
            x = x.copy()
            keywords["out"] = x
        elif given.get("out") == "float64":
            keywords["out"] = np.zeros(X.shape)
        monkeypatch.setattr(ufunc, "plan", evaluate)
        with np.errstate(all="ignore"):
            try:
                first = np.array(call(x, **keywords)).astype(np.float64)
            except (TypeError, ValueError):
                continue
            if given.get("out") == "like":  # a kernel may have served without a plan, as for an `x` of this very dtype
                call(layout(X.astype(dtype)), **keywords)
            monkeypatch.setattr(ufunc, "plan", lambda call: pytest.fail(f"{call} is planned twice"))
            x = layout(X.astype(dtype))
            if given.get("out") == "in place":
                x = x.copy()
                keywords["out"] = x
            second = np.asarray(call(x, **keywords)).astype(np.float64)
        np.testing.assert_array_equal(first, second, err_msg=f"{name} {dtype} {given}")
        served += 1
    assert served >= 50


def test_many_hyperparameters_are_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    for beta in np.linspace(0.1, 2, 30):
        first = silu(X, float(beta))
        with monkeypatch.context() as patched:
            patched.setattr(ufunc, "plan", lambda call: pytest.fail(f"{call} is planned twice"))
            np.testing.assert_array_equal(silu(X, float(beta)), first)


def test_a_later_custom_derivative_is_seen() -> None:
    @activation
    def twice(x: Any) -> Any:
        return 2 * x

    assert twice.grad(X[0]).tolist() == [2.0] * 4
    assert twice(1.0) == 2
    twice.derivative(lambda x: 0 * x + 3)
    for x in (X[0], 1.0, np.float16(1)):
        assert np.all(twice.grad(x) == 3)
    with pytest.raises(TypeError, match="condition"):
        twice.derivative(lambda x: x > 0)
